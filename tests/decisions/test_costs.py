"""Costs and hardware: FLOP to hours, dollars and days and back; cards with sources and dates."""

from __future__ import annotations

import re
from datetime import date
from pathlib import Path

import numpy as np
import pytest

from bayescale.core import toml
from bayescale.core.errors import QueryError, UnknownName
from bayescale.decisions import hardware as cards
from bayescale.decisions.amounts import amount
from bayescale.decisions.hardware import Figure, Hardware, accelerators, hardware

EXACT = 'overhead = 1\n[price]\nvalue = {}\nas_of = 2020-07-01\nsource = "the test"\n'


def card(folder: Path, text: str) -> Hardware:
    path = folder / "mine.toml"
    path.write_text(text, encoding="utf-8")
    return hardware(path)


# Conversions


def test_gpt3_costs_what_it_is_said_to(tmp_path) -> None:
    """3.14e23 FLOP on V100 at 28 TFLOP/s and $1.50: 3.14e23 / 28e12 / 3600 × 1.50 = $4.67M."""
    found = card(tmp_path, 'base = "V100"\nutilisation = 0.224\n' + EXACT.format(1.5))
    rates = found.drawn(3, seed=0)
    assert rates.peak * rates.utilisation == pytest.approx(28e12)
    assert rates.dollars(3.14e23) == pytest.approx(3.14e23 / 28e12 / 3600 * 1.5)
    assert rates.dollars(3.14e23) == pytest.approx(4.67e6, rel=0.005 / 4.67)  # the printed digits
    assert found.priced(rates.dollars(3.14e23)) == "$4.67M (V100 at $1.50 an hour, as of 2020-07-01)"


def test_chinchilla_takes_its_hours(tmp_path) -> None:
    rates = card(tmp_path, 'base = "A100"\nutilisation = 0.45\n' + EXACT.format(1.0)).drawn(3, seed=0)
    assert rates.accelerator_hours(5.76e23) == pytest.approx(1.14e6, rel=0.005 / 1.14)


def test_inverses_return_the_flops_draw_by_draw() -> None:
    rates = hardware("512xH100").drawn(100, seed=1)
    flops = np.geomspace(1e20, 1e26, 4)
    for forth, back in ((rates.accelerator_hours, rates.flops_of_hours), (rates.dollars, rates.flops_of_dollars),
                        (rates.days, rates.flops_of_days)):  # fmt: skip
        spent = forth(flops)
        assert spent.shape == (100, 4)
        np.testing.assert_allclose(back(spent), np.broadcast_to(flops, (100, 4)), rtol=1e-14)
        assert forth(1e24).shape == (100, 1)
    np.testing.assert_allclose(rates.days(flops) * 512 * 24, rates.accelerator_hours(flops), rtol=1e-14)


def test_every_figure_is_drawn_jointly() -> None:
    """The log of the hours' variance is the sum of those of utilisation and overhead; of dollars, also of the price."""
    n = 20_000
    rates = hardware("H100").drawn(n, seed=2)
    parts = [np.log(one).var() for one in (rates.utilisation, rates.overhead, rates.price)]
    error = 4 * sum(parts) * np.sqrt(2 / n)  # of a variance, and of the covariances that vanish
    assert np.log(rates.accelerator_hours(1e24)).var() == pytest.approx(sum(parts[:2]), abs=error)
    assert np.log(rates.dollars(1e24)).var() == pytest.approx(sum(parts), abs=error)


def test_another_count_or_price_leaves_the_other_draws(tmp_path) -> None:
    usual, other = hardware("H100").drawn(50, 3), hardware("512xH100").drawn(50, 3)
    own = card(tmp_path, 'base = "H100"\n' + EXACT.format(2.0)).drawn(50, 3)
    np.testing.assert_array_equal(usual.price, other.price)
    np.testing.assert_array_equal(usual.utilisation, own.utilisation)
    assert not np.array_equal(usual.utilisation, hardware("A100").drawn(50, 3).utilisation)


