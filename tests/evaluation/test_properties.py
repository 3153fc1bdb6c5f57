"""Properties of splits and of scores that hold for any runs and any draws."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import bayescale as bs
from bayescale.evaluation.scores import scores
from bayescale.runs.splits import WAYS, Options, cut

same_examples = settings(derandomize=True, database=None, deadline=None, max_examples=40)
seeds = st.integers(0, 2**32 - 1)


def runs_of(rng: np.random.Generator) -> pd.DataFrame:
    """One to three families of 4 to 40 runs each."""
    tables = []
    for name in "abc"[: rng.integers(1, 4)]:
        n = int(rng.integers(4, 40))
        params, ratio = 10 ** rng.uniform(7, 10, n), 10 ** rng.uniform(0, 2.5, n)
        tables.append(pd.DataFrame({"family": name, "run_id": [f"{name}{i}" for i in range(n)], "params": params,
                                    "tokens": params * ratio, "loss": rng.uniform(2, 4, n)}))  # fmt: skip
    return pd.concat(tables, ignore_index=True)


def named(runs: bs.Runs, **given: object) -> dict[str, tuple[frozenset[str], frozenset[str]]]:
    """Return the runs that each cut fits and forecasts, by the name of the cut."""
    ids = runs["run_id"].astype(str)
    return {one.name: (frozenset(ids[one.train]), frozenset(ids[one.test])) for one in cut(runs, **given)[0]}


@pytest.mark.parametrize("way", ["quantile", "expanding", "leave-largest-out", "alongside"])
@same_examples
@given(seed=seeds, quantile=st.floats(0.2, 0.9), beyond=st.floats(1.0, 3.0))
def test_a_cut_fits_smaller_runs_than_it_forecasts_in_any_order_and_under_any_name(
    way: str, seed: int, quantile: float, beyond: float
) -> None:
    rng = np.random.default_rng(seed)
    asked = {"train_quantile": quantile, "beyond": beyond}
    table, options = runs_of(rng), Options(**{name: asked[name] for name in WAYS[way].reads if name in asked})
    beyond = options.beyond
    runs = bs.load_runs(table, loss_unit="nats")
    found = named(runs, way=way, options=options)
    size = dict(zip(runs["run_id"].astype(str), runs["params" if way == "leave-largest-out" else "flops"], strict=True))
    for train, test in found.values():
        assert not train & test
        if way == "leave-largest-out":
            assert max(size[name] for name in train) < min(size[name] for name in test)
        else:
            assert max(size[name] for name in train) * beyond < min(size[name] for name in test)
    mixed = table.iloc[rng.permutation(len(table))].reset_index(drop=True)
    assert named(bs.load_runs(mixed, loss_unit="nats"), way=way, options=options) == found
    other = bs.load_runs(table.assign(family="x" + table["family"]), loss_unit="nats")
    assert named(other, way=way, options=options) == {f"x{name}": runs for name, runs in found.items()}


@same_examples
@given(seed=seeds, shift=st.floats(-5, 5), times=st.floats(0.01, 100))
def test_scores_move_with_the_unit_and_not_with_the_order_of_draws(seed: int, shift: float, times: float) -> None:
    rng = np.random.default_rng(seed)
    draws, observed = rng.standard_t(4, (200, 6)), 2 * rng.standard_normal(6)
    plain = scores(draws, observed, logs=False)
    lengths = ["width_90", "interval_score_90", "crps", "bias"]
    moved = scores(times * draws + shift, times * observed + shift, logs=False)
    np.testing.assert_allclose(moved[lengths], times * plain[lengths], rtol=1e-6, atol=1e-9 * times)
    np.testing.assert_array_equal(moved.filter(like="coverage"), plain.filter(like="coverage"))
    mixed = scores(rng.permutation(draws), observed, logs=False)
    np.testing.assert_allclose(mixed, plain, rtol=1e-9, atol=1e-12)


@same_examples
@given(seed=seeds, centre=st.floats(-3, 3), spread=st.floats(0.01, 3))
def test_a_wider_interval_holds_what_a_narrower_one_does_and_costs_at_least_its_width(
    seed: int, centre: float, spread: float
) -> None:
    rng = np.random.default_rng(seed)
    found = scores(centre + spread * rng.standard_normal((100, 8)), rng.standard_normal(8), logs=False)
    assert (found["coverage_50"] <= found["coverage_80"]).all()
    assert (found["coverage_80"] <= found["coverage_90"]).all()
    assert (found["interval_score_90"] >= found["width_90"] - 1e-12).all()
    inside = found["coverage_90"] == 1
    np.testing.assert_allclose(found["interval_score_90"][inside], found["width_90"][inside])
    assert (found["crps"] >= -1e-12).all()
    assert (found["crps"] <= np.abs(found["bias"]) + spread).all()  # of a Normal, at most its distance and mean spread
