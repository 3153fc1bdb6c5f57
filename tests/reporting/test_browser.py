"""The report in a browser: what its script decides, how it looks at two widths, and that it needs nothing else."""

from __future__ import annotations

import base64
import io
import math
import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

import bayescale as bs
from bayescale.cli import main
from bayescale.core.precision import float64
from bayescale.core.quantities import quantity
from bayescale.decisions.risk import CVaR, Mean
from bayescale.decisions.solver import solve
from bayescale.decisions.tabulated import Tabulated, tabulated
from bayescale.decisions.thinned import thinned
from bayescale.decisions.waste import FEW, safe_range, why_care
from bayescale.modelling.design import design
from bayescale.prediction.predictive import from_prior
from bayescale.reporting import sentences, words

pytestmark = pytest.mark.browser
pytest.importorskip("playwright.sync_api", reason="playwright is not installed: pip install bayescale[browser]")
axe_sync = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe-playwright-python is not installed")

FLOPS = 5.76e23
BUDGETS = (5e22, 2e23, FLOPS, 3e24, 1.5e25)
TAILS = (1.0, 0.5, 0.1)
SIZES = ((1280, 900), (390, 844))


@pytest.fixture(scope="module")
def default_fit(chinchilla: bs.Runs) -> bs.Fit:
    """The default model, with errors of its law. Its draws lie about one draw from the prior: nothing is sampled."""
    return about_a_draw("default", chinchilla)


def about_a_draw(name: str, runs: bs.Runs, spread: float = 0.1) -> bs.Fit:
    """A fit whose draws lie about one draw from the prior of a model, at a share of their distance."""
    spec = bs.load_spec(name)
    with float64():
        sites = from_prior(jax.random.split(jax.random.key(0), 2001), design(spec, runs), spec=spec.structure)
    first, others = ({k: np.asarray(v)[rows] for k, v in sites.items()} for rows in (slice(1), slice(1, None)))
    near = {k: first[k] + spread * (v - first[k]) for k, v in others.items()}
    return bs.Fit.from_samples({k: v.reshape(4, 500, *v.shape[1:]) for k, v in near.items()}, spec, runs)


@pytest.fixture(scope="module")
def of_average(chinchilla: bs.Runs, folder: Path) -> Path:
    both = bs.average({name: about_a_draw(name, chinchilla) for name in ("additive", "coupled")})
    return bs.report(both, folder / "average.html", flops=FLOPS)


@pytest.fixture(scope="module")
def of_unsettled(chinchilla: bs.Runs, folder: Path) -> Path:
    fit = about_a_draw("additive", chinchilla, spread=0.3)
    assert not bs.decide("allocation", fit, flops=FLOPS).settled
    return bs.report(fit, folder / "unsettled.html", flops=FLOPS)


@pytest.fixture(scope="module")
def of_withheld(chinchilla: bs.Runs, chinchilla_fit: bs.Fit, folder: Path) -> Path:
    """Chains that disagree."""
    apart = chinchilla_fit.posterior.copy(deep=True)
    apart["level"][0] *= 1.01
    return bs.report(bs.Fit.from_samples(apart, "additive", chinchilla), folder / "withheld.html", flops=FLOPS)


@pytest.fixture(scope="module")
def of_eleven(pool: bs.Runs, folder: Path) -> Path:
    fit = about_a_draw("additive", pool)
    assert len(fit.families) == 11
    return bs.report(fit, folder / "eleven.html", flops=FLOPS, family=fit.families[0])


@pytest.fixture(scope="module")
def of_lifetime(chinchilla_fit: bs.Fit, folder: Path) -> Path:
    """With the sliders of an allocation."""
    return bs.report(bs.decide("lifetime", chinchilla_fit, demand="2T", like="70B"), folder / "lifetime.html")


DECIDED: dict[str, tuple[str, str, dict[str, Any]]] = {
    "served": ("chinchilla_fit", "lifetime", {"demand": "2T", "loss": 2.1}),
    "capped": ("chinchilla_fit", "data-cap", {"flops": 1e21, "unique_tokens": 100e9}),
    "limited": ("chinchilla_fit", "allocation", {"flops": FLOPS, "limits": {"max_params": "60B"}}),
    "sized": ("chinchilla_fit", "allocation", {"flops": FLOPS, "limits": {"sizes": "7B,70B"}}),
    "stages": ("chinchilla_fit", "split", {"flops": FLOPS, "gains": {"inference": "0.02", "rl": "0.01"}}),
    "swap": ("trio_fit", "swap", {"params": 7e9, "done": 1e11, "remaining": 4e10, "recipe": "OpenLM-RefinedWeb",
                                  "to": "OpenLM-RedPajama"}),
    "wary": ("chinchilla_fit", "data-cap", {"flops": 1e21, "unique_tokens": 100e9, "risk": "minimax"}),
}  # fmt: skip
"""Choices whose pages have a picture of their actions: the fixture of the fit, the decision and its settings."""


