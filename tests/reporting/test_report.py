"""Reporting: one file that opens from disk, well formed, complete, and written whole or not at all."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from click.testing import CliRunner

import bayescale as bs
from bayescale.cli import main
from bayescale.core.errors import QueryError
from bayescale.decisions import waste
from bayescale.evaluation import comparison_tables
from bayescale.reporting import checklist, evidence, pages, words
from bayescale.reporting import html as writing

VOID = {"meta", "img", "br", "hr", "link", "input"}
LOADS = {"src", "href", "srcset", "action", "data", "poster", "background"}


class Page(HTMLParser):
    """Elements, what they load, text and nesting of a page."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: Counter[str] = Counter()
        self.loads: list[str] = []
        self.ids: list[str] = []
        self.alts: list[str | None] = []
        self.answers: list[str] = []
        self.text = ""
        self.feed(source)
        self.close()

    def handle_starttag(self, tag, attributes):
        found = dict(attributes)
        self.tags[tag] += 1
        self.loads += [value or "" for name, value in attributes if name in LOADS]
        self.ids += [found["id"]] if "id" in found else []
        if tag == "img":
            self.alts.append(found.get("alt"))
        if tag == "dd":
            self.answers.append("")
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data
        if self.open and self.open[-1] == "dd":
            self.answers[-1] += data


@pytest.fixture(scope="module")
def source(comparison: bs.Comparison, tmp_path_factory: pytest.TempPathFactory) -> str:
    return bs.report(comparison, tmp_path_factory.mktemp("report") / "page.html").read_text(encoding="utf-8")


@pytest.fixture
def rendered(comparison: bs.Comparison, source: str, monkeypatch) -> str:
    """The page, where only the writing of it is asked about."""

    class Template:
        def render(self, **content):
            return source

    monkeypatch.setattr(writing, "_template", Template)
    monkeypatch.setattr(writing.pages, "page", lambda thing: {})
    return source


@pytest.fixture(scope="module")
def page(source: str) -> Page:
    return Page(source)


def test_the_page_is_well_formed(page: Page) -> None:
    assert page.open == []
    assert len(page.ids) == len(set(page.ids))
    assert page.tags["h1"] == 1


def test_the_page_needs_no_network_and_no_script(page: Page, source: str) -> None:
    assert page.tags["script"] == page.tags["link"] == page.tags["iframe"] == 0
    for target in page.loads:
        assert target.startswith("data:image/svg+xml;base64,") or target.removeprefix("#") in page.ids
    style = source[source.index("<style>") : source.index("</style>")]
    assert "url(" not in style
    assert "@import" not in style


def test_every_figure_says_what_it_shows(page: Page, comparison: bs.Comparison) -> None:
    assert len(page.alts) >= 6 + len(comparison.fits)
    assert all(alt and len(alt) > 10 for alt in page.alts)


def test_the_decision_comes_first_and_names_the_budget(page: Page, comparison: bs.Comparison) -> None:
    name, _ = pages.lead(comparison)
    chosen = comparison.choices[name]
    assert page.ids[0] == "decision"
    decided = pages._decision(comparison).sentences[0]
    assert (
        page.text.index(words.number(chosen.flops)) < page.text.index(decided) < page.text.index("digest of the runs")
    )


def test_the_headline_carries_its_ranges(comparison: bs.Comparison, monkeypatch) -> None:
    monkeypatch.setattr(waste, "WIDEST", 1000.0)  # so few runs as these settle little
    name, _ = pages.lead(comparison)
    chosen = comparison.choices[name]
    settled = replace(comparison, budget=comparison_tables.budgets(comparison.choices))
    headline = pages._decision(settled).sentences[0]
    assert f"train {words.counted(chosen.params)} params" in headline
    assert f"on {words.counted(chosen.tokens)} tokens" in headline
    params, ratio = chosen.optimum["params"], chosen.optimum["tokens_per_param"]
    assert f"params (90%: {words.interval(params['q05'], params['q95'], words.counted)})" in headline
    assert f"tokens per param (90%: {words.interval(ratio['q05'], ratio['q95'])})" in headline
    assert f"nats/token (90%: {words.interval(chosen.loss['q05'], chosen.loss['q95'], words.loss)})" in headline


