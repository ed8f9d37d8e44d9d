"""From a checkpoint's tokenizer files to a `tokenizers.Tokenizer`, without any code from the checkpoint.

`tokenizer.json` (LLaDA) says how text becomes tokens and back; what a training left in it beside that is set aside
(`as_at_inference`). Dream publishes Qwen2's older files instead (`vocab.json`, `merges.txt` and the added tokens in
`tokenizer_config.json`) together with a tokenizer class of its own that is Qwen2's: the pipeline is rebuilt here from
its description.

Qwen2's pipeline: Unicode NFC; split by a pattern that keeps digits apart, glues one leading space to a word and line
breaks to punctuation; bytes as printable characters (GPT-2's alphabet); byte-pair merges.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers

from warmexp.errors import UserError
from warmexp.models.files import named, read_bytes, read_json

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


def as_at_inference(tokenizer: Tokenizer) -> tuple[str, ...]:
    """Take the state of a training out of a tokenizer, so that it neither cuts nor fills up, draws nothing at random,
    and adds nothing.

    Truncation and padding to a length, BPE dropout and unigram sampling (other tokens at every call) are settings of a
    training run that tokenizer.json keeps. A post-processor adds tokens at either end; here the template says what
    stands around a prompt.

    Returns:
        what of it would have changed an encoding.
    """
    found = [name for name in ("truncation", "padding") if getattr(tokenizer, name) is not None]
    tokenizer.no_truncation()
    tokenizer.no_padding()
    found += without_sampling(tokenizer)
    tokenizer.post_processor = None  # was never asked to add anything
    return tuple(found)


def without_sampling(tokenizer: Tokenizer) -> list[str]:
    """One text has one encoding. Returns the settings that were set otherwise."""
    found = [name for name in ("dropout", "alpha", "nbest_size") if getattr(tokenizer.model, name, None) is not None]
    for name in found:
        setattr(tokenizer.model, name, None)
    return found


def read_tokenizer(folder: Path) -> Tokenizer:
    """The tokenizer of a checkpoint folder.

    Raises:
        UserError: no tokenizer files, of another kind than the two above, or unreadable.
    """
    if (folder / "tokenizer.json").is_file():
        data = read_bytes("backbone.path", folder / "tokenizer.json")
        with library_errors(f"backbone.path={folder}: tokenizer.json cannot be read"):
            return Tokenizer.from_buffer(data)
    absent = [name for name in ("vocab.json", "merges.txt", "tokenizer_config.json") if not (folder / name).is_file()]
    if absent:
        raise UserError(
            f"backbone.path={folder} has no tokenizer.json, nor Qwen2's files in its place ({', '.join(absent)}"
            " missing): give a checkpoint with its tokenizer."
        )
    config = read_json("backbone.path", folder / "tokenizer_config.json")
    kind = config.get("tokenizer_class")
    if kind not in QWEN2_CLASSES:
        raise UserError(
            f"backbone.path={folder}: tokenizer_config.json has tokenizer_class={named(kind)} and there is no"
            f" tokenizer.json; only Qwen2's ({', '.join(QWEN2_CLASSES)}) can be rebuilt from vocab.json and"
            " merges.txt."
        )
    vocab = read_json("backbone.path", folder / "vocab.json")
    merges = read_bytes("backbone.path", folder / "merges.txt")
    with library_errors(f"backbone.path={folder}: vocab.json and merges.txt do not make a tokenizer"):
        return qwen2_tokenizer(vocab, merges.decode(), config.get("added_tokens_decoder") or {})


@contextmanager
def library_errors(sentence: str) -> Iterator[None]:
    """Whatever goes wrong inside the tokenizers library, or in taking its files apart, as one sentence with the reason.

    The library raises bare Exception, and a panic of its Rust code is no Exception at all.
    """
    try:
        yield
    except UserError:
        raise
    except BaseException as error:
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
            raise
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise UserError(f"{sentence} ({reason}).") from None


def qwen2_tokenizer(vocab: dict[str, int], merges: str, added: dict[str, dict[str, Any]]) -> Tokenizer:
    """Qwen2's tokenizer. merges: the text of merges.txt. added: id -> added token, as in tokenizer_config.json's
    `added_tokens_decoder`; each keeps its id."""
    lines = [line.removesuffix("\r") for line in merges.split("\n")]
    pairs: list[Any] = [
        tuple(line.split(" ")) for line in lines if line and not line.startswith("#version")
    ]  # BPE counts their parts
    ordered = sorted(added.items(), key=lambda item: int(item[0]))
    # An added token that the vocabulary already has keeps its place there, so that published ids hold even with gaps
    # between them.
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
        flags = {
            name: token.get(name, False) is True
            for name in ("single_word", "lstrip", "rstrip", "normalized", "special")
        }
        tokenizer.add_tokens([AddedToken(token["content"], **flags)])
    return tokenizer