@pytest.fixture(scope="module")
def decided(request: pytest.FixtureRequest, folder: Path) -> dict[str, tuple[bs.Choice, Path]]:
    """The choice and the page of each of these names; made when it is asked for."""

    class Made(dict[str, tuple[bs.Choice, Path]]):
        def __missing__(self, name: str) -> tuple[bs.Choice, Path]:
            fit, decision, settings = DECIDED[name]
            choice = bs.decide(decision, request.getfixturevalue(fit), **settings)
            return self.setdefault(name, (choice, bs.report(choice, folder / f"{name}.html")))

    return Made()


@pytest.fixture(scope="module")
def of_additive(chinchilla_fit: bs.Fit, folder: Path) -> Path:
    return bs.report(chinchilla_fit, folder / "additive.html", flops=FLOPS, hardware="512xH100")


@pytest.fixture(scope="module")
def of_default(default_fit: bs.Fit, folder: Path) -> Path:
    return bs.report(default_fit, folder / "default.html", flops=FLOPS, hardware="512xH100")


@pytest.fixture(scope="module")
def of_hierarchy(trio_fit: bs.Fit, folder: Path) -> Path:
    return bs.report(trio_fit, folder / "hierarchy.html", flops=FLOPS, family=trio_fit.families[0])


@pytest.fixture(scope="module")
def of_comparison(comparison: bs.Comparison, folder: Path) -> Path:
    return bs.report(comparison, folder / "comparison.html")


