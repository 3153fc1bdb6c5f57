"""Figures and the page of a choice."""

from __future__ import annotations

import html
import json
import re
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

import bayescale as bs
from bayescale.cli import main
from bayescale.core.errors import QueryError
from bayescale.core.quantities import count
from bayescale.decisions.allocation import Split
from bayescale.decisions.choice import MARKED_MOVE, MOVED
from bayescale.decisions.hardware import hardware
from bayescale.decisions.solver import named, read_settings
from bayescale.decisions.tabulated import tabulated
from bayescale.decisions.thinned import Thinned, thinned
from bayescale.prediction.records import NOTHING, Measured
from bayescale.reporting import actions, explorer, front, pages, sentences, texts, words
from bayescale.reporting import html as writing
from bayescale.reporting.choices import pictures
from bayescale.reporting.drawing import Drawing
from bayescale.reporting.pictures import coverage, run_interval
from bayescale.reporting.plots import of_choices


@pytest.fixture(scope="module")
def choice(chinchilla_fit: bs.Fit) -> bs.Choice:
    return bs.decide("allocation", chinchilla_fit, flops="5.76e23", hardware="512xH100")


@pytest.fixture(scope="module")
def drawn(choice: bs.Choice):
    yield pictures(choice)
    plt.close("all")


def test_every_figure_of_a_choice_is_drawn_for_an_allocation_or_says_whose_it_is(choice, drawn) -> None:
    assert {"allocation", "regret", "unknowns", "optimum", "overhead"} <= set(drawn)
    for name in of_choices().keys() - drawn.keys():
        with pytest.raises(QueryError, match="this figure is of"):
            of_choices()[name](choice)


def test_the_regret_curve_is_the_matrix(choice, drawn) -> None:
    line = next(one for one in drawn["regret"].get_lines() if one.get_label() == "expected regret")
    params, shown = (np.asarray(x) for x in line.get_data())
    utility = choice.utility.to_numpy()
    regret = (utility.max(axis=1, keepdims=True) - utility).mean(axis=0)
    assert shown == pytest.approx(np.interp(params, choice.actions["params"], regret))
    assert params[shown.argmin()] == choice.action["params"]


def test_the_overhead_is_the_closed_form(choice, drawn, chinchilla_fit: bs.Fit) -> None:
    A, B, alpha, beta = (chinchilla_fit.posterior[name].to_numpy()[:, ::2].reshape(-1, 1)
                         for name in ("A", "B", "alpha_N", "beta_D"))  # fmt: skip
    line = next(one for one in drawn["overhead"].get_lines() if one.get_label() == "median")
    params, shown = (np.asarray(x, float) for x in line.get_data())
    flops = 5.76e23
    best = (alpha * A / (beta * B)) ** (1 / (alpha + beta)) * (flops / 6) ** (beta / (alpha + beta))
    least = A * best**-alpha + B * (flops / 6 / best) ** -beta
    rest = least - A * params**-alpha
    with np.errstate(invalid="ignore"):
        tokens = np.where(rest > 0, (B / np.where(rest > 0, rest, np.nan)) ** (1 / beta), np.inf)
    exact = np.quantile(6 * params * tokens / flops - 1, 0.5, axis=0, method="inverted_cdf")
    seen = np.isfinite(shown)
    assert seen.sum() > 30
    assert shown[seen] == pytest.approx(exact[seen], abs=1e-4)


def test_the_unknowns_are_the_table(choice, drawn) -> None:
    widths = [bar.get_width() for bar in drawn["unknowns"].patches]
    assert widths == pytest.approx(choice.unknowns["worth"].clip(lower=0).tolist())


def test_the_page_says_what_the_text_says_and_every_price_has_its_date(choice, tmp_path: Path) -> None:
    page = bs.report(choice, tmp_path / "choice.html").read_text(encoding="utf-8")
    for label, _ in choice.lines:
        assert f"<dt>{label}</dt>" in page
    price = re.search(r"price of the hardware</dt><dd>([^<]*)", page)
    assert price
    assert re.search(r"as of 20\d\d-\d\d-\d\d", price[1])
    assert re.search(r"card-cost-range[^<]*price of 20\d\d-\d\d-\d\d", page)


