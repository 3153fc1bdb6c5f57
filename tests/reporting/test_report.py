"""Reporting: one file that opens from disk, well formed, complete, and written whole or not at all."""

from __future__ import annotations

import base64
import json
import os
import re
from collections import Counter
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

import bayescale as bs
from bayescale.cli import main
from bayescale.core.errors import QueryError
from bayescale.decisions import waste
from bayescale.evaluation.checks.base import Answer
from bayescale.reporting import checklist, pages, texts, words
from bayescale.reporting import html as writing
from bayescale.reporting.drawing import Drawing, apart, even_ticks
from bayescale.reporting.front import Front, front
from bayescale.reporting.glosses import glossed
from bayescale.reporting.pictures import cost_of_sizes
from bayescale.reporting.words import Table

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
def source(content: pages.Content) -> str:
    return writing.rendered(content)


@pytest.fixture
def rendered(comparison: bs.Comparison, source: str, monkeypatch) -> str:
    """The page, where only the writing of it is asked about."""

    found = writing.pages.Content(*[None] * 7, command="")
    monkeypatch.setitem(writing.WRITERS, "html", lambda content: source)
    monkeypatch.setattr(writing.pages, "of_comparison", lambda thing: found)
    return source


@pytest.fixture(scope="module")
def page(source: str) -> Page:
    return Page(source)


def test_the_page_is_well_formed(page: Page) -> None:
    assert page.open == []
    assert len(page.ids) == len(set(page.ids))
    assert page.tags["h1"] == 1


def test_the_page_loads_nothing(page: Page, source: str) -> None:
    assert page.tags["link"] == page.tags["iframe"] == 0
    for target in page.loads:
        assert target.startswith("data:image/svg+xml;base64,") or target.removeprefix("#") in page.ids
    style = source[source.index("<style>") : source.index("</style>")]
    assert "url(" not in style
    assert "@import" not in style


def test_every_figure_says_what_it_shows(page: Page, comparison: bs.Comparison) -> None:
    assert len(page.alts) >= 4 + len(comparison.fits)
    assert all(alt and len(alt) > 10 for alt in page.alts)


@pytest.fixture(scope="module")
def content(comparison: bs.Comparison) -> pages.Content:
    return pages.of_comparison(comparison)


def front_of(comparison: bs.Comparison, **changed) -> Front:
    """First page of the leading model, with some attributes of its fit changed."""
    name, _ = pages.lead(comparison)
    chosen = comparison.choices[name]
    chosen = replace(chosen, fit=replace(chosen.fit, **changed)) if changed else chosen
    return front(chosen, comparison.status[name], title="a title", pictures=[cost_of_sizes(chosen)])


@pytest.fixture
def only_the_rest(content: pages.Content, monkeypatch) -> None:
    """Pages whose first page is that of the comparison, where other parts are asked about."""
    monkeypatch.setattr(
        pages, "front_of", lambda choice, answers, title, *others: (replace(content.front, title=title), {}, ())
    )


def test_the_answer_comes_first_then_the_evidence_then_the_appendix(page: Page, comparison: bs.Comparison) -> None:
    found = [one for one in page.ids if one in ("decision", "evidence", "appendix")]
    assert found == ["decision", "evidence", "appendix"]
    name, _ = pages.lead(comparison)
    assert page.text.index(words.number(comparison.choices[name].flops)) < page.text.index("digest of the runs")


def test_the_headline_carries_its_range(comparison: bs.Comparison, monkeypatch) -> None:
    monkeypatch.setattr(waste, "WIDEST", 1000.0)  # so few runs as these settle little
    name, _ = pages.lead(comparison)
    chosen, shown = comparison.choices[name], front_of(comparison)
    assert shown.state in ("good", "care")
    low, high = chosen.band
    assert f"train about {words.counted(chosen.params)} parameters" in shown.headline
    assert np.isnan(low) or f"{words.counted(low)} to {words.counted(high)} costs under 1%" in shown.headline
    assert f"on {words.counted(chosen.tokens)} tokens" in shown.headline
    assert f"{words.percent(chosen.waste_fraction)} more compute" in shown.confidence
    cards = {card.name: f"{card.value} {card.range}" for card in shown.cards}
    assert list(cards) == ["loss", "ratio", "cost", "reach", "trust"]
    for level in ("q05", "q95"):
        assert words.loss(chosen.loss[level]) in cards["loss"]
        assert words.number(chosen.optimum["tokens_per_param"][level]) in cards["ratio"]


