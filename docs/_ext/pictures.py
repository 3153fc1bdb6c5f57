"""Pictures of the reference: what a part expects before any run is seen, drawn when the site is built."""

from __future__ import annotations

import io
import re
from typing import Any

import catalogue
import matplotlib as mpl

mpl.use("agg")
from matplotlib import pyplot as plt

PICTURED = ("laws", "resources", "penalties", "responses")
"""Kinds of part of which a prior is drawn: of the loss, or of the response."""
_MOST = 3  # panels of one picture


def prior_picture(kind: str, name: str, part: Any) -> str:
    """Return the prior of the loss or of a response under a part as an SVG figure; empty if no shipped spec has it."""
    spec = catalogue.spec_with(kind, name)
    if spec is None:
        return ""
    response = next((one.name for one in spec.instances if one.response.name == name), None)
    swept = catalogue.swept(spec, response)
    own = [*getattr(part, "inputs", ()), *getattr(part, "requires", ()), *getattr(part, "changes", ())]
    columns = swept if response else [column for column in swept if column in own] or swept
    columns = columns[:_MOST]
    size = (3.6 * len(columns), 2.9)
    figure, axes = plt.subplots(1, len(columns), figsize=size, squeeze=False, layout="constrained")
    for ax, column in zip(axes[0], columns, strict=True):
        if response:
            catalogue.plot_prior_response(spec, response, column, ax=ax)
        else:
            catalogue.plot_prior_loss(spec, column, ax=ax)
        ax.set_title("")
    of = f"{name}, of a usual run," if response else f"the loss under {name}, relative to a usual run,"
    text = f"Prior of {of} along {', '.join(columns)}"
    svg = _svg(figure)
    return f'<figure role="img" aria-label="{text}" class="prior">{svg}<figcaption>{text}.</figcaption></figure>'


def _svg(figure: Any) -> str:
    """Return a figure as SVG without its head; the same figure always gives the same text."""
    page = io.StringIO()
    with mpl.rc_context({"svg.hashsalt": "bayescale", "svg.fonttype": "none"}):
        figure.savefig(page, format="svg", metadata={"Date": None})
    plt.close(figure)
    return re.sub(r"^.*?(?=<svg)", "", page.getvalue(), flags=re.DOTALL)