@pytest.fixture(scope="module")
def content(chinchilla_fit: bs.Fit) -> pages.Content:
    return pages.of_fit(chinchilla_fit, flops="5.76e23", hardware="512xH100")


@pytest.fixture(scope="module")
def far(chinchilla_fit: bs.Fit) -> bs.Choice:
    """So far beyond the runs that a few of them change the answer by more than the threshold, whatever the seed."""
    return bs.decide("allocation", chinchilla_fit, flops="1e27", hardware="512xH100")


@pytest.fixture(scope="module")
def content_of_far(chinchilla_fit: bs.Fit) -> pages.Content:
    return pages.of_fit(chinchilla_fit, flops="1e27", hardware="512xH100")


def test_the_banner_names_the_runs_that_move_the_answer_and_not_those_that_are_only_marked(far, content_of_far) -> None:
    moving = {one.runs.all_marked for one in far.details.influence if one.matters}
    assert moving == {False}
    assert far.fit.excluded
    assert MOVED in content_of_far.front.why
    assert MARKED_MOVE not in content_of_far.front.why
    assert re.match(r"Without 5 runs \(c\d+.*\): a median of \S+ tokens per param", content_of_far.front.depends)
    still = [replace(one, sds=0.0) for one in far.details.influence]
    assert not any(one.matters for one in still)


def test_the_headline_has_one_range_and_the_card_the_interval_of_one_run(choice, content) -> None:
    shown = content.front
    best = choice.optimum["params"]
    assert re.findall(r"\S+ to \S+", shown.headline) == [
        f"{words.counted(best['q05'])} to {words.counted(best['q95'])}"
    ]
    safe = " to ".join(map(words.counted, choice.details.band))
    assert f"Any size from {safe} costs under 1% extra compute" in shown.confidence
    (card,) = [one.range for one in shown.cards if one.name == "loss"]
    table = tabulated(choice.fit, choice.details.flops, choice.details.family)
    one_run = " to ".join(map(words.loss, run_interval(choice, table)))
    assert card.startswith(f"90% interval of one run: {one_run}; 90% interval of the law alone: ")
    assert f"of a single run at the best split is {one_run}" in shown.pictures[1].note


def test_the_page_says_whether_another_run_pays(choice, content) -> None:
    worth, largest = choice.waste_fraction * choice.details.flops, choice.fit.design_frame["flops"].max()
    assert worth < largest
    said = content.front.worth[0]
    assert f"({words.number(worth)} FLOP, {words.percent(worth / largest)} of your largest run)" in said
    assert "Another run as large as your largest costs more than that." in said
    assert said.endswith(sentences.say("model_first"))  # its residuals fail
    inside = bs.decide("allocation", choice.fit, flops=largest / 4)
    worth = inside.waste_fraction * largest / 4
    share = words.percent(worth / largest)
    assert f"({words.number(worth)} FLOP, {share} of your largest run)" in front._worth(inside)[0]


def test_every_mark_of_a_picture_has_a_key_in_the_style_of_the_mark(content) -> None:
    style, page = explorer.style(), writing.rendered(content)
    for picture in content.front.pictures:
        for kind, meaning in picture.keys:
            assert meaning
            assert f".{kind.replace(' ', '.')} {{" in style, kind
            drawn = f'class="{kind}"' in picture.svg
            assert drawn is (kind != "plan"), kind  # which comes with the reader's own
            assert f'<li data-kind="{kind}"{"" if drawn else " hidden"}><svg' in page, kind


def test_options_of_commands_stay_on_one_line(content) -> None:
    page = writing.rendered(content)
    assert '<span class="word">--model</span>' in page
    assert '<span class="word">--exclude</span>' in page
    assert ".word { white-space: nowrap; }" in explorer.style()
    assert writing._unbroken("a <b> --no-x") == 'a &lt;b&gt; <span class="word">--no-x</span>'