def test_what_the_card_lacks_is_asked_for() -> None:
    rates = hardware("B300").drawn(5, seed=0)
    for convert in (rates.dollars, rates.flops_of_dollars):
        with pytest.raises(QueryError, match="no price"):
            convert(1e24)
    for convert in (rates.days, rates.flops_of_days):
        with pytest.raises(QueryError, match="no count"):
            convert(1e24)
    assert rates.accelerator_hours(1e24).min() > 0


# Dollars in words


def test_dollars_never_print_without_the_date_of_the_price() -> None:
    for name in accelerators():
        found = hardware(name)
        if found.price is None:
            with pytest.raises(QueryError, match="has no price"):
                found.priced(1.0)
            continue
        said = found.priced(found.drawn(100, seed=0).dollars(1e24))
        assert f"as of {found.price.as_of}" in said
        assert ("unverified" in said) == (not found.price.verified)


def test_an_interval_is_written_of_draws() -> None:
    said = hardware("H100").priced(np.linspace(1e6, 2e6, 101))
    assert said == ("$1.50M, 90% interval $1.05M to $1.95M "
                    "(H100 at $2.95 an hour, 90% interval $1.66 to $5.25, as of 2026-05-20)")  # fmt: skip


def test_infinite_dollars_are_not_written() -> None:
    with pytest.raises(QueryError, match="finite"):
        hardware("H100").priced([1.0, np.inf])


def test_a_price_without_a_date_is_refused(tmp_path) -> None:
    for price in ("price = 2.1\n", '[price]\nvalue = 2.1\nsource = "a contract"\n'):
        with pytest.raises(QueryError, match="has no date") as error:
            card(tmp_path, 'base = "H100"\n' + price)
        assert "as_of = 2026-05-20" in str(error.value)
    usual = hardware("H100")
    with pytest.raises(QueryError, match="has no date"):
        Hardware(**{**vars(usual), "price": Figure(amount(2.0), "a contract")})


# The catalogue


def test_every_built_in_figure_has_a_source_and_a_date() -> None:
    content = toml.load(Path(cards.__file__).with_name("accelerators.toml"))
    assert {source.keys() >= {"text", "as_of"} for source in content["sources"].values()} == {True}
    used = set()
    for name in accelerators():
        for precision in content["accelerators"][name]["peak"]:
            for workload in content["utilisation"]:
                for figure in hardware(name, precision=precision, workload=workload).figures.values():
                    assert isinstance(figure.as_of, date)
                    used.add(figure.source)
    assert used == {source["text"] for source in content["sources"].values()}  # none is misspelt, none is idle


def test_the_table_says_where_each_figure_is_from() -> None:
    table = hardware("MI300X").table.set_index("figure")
    assert list(table.columns) == ["value", "unit", "as_of", "source", "verified"]
    assert table.loc["price", "unit"] == "$/accelerator-hour"
    assert not table.loc["price", "verified"]
    assert table.loc["peak", "verified"]
    assert len(hardware("8xH100").table) == len(cards.UNITS)


def test_a_peak_is_within_what_its_bandwidth_can_feed() -> None:
    """A slip of a unit would put the FLOP per byte at the roofline's ridge far outside those of real accelerators."""
    for name in accelerators():
        rates = hardware(name).drawn(1, seed=0)
        assert 100 < (rates.peak / rates.bandwidth).item() < 700, name
        assert 15e9 < rates.memory.item() < 300e9, name


@pytest.mark.parametrize(
    ("source", "options", "workload", "mean"),
    [
        ("H100", {}, "dense", 0.40),
        ("64xH100", {}, "dense-small", 0.42),
        ("65 × H100", {}, "dense", 0.40),
        ("H100", {"count": 8}, "dense-small", 0.42),
        ("2048xH100", {"precision": "fp8"}, "fp8", 0.25),
        ("H100", {"workload": "fine-grained-moe"}, "fine-grained-moe", 0.22),
        ("H100", {"workload": "dense-long-context"}, "dense-long-context", 0.9 * 0.40),
    ],
)
def test_utilisation_follows_from_the_workload(source: str, options: dict, workload: str, mean: float) -> None:
    found = hardware(source, **options)
    assert (found.workload, found.utilisation.amount.mean) == (workload, pytest.approx(mean))


