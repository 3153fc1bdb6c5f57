"""Counts as people write them, and back."""

from __future__ import annotations

import math

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bayescale.core.quantities import count, quantity

same_examples = settings(derandomize=True, database=None, deadline=None)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("70B", 70_000_000_000),
        ("70b", 70_000_000_000),
        ("70G", 70_000_000_000),
        ("1.4T", 1_400_000_000_000),
        ("1.1B", 1_100_000_000),
        (".5M", 500_000),
        ("12k", 12_000),
        ("2P", 2_000_000_000_000_000),
        ("5.76e23", 5.76e23),
        ("5.76E+23", 5.76e23),
        ("1e-3", 0.001),
        ("1_000", 1000),
        ("1,000,000", 1_000_000),
        ("1,234.5", 1234.5),
        (" 7 B ", 7_000_000_000),
        ("+3", 3),
        ("-2.5", -2.5),
        ("0", 0),
        ("2.345", 2.345),
        ("0.0025k", 2.5),
        ("0.0015k", 1.5),
        ("0.0001234M", 123.4),
        ("-0.0025k", -2.5),
        ("0.00000001k", 1e-5),
    ],
)
def test_text_is_read_exactly(text: str, value: float) -> None:
    assert quantity(text) == value


@pytest.mark.parametrize("number", [7, 7.5, 1e300, -1, 0, math.inf])
def test_a_number_passes_through_as_float(number: float) -> None:
    assert quantity(number) == number
    assert isinstance(quantity(number), float)


@pytest.mark.parametrize(
    "text", ["", " ", "B", "seven", "7Q", "7 billion", "70BB", "1e", "1.2.3", "--5", "0x10", "nan", "inf", "1;2", "%"]
)
def test_what_is_no_number_is_refused_by_its_name(text: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the text is asserted below
        quantity(text)
    assert repr(text) in str(caught.value)
    assert "70B" in str(caught.value)


@pytest.mark.parametrize("text", ["1,4T", "2,35", ",5", "1,0000"])
def test_a_comma_that_does_not_part_thousands_is_refused(text: str) -> None:
    """1,4T is 1.4T to half of the world, and 14T to nobody."""
    with pytest.raises(ValueError, match="is not a number"):
        quantity(text)


def test_nothing_is_no_number() -> None:
    with pytest.raises(TypeError):
        quantity(None)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (70e9, "70.0B"),
        (1.4e12, "1.40T"),
        (999.6e9, "1.00T"),
        (12_345, "12.3k"),
        (640, "640"),
        (5.76e23, "5.76e+23"),
        (0, "0"),
        (-7e9, "-7.00B"),
        (math.inf, "inf"),
        (math.nan, "nan"),
    ],
)
def test_a_count_is_written_for_people(value: float, text: str) -> None:
    assert count(value) == text


@same_examples
@given(st.text(max_size=12) | st.text("0123456789.,eE+-kMBTP_ ", max_size=12))
@example("-1e999k")
@example("9" * 400)
@example("1e-999T")
def test_any_text_is_a_finite_number_or_refused(text: str) -> None:
    try:
        value = quantity(text)
    except ValueError as error:
        value, said = 0.0, str(error)
    else:
        said = repr(text)
    assert math.isfinite(value)
    assert repr(text) in said


@same_examples
@given(st.integers(min_value=-(10**30), max_value=10**30), st.integers(min_value=1, max_value=8))
def test_what_is_written_reads_back_to_its_digits(value: int, digits: int) -> None:
    rounding = 0.5 * 10.0 ** (1 - digits)  # half a unit of the last significant digit
    assert quantity(count(value, digits)) == pytest.approx(value, rel=rounding * (1 + 1e-9), abs=0)


@same_examples
@given(st.floats(min_value=1e-3, max_value=1e40))
def test_writing_again_what_was_read_changes_nothing(value: float) -> None:
    assert count(quantity(count(value))) == count(value)


@same_examples
@given(st.floats(min_value=0.5, max_value=1e40), st.floats(min_value=1.02, max_value=1e6))
def test_more_is_never_written_as_less(value: float, factor: float) -> None:
    assert quantity(count(value * factor)) > quantity(count(value))


@same_examples
@given(st.integers(min_value=1, max_value=10**6), st.sampled_from([("k", 3), ("M", 6), ("B", 9), ("T", 12)]))
def test_a_suffix_is_a_power_of_ten(value: int, suffix: tuple[str, int]) -> None:
    name, power = suffix
    assert quantity(f"{value}{name}") == quantity(f"{value}e{power}") == value * 10**power