def test_runs_that_move_the_answer_and_runs_that_are_marked_are_kept_apart(far, content_of_far) -> None:
    by = {one.question: one for one in content_of_far.front.wrong}
    most, marked = by["influence"].sentence, by["excluded runs"].sentence
    usual = re.escape(f"{far.optimum['tokens_per_param']['q50']:.3g}")
    ratio, sizes = rf"a median of \S+ tokens per param instead of {usual}", r"\(\S+ params instead of \S+\)"
    assert re.search(rf"Without 5 runs \(c\d+.*\): {ratio} {sizes} and a loss of", most)
    assert "none of them is marked as excluded" in most
    assert "this fit includes them" in marked
    for said in (most, marked):
        assert re.search(r"they have \S+ to \S+ params and \S+ to \S+ tokens per param", said)
        assert re.search(rf"instead of {usual}", said)
    chips = {one.question: one.state for one in content_of_far.front.chips}
    assert chips["influence"] == chips["excluded runs"] == chips["other laws"] == "REVIEW"


def test_every_symbol_of_the_first_page_has_its_meaning(content, chinchilla_fit: bs.Fit) -> None:
    said = " ".join((content.front.headline, *(one.sentence for one in content.front.wrong), *content.front.worth))
    used = [name for name in chinchilla_fit.spec.meanings if "_" in name and name in said]
    assert {"alpha_N", "beta_D"} <= set(used)
    for name in used:
        assert said[said.index(name) :].startswith(f"{name} ({chinchilla_fit.spec.meanings[name]})")
    (unknowns,) = [one for one in content.appendix if one.id == "unknowns"]
    assert "beta_D (exponent of tokens)" in [row[0] for row in unknowns.tables[0].rows]


def test_residuals_are_drawn_along_the_columns_that_fail(content, chinchilla_fit: bs.Fit) -> None:
    failed = {one.subject for one in bs.check(chinchilla_fit, "residuals") if not one.passed}
    shown = {one.title for one in content.evidence.pictures}
    assert failed == {"tokens", "tokens per param"}
    assert shown == {"Residuals by tokens", "Residuals by tokens per parameter"}


def test_the_largest_run_is_read_against_its_own_prediction(content, chinchilla_fit: bs.Fit) -> None:
    runs = chinchilla_fit.design_frame
    one = runs.loc[runs["flops"].idxmax()]
    draws = {name: chinchilla_fit.posterior[name].to_numpy() for name in ("E", "A", "B", "alpha_N", "beta_D")}
    predicted = np.median(draws["E"] + draws["A"] * one["params"] ** -draws["alpha_N"]
                          + draws["B"] * one["tokens"] ** -draws["beta_D"])  # fmt: skip
    off = one["loss"] / predicted - 1
    (line,) = [one for one in content.front.wrong if one.question == "largest run"]
    assert f"The largest run ({words.counted(one['params'])} parameters" in line.sentence
    said = re.search(r"has a loss (\S+)% (below|above) its own prediction, outside", line.sentence)
    assert said
    assert float(said[1]) == pytest.approx(abs(100 * off), rel=0.05)
    assert said[2] == ("below" if off < 0 else "above")
    note = content.front.pictures[1].note
    assert "The loss of the largest run is outside the noise around its own prediction" in note
    assert content.explorer["largestRun"] in note


def test_what_accelerator_days_rest_on_has_its_sources_and_dates(content) -> None:
    said = content.front.assumed
    for figure in ("a peak of 9.89×10¹⁴ FLOP/s", "40% of that peak in training", "1.15 hours paid for an hour"):
        assert figure in said
    for name in ("peak", "utilisation", "overhead"):
        figure = hardware("512xH100").figures[name]
        assert f"{figure.source}, as of {figure.as_of})" in said


def test_what_the_sliders_do_not_change_says_for_which_budget_it_holds(content) -> None:
    assert content.front.static.startswith("This part and the next are for 5.76×10²³ FLOP, the setting")
    assert "The sliders change neither of them." in writing.rendered(content)


