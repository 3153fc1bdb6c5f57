"""Units of loss and of columns: conversions that undo each other, and one order of losses in every unit."""

from __future__ import annotations

import math

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bayescale.core.errors import RunsError
from bayescale.core.quantities import quantity
from bayescale.core.units import LOSS_UNITS
from bayescale.runs.units import factors, scaled

same_examples = settings(derandomize=True, database=None, deadline=None)
LOSSES = st.floats(1.001, 15.0)
UNITS = pytest.mark.parametrize("unit", LOSS_UNITS.values(), ids=LOSS_UNITS)


@UNITS
@same_examples
@given(one=LOSSES, other=LOSSES)
def test_a_larger_loss_is_larger_in_every_unit(unit, one: float, other: float) -> None:
    assert (unit.nats(one) < unit.nats(other)) == (one < other) or math.isclose(one, other, rel_tol=1e-12)
    assert math.isfinite(unit.nats(one))


@UNITS
@same_examples
@given(loss=LOSSES)
def test_the_slope_is_the_derivative(unit, loss: float) -> None:
    step = 1e-4 * loss
    change = (unit.nats(loss + step) - unit.nats(loss - step)) / (2 * step)
    assert unit.slope(loss) == pytest.approx(change, rel=1e-6)


@same_examples
@given(nats=LOSSES)
def test_one_loss_in_every_unit_is_one_loss(nats: float) -> None:
    in_units = {
        "nats": nats,
        "bits": nats / math.log(2),
        "bits-per-byte": nats / math.log(2),
        "perplexity": math.exp(nats),
    }
    assert {name: LOSS_UNITS[name].nats(loss) for name, loss in in_units.items()} == {
        name: pytest.approx(nats, rel=1e-12) for name in LOSS_UNITS
    }


@pytest.mark.parametrize(
    ("unit", "suffix"), [("thousands", "k"), ("millions", "M"), ("billions", "B"), ("trillions", "T")]
)
@same_examples
@given(number=st.integers(1, 999_999))
def test_a_unit_of_a_column_is_the_suffix_of_a_number(unit: str, suffix: str, number: int) -> None:
    """A whole number in a unit is the integer that the same text with a suffix is."""
    found = scaled(pd.Series([float(number)]), factors({"params": unit}, "a")["params"])
    assert found.tolist() == [quantity(f"{number}{suffix}")]


@pytest.mark.parametrize("spelled", ["{}", "{} ", "({})", "{}s"])
@pytest.mark.parametrize("unit", ["EFLOP", "PFLOP", "ZFLOP", "PF-day"])
def test_the_spelling_of_a_unit_does_not_change_it(unit: str, spelled: str) -> None:
    plain = factors({"flops": unit}, "a")["flops"]
    for text in (spelled.format(unit), spelled.format(unit).lower(), spelled.format(unit).upper()):
        assert factors({"flops": text}, "a")["flops"] == plain


@same_examples
@given(unit=st.text(max_size=8))
def test_any_text_is_a_unit_or_is_refused_in_words(unit: str) -> None:
    try:
        (factor,) = factors({"params": unit}, "a").values()
    except RunsError as error:
        said = str(error)
    else:
        assert factor in (1.0, 1e3, 1e6, 1e9, 1e12)
        return
    assert repr(unit) in said
