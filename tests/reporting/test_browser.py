"""The report in a browser: what its script decides, how it looks at two widths, and that it needs nothing else."""

from __future__ import annotations

import base64
import math
import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from click.testing import CliRunner

import bayescale as bs
from bayescale.cli import main
from bayescale.core.precision import float64
from bayescale.decisions.tabulated import Tabulated, tabulated
from bayescale.modelling.design import design
from bayescale.prediction.predictive import from_prior
from bayescale.reporting import sentences

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
    spec = bs.load_spec("default")
    with float64():
        sites = from_prior(jax.random.split(jax.random.key(0), 2001), design(spec, chinchilla), spec=spec.structure)
    first, others = ({k: np.asarray(v)[rows] for k, v in sites.items()} for rows in (slice(1), slice(1, None)))
    near = {k: first[k] + 0.1 * (v - first[k]) for k, v in others.items()}
    return bs.Fit.from_samples({k: v.reshape(4, 500, *v.shape[1:]) for k, v in near.items()}, spec, chinchilla)


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
    return request.getfixturevalue(getattr(request, "param", "of_additive"))


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


@of("additive", "default")
def test_the_page_serves_as_python_does(opened: Any, table: Tabulated) -> None:
    page = opened()
    for demand, tail in ((1e11, 1.0), (2e12, 1.0), (2e13, 0.1)):
        there = page.evaluate("([f, d, t]) => bayescale.law.lifetime(f, d, t)", [FLOPS, demand, tail])
        same(table.lifetime(FLOPS, demand, tail), there)


def test_numbers_are_written_as_in_python(opened: Any) -> None:
    from bayescale.reporting import words

    page = opened()
    values = [0.00738, 1.953, 17.5, 1500.4, 74.03e9, 1.2967e12, 999.6e9, 5.76e23, 1.5e25, 12345.0, 7e9]
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


CUT = """() => [...document.querySelectorAll('main *')].filter((one) => {
  if (one.closest('.box, .scroll, svg, select') || !one.getClientRects().length) return false;
  const { left, right } = one.getBoundingClientRect();
  return left < 0 || right > innerWidth + 0.5;
}).map((one) => one.tagName + ' ' + one.textContent.slice(0, 40))"""


@of("additive", "comparison", "target")
@pytest.mark.parametrize(("width", "height"), SIZES)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_is_cut_and_nothing_is_inaccessible(opened: Any, width: int, height: int, scheme: str) -> None:
    """But tables and figures wider than a phone, which have their own scroll bar."""
    page = opened(width, height, color_scheme=scheme)
    page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    if page.evaluate("'bayescale' in window"):
        start = page.evaluate("bayescale.state.flops")
        move(page, flops=start / 3, serve=2e12, plan=5e10)
    assert page.evaluate(CUT) == []
    assert page.evaluate("document.documentElement.scrollWidth") == width
    assert page.errors == []
    found = axe_sync.Axe().run(page)
    assert found.violations_count == 0, found.generate_report()


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


@of("additive", "default", "hierarchy", "comparison", "target")
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


def check_printed(page: Any) -> None:
    """Two pages of A4."""
    printed = page.pdf(prefer_css_page_size=True)
    assert len(re.findall(rb"/Type\s*/Page[^s]", printed)) == 2
    boxes = {tuple(map(float, one.split())) for one in re.findall(rb"/MediaBox\s*\[([^\]]*)\]", printed)}
    ((_, _, width, height),) = boxes
    assert (width, height) == pytest.approx((595, 842), abs=1)


@of("default", "hierarchy", "comparison", "target")
def test_any_report_is_printed_on_two_pages(opened: Any) -> None:
    check_printed(opened())


def test_two_pages_are_printed(opened: Any) -> None:
    page = opened()
    move(page, flops=2e23)
    check_printed(page)
    page.emulate_media(media="print")
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
            far, costly = flops > 100 * largest, found["waste_fraction"] > 0.1
            why = page.inner_text("#state-why")
            assert (sentences.say("far") in why, sentences.say("costly") in why) == (far, costly)
            assert "care" in page.get_attribute("#verdict", "class") or not (far or costly)
            seen |= {("far", far), ("costly", costly)}
    assert {("far", True), ("far", False)} <= seen


def test_the_keyboard_moves_a_slider_and_the_sentence_follows(opened: Any, table: Tabulated) -> None:
    from bayescale.reporting import words

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
    from bayescale.reporting import words

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


def test_what_is_shown_can_be_saved(opened: Any) -> None:
    page = opened(accept_downloads=True)
    with page.expect_download() as waiting:
        page.click("#csv-a")
    rows = Path(waiting.value.path()).read_text().splitlines()
    assert rows[0] == "params,tokens,expected_extra,q05,q95"
    params, tokens = (float(cell) for cell in rows[1].split(",")[:2])
    assert 6 * params * tokens == pytest.approx(FLOPS)
    with page.expect_download() as waiting:
        page.click("#png-b")
    assert Path(waiting.value.path()).read_bytes().startswith(b"\x89PNG")


def test_the_explorer_of_a_notebook_is_the_same(browser: Any, chinchilla_fit: bs.Fit, table: Tabulated) -> None:
    pytest.importorskip("anywidget", reason="anywidget is not installed: pip install bayescale[explore]")
    from bayescale.reporting import words

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