@pytest.mark.slow
def test_pages_of_other_laws_and_of_averages_are_small_too(chinchilla: bs.Runs, chinchilla_fit: bs.Fit) -> None:
    coupled = bs.fit(chinchilla, "coupled", seed=0, progress=False)
    both = bs.average({"additive": chinchilla_fit, "coupled": coupled})
    for fit in (coupled, both):
        found = pages.of_fit(fit, flops="5.76e23", hardware="512xH100")
        assert found.explorer
        assert len(writing.rendered(found).encode()) < 500_000
    (line,) = [one for one in found.front.wrong if one.question == "other laws"]
    assert line.sentence.startswith("Over 2 laws, the best choice is ")
    assert found.front.confidence.startswith("If one of the models is right, ")


def test_reach_is_told_in_multiples_and_not_in_decades(content) -> None:
    (reach,) = [one for one in content.front.cards if one.name == "reach"]
    assert reach.value == "44×"
    assert "decade" not in writing.rendered(content).partition("<script")[0]


def test_another_decision_has_the_same_pages(decided) -> None:
    served = decided("lifetime", demand="2T", loss=2.1)
    found = pages.of_choice(served)
    assert found.front.headline.endswith(f": choose {served.name_of(served.best.action)}.")
    assert "2.00T tokens served" in found.front.headline
    assert 3 <= len(found.front.cards) <= 5
    assert all(card.value for card in found.front.cards)
    assert not re.search(r"\de[+]\d", f"{found.front.confidence} {found.front.cards} {found.front.worth}")
    assert found.front.tables[0].rows[0][0] == served.name_of(served.best.action)
    assert len(found.evidence.sections[0].pictures) == 2
    (picture,) = found.front.pictures
    assert picture.name == "regret"
    assert picture.table.rows[0][0].endswith("params")
    assert found.explorer["names"][found.explorer["chosen"]] == served.name_of(served.best.action)
    assert writing.rendered(found).count('id="take"') == 1
    assert {"lines", "risk", "data", "checklist"} <= {one.id for one in found.appendix}
    plt.close("all")


def test_a_choice_that_is_not_settled_marks_no_action_and_has_no_control(decided) -> None:
    served = decided("lifetime", demand="2T", loss=2.1)
    assert actions.actions_of(served, *_placed(served))
    opened = replace(served, details=Unsettled())
    found, _ = _placed(opened)
    picture, places = actions.regret_of(opened, found)
    assert actions.actions_of(opened, found, places) == {}
    assert 'class="mark"' not in picture.svg
    assert sentences.say("regret_open") in picture.note


class Unsettled:
    """Details of a choice that the runs do not settle."""

    unsettled = "no run is large enough"


def _placed(choice: bs.Choice) -> tuple[Thinned, list[float | None]]:
    found = thinned(choice, sentences.TAILS)
    assert isinstance(found, Thinned)
    return found, actions.regret_of(choice, found)[1]


@pytest.mark.slow
def test_an_allocation_with_limits_has_a_picture_and_a_control_of_the_sizes_they_allow(chinchilla_fit: bs.Fit) -> None:
    limited = bs.decide("allocation", chinchilla_fit, flops="5.76e23", limits={"max_params": "60B"})
    found = pages.of_choice(limited)
    assert [one.name for one in found.front.pictures] == ["regret", "b"]
    assert found.explorer["kind"] == "actions"
    assert all(limited.allowed[limited.actions.index[thinned(limited, sentences.TAILS).columns]])
    alone = bs.decide("allocation", chinchilla_fit, flops="5.76e23", limits={"sizes": "13B"})
    said = pages.of_choice(alone)
    assert said.explorer == {}
    assert said.front.static in html.unescape(writing.rendered(said))
    assert said.front.static.startswith("This page has no picture of what other actions would cost: fewer than two")
    plt.close("all")