def test_precision_chooses_the_peak() -> None:
    assert hardware("H100", precision="fp8").peak.amount.mean == 1979e12
    assert (hardware("V100").precision, hardware("V100").peak.amount.mean) == ("fp16", 125e12)
    with pytest.raises(QueryError, match="no peak for precision 'fp8'"):
        hardware("A100", precision="fp8")


# Cards of one's own


def test_a_card_overrides_single_figures_and_keeps_the_dates_of_the_others(tmp_path) -> None:
    found = card(tmp_path, """
        base = "H100"
        count = "uniform(256, 512)"
        utilisation = "beta(0.38, 0.02)"
        [peak]
        int8 = 1979e12
        [price]
        value = "lognormal(2.1, 0.2)"
        source = "our contract"
        as_of = "2026-08-01"
    """)  # fmt: skip
    usual = hardware("H100")
    assert (found.price.source, found.price.as_of) == ("our contract", date(2026, 8, 1))
    assert (found.utilisation.source, found.utilisation.as_of) == ("mine.toml", None)
    assert (found.peak, found.memory, found.overhead) == (usual.peak, usual.memory, usual.overhead)
    assert found.count.amount.mean == 384
    assert hardware(tmp_path / "mine.toml", precision="int8").peak.source == "mine.toml"
    assert hardware(f"16x{tmp_path / 'mine.toml'}").count.amount.mean == 16
    named = tmp_path / "4xH100.toml"
    named.write_text('base = "H100"\n', encoding="utf-8")
    assert hardware(named).count is None


def test_a_card_without_a_base_is_complete(tmp_path) -> None:
    text = 'accelerator = "NPU"\nmemory = 64\nbandwidth = 2\n[peak]\nbf16 = 400e12\n'
    found = card(tmp_path, text)
    assert (found.accelerator, found.price, found.overhead) == ("NPU", None, hardware("H100").overhead)
    with pytest.raises(QueryError, match=re.escape("mine.toml lacks memory")):
        card(tmp_path, text.replace("memory = 64\n", ""))


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("base = ", "not a card of hardware"),
        ('base = "H100"\nprise = 2', "unknown entry 'prise'"),
        ('base = "H100"\npeak = 1e15', "one figure for each precision"),
        ('base = "H100"\noverhead = "normal(1.1, 0.1)"', "overhead of H100 is out of range"),
        ('base = "H100"\nutilisation = 40', "utilisation of H100 is out of range"),
        ('base = "H100"\ncount = 0', "count of H100 is out of range"),
        ('base = "H100"\nmemory = "lots"', "a figure cannot be read"),
        ('base = "H100"\nworkload = "sparse"', "no workload"),
        ('base = "H100"\n[memory]\nvalue = 80\nas_of = "spring"', "as_of is not a date"),
        ('base = "H100"\n[memory]\nsize = 80', "memory cannot be read"),
        ("memory = 80", "no peak for precision"),
        ('base = "H100"\nprecision = 8', "no peak for precision '8'"),
        ('base = "H100"\nworkload = 3', "no workload is called '3'"),
        ('base = "H100"\n[price]\nvalue = 2\nsource = ["a", "b"]', "has no date"),
    ],
)
def test_a_card_that_cannot_be_read_is_an_error(tmp_path, text: str, match: str) -> None:
    with pytest.raises(QueryError, match=match):
        card(tmp_path, text)


def test_a_name_that_is_unknown_is_an_error(tmp_path) -> None:
    with pytest.raises(UnknownName, match="did you mean 'H100'"):
        hardware("h100")
    with pytest.raises(UnknownName, match="no built-in accelerator"):
        card(tmp_path, 'base = "H9"')
    with pytest.raises(UnknownName, match="no built-in accelerator"):
        card(tmp_path, "base = [100]")
    with pytest.raises(QueryError, match="not a card of hardware"):
        hardware(tmp_path / "nothing.toml")


def test_a_card_is_a_value() -> None:
    assert hardware("H100") == hardware("H100") != hardware("H200")
    assert len({hardware("H100"), hardware("H100")}) == 1