def test_where_nothing_is_known_the_first_page_gives_ranges_alone(comparison: bs.Comparison, monkeypatch) -> None:
    monkeypatch.setattr(waste, "MOST_WASTE", 0.0)
    name, _ = pages.lead(comparison)
    chosen, shown = comparison.choices[name], front_of(comparison)
    assert shown.state == "open"
    assert "expected waste is" in shown.why
    params, ratio = chosen.optimum["params"], chosen.optimum["tokens_per_param"]
    assert f"anywhere from {words.counted(params['q05'])} to {words.counted(params['q95'])}" in shown.headline
    assert words.number(ratio["q05"]) in shown.confidence
    said = f"{shown.headline} {shown.confidence} {shown.cards} {[one.note for one in shown.pictures]}"
    for figure in (words.counted(chosen.params), words.counted(chosen.tokens), words.loss(chosen.expected_loss)):
        assert figure not in said
    assert 'class="mark"' not in shown.pictures[0].svg


def test_runs_marked_as_excluded_are_on_the_first_page(comparison: bs.Comparison) -> None:
    name, _ = pages.lead(comparison)
    meta = comparison.fits[name].meta
    assert "excluded runs" not in [one.question for one in front_of(comparison).wrong]
    shown = front_of(comparison, meta=meta | {"excluded": {"high leverage": 2}})
    (line,) = [one for one in shown.wrong if one.question == "excluded runs"]
    assert line.sentence.startswith(
        "The table marks 2 of these 34 runs as not to be fitted, and this fit includes them "
    )
    assert "(high leverage)" in line.sentence
    assert "--where 'exclusion=\"\"'" in line.action
    assert (line.question, "REVIEW") in [(one.question, one.state) for one in shown.chips]


def test_the_first_page_names_a_fault_of_the_runs_and_counts_the_others(comparison: bs.Comparison) -> None:
    name, _ = pages.lead(comparison)
    meta = comparison.fits[name].meta
    assert "fault" not in front_of(comparison, meta=meta | {"runs": "mine", "runs_faults": []}).subtitle
    mine = meta | {"runs": "mine", "runs_faults": ["Losses are rounded to two digits.", "No seeds are known."]}
    assert front_of(comparison, meta=mine).subtitle.endswith(
        "known faults of these runs: 2 (listed in the appendix), the first: Losses are rounded to two digits."
    )


def test_the_first_page_says_where_every_question_stands(comparison: bs.Comparison, content: pages.Content) -> None:
    name, _ = pages.lead(comparison)
    shown = content.front
    chips = {one.question: one.state for one in shown.chips}
    assert {one.question for one in comparison.status[name]} <= {*chips}
    assert "coverage" in chips
    assert 1 <= len(shown.wrong) <= 5
    assert all(one.action for one in shown.wrong)
    order = [("FAIL", "REVIEW", "PASS").index(one.state) for one in shown.wrong]
    assert order == sorted(order)


def test_the_cost_of_the_choice_is_under_the_model_and_the_headline_has_the_interval_of_the_best_size(
    comparison: bs.Comparison, monkeypatch
) -> None:
    monkeypatch.setattr(waste, "WIDEST", 1000.0)
    name, _ = pages.lead(comparison)
    best, shown = comparison.choices[name].optimum["params"], front_of(comparison)
    assert shown.confidence.startswith("If the model is right, this choice is expected to cost ")
    assert f"{words.counted(best['q05'])} to {words.counted(best['q95'])} parameters (90% interval)" in shown.headline