@pytest.mark.slow
def test_a_lifetime_has_sliders_that_begin_with_its_tokens_served(chinchilla_fit: bs.Fit) -> None:
    served = bs.decide("lifetime", chinchilla_fit, demand="2T", like="70B")
    found = pages.of_choice(served)
    assert found.explorer["start"] == {"serve": 2e12}
    assert found.front.headline.startswith("To serve 2.00T tokens with the quality of a compute-optimal model of 70.0B")
    assert f"train about {words.counted(served.action['params'])} parameters" in found.front.headline
    assert f"{words.percent(served.saving)} less than with 70.0B parameters" in found.front.confidence
    assert "2.00T tokens served" in found.explorer["printed"]
    assert "for training alone" in found.front.pictures[0].note
    assert "The sliders compute them under the law alone." in found.front.confidence
    assert "under the law alone" in found.explorer["words"]["scope_law"]
    (reach,) = [one.value for one in found.front.cards if one.name == "reach"]  # of what is trained, not of its quality
    assert reach == f"{count(10 ** served.details.reach[1], 2)}×"
    assert f"up to {reach.removesuffix('×')} times the compute of the largest run" in served.problem
    plt.close("all")


@pytest.mark.parametrize(
    ("said", "parts"),
    [
        ("1.34T training tokens (90% interval 612B to 4.3T)", ("1.34T training tokens", "90% interval 612B to 4.3T")),
        ("3.39e+23 (90% interval 2e+23 to 8e+23) FLOP", ("3.39e+23 FLOP", "90% interval 2e+23 to 8e+23")),
        ("5.4e+21 FLOP (error 2e+20): the most", ("5.4e+21 FLOP", "error 2e+20; the most")),
        (
            "108 (90% interval 57 to 239) tokens per param, until it is reached",
            ("108 tokens per param", "90% interval 57 to 239; until it is reached"),
        ),
        ("a sentence without parts", ("a sentence without parts", "")),
    ],
)
def test_a_line_is_split_into_its_figure_and_the_rest(said: str, parts: tuple[str, str]) -> None:
    assert front._parted(said) == parts


OTHERS = {
    "target": {"loss": "2.0"},
    "lifetime": {"demand": "2T", "loss": "2.1"},
    "data-cap": {"flops": "1e21", "unique_tokens": "100B"},
}
"""Decisions other than an allocation, with their settings as a command gives them."""


@pytest.mark.parametrize("name", OTHERS)
def test_another_decision_says_the_same_in_every_format(name: str, decided) -> None:
    choice = decided(name, **read_settings(name, OTHERS[name].items()))
    content = pages.of_choice(choice)
    page, plain, marked = (writing.WRITERS[one](content) for one in ("html", "json", "md"))
    assert words.counted(choice.action["params"]) in content.front.headline
    for said in (content.front.headline, *(card.value for card in content.front.cards)):
        assert said in html.unescape(page)
        assert texts.plain(said) in marked
    found = json.loads(plain, parse_constant=pytest.fail)
    assert [card["value"] for card in found["cards"]] == [card.value for card in content.front.cards]
    assert found["headline"] == content.front.headline
    assert found["decision"]["decision"] == name
    assert "()" not in marked
    assert not re.search(r"^#+ [^\n]*\n+(?=## |\Z)", marked, re.MULTILINE)  # a heading of nothing
    plt.close("all")


