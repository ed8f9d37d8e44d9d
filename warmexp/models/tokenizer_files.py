"""From a checkpoint's tokenizer files to a `tokenizers.Tokenizer`, without any code from the checkpoint.

`tokenizer.json` (LLaDA) is read as it is. Dream publishes Qwen2's older files instead (`vocab.json`, `merges.txt` and the added tokens in
`tokenizer_config.json`) together with a tokenizer class of its own that is Qwen2's: the pipeline is rebuilt here from its description.

Qwen2's pipeline: Unicode NFC; split by a pattern that keeps digits apart, glues one leading space to a word and line breaks to
punctuation; bytes as printable characters (GPT-2's alphabet); byte-pair merges.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers

from warmexp.errors import UserError
from warmexp.models.hub import read_json

# Qwen2's pre-tokenization pattern; a test compares it with the one transformers ships for Qwen2.
QWEN2_PATTERN = "|".join(
    [
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)",
        r"[^\r\n\p{L}\p{N}]?\p{L}+",
        r"\p{N}",
        r" ?[^\s\p{L}\p{N}]+[\r\n]*",
        r"\s*[\r\n]+",
        r"\s+(?!\S)",
        r"\s+",
    ]
)
# Tokenizer classes that are Qwen2's, as tokenizer_config.json names them.
QWEN2_CLASSES = ("DreamTokenizer", "Qwen2Tokenizer", "Qwen2TokenizerFast")


def read_tokenizer(folder: Path) -> Tokenizer:
    """The tokenizer of a checkpoint folder.

    Raises:
        UserError: no tokenizer files, of another kind than the two above, or unreadable.
    """
    if (folder / "tokenizer.json").is_file():
        try:
            return Tokenizer.from_file(str(folder / "tokenizer.json"))
        except Exception as error:  # the library raises bare Exception
            raise UserError(f"backbone.path={folder}: tokenizer.json cannot be read ({error}).") from None
    absent = [name for name in ("vocab.json", "merges.txt", "tokenizer_config.json") if not (folder / name).is_file()]
    if absent:
        raise UserError(
            f"backbone.path={folder} has no tokenizer.json, nor Qwen2's files in its place ({', '.join(absent)} missing): give a"
            " checkpoint with its tokenizer."
        )
    config = read_json("backbone.path", folder / "tokenizer_config.json")
    kind = config.get("tokenizer_class")
    if kind not in QWEN2_CLASSES:
        raise UserError(
            f"backbone.path={folder}: tokenizer_config.json has tokenizer_class={kind} and there is no tokenizer.json; only Qwen2's"
            f" ({', '.join(QWEN2_CLASSES)}) can be rebuilt from vocab.json and merges.txt."
        )
    vocab = read_json("backbone.path", folder / "vocab.json")
    try:
        return qwen2_tokenizer(vocab, folder / "merges.txt", config.get("added_tokens_decoder") or {})
    except Exception as error:  # the library raises bare Exception
        raise UserError(f"backbone.path={folder}: vocab.json and merges.txt do not make a tokenizer ({error}).") from None


def qwen2_tokenizer(vocab: dict[str, int], merges: Path, added: dict[str, dict[str, Any]]) -> Tokenizer:
    """Qwen2's tokenizer. added: id -> added token, as in tokenizer_config.json's `added_tokens_decoder`; each keeps its id."""
    lines = merges.read_text(encoding="utf-8").splitlines()
    pairs = [tuple(line.split(" ")) for line in lines if line and not line.startswith("#version")]
    ordered = sorted(added.items(), key=lambda item: int(item[0]))
    # An added token that the vocabulary already has keeps its place there, so that published ids hold even with gaps between them.
    vocab = vocab | {token["content"]: int(i) for i, token in ordered}
    tokenizer = Tokenizer(models.BPE(vocab=vocab, merges=pairs))
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(QWEN2_PATTERN), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    for _, token in ordered:
        flags = {name: bool(token.get(name, False)) for name in ("single_word", "lstrip", "rstrip", "normalized", "special")}
        tokenizer.add_tokens([AddedToken(token["content"], **flags)])
    return tokenizer
