"""What a notebook shows of a result."""

from __future__ import annotations

import html
import re
from dataclasses import replace
from types import SimpleNamespace

import pytest

import bayescale as bs
from bayescale.core.rich import paired, rich
from bayescale.core.verdict import Status, Verdict
from bayescale.decisions.choice import Withheld


def test_markup_in_a_text_is_text() -> None:
    assert "<script" not in rich("<script>") + paired([("<script>", "<script>")])


def test_a_fit_shows_its_parameters(chinchilla_fit: bs.Fit) -> None:
    shown = chinchilla_fit._repr_html_()
    for name in chinchilla_fit.summary.index:
        assert f"<th>{name}</th>" in shown
    assert repr(chinchilla_fit).split("(")[0] in shown


def test_a_choice_shows_every_line_and_its_verdict(chinchilla_fit: bs.Fit) -> None:
    choice = bs.decide("allocation", chinchilla_fit, flops="5.76e23")
    shown = re.sub(r"<[^>]+>", "\n", choice._repr_html_())
    for label, _ in choice.lines:
        assert f"\n{label}\n" in shown
    hasty = replace(choice, fit=replace(chinchilla_fit, meta=chinchilla_fit.meta | {"excluded": {"a stray": 3}}))
    assert "3 of the" in hasty._repr_html_()


def test_a_choice_that_is_withheld_shows_why_and_what_to_do() -> None:
    verdict = Verdict(Status.NOT_CONVERGED, ("R-hat 1.8 < 2 of E",), ("fit with more draws",))
    withheld = Withheld(SimpleNamespace(verdict=verdict, problem="Allocation of 1e+23 FLOP"))
    shown = withheld._repr_html_()
    assert shown.startswith("<p>NOT CONVERGED: no recommendation<br>Allocation of 1e+23 FLOP</p><table>")
    text = html.unescape(re.sub(r"<[^>]+>", "\n", shown))
    for label, said in (("reason", "R-hat 1.8 < 2 of E"), ("to do", "fit with more draws")):
        assert re.search(f"\n{label}\n+{said}\n", text)
        assert f"  {label:12} {said}" in repr(withheld)


def test_a_forecast_shows_its_table(chinchilla_fit: bs.Fit) -> None:
    assert bs.forecast(chinchilla_fit, params="70B", tokens="1.4T")._repr_html_().count("<table") == 1


def test_the_explorer_says_what_it_needs(chinchilla_fit: bs.Fit, monkeypatch) -> None:
    import builtins

    real = builtins.__import__

    def absent(name, *args, **kwargs):
        if name == "anywidget":
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", absent)
    with pytest.raises(bs.BayescaleError, match=r"bayescale\[explore\]"):
        chinchilla_fit.explore(flops=1e23)