def test_the_command_reports_another_decision_with_its_settings(chinchilla_fit: bs.Fit, tmp_path: Path) -> None:
    saved, out = chinchilla_fit.save(tmp_path / "fit.nc"), tmp_path / "target.md"
    command = ["report", str(saved), "--out", str(out), "--decision", "target", "--set", "loss", "2.0"]
    done = CliRunner().invoke(main, command, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    marked = out.read_text(encoding="utf-8")
    assert "Target loss 2 nats/token with probability 0.9: choose " in marked
    assert "--decision target --set loss 2.0" in marked
    refused = CliRunner().invoke(main, [*command[:-2], "los", "2.0"])
    assert refused.exit_code == 2
    assert "did you mean 'loss'" in refused.stderr


def test_a_choice_that_is_withheld_is_not_reported(tmp_path: Path, chinchilla: bs.Runs) -> None:
    with pytest.warns(bs.ConvergenceWarning):
        hasty = bs.fit(chinchilla, "additive", seed=0, draws=50, warmup=100)
    withheld = bs.decide("allocation", hasty, flops="1e23")
    with pytest.raises(QueryError, match="there is no choice to report"):
        bs.report(withheld, tmp_path / "choice.html")


def test_decide_writes_its_figures_and_its_page(tmp_path: Path, chinchilla_fit: bs.Fit) -> None:
    saved = chinchilla_fit.save(tmp_path / "fit.nc")
    page, folder = tmp_path / "choice.html", tmp_path / "figures"
    done = CliRunner().invoke(main, ["decide", "allocation", str(saved), "--flops", "1e23", "--plot", str(folder),
                                     "--report", str(page)], catch_exceptions=False)  # fmt: skip
    assert done.exit_code == 0
    assert page.is_file()
    assert {path.stem for path in folder.iterdir()} >= {"regret", "unknowns"}
    assert str(page) in done.stdout


def test_a_decision_by_its_name_needs_its_own_settings(chinchilla_fit: bs.Fit) -> None:
    with pytest.raises(QueryError, match="did you mean 'flops'"):
        bs.decide("allocation", chinchilla_fit, flop=1e23)
    with pytest.raises(bs.BayescaleError, match="allocation"):
        bs.decide("allocations", chinchilla_fit, flops=1e23)
    assert named("allocation", flops=1e23) == bs.Allocation(1e23)


def test_a_price_that_matters_is_an_unknown(chinchilla_fit: bs.Fit) -> None:
    table = bs.decide("allocation", chinchilla_fit, dollars="2M", hardware="H100").unknowns
    assert table.index[0] == "price"  # what dollars buy is less certain than the law
    assert {"utilisation", "overhead", "alpha_N", "beta_D", "E"} <= set(table.index)
    assert isinstance(table, pd.DataFrame)
    assert (table["worth_dollars"] / table["worth_compute"]).dropna().to_numpy() == pytest.approx(2e6)


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("lifetime", {"demand": "2T", "loss": 2.1}),
        ("fixed-params", {"params": "8B", "worth": "1e24"}),
        ("data-cap", {"flops": "1e21", "unique_tokens": "100B"}),
    ],
)
def test_other_decisions_have_the_figures_of_any_and_open_no_other(name, settings, decided) -> None:
    before = len(plt.get_fignums())
    assert set(pictures(decided(name, **settings))) == {"regret", "unknowns"}
    assert len(plt.get_fignums()) == before + 2
    plt.close("all")


def overlaps(texts: list) -> int:
    """Count texts that overlap the next one, from the top down."""
    boxes = [one.get_window_extent() for one in texts]
    return sum(above.overlaps(below) for above, below in zip(boxes, boxes[1:], strict=False))


def test_a_plan_has_no_text_over_another(decided) -> None:
    ax = bs.plots.plot_plan(decided("target", loss=2.0))
    ax.get_figure().canvas.draw()
    boxes = [one.get_window_extent() for one in (ax.title, *ax.texts) if one.get_text()]
    assert len(boxes) == 1 + 4 * 4 + 1  # the title; a box, a stop and two shares a stage; giving up
    assert not any(one.overlaps(other) for one, other in combinations(boxes, 2))
    assert all(ax.figure.bbox.x0 <= box.x0 and box.x1 <= ax.figure.bbox.x1 for box in boxes)
    plt.close("all")


def test_a_regret_of_zero_at_the_choice_is_drawn_with_its_surroundings(chinchilla_fit: bs.Fit) -> None:
    """More compute is always better: the largest budget below a threshold is best in every draw."""
    choice = bs.decide("threshold", chinchilla_fit)
    ax = bs.plots.plot_regret(choice)
    line = next(one for one in ax.get_lines() if one.get_label() == "expected regret")
    assert list(line.get_xdata()) == sorted(choice.actions["flops"][choice.allowed])[-12:]
    with pytest.raises(QueryError, match="one action is best in every draw"):
        bs.plots.plot_unknowns(choice)
    plt.close("all")