@pytest.fixture(scope="module")
def of_target(chinchilla_fit: bs.Fit, folder: Path) -> Path:
    """Another decision than an allocation, by the command."""
    saved, page = chinchilla_fit.save(folder / "fit.nc"), folder / "target.html"
    command = ["report", str(saved), "--out", str(page), "--decision", "target", "--set", "loss", "2.0"]
    done = CliRunner().invoke(main, command, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return page


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("browser")


@pytest.fixture(scope="module")
def page_file(request: pytest.FixtureRequest) -> Path:
    """The page of a test: that of the additive law, or those that the test names."""
    name = getattr(request, "param", "of_additive")
    if name.removeprefix("of_") in DECIDED:
        return request.getfixturevalue("decided")[name.removeprefix("of_")][1]
    return request.getfixturevalue(name)


def of(*kinds: str) -> pytest.MarkDecorator:
    """Run a test on pages of these kinds."""
    return pytest.mark.parametrize("page_file", [f"of_{kind}" for kind in kinds], ids=kinds, indirect=True)


LAWS = {"of_additive": "chinchilla_fit", "of_default": "default_fit", "of_hierarchy": "trio_fit"}
"""The fit of each page of one law."""


@pytest.fixture(scope="module")
def tables(request: pytest.FixtureRequest) -> dict[str, Tabulated]:
    """The table of a fit, by the name of its page's file; made when it is asked for."""

    class Made(dict[str, Tabulated]):
        def __missing__(self, name: str) -> Tabulated:
            fit = request.getfixturevalue(LAWS[f"of_{name}"])
            return self.setdefault(name, tabulated(fit, FLOPS, fit.families[0]))

    return Made()


@pytest.fixture
def table(tables: dict[str, Tabulated], page_file: Path) -> Tabulated:
    return tables[page_file.stem]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if found is None:
        pytest.skip("no Chromium on this machine: install Debian's chromium to run the tests of a browser")
    with sync_playwright() as driver:
        started = driver.chromium.launch(executable_path=found, args=["--no-sandbox", "--disable-gpu"])
        yield started
        started.close()


@pytest.fixture
def opened(browser: Any, page_file: Path) -> Iterator[Any]:
    contexts = []

    def open_page(width: int = 1280, height: int = 900, *, hash: str = "", **settings: Any) -> Any:  # noqa: A002
        context = browser.new_context(viewport={"width": width, "height": height}, **settings)
        contexts.append(context)
        page = context.new_page()
        page.asked, page.errors = [], []
        page.on("request", lambda request: page.asked.append(request.url))
        page.on("pageerror", lambda error: page.errors.append(str(error)))
        page.goto(f"{page_file.as_uri()}{hash}")
        return page

    yield open_page
    for context in contexts:
        context.close()


def move(page: Any, **state: Any) -> None:
    """Change the state of the sliders, and wait until the page has followed."""
    page.evaluate("state => bayescale.changed(state)", state)
    page.wait_for_function(
        "state => bayescale.last && Object.entries(state).every(([k, v]) => bayescale.last.state[k] === v)", arg=state
    )


def same(here: dict[str, Any], there: dict[str, Any]) -> None:
    for name, value in here.items():
        if isinstance(value, dict):
            same(value, there[name])
        elif isinstance(value, bool):
            assert there[name] is value, name
        elif isinstance(value, float):
            other = math.nan if there[name] is None else there[name]
            assert other == pytest.approx(value, rel=1e-9, abs=1e-12, nan_ok=True), name


CHOICE = """([flops, tail]) => { const a = bayescale.law.allocation(flops, tail);
  for (const key of ['sizes', 'waste', 'lnSizes']) delete a[key];
  return a; }"""


@of("additive", "default", "hierarchy")
def test_the_page_decides_as_python_does(opened: Any, table: Tabulated) -> None:
    page = opened()
    for flops in BUDGETS:
        for tail in TAILS:
            same(table.allocation(flops, tail), page.evaluate(CHOICE, [flops, tail]))


@of("default")
def test_the_errors_of_a_law_are_on_the_page_and_change_the_loss(opened: Any, table: Tabulated) -> None:
    """So that the comparison with Python follows the path of a model with discrepancies."""
    page = opened()
    sent = page.evaluate("JSON.parse(document.getElementById('explorer-data').textContent).table")
    steps = np.frombuffer(base64.b64decode(sent["error"]), "<i2").reshape(sent["draws"], len(sent["ln_flops"]))
    assert sent["steps"]["error"] * steps == pytest.approx(table.error)
    assert np.abs(steps).max(axis=0).min() > 0
    lawful = replace(table, error=np.zeros_like(table.error)).allocation(FLOPS, TAILS[-1])
    found = table.allocation(FLOPS, TAILS[-1])
    assert abs(found["expected_loss"] / lawful["expected_loss"] - 1) > 1e-6
    curve = page.evaluate("bayescale.law.curve().map((row) => row.q)")
    np.testing.assert_allclose(np.array(curve).T, table.curve, rtol=1e-9)


def test_the_page_knows_which_sizes_are_safe_as_python_does(opened: Any) -> None:
    """There may be several ranges of sizes that waste little, or none."""
    page, random = opened(), np.random.default_rng(0)
    ln_params, several = np.linspace(20.0, 25.0, 12), 0
    for poor in np.linspace(0.2, 0.7, 20):
        waste = np.where(random.random((9, 12)) < poor, 1.0, 0.001)
        good = (waste < FEW).mean(axis=0) >= 0.5
        several += np.count_nonzero(np.diff(good.astype(int), prepend=0) == 1) > 1
        there = page.evaluate("([x, w]) => bayescale.law.safeRange(x, w)", [ln_params.tolist(), waste.T.tolist()])
        assert [math.nan if end is None else end for end in there] == pytest.approx(
            safe_range(ln_params, waste), rel=1e-12, nan_ok=True
        )
    assert several


SPLIT = """([flops, tail]) => { const a = few.allocation(flops, tail);
  return { params: a.params, expected_loss: a.expected_loss, regret_nats: a.regret_nats }; }"""


@pytest.mark.parametrize("tail", TAILS)
def test_the_page_splits_a_budget_as_decide_does(
    opened: Any, chinchilla: bs.Runs, chinchilla_fit: bs.Fit, tail: float
) -> None:
    """On the same draws. A table holds log loss to 1e-5, so two losses, or scores, may differ by twice that."""
    thin = chinchilla_fit.shape[1] // 100
    few = bs.Fit.from_samples(chinchilla_fit.posterior.isel(draw=slice(None, None, thin)), "additive", chinchilla)
    page, table = opened(), tabulated(few, FLOPS, few.families[0])
    page.evaluate("table => { window.few = bayescaleLaw(table); }", table.to_dict())
    for flops in BUDGETS:
        choice = solve(bs.Allocation(flops), few, Mean() if tail == 1 else CVaR(tail))
        found = page.evaluate(SPLIT, [flops, tail])
        sizes, score = choice.actions["params"].to_numpy(), choice.score
        j = int(np.abs(np.log(sizes / found["params"])).argmin())
        assert sizes[j] == pytest.approx(found["params"], rel=1e-9)
        assert score[j] >= score.max() - 2e-5 * abs(score.max())
        assert found["expected_loss"] == pytest.approx(choice.expected_loss, rel=2e-5)
        assert found["regret_nats"] == pytest.approx(choice.regret, abs=4e-5)


def costs(found: dict[str, float]) -> list[float]:
    return [found[name] for name in ("action", "regret", "q05", "q95")]


@of(*DECIDED)
def test_the_page_of_any_decision_chooses_as_python_does(opened: Any, decided: Any, page_file: Path) -> None:
    choice, _ = decided[page_file.stem]
    page, found = opened(), thinned(choice, sentences.TAILS)
    for tail in sentences.TAILS:
        there = page.evaluate("t => bayescale.judged(t)", tail)
        assert costs(there) == pytest.approx(costs(found.judged(tail)), rel=1e-9, abs=1e-12 * found.scale)
    for action in range(len(found.columns)):
        there = page.evaluate("i => bayescale.costs(i)", action)
        assert costs(there) == pytest.approx(costs(found.costs(action)), rel=1e-9, abs=1e-12 * found.scale)


@of("served", "swap", "stages")
def test_the_control_marks_what_it_chooses_and_what_is_asked(opened: Any, decided: Any, page_file: Path) -> None:
    choice, _ = decided[page_file.stem]
    page, found = opened(), thinned(choice, sentences.TAILS)
    assert page.inner_text("#judged") == page.inner_text("#taken") == ""
    page.select_option("#tail-choice", label="its worst 10% of draws")
    best = found.judged(0.1)["action"]
    assert page.evaluate("bayescale.last.best.action") == best
    assert page.inner_text("#judged").startswith(
        f"Judged by its worst 10% of draws, choose {choice.name_of(int(found.columns[best]))}: expected regret "
    )
    other = (best + 1) % len(found.columns)
    if found.axis:
        page.focus("#take")
        page.evaluate("i => bayescale.changed({take: i})", best)
        page.keyboard.press("ArrowRight" if other > best else "Home")
    else:
        page.select_option("#take", str(other))
    assert page.evaluate("bayescale.last.taken.action") == other
    assert choice.name_of(int(found.columns[other])) in page.inner_text("#taken")
    marked = (".mark", ".plan") if found.axis else (".dot.chosen", ".dot.taken")
    for kind in marked:
        assert page.locator(f"#picture-regret {kind}").count() == 1
    again = opened(hash=page.evaluate("location.hash"))
    assert again.inner_text("#taken") == page.inner_text("#taken")
    assert again.inner_text("#judged") == page.inner_text("#judged")
    page.emulate_media(media="print")
    assert choice.name_of(int(found.columns[other])) in page.inner_text("#printed")


@of("wary")
def test_an_attitude_that_the_control_does_not_know_is_that_of_the_page(opened: Any, decided: Any) -> None:
    choice, _ = decided["wary"]
    page = opened()
    assert page.input_value("#tail-choice") == "0"
    assert page.inner_text("#tail-choice option >> nth=0") == choice.risk.about
    assert page.evaluate("bayescale.judged(0).action") == page.evaluate(
        "name => JSON.parse(document.getElementById('explorer-data').textContent).names.indexOf(name)",
        choice.name_of(choice.best.action),
    )


@of("served", "swap", "limited")
def test_without_scripts_another_decision_has_its_picture(opened: Any, decided: Any, page_file: Path) -> None:
    page = opened(java_script_enabled=False)
    assert page.locator("#picture-regret :is(.mark, .dot.chosen)").count() == 1
    assert page.locator("#table-regret tr").count() >= 2
    assert not page.is_visible("#controls")
    assert page.is_visible("#appendix")


def point_at(page: Any, mark: str) -> None:
    """Move the pointer to the middle of a mark of a picture."""
    one = page.locator(mark)
    one.evaluate("e => e.ownerSVGElement.scrollIntoView({block: 'center'})")
    box = one.bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)