def test_one_model_says_how_to_fit_another_and_several_give_the_range_of_the_answer(
    comparison: bs.Comparison, content: pages.Content, monkeypatch
) -> None:
    (line,) = [one for one in content.front.wrong if one.question == "other laws"]
    settled = sum(one.settled for one in comparison.choices.values())  # near the limit: it depends on the machine
    assert line.sentence.startswith("Over 2 laws" if settled == 2 else f"Of 2 laws, {settled or 'none'} settle")
    monkeypatch.setattr(waste, "WIDEST", 1000.0)
    table = comparison.budget.assign(unsettled="")
    (said,) = pages._range_over_laws(replace(comparison, budget=table))
    ends = f"{words.counted(table['params'].min())} to {words.counted(table['params'].max())} parameters"
    assert said.startswith(f"Over 2 laws, the best choice is {ends}")
    alone = replace(comparison, fits={"additive": comparison.fits["additive"]})
    (line,) = pages._other_laws(alone, comparison.choices["additive"])
    assert "no other law was fitted" in line.sentence
    assert "bayescale compare RUNS --model additive --model coupled --flops 1e+23" in line.action


def test_questions_that_do_not_fit_on_the_first_page_are_named(comparison: bs.Comparison) -> None:
    name, _ = pages.lead(comparison)
    many = [Answer(f"question {i}", "FAIL", "1 of 1 test failed", "look") for i in range(9)]
    shown = front(comparison.choices[name], many, title="a title")
    assert len(shown.wrong) == 5
    (card,) = [one for one in shown.cards if one.name == "trust"]
    assert (card.value, card.range[:11]) == ("not measured", "no backtest")  # so that no line repeats it
    named = {*(one.question for one in shown.wrong[:-1]), *shown.wrong[-1].sentence.split(", "), "coverage"}
    assert {one.question for one in shown.chips if one.state != "PASS"} == named


def test_an_axis_of_any_length_has_a_few_round_ticks() -> None:
    for length in np.geomspace(1e-3, 1e3, 200):
        ticks = even_ticks(-length / 2, length / 2)
        assert 3 <= len(ticks) <= 7
        assert max(map(abs, ticks)) <= length / 2 * (1 + 1e-6)


def test_texts_of_ticks_keep_apart_whichever_way_the_axis_runs() -> None:
    ticks = [(float(at), "40.0B") for at in range(60, 441, 17)]
    for given in (ticks, ticks[::-1]):
        kept = [at for at, _ in apart(given)]
        assert kept[0] == given[0][0]
        assert np.abs(np.diff(kept)).min() >= 40
        assert np.abs(np.diff(kept)).max() <= 40 + 2 * 17 + 20  # the last text ends at the picture's edge
    assert apart([]) == []


def test_a_symbol_comes_with_its_meaning_where_it_is_first_used() -> None:
    meanings = {"beta_D": "exponent of tokens", "level": "median loss", "E": "irreducible loss"}
    said = (
        "beta_D[OPT]: sensitivity 0.1; beta_D: again",
        "at this level, E is low",
        "worst R-hat 1.03 (level)",
        Table("t", (("unknown", ""),), (("beta_D",), ("price",)), (False,)),
    )
    assert glossed(said, meanings) == (
        "beta_D[OPT] (exponent of tokens): sensitivity 0.1; beta_D: again",
        "at this level, E is low",
        "worst R-hat 1.03 (level, median loss)",
        Table("t", (("unknown", ""),), (("beta_D (exponent of tokens)",), ("price",)), (False,)),
    )