def test_where_nothing_is_known_the_headline_gives_ranges_alone(comparison: bs.Comparison, monkeypatch) -> None:
    monkeypatch.setattr(waste, "MOST_WASTE", 0.0)
    nothing = replace(comparison, budget=comparison_tables.budgets(comparison.choices))
    name, _ = pages.lead(comparison)
    chosen = comparison.choices[name]
    section = pages._decision(nothing)
    assert "these runs do not settle the split: expected waste is" in section.sentences[0]
    ratio = chosen.optimum["tokens_per_param"]
    assert words.interval(ratio["q05"], ratio["q95"]) in section.sentences[0]
    said = " ".join(section.sentences) + str(section.tables)
    for figure in (words.counted(chosen.params), words.counted(chosen.tokens), words.loss(chosen.expected_loss)):
        assert figure not in said
    assert "does not settle the split" in evidence.budget(nothing).pictures[0].alt


def test_runs_marked_as_excluded_are_on_the_decision_card(comparison: bs.Comparison) -> None:
    name, _ = pages.lead(comparison)
    fit = comparison.fits[name]
    marked = replace(fit, meta=fit.meta | {"excluded": {"high leverage": 2}})
    assert "excluded" not in " ".join(pages._decision(comparison).sentences)
    said = " ".join(pages._decision(replace(comparison, fits=comparison.fits | {name: marked})).sentences)
    assert "2 of the 34 fitted runs are marked as excluded in their table (2: high leverage)" in said
    assert "--where 'exclusion=\"\"'" in said


def test_the_top_of_the_page_says_where_every_question_stands(page: Page, comparison: bs.Comparison) -> None:
    top = page.text[: page.text.index("Decision")]
    for model, questions in comparison.status.items():
        assert f"{model}: {comparison.verdicts[model]}" in top
        for one in questions:
            assert one.sentence in top
            assert one.state == "PASS" or one.action in top
    assert "✓" not in page.text


def test_every_table_figure_and_failure_is_on_the_page(page: Page, comparison: bs.Comparison) -> None:
    for section in (
        "data",
        "models",
        "checks",
        "loo",
        "beyond",
        "weights",
        "exponents",
        "budget",
        "figures",
        "checklist",
    ):
        assert section in page.ids
    for fit in comparison.fits.values():
        assert fit.spec.digest in page.text
    for failure in comparison.failures["sentence"]:
        assert failure in page.text
    assert "repetition: FAILED" in page.text
    for row in comparison.cross.itertuples():
        assert f"{words.percent(row.waste)} ({words.signed(row.extra_loss)})" in page.text
    assert "cannot rank extrapolators" in page.text


def test_the_checklist_says_which_errors_runs_share() -> None:
    assert checklist._dependence(bs.load_spec("additive")) == "runs are independent given the law"
    said = checklist._dependence(bs.load_spec("default"))
    assert said == "runs are independent given the law and the errors that they share (walk, local)"


def test_the_checklist_is_filled_in_from_the_objects(comparison: bs.Comparison) -> None:
    section = checklist.section(comparison, pages.formulas(comparison))
    answers = {question: answer for _, group in section.pairs for question, answer in group}
    fit = comparison.fits["additive"]
    assert all(answers.values())
    assert r"additive: L(N, D) = E + A N^{-\alpha} + B D^{-\beta}" in answers["What is the form of the law?"]
    assert fit.meta["runs_digest"] in answers["Which data exactly?"]
    assert fit.spec.digest in answers["Which spec exactly?"]
    assert answers["Which seeds?"] == "0"
    assert "4 chains of 500 draws" in answers["With which settings?"]
    assert fit.meta["versions"]["numpyro"] in answers["Which versions, on what?"]
    assert "826 of 860" in answers["Are points excluded, and why?"]
    assert answers["Is the training code open?"] == words.SILENT
    assert "repetition: FAILED" in answers["Did it converge?"]
    assert "2502.18969" in section.sentences[0]


def test_a_table_without_a_card_is_said_to_have_none(comparison: bs.Comparison, tmp_path: Path) -> None:
    bare = replace(comparison, card={})
    answers = Page(bs.report(bare, tmp_path / "bare.html").read_text(encoding="utf-8")).answers
    silent = sum(answer.startswith(words.SILENT) for answer in answers)
    assert silent > 10
    assert "" not in [answer.strip() for answer in answers]