@of("served", "swap")
def test_the_pointer_shows_the_regret_of_the_action_under_it(opened: Any, decided: Any, page_file: Path) -> None:
    choice, _ = decided[page_file.stem]
    page, found = opened(), thinned(choice, sentences.TAILS)
    point_at(page, "#picture-regret :is(.mark, .dot.chosen)")
    assert page.inner_text("#hover-regret").startswith(f"{choice.name_of(choice.best.action)}: expected regret ")
    page.mouse.move(1, 1)
    assert page.inner_text("#hover-regret") == ""
    with page.expect_download() as waiting:
        page.click("#csv-regret")
    rows, regret = pd.read_csv(waiting.value.path()), found.regret.mean(axis=0)
    assert rows["expected_regret"].to_list() == pytest.approx(regret.tolist(), rel=1e-9, abs=1e-12 * found.scale)


def test_the_pointer_shows_the_values_of_a_curve_before_and_after_a_slider_moves(opened: Any, table: Tabulated) -> None:
    page = opened()
    for flops in (None, 2e23):
        if flops:
            move(page, flops=flops)
        found = table.allocation(flops or FLOPS)
        point_at(page, "#picture-a .mark")
        size, expected = re.match(r"(\S+) parameters: (\S+)% extra compute", page.inner_text("#hover-a")).groups()
        assert quantity(size) == pytest.approx(found["params"], rel=0.03)  # a pixel of the picture is 1% of a size
        assert float(expected) == pytest.approx(100 * found["waste_fraction"], rel=0.1, abs=0.1)
        point_at(page, "#picture-b .mark")
        said = re.search(r"a loss of (\S+) \(90% of the draws (\S+) to (\S+)\)", page.inner_text("#hover-b")).groups()
        ln_flops = np.log([flops or FLOPS])
        curve = [table.between(table.curve[[k]], ln_flops)[0, 0] for k in (2, 0, 4)]
        assert [float(x) for x in said] == pytest.approx(curve, abs=0.01)


