"""One HTML file out of the blocks, the page's own script and style, and Plotly. It needs nothing else and may ask for
nothing else."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterable
from html import escape
from importlib.resources import files
from string import Template

from warmexp.palette import INK, ON_DARK, PALETTE
from warmexp.report.interactive import plotly_script
from warmexp.secrets import clean_text


def page(title: str, blocks: Iterable[tuple[str, str]]) -> str:
    """The whole file. blocks: (element id, base64 of gzipped JSON), which holds nothing that HTML could mistake for
    markup."""
    assets = files(__package__).joinpath("assets")
    parts = sorted((part for part in assets.iterdir() if part.name.endswith(".js")), key=lambda part: part.name)
    colours = {"PALETTE": PALETTE, "INK": INK, "ON_DARK": ON_DARK}
    constants = "".join(f"const {name} = {json.dumps(value)};\n" for name, value in colours.items())
    script = (
        f"(() => {{\n'use strict';\n{constants}"
        + "\n".join(part.read_text(encoding="utf-8") for part in parts)
        + "})();\n"
    )
    plotly = plotly_script().replace("</script", "<\\/script")
    return Template(assets.joinpath("template.html").read_text(encoding="utf-8")).substitute(
        policy=_policy(script, plotly),
        title=escape(clean_text(title)),
        style=assets.joinpath("style.css").read_text(encoding="utf-8"),
        data="\n".join(f'<script type="text/plain" id="{name}">{block}</script>' for name, block in blocks),
        script=script,
        plotly=plotly,
    )


def _policy(*scripts: str) -> str:
    """Two scripts known by their hashes and no other, no request to anywhere; images that the page makes itself, for a
    picture to save. Styles are free, since Plotly sets them."""
    hashes = " ".join(
        f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'" for script in scripts
    )
    return (
        f"default-src 'none'; script-src {hashes}; style-src 'unsafe-inline'; img-src data: blob:; base-uri 'none';"
        " form-action 'none'"
    )
