"""Secrets: what never reaches a file, a console or a tracker, by key, by value and by form; and what is none and
stays."""

from __future__ import annotations

import base64
import gzip
import itertools
import json
import re
from pathlib import Path

import pytest

from warmexp.secrets import REMOVED, clean_text, holds_secret, is_secret, json_without_secrets, without_secrets
from warmexp.tracking.server import key_in_netrc, server
from warmexp.tracking.wandb import WandbTracker

RECORD = {
    "id": "q1", "question": "Say hf_thisisthesecretvalue", "proposal": None, "response": "wandbkeywandbkeywandbkey", "target": "5",
    "correct": {"strict": True, "flexible": True}, "nfe": 7,
}  # fmt: skip


def test_no_file_of_a_run_holds_a_secret(quiet_home, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_thisisthesecretvalue")
    monkeypatch.setenv("WANDB_API_KEY", "wandbkeywandbkeywandbkey")
    config = {
        "choices": {"init": "mask", "proposer": "hf"},
        "init": {"note": "carries-along hf_thisisthesecretvalue"},
        "proposer": {
            "api_key": "another-secret",
            "path": "https://me:passphrase@host/model",
            "revision": "sk-ABCDEFGHIJKLMNOPQRSTUV",
        },
    }
    folder = quiet_home / "run"
    folder.mkdir()
    tracker = WandbTracker(mode="offline")
    tracker.start("r", config, folder)
    tracker.finish({"nfe_mean": 1.0, "note": "wandbkeywandbkeywandbkey"}, [RECORD], [])
    content = b"".join(p.read_bytes() for p in folder.rglob("*") if p.is_file())
    assert b"@host/model" in content
    for secret in (b"thisisthesecretvalue", b"wandbkey", b"another-secret", b"passphrase", b"sk-ABC"):
        assert secret not in content


def test_a_failure_is_told_without_secrets(quiet_home, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_thisisthesecretvalue")
    tracker = WandbTracker(mode="offline")
    tracker.start("r", {}, quiet_home)
    tracker.fail("the hub refused hf_thisisthesecretvalue")
    assert all(b"thisisthesecret" not in p.read_bytes() for p in (quiet_home / "wandb").rglob("*") if p.is_file())


AB = "aB3dE5fG7hJ9kL2mN4pQ6rS8tU0vW"  # as random as letters of a key are
FORMS = {
    "Hugging Face": "hf_" + "a" * 30,
    "W&B": "wandb_v1_" + AB,
    "OpenAI": "sk-proj-" + AB,
    "Anthropic": "sk-ant-api03-" + AB,
    "GitHub": "ghp_" + AB,
    "GitHub OAuth": "gho_" + AB,
    "GitHub server": "ghs_" + AB,
    "GitHub fine-grained": "github_pat_11" + AB + "_" + AB,
    "GitLab": "glpat-" + AB,
    "Slack": "xoxb-123456789012-" + AB,
    "AWS key id": "AKIAIOSFODNN7EXAMPLE",
    "AWS temporary": "ASIAIOSFODNN7EXAMPLE",
    "Google": "AIza" + "SyB" + AB + "abc",
    "npm": "npm_" + AB + AB,
    "PyPI": "pypi-AgEIcHlwaS5vcmc" + AB + AB,
    "Stripe": "sk_live_" + AB,
    "Telegram": "123456789:AA" + AB + "xyz",
    "LangSmith": "lsv2_pt_" + AB + "_" + AB,
    "Together": "tgp_v1_" + AB,
    "Tavily": "tvly-dev-" + AB,
    "Pinecone": "pcsk_" + AB,
    "Docker": "dckr_pat_" + AB,
    "Grafana": "glsa_" + AB,
    "Shopify": "shpat_" + "0123456789abcdef" * 2,
    "Tailscale": "tskey-auth-" + AB,
    "Notion": "ntn_" + AB + AB,
    "Databricks": "dapi" + "0123456789abcdef" * 2,
    "JWT": "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.SflKxwRJSMeKKF2QT4fwpM",
    "JWE": "eyJhbGciOiJkaXIifQ..5eym8TW_c8SuK0ltJ3rpYI." + AB,
    "PEM": "-----BEGIN RSA PRIVATE KEY-----\nMIIEpAIBAAKCAQEA0Z3VS5JJcds3\nxfn/ygWyF8PbnGy0\n-----END RSA PRIVATE KEY-----",
    "PEM, encrypted": "-----BEGIN EC PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-256-CBC,3F17\n\nMHQCAQEE\n"
    "-----END EC PRIVATE KEY-----",
    "PEM, cut off": "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXktdjEAAAAABG5vbmUA",
}
INSIDE = {  # only the part in brackets is the secret
    "password in an address": "https://[user:pw12]@host/x",
    "token in an address": "https://[0123456789abcdef01234567]@host/x",
    "token of a query": "https://host/x?token=[abcdef0123]&page=2",
    "signature of a query": "https://bucket.example/x?X-Amz-Signature=[deadbeef0123]",
    "key of a query": "https://host/x?a=1&api_key=[abcdef0123]",
    "access token": "https://host/#x?access_token=[abcdef0123]",
    "AWS key in text": "aws_secret_access_key = [wJalrXUtnFEMIK7MDENGbPxRfiCYEXAMPLEKEYab]",
    "AWS key in JSON": 'awsSecretAccessKey": "[wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY]"',
    "Azure": "AccountName=a;AccountKey=[wJalrXUtnFEMIK7MDENGbPxRfiCYEXAMPLEKEYabwJalrXUtnFEMI==];",
    ".npmrc": "//registry.example/:_authToken=[0123abcd-4567]",
    "header": "Authorization: Bearer [0123456789abcdef]",
    "basic": "authorization: Basic [dXNlcjpwYXNzd29yZA==]",
    "bearer": "curl -H 'x: Bearer [abc0123456789abcdefghij]'",
}


@pytest.mark.parametrize("value", FORMS.values(), ids=FORMS)
@pytest.mark.parametrize("around", ["{}", "Janet's key is {}.", "a\n{}\nb", '{{"note": "{}"}}', "x={}&y", "({})"])
def test_what_looks_like_a_key_is_one(value, around):
    text = around.format(value)
    assert is_secret(text)
    clean = clean_text(text)
    assert REMOVED in clean and value[:24] not in clean and not is_secret(clean) and clean_text(clean) == clean
    assert not is_secret(json_without_secrets({"prompt": text}))


GLUED = [v for name, v in FORMS.items() if "PEM" not in name and name not in ("Telegram", "JWE")]
AFTER_A_DIGIT = [
    v for v in GLUED if not v.startswith(("AKIA", "ASIA"))
]  # behind a digit these could go on from a longer word in capitals


@pytest.mark.parametrize(
    ("value", "around"),
    [*itertools.product(GLUED, ["KEY_{}", "_{}_", "key{}", "mykeyis{}"]), *itertools.product(AFTER_A_DIGIT, ["x1{}"])],
)
def test_also_behind_letters(value, around):
    """A name that was glued to it, as in a variable, a file's name or an address."""
    text = around.format(value)
    assert is_secret(text) and value[8:24] not in clean_text(text) and clean_text(clean_text(text)) == clean_text(text)


@pytest.mark.parametrize(
    "text",
    [
        "half_understood_things_and_shelf_organizations, a risk-adjusted-desk-bound-task-oriented-plan-for-2025,"
        " xnpm_install_scripts",
        "heyJude12345.example.comabcdefgh, singles-of-the-week-number-12345678, BASKETS0123,"
        " single-cell-rna-sequencing-2024",
    ],
)
def test_words_that_hold_the_letters_are_none(text):
    assert not is_secret(text)


@pytest.mark.parametrize("text", INSIDE.values(), ids=INSIDE)
def test_of_an_address_or_a_header_only_the_secret_is_removed(text):
    before, secret, after = re.split(r"[\[\]]", text)
    clean = clean_text(before + secret + after)
    assert clean == before + REMOVED + after and clean_text(clean) == clean


@pytest.mark.parametrize(
    "text",
    [
        "If x_1 = 3 and y = 4, then 3x + 4y = 25; #### 25",
        r"$\\frac{1}{2} \\cdot \\sum_{k=1}^{n} k^2 = 0123456789$, see https://example.org/a?page=2&x=123456789012",
        "Her task-oriented, risk-adjusted desk-bound sk-learn pipeline takes 12 hours; ask Asia, AIzawl, eyJust,"
        " gl-matrix-library.",
        "<<3*4=12>>12 eggs. Basic electromagnetism: the bearer understandingofeverything carries 3 boxes; token = 5,"
        " key=value, password?",
        "https://host:8080/a@b and me@example.org and http://example.org/eyJ.html, authors: a, b",
        "def f(key=None): return data['token'] or api_key",
        "-----BEGIN CERTIFICATE-----\nMIIEpAIBAAKCAQEA\n-----END CERTIFICATE-----",
        "0123456789abcdef0123456789abcdef01234567 and 3f2504e0-4f89-11d3-9a0c-0305e82c3301",
    ],
)
def test_text_without_a_secret_stays(text):
    assert clean_text(text) == text


def test_the_labs_texts_the_configuration_and_plotly_hold_no_secret():
    from warmexp.api import planned
    from warmexp.report.interactive import plotly_script

    assert not is_secret("\n".join(q.prompt + q.solution for q in planned(["task=lab"]).questions))
    root = Path(__file__).parents[1]
    for file in [*root.glob("conf/**/*.yaml"), *root.glob("sweeps/*.yaml"), *root.glob("docs/*.md")]:
        assert not is_secret(file.read_text(encoding="utf-8")), file
    assert not is_secret(plotly_script())


@pytest.mark.parametrize(
    "name",
    [
        "GITHUB_PAT",
        "DB_PASS",
        "AWS_SECRET_ACCESS_KEY",
        "MYSQL_PWD",
        "SMTP_PASSWORD",
        "HF_TOKEN_2",
        "APP_SECRET",
        "SENTRY_DSN",
        "OPENAI_KEY",
        "HF_TOKEN_READ",
        "TOKEN_OF_GITHUB",
        "DB_CREDS",
    ],
)
def test_a_secret_of_the_environment_is_known_by_its_variable(name, monkeypatch):
    monkeypatch.setenv(name, 'open "sesame/&1')
    assert clean_text('say open "sesame/&1 now') == f"say {REMOVED} now"
    assert "sesame" not in json_without_secrets({"a": 'say open "sesame/&1 now'})  # as JSON writes it
    assert "sesame" not in clean_text("https://host/?q=open%20%22sesame%2F%261")


def test_what_is_no_secret_of_the_environment(monkeypatch, tmp_path):
    (tmp_path / "file").touch()
    for name, value in {
        "MY_TOKEN": str(tmp_path / "file"),
        "PWD": "directory",
        "OTHER_TOKEN": "short",
        "KEYBOARD": "qwertyuiop",
    }.items():
        monkeypatch.setenv(name, value)
    text = f"{tmp_path / 'file'} directory short qwertyuiop"
    assert clean_text(text) == text


@pytest.mark.parametrize(
    "word",
    [
        "-----BEGIN A KEY-----",
        "://",
        "://a:",
        "?token=",
        "eyJaaaaaaaa.",
        "aws_secret ",
        "sk-aaaaaaaaaaaaaaaa",
        "aws_secret" * 9,
    ],
)
def test_text_made_to_take_long_does_not(word):
    """A search whose time grows with the square of the text would take hours here."""
    text = word * (1_000_000 // len(word))
    assert clean_text(text) == text or REMOVED in clean_text(text)


def test_a_key_that_says_secret_is_left_out_whatever_it_holds():
    config = {
        "api_key": "x",
        "nested": [{"password": {"a": "b"}}],
        "mask_token": "<mask>",
        "seconds_per_token": 3,
        "tokens": ["a"],
        "token": "a",
    }
    assert without_secrets(config) == {"nested": [{}], "mask_token": "<mask>", "seconds_per_token": 3, "tokens": ["a"]}
    assert without_secrets({"ghp_" + AB: 1}) == {REMOVED: 1}


def test_what_looks_like_a_key_and_is_none_stays():
    config = {
        "end_tokens": [1],
        "max_new_tokens": 9,
        "revision": "0123456789abcdef0123456789abcdef01234567",
        "path": "https://host:8080/a@b",
    }
    assert without_secrets({**config, "hf_token": "x"}) == config


def test_all_passwords_in_netrc_are_secrets(quiet_home, tmp_path):
    hosts = (
        "machine api.wandb.ai login user password netrcnetrcnetrc\nmachine hub.example login me password"
        " otherhostspassword\n"
    )
    (quiet_home / ".netrc").write_text(hosts)
    file = tmp_path / "report.html"
    for secret in ("netrcnetrcnetrc", "otherhostspassword"):
        file.write_text(f"<p>{secret}</p>")
        assert holds_secret(file)
    file.write_text("<p>nothing</p>")
    assert not holds_secret(file)


def test_a_packed_block_of_a_report_is_looked_into(tmp_path):
    file = tmp_path / "report.html"
    for text, found in (("ghp_" + AB, True), ("nothing", False)):
        block = base64.b64encode(gzip.compress(json.dumps({"q": text}).encode())).decode()
        file.write_text(f'<script type="text/plain" id="set-0">{block}</script>')
        assert holds_secret(file) is found


def test_a_server_of_ones_own_is_known_as_wandb_login_has_kept_it(quiet_home, monkeypatch):
    monkeypatch.delenv("WANDB_BASE_URL", raising=False)
    assert server() == "https://api.wandb.ai"
    (quiet_home / ".config" / "wandb").mkdir(parents=True)
    (quiet_home / ".config" / "wandb" / "settings").write_text("[default]\nbase_url = https://wandb.lab.example\n")
    assert server() == "https://wandb.lab.example"
    (quiet_home / ".netrc").write_text("machine wandb.lab.example login user password netrcnetrcnetrc\n")
    assert key_in_netrc(server()) == "netrcnetrcnetrc"
    monkeypatch.setenv("WANDB_BASE_URL", "http://localhost:1")
    assert server() == "http://localhost:1"


def test_a_variable_counts_from_the_moment_it_is_set_until_it_is_gone(monkeypatch):
    text = "of a first-value-123 and a second-value-123"
    assert clean_text(text) == text
    monkeypatch.setenv("MY_API_KEY", "first-value-123")
    assert clean_text(text) == f"of a {REMOVED} and a second-value-123"
    monkeypatch.setenv("MY_API_KEY", "second-value-123")
    assert clean_text(text) == f"of a first-value-123 and a {REMOVED}"
    monkeypatch.delenv("MY_API_KEY")
    assert clean_text(text) == text