@of("additive", "default")
def test_the_page_serves_as_python_does(opened: Any, table: Tabulated) -> None:
    page = opened()
    for demand, tail in ((1e11, 1.0), (2e12, 1.0), (2e13, 0.1)):
        there = page.evaluate("([f, d, t]) => bayescale.law.lifetime(f, d, t)", [FLOPS, demand, tail])
        same(table.lifetime(FLOPS, demand, tail), there)


def test_numbers_are_written_as_in_python(opened: Any) -> None:
    page = opened()
    values = [5.0, 6.5, 345.2, 0.00738, 1.953, 17.5, 1500.4, 74.03e9, 1.2967e12, 999.6e9, 5.76e23, 1.5e25, 12345.0, 7e9]
    written = page.evaluate("v => v.map((x) => [bayescale.words.counted(x), bayescale.words.number(x)])", values)
    assert written == [[words.counted(v) if v < 1e15 else words.number(v), words.number(v)] for v in values]
    shares = [0.0048, 0.0187, 0.05, 0.123, 0.5, 1.2, 0.00031, 0.0999]
    assert page.evaluate("v => v.map(bayescale.words.percent)", shares) == [words.percent(v) for v in shares]


def test_the_keys_of_a_picture_follow_the_sliders(opened: Any) -> None:
    """Each mark that a picture has is explained, and no other: a plan has a key once there is one."""
    page = opened()
    key = page.locator('#picture-a ~ .keys [data-kind="plan"]')
    assert key.count() == 1
    assert key.is_hidden()
    move(page, plan=5e10)
    assert key.is_visible()
    move(page, plan=0)
    assert key.is_hidden()


CUT = """(skipped) => [...document.querySelectorAll('main *')].filter((one) => {
  if (one.closest(skipped) || !one.getClientRects().length) return false;
  const { left, right } = one.getBoundingClientRect();
  return left < 0 || right > innerWidth + 0.5;
}).map((one) => one.tagName + ' ' + one.textContent.slice(0, 40))"""


SCROLLED, DRAWN = ".box, .scroll, svg, select", "svg, select"
"""What a phone scrolls, and what neither scrolls nor cuts."""


def check_shown(page: Any, width: int) -> None:
    """Nothing is cut but tables and figures wider than a phone, which have their own scroll bar; axe finds nothing."""
    page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    if page.evaluate("'bayescale' in window && 'law' in bayescale"):
        start = page.evaluate("bayescale.state.flops")
        move(page, flops=start / 3, serve=2e12, plan=5e10)
    elif page.evaluate("'bayescale' in window"):
        page.evaluate("bayescale.changed({tail: 0.1, take: 1})")
    assert page.evaluate(CUT, SCROLLED) == []
    assert page.evaluate("document.documentElement.scrollWidth") == width
    assert page.errors == []
    found = axe_sync.Axe().run(page)
    assert found.violations_count == 0, found.generate_report()


@of("additive", "comparison", "target")
@pytest.mark.parametrize(("width", "height"), SIZES)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_is_cut_and_nothing_is_inaccessible(opened: Any, width: int, height: int, scheme: str) -> None:
    check_shown(opened(width, height, color_scheme=scheme), width)


OTHERS = ("default", "hierarchy", "average", "lifetime", "unsettled", "withheld", "eleven", "served", "swap", "stages",
          "limited")  # fmt: skip


@of(*OTHERS)
@pytest.mark.parametrize(("size", "scheme"), [(SIZES[0], "dark"), (SIZES[1], "light")])
def test_nothing_of_other_pages_is_cut_or_inaccessible(opened: Any, size: tuple[int, int], scheme: str) -> None:
    check_shown(opened(*size, color_scheme=scheme), size[0])


@of("additive", "comparison", "served", "swap")
def test_pictures_of_the_decision_need_no_scrolling_on_a_phone(opened: Any) -> None:
    page = opened(390, 844)
    inside = """() => [...document.querySelectorAll('#decision .drawing')].map((one) => {
      const { left, right, width } = one.getBoundingClientRect();
      return [left >= 0 && right <= innerWidth && width > 300, one.closest('.box, .scroll') === null];
    })"""
    found = page.evaluate(inside)
    assert found
    assert all(all(one) for one in found)


