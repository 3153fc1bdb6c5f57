"""Pictures of the reference: what a part expects before any run is seen, drawn when the site is built."""

from __future__ import annotations

import io
import re
from typing import Any

import catalogue
import matplotlib as mpl

mpl.use("agg")
from matplotlib import pyplot as plt

PICTURED = ("laws", "resources", "penalties")
"""Kinds of part whose prior of the loss is drawn."""
_MOST = 3  # panels of one picture


def prior_picture(kind: str, name: str, part: Any) -> str:
    """Return the prior of the loss under a part as an SVG figure; empty if no shipped spec has the part."""
    spec = catalogue.spec_with(kind, name)
    if spec is None or set(spec.labels) - set(catalogue.usual_texts(spec)):
        return ""
    own = [*getattr(part, "inputs", ()), *getattr(part, "requires", ()), *getattr(part, "changes", ())]
    columns = [column for column in catalogue.swept(spec) if column in own] or catalogue.swept(spec)
    columns = columns[:_MOST]
    size = (3.6 * len(columns), 2.9)
    figure, axes = plt.subplots(1, len(columns), figsize=size, squeeze=False, layout="constrained")
    for ax, column in zip(axes[0], columns, strict=True):
        catalogue.plot_prior_loss(spec, column, ax=ax)
        ax.set_title("")
    text = f"Prior of the loss under {name}, relative to a usual run, along {', '.join(columns)}"
    svg = _svg(figure)
    return f'<figure role="img" aria-label="{text}" class="prior">{svg}<figcaption>{text}.</figcaption></figure>'


def _svg(figure: Any) -> str:
    """Return a figure as SVG without its head; the same figure always gives the same text."""
    page = io.StringIO()
    with mpl.rc_context({"svg.hashsalt": "bayescale", "svg.fonttype": "none"}):
        figure.savefig(page, format="svg", metadata={"Date": None})
    plt.close(figure)
    return re.sub(r"^.*?(?=<svg)", "", page.getvalue(), flags=re.DOTALL)
