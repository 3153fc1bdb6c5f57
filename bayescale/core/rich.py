"""Rich: what a notebook shows of a result, as a sentence and tables in HTML."""

from __future__ import annotations

import html
from collections.abc import Iterable
from typing import Any

_MOST_ROWS = 30
_NUMBERS = "{:.4g}"


def rich(said: str, tables: Iterable[tuple[str, Any]] = ()) -> str:
    """Return a text and tables as HTML.

    Parameters
    ----------
    said : str
        Lines of text.
    tables : iterable of (str, DataFrame)
        Title and table; an empty title is left out.

    Returns
    -------
    str

    Examples
    --------
    >>> rich("1 < 2")
    '<p>1 &lt; 2</p>'
    """
    parts = [f"<p>{'<br>'.join(html.escape(line) for line in said.splitlines())}</p>"]
    for title, table in tables:
        parts += [f"<p><b>{html.escape(title)}</b></p>"] * bool(title)
        parts.append(table.to_html(max_rows=_MOST_ROWS, float_format=_NUMBERS.format, border=0))
    return "".join(parts)


def paired(lines: Iterable[tuple[str, str]]) -> str:
    """Return labels and sentences as a table in HTML.

    Parameters
    ----------
    lines : iterable of (str, str)

    Returns
    -------
    str
    """
    rows = (
        f'<tr><th style="text-align:left;vertical-align:top">{html.escape(label)}</th>'
        f'<td style="text-align:left">{html.escape(said)}</td></tr>'
        for label, said in lines
    )
    return f"<table>{''.join(rows)}</table>"