@of("additive", "target")
@pytest.mark.parametrize("kind", [".box", ".scroll"])
def test_what_goes_on_beside_a_phone_has_a_shadow_at_that_end(opened: Any, kind: str) -> None:
    page = opened(390, 844)
    page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    wide = [one for one in page.locator(kind).all() if one.evaluate("e => e.scrollWidth > e.clientWidth + 30")]
    if not wide:
        pytest.skip("nothing of this page is wider than a phone")
    at_start, at_end = (shade(wide[0], end) for end in (0, 10_000))
    assert at_start["right"] < at_start["left"] - 20
    assert at_end["left"] < at_end["right"] - 20


def shade(box: Any, scrolled: int) -> dict[str, float]:
    """Median lightness of the pixels near both ends of what is scrolled."""
    box.evaluate("(e, x) => { e.scrollLeft = x; }", scrolled)
    pixels = plt.imread(io.BytesIO(box.screenshot()))[..., :3].mean(axis=2) * 255
    return {"left": float(np.median(pixels[:, 2:6])), "right": float(np.median(pixels[:, -6:-2]))}


OVERLAPS = """() => [...document.querySelectorAll('#picture-a, #picture-b')].flatMap((svg) => {
  const boxes = [...svg.querySelectorAll('text.tick:not([transform])')].map((t) => [t.textContent, t.getBBox()]);
  return boxes.flatMap(([one, a], i) => boxes.slice(i + 1).filter(([, b]) =>
    a.x < b.x + b.width && b.x < a.x + a.width && a.y < b.y + b.height - 2 && b.y < a.y + a.height - 2
  ).map(([other]) => `${one} over ${other}`));
})"""


def test_texts_of_ticks_do_not_run_into_each_other(opened: Any) -> None:
    page = opened(390, 844)
    for flops in (*BUDGETS, 7e22, 9e23, 7e24):
        move(page, flops=flops)
        assert "; ".join(page.evaluate(OVERLAPS)) == ""
    page = opened(390, 844, java_script_enabled=False)
    assert "; ".join(page.evaluate(OVERLAPS)) == ""


def test_no_request_leaves_the_page(opened: Any, page_file: Path) -> None:
    page = opened()
    move(page, flops=1e23)
    assert {url.split(":")[0] for url in page.asked} <= {"file", "data", "blob"}
    assert [url for url in page.asked if url.startswith("file")] == [page_file.as_uri()]


@of("additive", "default", "hierarchy", "comparison", "target", "eleven", *DECIDED)
def test_a_page_is_small_and_has_no_raster_picture(page_file: Path) -> None:
    written = page_file.read_text(encoding="utf-8")
    assert len(written.encode()) < 500_000
    drawn = [base64.b64decode(one).decode() for one in re.findall(r"data:image/svg\+xml;base64,([\w+/=]+)", written)]
    assert drawn
    assert all("data:image/" not in one and "<image" not in one for one in drawn)
    assert set(re.findall(r"data:image/[\w+]+", written)) <= {"data:image/svg+xml"}


def test_without_scripts_the_page_is_complete(opened: Any) -> None:
    page = opened(java_script_enabled=False)
    assert re.search(r"With 5\.76×10²³ FLOP, train about \S+ parameters", page.inner_text("#headline"))
    assert page.locator(".cards li").count() == 5
    assert all(page.locator(".cards .value").nth(i).inner_text().strip() for i in range(5))
    for name in ("a", "b"):
        assert page.locator(f"#picture-{name} polyline").count() >= 5
        assert page.locator(f"#table-{name} tr").count() >= 9
    assert not page.is_visible("#controls")
    assert page.is_visible("#appendix")


MILLIMETRE = 96 / 25.4  # pixels


def check_printed(page: Any) -> None:
    """Two pages of A4, of which the second begins with the evidence; nothing is cut."""
    printed = page.pdf(prefer_css_page_size=True)
    assert len(re.findall(rb"/Type\s*/Page[^s]", printed)) == 2
    boxes = {tuple(map(float, one.split())) for one in re.findall(rb"/MediaBox\s*\[([^\]]*)\]", printed)}
    ((_, _, width, height),) = boxes
    assert (width, height) == pytest.approx((595, 842), abs=1)
    page.emulate_media(media="print")
    page.set_viewport_size({"width": int(186 * MILLIMETRE), "height": int(281 * MILLIMETRE)})  # within the margins
    assert page.evaluate(CUT, DRAWN) == []
    assert page.evaluate("getComputedStyle(document.getElementById('evidence')).breakBefore") == "page"
    ends = "(id) => document.getElementById(id).getBoundingClientRect()"
    assert page.evaluate(f"({ends})('decision').bottom") < 281 * MILLIMETRE
    assert page.evaluate(f"({ends})('evidence').height") < 281 * MILLIMETRE
    texts = """() => [...document.querySelectorAll('svg.drawing')].filter((one) => one.getClientRects().length)
      .flatMap((svg) => [...svg.querySelectorAll('text')].filter((text) => {
        const a = text.getBoundingClientRect(), b = svg.getBoundingClientRect();
        return a.left < b.left - 1 || a.right > b.right + 1 || a.top < b.top - 1 || a.bottom > b.bottom + 1;
      }).map((text) => text.textContent))"""
    assert page.evaluate(texts) == []