@pytest.mark.slow
def test_actions_of_several_numbers_are_dots_in_the_order_of_their_regret(trio_fit: bs.Fit) -> None:
    choice = bs.decide("portfolio", trio_fit, flops=1e22)
    utility = choice.utility.to_numpy()
    regret = np.sort((utility.max(axis=1, keepdims=True) - utility).mean(axis=0))
    for draw in (bs.plots.plot_regret, bs.plots.plot_unknowns):
        ax = draw(choice)
        figure = ax.get_figure()
        figure.canvas.draw()
        labels = ax.get_yticklabels()
        texts = [ax.title, *labels, *ax.texts]
        assert all(figure.bbox.x0 <= one.get_window_extent().x0 for one in texts)
        assert all(one.get_window_extent().x1 <= figure.bbox.x1 for one in texts)
        assert overlaps(labels) == overlaps(ax.texts) == 0
        if draw is bs.plots.plot_regret:
            dots = np.asarray(ax.collections[-1].get_offsets())
            assert dots[:, 0] == pytest.approx(regret[:12])
            assert dots[:, 1].tolist() == list(range(12))
            assert labels[0].get_text().replace("\n", " ") == choice.name_of(choice.best.action)
        plt.close(figure)


@pytest.mark.parametrize(("times", "far"), [(99.0, False), (101.0, True)])
@pytest.mark.parametrize(("wasted", "costly"), [(0.04, False), (0.06, True)])
def test_a_far_budget_and_a_large_waste_ask_for_care(times, far, wasted, costly, choice, monkeypatch) -> None:
    monkeypatch.setattr(Split, "reach_decades", float(np.log10(times)))
    monkeypatch.setattr(bs.Choice, "moved", [])  # that the runs ask for it is another reason
    waste = np.full_like(choice.details.waste, wasted)
    state, why = front._state(replace(choice, details=replace(choice.details, waste=waste)), [])
    assert state == (front.CARE if far or costly else front.GOOD)
    assert (sentences.say("far") in why) is far
    assert (f"may waste {100 * wasted:g}% of compute" in why) is costly


def test_a_track_record_that_was_measured_is_on_its_card(choice) -> None:
    of = Measured(0.8, 20, 4, 0.1)
    shown = front.front(choice, [], title="a title", measured={"30-100×": of})
    (card,) = [one for one in shown.cards if one.name == "trust"]
    low, high = of.likely
    assert (card.title, card.value) == ("Track record", "80% of 20")
    assert "90% intervals held in 80% of 20 backtest forecasts" in card.range
    assert f"90% interval {low:.0%} to {high:.0%}, by the spread of 4 families" in card.range
    (elsewhere,) = [one for one in front.front(choice, [], title="a title", measured={"3-10×": of}).cards
                    if one.name == "trust"]  # fmt: skip
    assert elsewhere.value == "not measured"  # at this reach


def test_the_picture_of_coverage_has_the_share_and_its_interval_at_each_reach() -> None:
    found = {"3-10×": Measured(0.8, 20, 4, 0.1), "inside": Measured(0.95, 40, 4, 0.02), "up to 3×": NOTHING}
    assert coverage({"inside": NOTHING}, "a title") is None
    shown = coverage(found, "a title")
    assert shown is not None
    names = ["inside", "3-10×"]  # nothing was measured between them
    assert [row[0] for row in shown.table.rows] == names
    blank = Drawing((0.0, 2.0), (0.0, 1.0), log=False)
    bars = re.findall(r'<line class="bar" x1="([\d.]+)" x2="([\d.]+)" y1="([\d.]+)" y2="([\d.]+)"', shown.svg)
    dots = re.findall(r'<circle class="dot" cx="([\d.]+)" cy="([\d.]+)"', shown.svg)
    assert len(bars) == len(dots) == 2
    for k, (name, bar, dot) in enumerate(zip(names, bars, dots, strict=True)):
        across, held = f"{blank.across(k + 0.5):.1f}", f"{blank.up(found[name].coverage_90):.1f}"
        low, high = (f"{blank.up(end):.1f}" for end in found[name].likely)
        assert bar == (across, across, low, high)
        assert dot == (across, held)
        assert shown.table.rows[k][1:4] == (
            str(found[name].backtests), "4", words.percent(found[name].coverage_90),
        )  # fmt: skip
        assert shown.table.rows[k][4:] == tuple(map(words.percent, found[name].likely))