def test_a_failed_question_asks_for_care(comparison: bs.Comparison, monkeypatch) -> None:
    monkeypatch.setattr(waste, "WIDEST", 1000.0)
    name, _ = pages.lead(comparison)
    bad = Answer("sensitivity", "FAIL", "2 of 2 findings failed", "fit more runs")
    shown, explorer, _ = pages.front_of(comparison.choices[name], [bad], "a title")
    assert shown.state == "care"
    assert "the check of sensitivity fails" in shown.why
    assert "the check of sensitivity fails" in explorer["reasons"]
    assert bad in shown.wrong


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
        "glossary",
    ):
        assert section in page.ids
    for fit in comparison.fits.values():
        assert fit.spec.digest in page.text
    for failure in comparison.failures["sentence"]:
        glossed = re.escape(words.raised(failure)).replace(
            ":", r"(?: \([^)]*\))?:", 1
        )  # a symbol, where it is first used
        assert re.search(glossed, page.text), failure
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
    said = "additive: Additive law of Hoffmann et al. (2022), approach 3 (its formula is under Models)"
    assert said in answers["What is the form of the law?"]
    assert not re.search(r"\\[a-z]|[\^_]\{", " ".join(answers.values()))
    assert fit.meta["runs_digest"] in answers["Which data exactly?"]
    assert fit.spec.digest in answers["Which spec exactly?"]
    assert answers["Which seeds?"] == "0"
    assert "4 chains of 500 draws" in answers["With which settings?"]
    assert fit.meta["versions"]["numpyro"] in answers["Which versions, on what?"]
    assert "826 of 860" in answers["Are points excluded, and why?"]
    assert answers["Is the training code open?"] == words.SILENT
    assert "repetition: FAILED" in answers["Did it converge?"]
    assert "2502.18969" in section.sentences[0]


def test_a_table_without_a_card_is_said_to_have_none(comparison: bs.Comparison, only_the_rest, tmp_path: Path) -> None:
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
    assert page.text.count("Left out: additive. An allocation needs a law of params and tokens.") == 1
    assert "There is no recommendation" in page.text


def test_a_name_cannot_bring_markup(comparison: bs.Comparison, only_the_rest, tmp_path: Path) -> None:
    card = {"title": "<script>alert(1)</script>", "faults": ["<img src=http://example.org/x>"]}
    source = bs.report(replace(comparison, card=card), tmp_path / "page.html").read_text(encoding="utf-8")
    page = Page(source)
    assert "alert(1)</script>" not in source
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


def test_what_is_no_result_is_not_reported(tmp_path: Path) -> None:
    with pytest.raises(QueryError, match="cannot be reported"):
        bs.report("hoffmann2022", tmp_path / "page.html")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_an_average_is_reported_with_its_members_side_by_side(comparison: bs.Comparison) -> None:
    found = pages.of_fit(bs.average(comparison.fits), flops="1e23", family="OpenLM-C4")
    assert found.explorer["table"]["draws"] == 400
    (side,) = [one for one in found.evidence.sections if one.id == "side"]
    assert {row[0] for row in side.tables[0].rows} == set(comparison.fits)
    assert "--model additive --model coupled" in str(found.front.cards)


def test_one_fit_is_reported_by_the_command_in_three_formats(comparison: bs.Comparison, tmp_path: Path) -> None:
    saved, out = comparison.fits["additive"].save(tmp_path / "fit.nc"), tmp_path / "fit.html"
    result = CliRunner().invoke(main, ["report", str(saved), "--out", str(out), "--flops", "1e23"])
    assert result.exit_code == 0, result.output
    page = Page(out.read_text(encoding="utf-8"))
    assert page.open == []
    assert {"decision", "checks", "budget", "checklist", "controls"} <= set(page.ids)
    assert "beyond" not in page.ids
    assert f"--out {out} --flops 1e+23" in page.text
    (tmp_path / "notes.html").write_text("mine", encoding="utf-8")
    for other, why in ((saved, "cannot be a report"), (tmp_path / "notes.html", "is not a report")):
        before = other.read_bytes()
        refused = CliRunner().invoke(main, ["report", str(saved), "--out", str(other)])
        assert refused.exit_code == 2
        assert why in refused.stderr
        assert other.read_bytes() == before