@of("comparison", "target", *OTHERS)
def test_any_report_is_printed_on_two_pages(opened: Any) -> None:
    check_printed(opened())


def test_two_pages_are_printed(opened: Any) -> None:
    page = opened()
    move(page, flops=2e23)
    check_printed(page)
    assert page.is_visible("#printed")
    assert "2×10²³ FLOP" in page.inner_text("#printed")
    assert not page.is_visible("#controls")


def test_the_address_keeps_the_state(opened: Any) -> None:
    first = opened()
    state = {"flops": 2e23, "serve": 2e12, "tail": 0.5, "ratio": 20}
    move(first, **state)
    address = first.evaluate("location.hash")
    second = opened(hash=address)
    assert second.evaluate("bayescale.state") == first.evaluate("bayescale.state")
    for name in ("headline", "confidence", "plan-words", "card-cost-value", "printed"):
        assert second.inner_text(f"#{name}", timeout=5000) == first.inner_text(f"#{name}")
    assert opened(hash="#flops=oops&unit=parsecs&tail=7").evaluate("bayescale.state.flops") == pytest.approx(FLOPS)


@of("hierarchy")
def test_a_far_budget_and_a_large_waste_ask_for_care(opened: Any, table: Tabulated, trio_fit: bs.Fit) -> None:
    page, seen = opened(), set()
    runs = trio_fit.design_frame
    largest = float(runs[runs["family"] == trio_fit.families[0]]["flops"].max())
    for flops in (FLOPS / 29, 99 * largest, 101 * largest, FLOPS * 29):
        move(page, flops=flops)
        found = table.allocation(flops)
        if found["settled"]:
            far, most = flops > 100 * largest, max(found["waste_fraction"], found["waste_q95"])
            wide = why_care(found["best_ratio"], np.full(1, most))
            why = page.inner_text("#state-why")
            assert (sentences.say("far") in why, "of compute, over the tolerance" in why) == (far, bool(wide))
            assert wide in why
            assert "care" in page.get_attribute("#verdict", "class") or not (far or wide)
            seen |= {("far", far), ("wide", bool(wide))}
    assert {("far", True), ("far", False), ("wide", True)} <= seen


@of("unsettled")
def test_what_an_answer_depends_on_says_with_which_setting_once_the_sliders_have_another(opened: Any) -> None:
    page = opened()
    written = page.inner_text("#depends")
    assert re.fullmatch(r"Without \d runs? \(.*\): \S+ times the tokens per param and \S+ times the loss.*\.", written)
    for state in ({"flops": 2e23}, {"flops": FLOPS, "serve": 1e12}):
        move(page, **state)
        assert page.inner_text("#depends") == (
            f"{written} This is with 5.76×10²³ FLOP, the setting with which the page was written."
        )
    move(page, serve=0)
    assert page.inner_text("#depends") == written


def test_the_keyboard_moves_a_slider_and_the_sentence_follows(opened: Any, table: Tabulated) -> None:
    page = opened()
    before = page.inner_text("#headline")
    page.focus("#budget-slider")
    page.keyboard.press("ArrowRight")
    page.wait_for_function("before => document.getElementById('headline').textContent !== before", arg=before)
    found = table.allocation(page.evaluate("bayescale.state.flops"))
    assert f"train about {words.counted(found['params'])} parameters" in page.inner_text("#headline")
    assert page.inner_text("#card-ratio-value") == words.number(found["tokens"] / found["params"])


def test_money_and_hours_are_the_same_budget(opened: Any) -> None:
    page = opened()
    page.select_option("#budget-unit", "dollars")
    dollars = page.input_value("#budget-box")
    assert dollars.endswith("M")
    page.fill("#budget-box", "1M")
    page.press("#budget-box", "Enter")
    page.wait_for_function("bayescale.last && Math.abs(bayescale.last.state.flops / 5.76e23 - 1) > 0.05")
    assert page.inner_text("#headline").startswith("With $1.00M (")
    half = page.evaluate("bayescale.state.flops")
    page.fill("#price-box", str(page.evaluate("bayescale.state.price") * 2))
    page.press("#price-box", "Enter")
    page.wait_for_function("half => Math.abs(bayescale.last.state.flops / half - 0.5) < 1e-9", arg=half)


