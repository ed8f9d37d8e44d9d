"""A method in a package of its own: no file of warmexp is touched."""

from dataclasses import dataclass

from warmexp.decode.reading import top
from warmexp.decode.strategy import Unmask
from warmexp.errors import check_range


@dataclass
class Margin(Unmask):
    """Commit every masked position whose two most probable tokens are at least `margin` apart in probability."""

    margin: float = 0.8
    temperature: float = 0.0
    reads_logits = True
    curve = "margin"
    symbols = {"margin": "margin"}  # how labels write it

    def __post_init__(self):
        check_range("unmask.margin", self.margin, 0, 1, "a difference of two probabilities")

    def measure(self, view, word):
        probability, _ = top(word.logits, 2)  # [R, 2], R positions are read
        return {"lead": probability[:, 0] - probability[:, 1]}

    def select(self, view, reading):
        return view.masked & (reading.measured["lead"] >= self.margin)