def test_the_formats_say_the_same(content: pages.Content) -> None:
    found = content
    odd = replace(found, figures=found.figures | {"unknown": float("nan"), "counts": [np.int64(2), np.float64("inf")]})
    plain, marked = json.loads(texts.as_json_text(odd), parse_constant=pytest.fail), texts.as_markdown(found)
    assert plain["decision"]["unknown"] is None
    assert plain["decision"]["counts"] == [2, None]
    assert plain["headline"] == found.front.headline
    assert plain["decision"]["decision"] == "allocation"
    for said in (found.front.headline, found.front.confidence, found.command, *(c.value for c in found.front.cards)):
        assert said in marked
    for section in found.appendix:
        assert f"## {section.title}" in marked


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0, "0"), (0.00738, "0.00738"), (1.953, "1.95"), (-10.75, "−10.8"), (1500.4, "1,500"), (1e24, "1×10²⁴"),
     (5.76e23, "5.76×10²³"), (9.15e-5, "9.15×10⁻⁵"), (float("nan"), "–")],
)  # fmt: skip
def test_a_number_is_written_for_people(value: float, text: str) -> None:
    assert words.number(value) == text


def test_a_weight_that_rounds_to_zero_is_said_to_be_less() -> None:
    assert list(map(words.hundredth, (0.0, 0.004, 0.006, 0.994, None))) == ["0.00", "< 0.01", "0.01", "0.99", "–"]


LARGE = re.compile(r"(?<![\w.=+-])\d+(?:\.\d+)?e[+-]?\d+\b")


def test_large_numbers_are_written_in_one_style_but_for_options_of_commands(source: str) -> None:
    seen = Page(re.sub(r"<(script|style|svg)\b.*?</\1>", "", source, flags=re.DOTALL)).text
    assert "1×10²³ FLOP" in seen
    assert set(LARGE.findall(re.sub(r"--[a-z-]+ \S+", "", seen))) == set()
    assert words.raised("--flops 5.76e+23 and params_below=2e6") == "--flops 5.76e+23 and params_below=2e6"


def test_powers_of_ten_in_a_text_are_raised() -> None:
    assert (
        words.raised("3.39e+23 (2e+20 to 8e23) FLOP, c1e5, 1.5e-7")
        == "3.39×10²³ (2×10²⁰ to 8×10²³) FLOP, c1e5, 1.5×10⁻⁷"
    )


def test_a_tick_at_the_edge_of_a_picture_is_not_cut() -> None:
    drawn = Drawing((1e9, 1e11), (0.0, 1.0)).axes("x", "y", words.counted, str).svg("a", "a picture")
    assert re.search(r'text-anchor="end">100B<', drawn)
    assert re.search(r'text-anchor="middle">10.0B<', drawn)


def test_figures_have_no_background_and_follow_the_dark(page: Page, source: str) -> None:
    figures = [target for target in page.loads if target.startswith("data:image/svg+xml;base64,")]
    for one in figures:
        drawn = base64.b64decode(one.partition(",")[2]).decode()
        assert re.search(r'<g id="patch_1">\s*<path[^>]*style="fill: none', drawn)
    dark = re.search(r"@media screen and \(prefers-color-scheme: dark\) \{([^@]*)", source)
    assert dark
    assert "img { filter: invert(1)" in dark[1]


def test_formulas_are_drawn_as_mathematics(content: pages.Content) -> None:
    (models,) = [one for one in content.appendix if one.id == "models"]
    assert len(models.pictures) == 2
    for one in models.pictures:
        drawn = base64.b64decode(one.address.partition(",")[2]).decode()
        assert "α" in drawn
        assert not re.search(r"[$\\]", drawn)
        assert f"$$\n{one.tex}\n$$" in texts.as_markdown(content)


def test_a_comparison_shows_its_tables_in_a_notebook(comparison: bs.Comparison) -> None:
    assert comparison._repr_html_().count("<table") == len(comparison.tables)
