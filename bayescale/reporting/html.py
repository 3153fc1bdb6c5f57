"""Write a report: one HTML file, replaced atomically."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import jinja2

from bayescale.core.errors import QueryError
from bayescale.core.files import atomic_write
from bayescale.decisions.choice import Choice, Withheld
from bayescale.evaluation.comparison import Comparison, examine
from bayescale.inference.average import Average
from bayescale.inference.fit import Fit
from bayescale.reporting import choices, pages

GENERATOR = "bayescale report"
"""Text in the head of each page; only a file that has it there is replaced."""

_HEAD = 2000  # characters that are searched for the generator's name


def report(thing: Comparison | Fit | Choice, path: str | Path, *, flops: float | str | None = None,
           family: str | None = None) -> Path:  # fmt: skip
    """Write a self-contained HTML report of a comparison, of one fit, or of a choice; return its path.

    The page needs no network and no script: figures, style and text are in one file.

    Parameters
    ----------
    thing : Comparison, Fit or Choice
        What to report. A fit is reported with its checks, its decision and the checklist.
    path : path
        File to write; an earlier report is replaced, any other file is not.
    flops, family
        For a fit: the budget in FLOP and its family, as in :func:`compare`.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    QueryError
        If the path cannot be written or holds another file, or if the thing cannot be reported.

    References
    ----------
    The checklist is after Li, Kudugunta, Zettlemoyer 2025, arXiv:2502.18969.

    Examples
    --------
    >>> report(compare("hoffmann2022", ["additive", "coupled"]), "laws.html")  # doctest: +SKIP
    """
    path = check_target(path)
    if isinstance(thing, Fit):
        thing = examine({thing.spec.name: thing}, flops=flops, family=family)
    if isinstance(thing, Choice):
        _write(_template().render(generator=GENERATOR, **choices.page(thing)), path)
        return path
    if isinstance(thing, Withheld):
        raise QueryError("there is no choice to report", got=thing.reason)
    if isinstance(thing, Average):
        models = " ".join(f"--model {name}" for name in thing.members)
        raise QueryError("an average is not reported as one page", expected="a Comparison or a Fit",
                         hint=f"compare its members: bayescale compare RUNS {models} --report PAGE.html")  # fmt: skip
    if not isinstance(thing, Comparison):
        raise QueryError("this cannot be reported", expected="a Comparison or a Fit", got=type(thing).__name__)
    _write(_template().render(generator=GENERATOR, **pages.page(thing)), path)
    return path


def check_target(path: str | Path) -> Path:
    """Before any work, refuse a path that a report cannot be written to.

    Parameters
    ----------
    path : path

    Returns
    -------
    Path

    Raises
    ------
    QueryError
        If the folder does not exist, or the path holds another file.
    """
    path = Path(path)
    if path.is_dir() or not path.absolute().parent.is_dir():
        raise QueryError(f"cannot write {path}", expected="a file in a folder that exists")
    if path.exists() and path.stat().st_size and not _is_report(path):
        raise QueryError(
            f"{path} exists and is not a report; it will not be overwritten",
            hint="choose another name, or remove the file",
        )
    return path


def _is_report(path: Path) -> bool:
    try:
        with path.open(encoding="utf-8") as file:
            return f'content="{GENERATOR}"' in file.read(_HEAD)
    except (OSError, UnicodeDecodeError):
        return False


def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("bayescale.reporting", "."), autoescape=True, undefined=jinja2.StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    environment.globals["cells"] = partial(zip, strict=True)
    return environment.get_template("report.html.j2")


def _write(content: str, path: Path) -> None:
    try:
        with atomic_write(path) as temporary:
            temporary.write_text(content, encoding="utf-8")
    except OSError as error:
        raise QueryError(f"cannot write {path}", got=str(error), hint="choose a writable folder") from None
