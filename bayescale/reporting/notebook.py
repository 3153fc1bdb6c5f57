"""The explorer of a budget in a notebook: the first page of a report, with its sliders."""

from __future__ import annotations

from typing import Any

from bayescale.core.errors import QueryError
from bayescale.inference.average import AbstractFit
from bayescale.reporting import pages
from bayescale.reporting.explorer import scripts, style
from bayescale.reporting.html import template

# Inside a shadow root, the page's style touches nothing else in the notebook.
_RENDER = """
export default { render({ model, el }) {
  const root = el.attachShadow({ mode: "open" });
  root.innerHTML = model.get("page");
  const shown = bayescaleExplorer(root, model.get("explorer"));
  el.bayescale = shown;
} };
"""


def explore(
    fit: AbstractFit, *, flops: float | str | None = None, family: str | None = None, hardware: str | None = None
) -> Any:
    """Show the split of a budget in a notebook, with sliders for budget, price, tokens served and caution.

    Parameters
    ----------
    fit : Fit or Average
    flops, family, hardware
        As in :func:`bayescale.report`.

    Returns
    -------
    AnyWidget
        It needs the extra ``explore``.

    Raises
    ------
    QueryError
        If anywidget is not installed, or there is nothing to explore.

    Examples
    --------
    >>> bs.explore(fit, flops="5.76e23")  # doctest: +SKIP
    """
    try:
        import anywidget
        import traitlets
    except ImportError:
        raise QueryError("the explorer needs anywidget", hint="pip install 'bayescale[explore]'") from None
    content = pages.of_fit(fit, flops=flops, family=family, hardware=hardware)
    if not content.explorer:
        raise QueryError("there is nothing to explore", got=content.front.confidence or content.front.headline,
                         hint="bayescale.report writes the page that says why")  # fmt: skip
    body = template("decision.html.j2").render(front=content.front, explorer=content.explorer)
    page = f"<style>{style().replace(':root', ':host')}</style><main>{body}</main>"

    class Explorer(anywidget.AnyWidget):
        _esm = scripts("budget") + _RENDER
        page = traitlets.Unicode().tag(sync=True)
        explorer = traitlets.Dict().tag(sync=True)

    return Explorer(page=page, explorer={**content.explorer, "hash": False})
