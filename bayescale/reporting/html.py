"""Write a report: one file, replaced atomically."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import jinja2
from markupsafe import Markup, escape

from bayescale.core.errors import QueryError, why_unwritten
from bayescale.core.files import atomic_write, takes_a_stream
from bayescale.decisions.choice import Choice, Withheld
from bayescale.evaluation.comparison import Comparison
from bayescale.inference.average import AbstractFit
from bayescale.reporting import pages
from bayescale.reporting.explorer import as_json, scripts, style
from bayescale.reporting.pages import Content
from bayescale.reporting.sentences import say
from bayescale.reporting.texts import GENERATOR, MARKDOWN, as_json_text, as_markdown
from bayescale.reporting.words import rewritten

_OPTION = re.compile(r"(?<![\w-])(--[a-z][\w-]*)")
_FIT = re.compile(r"(?<= )FIT\.nc\b")  # an argument of a command
_HEAD = 2000  # characters that are searched for the generator's name


def report(thing: Comparison | AbstractFit | Choice | Withheld, path: str | Path, *, flops: float | str | None = None,
           dollars: float | str | None = None, days: float | str | None = None, family: str | None = None,
           hardware: str | None = None, command: str | None = None, fit_file: str | None = None,
           format: str | None = None) -> Path:  # noqa: A002  # the name of the option  # fmt: skip
    """Write a self-contained report of an allocation, of any other choice, or of a comparison; return its path.

    A page needs no network. Without its script it is complete, but its sliders do not move.

    Parameters
    ----------
    thing : Comparison, Fit, Average or Choice
        What to report. A fit is reported with the allocation of a budget. A choice that is withheld is refused.
    path : path
        File to write; an earlier report is replaced, any other file is not.
    flops, dollars, days, family, hardware
        For a fit: the budget in one of three units, its family, and accelerators, as in :class:`bayescale.Allocation`.
    command : str, optional
        Command that makes the report again.
    fit_file : str, optional
        File of the fit, for the commands on the page; by default they name ``FIT.nc``.
    format : {"html", "json", "md"}, optional
        By default that of the file's suffix; HTML for a file without one.

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
    path = check_target(path, format)
    if isinstance(thing, AbstractFit):
        content = pages.of_fit(thing, flops=flops, dollars=dollars, days=days, family=family, hardware=hardware)
    elif isinstance(thing, Choice):
        content = pages.of_choice(thing)
    elif isinstance(thing, Comparison):
        content = pages.of_comparison(thing)
    elif isinstance(thing, Withheld):
        raise QueryError("there is no choice to report", got=thing.reason)
    else:
        raise QueryError("this cannot be reported", expected="a Comparison, a Fit, an Average or a Choice",
                         got=type(thing).__name__)  # fmt: skip
    content = replace(content, command=command or content.command)
    if fit_file is not None:
        named = partial(_FIT.sub, lambda _: shlex.quote(fit_file))
        content = replace(rewritten(content, named), command=named(content.command))
    _write(WRITERS[format or _FORMATS[path.suffix.lower()]](content), path)
    return path


def rendered(content: Content) -> str:
    """Return the page of a report.

    Parameters
    ----------
    content : Content

    Returns
    -------
    str
    """
    live = bool(content.explorer)
    return template("report.html.j2").render(
        generator=GENERATOR, style=Markup(style()), scripts=Markup(scripts(content.explorer["kind"])) if live else "",
        explorer_json=Markup(as_json(content.explorer)) if live else "",
        **vars(content),
    )  # fmt: skip


WRITERS: dict[str, Callable[[Content], str]] = {"html": rendered, "json": as_json_text, "md": as_markdown}
"""Functions that write a report, by format."""
_FORMATS = {"": "html", ".html": "html", ".htm": "html", ".json": "json", ".md": "md"}


def check_target(path: str | Path, format: str | None = None) -> Path:  # noqa: A002  # the name of the option
    """Before any work, refuse a path that a report cannot be written to.

    Parameters
    ----------
    path : path
    format : {"html", "json", "md"}, optional
        By default that of the file's suffix.

    Returns
    -------
    Path

    Raises
    ------
    QueryError
        If the folder does not exist, the path holds another file, or its suffix is of another format.
    """
    path = Path(path)
    if format is None and path.suffix.lower() not in _FORMATS:
        raise QueryError(f"{path} cannot be a report", expected="a file of suffix .html, .json or .md",
                         got=path.suffix, hint="choose another suffix, or state the format")  # fmt: skip
    try:
        if path.is_dir() or not Path(os.path.realpath(path)).parent.is_dir():
            raise QueryError(f"cannot write {path}", expected="a file in a folder that exists")
        kept = not takes_a_stream(path) and path.exists() and path.stat().st_size and not _is_report(path)
    except OSError as error:
        raise QueryError(f"cannot write {path}", **why_unwritten(error)) from None
    if kept:
        raise QueryError(
            f"{path} exists and is not a report; it will not be overwritten",
            hint="choose another name, or remove the file",
        )
    return path


def _is_report(path: Path) -> bool:
    try:
        with path.open(encoding="utf-8") as file:
            head = file.read(_HEAD)
            return any(mark in head for mark in (f'content="{GENERATOR}"', f'"generator": "{GENERATOR}"', MARKDOWN))
    except (OSError, UnicodeDecodeError):
        return False


def template(name: str) -> jinja2.Template:
    """Return a template of the page.

    Parameters
    ----------
    name : str

    Returns
    -------
    Template
    """
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("bayescale.reporting", "page"), autoescape=True, undefined=jinja2.StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    environment.globals |= {"cells": partial(zip, strict=True), "states": say("states")}
    environment.filters["commands"] = _unbroken
    return environment.get_template(name)


def _unbroken(words: str) -> Markup:
    """Text in which no line ends at the hyphens of a command's options."""
    return Markup(_OPTION.sub(r'<span class="word">\1</span>', str(escape(words))))


def _write(content: str, path: Path) -> None:
    try:
        with atomic_write(path) as temporary:
            temporary.write_text(content, encoding="utf-8")
    except OSError as error:
        raise QueryError(f"cannot write {path}", **why_unwritten(error)) from None