def test_a_report_without_a_split_says_why(comparison: bs.Comparison, tmp_path: Path) -> None:
    none = comparison.budget.iloc[:0]
    why = {"budget": {"additive": "an allocation needs a law of params and tokens"}}
    bare = replace(comparison, choices={}, budget=none, cross=none, left_out=comparison.left_out | why)
    page = Page(bs.report(bare, tmp_path / "page.html").read_text(encoding="utf-8"))
    assert page.text.count("Left out: additive. An allocation needs a law of params and tokens.") == 2


def test_a_name_cannot_bring_markup(comparison: bs.Comparison, tmp_path: Path) -> None:
    card = {"title": "<script>alert(1)</script>", "faults": ["<img src=http://example.org/x>"]}
    page = Page(bs.report(replace(comparison, card=card), tmp_path / "page.html").read_text(encoding="utf-8"))
    assert page.tags["script"] == 0
    assert not any("example.org" in target for target in page.loads)


def test_the_same_comparison_makes_the_same_page(comparison: bs.Comparison, source: str, tmp_path: Path) -> None:
    assert bs.report(comparison, tmp_path / "again.html").read_text(encoding="utf-8") == source


def test_a_report_is_replaced_and_other_files_are_not(comparison, rendered: str, tmp_path: Path) -> None:
    earlier, other = tmp_path / "earlier.html", tmp_path / "other.html"
    earlier.write_text(rendered[:2000], encoding="utf-8")
    other.write_text("<!DOCTYPE html><title>mine</title>")
    assert bs.report(comparison, earlier) == earlier
    assert earlier.read_text(encoding="utf-8") == rendered
    with pytest.raises(QueryError, match="is not a report"):
        bs.report(comparison, other)
    assert "mine" in other.read_text()


def test_a_path_that_cannot_be_written_is_refused(comparison: bs.Comparison, tmp_path: Path) -> None:
    for path in (tmp_path / "absent" / "page.html", tmp_path):
        with pytest.raises(QueryError, match="cannot write"):
            bs.report(comparison, path)


def test_what_cannot_be_finished_leaves_nothing(comparison, rendered, tmp_path: Path, monkeypatch) -> None:
    def full(*args):
        raise OSError("no space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(QueryError, match="no space left"):
        bs.report(comparison, tmp_path / "page.html")
    assert list(tmp_path.iterdir()) == []


def test_only_a_comparison_or_a_fit_is_reported(comparison: bs.Comparison, tmp_path: Path) -> None:
    with pytest.raises(QueryError, match="cannot be reported"):
        bs.report("hoffmann2022", tmp_path / "page.html")
    with pytest.raises(QueryError, match="compare RUNS --model additive --model coupled --report"):
        bs.report(bs.average(comparison.fits), tmp_path / "page.html")
    assert list(tmp_path.iterdir()) == []


def test_one_fit_is_reported_by_the_command(comparison: bs.Comparison, tmp_path: Path) -> None:
    saved, out = comparison.fits["additive"].save(tmp_path / "fit.nc"), tmp_path / "fit.html"
    result = CliRunner().invoke(main, ["report", str(saved), "--out", str(out), "--flops", "1e23"])
    assert result.exit_code == 0, result.output
    page = Page(out.read_text(encoding="utf-8"))
    assert page.open == []
    assert {"decision", "checks", "budget", "checklist"} <= set(page.ids)
    assert "beyond" not in page.ids
    refused = CliRunner().invoke(main, ["report", str(saved), "--out", str(saved)])
    assert refused.exit_code == 2
    assert "is not a report" in refused.stderr


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0, "0"), (0.00738, "0.00738"), (1.953, "1.95"), (-10.75, "−10.8"), (1500.4, "1,500"), (1e24, "1×10²⁴"),
     (5.76e23, "5.76×10²³"), (9.15e-5, "9.15×10⁻⁵"), (float("nan"), "–")],
)  # fmt: skip
def test_a_number_is_written_for_people(value: float, text: str) -> None:
    assert words.number(value) == text
