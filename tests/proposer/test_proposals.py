"""Proposals: re-encoding through text, the store, the oracle's corruption, transformers models as proposers."""

from __future__ import annotations

import json

import pytest

from tests.checkpoints import EOS, MASK
from warmexp.backbone.checkpoint import Checkpoint
from warmexp.errors import UserError
from warmexp.proposer.file import FileProposer
from warmexp.proposer.oracle import OracleProposer
from warmexp.proposer.proposal import Asked, Proposal, encode
from warmexp.proposer.store import proposals_for

SOLUTION = " Tom has 5 + 3 = 8 apples.\nHe gives away 2, so 8 - 2 = 6 are left.\n#### 6"


@pytest.fixture
def tokenizer(checkpoint):
    return Checkpoint(str(checkpoint)).tokenizer


def test_a_proposal_goes_through_text(tokenizer):
    encoded = encode(Proposal(" 5 + 3"), tokenizer, 32, "mask")
    assert tokenizer.decode(list(encoded.ids)) == " 5 + 3" and not encoded.cut


def test_special_tokens_are_never_proposed(tokenizer):
    encoded = encode(Proposal("a<|mdm_mask|><|endoftext|>"), tokenizer, 64, "mask")
    assert not {EOS, MASK} & set(encoded.ids)
    assert tokenizer.decode(list(encoded.ids)) == "a<|mdm_mask|><|endoftext|>"


def test_too_long_is_cut_and_flagged(tokenizer):
    encoded = encode(Proposal("abcdefgh"), tokenizer, 5, "eos")
    assert encoded.cut and tokenizer.decode(list(encoded.ids)) == "abcde"


def test_what_follows_the_end_is_a_choice(tokenizer):
    assert len(encode(Proposal("abc"), tokenizer, 8, "mask").ids) == 3
    assert encode(Proposal("abc"), tokenizer, 8, "eos").ids[3:] == (EOS,) * 5
    with pytest.raises(UserError, match=r"proposer\.tail=pad"):
        encode(Proposal("abc"), tokenizer, 8, "pad")


def test_an_oracle_corrupts_at_its_rate():
    questions = [Asked(f"q{i}", "p", SOLUTION) for i in range(200)]

    def texts(rate: float, seed: int = 0) -> list[str]:
        return [p.text for _, p in OracleProposer(corruption=rate).propose(questions, "cpu", seed, None)]

    assert set(texts(0)) == {SOLUTION}
    assert texts(0.3) == texts(0.3) != texts(0.3, seed=1)
    words = SOLUTION.split()
    changed = [sum(a != b for a, b in zip(text.split(), words, strict=True)) / len(words) for text in texts(0.3)]
    # "####" and words like "apples." keep a part; the share of changed words is near the rate
    assert 0.2 < sum(changed) / len(changed) < 0.4
    assert all("####" in text and text.count("\n") == 2 for text in texts(1.0))
    assert all(text.split()[-1] != "6" for text in texts(1.0))


class Counting:
    """A proposer that counts what it is asked for."""

    oracle, stored, tail = False, True, "mask"

    def __init__(self, name: str = "a"):
        self.name, self.asked = name, []

    def identity(self):
        return {"kind": self.name}

    def propose(self, questions, device, seed, progress):
        for q in questions:
            self.asked.append(q.id)
            yield q.id, Proposal(f"{self.name} on {q.prompt}", ((0, 1, -0.5),), 0.25)


def test_the_store_never_asks_twice(tmp_path):
    questions = [Asked(f"q{i}", f"prompt {i}", "") for i in range(5)]
    one = Counting()
    first = proposals_for(one, questions[:3], tmp_path, "cpu", 0, None)
    again = proposals_for(one, questions, tmp_path, "cpu", 0, None)
    assert one.asked == ["q0", "q1", "q2", "q3", "q4"]
    assert {k: again[k] for k in first} == first and again["q4"] == Proposal("a on prompt 4", ((0, 1, -0.5),), 0.25)
    other = Counting("b")
    assert proposals_for(other, questions, tmp_path, "cpu", 0, None)["q0"].text == "b on prompt 0"


