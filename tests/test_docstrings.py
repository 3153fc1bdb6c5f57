"""Every public function and method says what it takes and what it returns, in numpydoc's sections."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from numpydoc.docscrape import FunctionDoc

import bayescale as bs

UNNAMED = {"self", "cls"}


def public() -> Iterator[tuple[str, list[Callable[..., Any]]]]:
    """What ``bs`` exports and the figures of ``bs.plots``: functions, and the methods that exported classes define.

    A method that implements an abstract one comes with that one: the docstring of either may say what it takes.
    """
    things = {name: getattr(bs, name) for name in bs.__all__} | bs.plots.kinds()
    for name, thing in things.items():
        if inspect.isclass(thing) and not issubclass(thing, BaseException):
            for key in vars(thing):
                found = [vars(base)[key] for base in thing.__mro__ if key in vars(base)]
                functions = [getattr(member, "__func__", member) for member in found]
                if not key.startswith("_") and inspect.isfunction(functions[0]):
                    yield f"{name}.{key}", list(filter(inspect.isfunction, functions))
        elif inspect.isfunction(thing):
            yield name, [thing]


def lacks(function: Callable[..., Any]) -> list[str]:
    """What the docstring of a function does not say."""
    signature = inspect.signature(function)
    taken = {p.name for p in signature.parameters.values() if p.name not in UNNAMED}
    sections = FunctionDoc(function)
    said = {part.strip(" *") for entry in sections["Parameters"] for part in entry.name.split(",")}
    returns = signature.return_annotation not in (None, "None", inspect.Signature.empty)
    return sorted(taken - said) + ["Returns"] * (returns and not (sections["Returns"] or sections["Yields"]))


@pytest.mark.parametrize(("name", "functions"), [pytest.param(*each, id=each[0]) for each in public()])
def test_its_docstring_has_parameters_and_returns(name: str, functions: list[Callable[..., Any]]) -> None:
    assert not min(map(lacks, functions), key=len), name