def test_caution_is_chosen_in_words_and_serving_says_under_what_it_is_computed(opened: Any, table: Tabulated) -> None:
    page = opened()
    page.select_option("#tail-choice", label="its worst 10% of draws")
    page.wait_for_function("bayescale.last && bayescale.last.state.tail === 0.1")
    found = table.allocation(FLOPS, 0.1)
    assert f"train about {words.counted(found['params'])} parameters" in page.inner_text("#headline")
    assert "mean of the worst 10% of the draws" in (page.text_content("#printed") or "")
    assert "under the law alone" not in page.inner_text("#confidence")
    move(page, serve=2e12)
    assert "under the law alone" in page.inner_text("#confidence")
    assert page.inner_text("#confidence").startswith("If the model is right, ")


def test_the_buttons_set_a_plan_and_take_it_back(opened: Any, table: Tabulated) -> None:
    page = opened()
    best = table.allocation(FLOPS)
    page.click("#to-twenty")
    page.wait_for_function("bayescale.last && bayescale.last.state.ratio === 20")
    params = math.sqrt(FLOPS / 6 / 20)
    assert f"your plan of {words.counted(params)} parameters" in page.inner_text("#plan-words")
    page.click("#to-plan")
    page.wait_for_function("bayescale.last.state.plan > 0")
    assert page.evaluate("bayescale.last.state.plan") == pytest.approx(best["params"], rel=5e-3)  # three digits
    assert page.evaluate("document.activeElement.id") == "plan-box"
    assert page.locator("#picture-a .plan").count() == 1
    move(page, tail=0.5, serve=1e12)
    page.click("#to-optimal")
    page.wait_for_function("bayescale.last.state.plan === 0 && bayescale.last.state.tail === 1")
    assert page.inner_text("#plan-words") == ""
    assert f"train about {words.counted(best['params'])} parameters" in page.inner_text("#headline")
    assert page.locator("#picture-a .plan").count() == 0


def test_twice_the_utilisation_takes_half_of_the_days_and_dollars(opened: Any) -> None:
    page = opened()
    move(page, mfu=0.2)
    low = page.inner_text("#card-cost-value")
    assert "20%" in (page.text_content("#printed") or "")
    page.fill("#mfu-box", "40")
    page.press("#mfu-box", "Enter")
    page.wait_for_function("bayescale.last.state.mfu === 0.4")
    days = [quantity(one.split()[0]) for one in (low, page.inner_text("#card-cost-value"))]
    assert days[0] == pytest.approx(2 * days[1], rel=0.01)
    page.fill("#mfu-box", "140")
    page.press("#mfu-box", "Enter")
    assert page.get_attribute("#mfu-box", "aria-invalid") == "true"
    assert page.evaluate("bayescale.state.mfu") == 0.4


def test_what_is_shown_can_be_saved(opened: Any, table: Tabulated) -> None:
    page = opened(accept_downloads=True)
    with page.expect_download() as waiting:
        page.click("#csv-a")
    rows = Path(waiting.value.path()).read_text().splitlines()
    assert rows[0] == "params,tokens,expected_extra,q05,q95"
    params, tokens = (float(cell) for cell in rows[1].split(",")[:2])
    assert 6 * params * tokens == pytest.approx(FLOPS)
    with page.expect_download() as waiting:
        page.click("#csv-b")
    curve = pd.read_csv(waiting.value.path(), dtype=float)
    seen = np.isin(np.round(table.ln_flops, 6), np.round(np.log(curve["flops"]), 6))
    for k, name in enumerate(("q05", "q25", "q50", "q75", "q95")):
        assert curve[name].to_list() == pytest.approx(table.curve[k, seen].tolist(), rel=1e-9)
    for name in ("a", "b"):
        with page.expect_download() as waiting:
            page.click(f"#png-{name}")
        assert waiting.value.suggested_filename == f"picture-{name}.png"
        pixels = plt.imread(waiting.value.path())
        assert pixels.shape[:2] == (660, 880)
        assert np.ptp(pixels) > 0.5


def test_the_explorer_of_a_notebook_is_the_same(browser: Any, chinchilla_fit: bs.Fit, table: Tabulated) -> None:
    pytest.importorskip("anywidget", reason="anywidget is not installed: pip install bayescale[explore]")
    widget = chinchilla_fit.explore(flops=FLOPS)
    page = browser.new_page()
    page.set_content("<h2>a notebook</h2><div id='el'></div>")
    page.add_script_tag(content=widget._esm.replace("export default", "window.widget ="))
    page.evaluate(
        "given => widget.render({model: {get: (key) => given[key]}, el: document.getElementById('el')})",
        {"page": widget.page, "explorer": widget.explorer},
    )
    page.fill("#budget-box", "2e23")
    page.press("#budget-box", "Enter")
    found = table.allocation(2e23)
    page.wait_for_function("document.getElementById('el').bayescale.last !== null")
    assert f"train about {words.counted(found['params'])} parameters" in page.inner_text("#headline")
    assert page.evaluate("location.hash") == ""
    page.close()