def test_the_store_survives_a_kill_between_proposals(tmp_path):
    class Dies(Counting):
        def propose(self, questions, device, seed, progress):
            for i, pair in enumerate(super().propose(questions, device, seed, progress)):
                if i == 2:
                    raise KeyboardInterrupt
                yield pair

    questions = [Asked(f"q{i}", f"prompt {i}", "") for i in range(5)]
    with pytest.raises(KeyboardInterrupt):
        proposals_for(Dies(), questions, tmp_path, "cpu", 0, None)
    file = next(tmp_path.glob("*.jsonl"))
    with file.open("ab") as handle:
        handle.write(b'{"prompt_sha')
    one = Counting()
    assert len(proposals_for(one, questions, tmp_path, "cpu", 0, None)) == 5
    assert one.asked == ["q2", "q3", "q4"]


def test_a_file_of_proposals(tmp_path):
    file = tmp_path / "mine.jsonl"
    file.write_text(
        json.dumps({"id": "q1", "text": "five", "tokens": [[0, 4, -0.1]]}) + "\n\n" + json.dumps({"id": "q2", "text": "six"}) + "\n"
    )
    asked = [Asked("q1", "p", "s")]
    assert dict(FileProposer(str(file)).propose(asked, "cpu", 0, None)) == {"q1": Proposal("five", ((0, 4, -0.1),))}
    file.write_text('{"id": "q1"}\n')
    with pytest.raises(UserError, match="line 1"):
        FileProposer(str(file)).identity()


@pytest.fixture(scope="module")
def tiny_llama(tmp_path_factory):
    """A random transformers model with a tokenizer of its own, as the hub would hold it."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    folder = tmp_path_factory.mktemp("llama")
    alphabet = {c: i for i, c in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    inner = Tokenizer(models.BPE(vocab=alphabet, merges=[]))
    inner.pre_tokenizer, inner.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=inner, eos_token="<|end|>", pad_token="<|end|>")
    tokenizer.save_pretrained(folder)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=257, hidden_size=16, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2, max_position_embeddings=512,
        eos_token_id=256, bos_token_id=None, pad_token_id=256,
    )  # fmt: skip
    LlamaForCausalLM(config).save_pretrained(folder)
    return folder


def test_a_transformers_model_proposes(tiny_llama):
    """Batched and left-padded equals one by one; every token has its span and its log-probability."""
    import torch
    from transformers import AutoModelForCausalLM

    from warmexp.proposer.hf import HFProposer

    questions = [Asked(f"q{i}", "abc " * (i + 1), "") for i in range(3)]

    def ask(**options):
        return dict(HFProposer(str(tiny_llama), max_new_tokens=12, **options).propose(questions, "cpu", 0, lambda *_: None))

    batched, alone = ask(batch_size=3), ask(batch_size=1)
    assert {k: p.text for k, p in batched.items()} == {k: p.text for k, p in alone.items()}
    model = AutoModelForCausalLM.from_pretrained(tiny_llama)
    proposal = alone["q0"]
    assert proposal.tokens and proposal.tokens[0][0] == 0 and proposal.tokens[-1][1] == len(proposal.text)
    from transformers import AutoTokenizer

    ids = AutoTokenizer.from_pretrained(tiny_llama)("abc ", return_tensors="pt").input_ids
    first = model(ids).logits[0, -1].log_softmax(-1).max().item()
    assert proposal.tokens[0][2] == pytest.approx(first, abs=1e-4)
    assert torch.isfinite(torch.tensor([t[2] for t in proposal.tokens])).all()


def test_stop_strings_end_a_proposal(tiny_llama):
    from warmexp.proposer.hf import HFProposer

    asked = [Asked("q", "abc ", "")]
    options = {"max_new_tokens": 20}
    whole = dict(HFProposer(str(tiny_llama), stop=[], **options).propose(asked, "cpu", 0, lambda *_: None))["q"].text
    stop = whole[3]
    cut = dict(HFProposer(str(tiny_llama), stop=[stop], **options).propose(asked, "cpu", 0, lambda *_: None))["q"]
    assert cut.text == whole[: whole.index(stop)]
    assert all(b <= len(cut.text) for _, b, _ in cut.tokens)


def test_a_model_without_a_chat_template_says_so(tiny_llama):
    from warmexp.proposer.hf import HFProposer

    with pytest.raises(UserError, match="chat_template=false"):
        list(HFProposer(str(tiny_llama), chat_template=True).propose([Asked("q", "abc", "")], "cpu", 0, lambda *_: None))
