"""A decision does not hang on the order of runs, on names, or on the units of params and tokens."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import bayescale as bs

same_examples = settings(derandomize=True, database=None, deadline=None, max_examples=8)
FLOPS = 1e22
CHAINS, DRAWS = 4, 1000  # enough for R-hat to be near 1 in any order
ANSWERS = ("params", "tokens", "expected_loss", "waste_fraction", "regret_nats")


def table(family: str = "ours") -> pd.DataFrame:
    params, ratio = (x.ravel() for x in np.meshgrid(np.geomspace(1e8, 3e9, 5), [5.0, 20.0, 80.0]))
    loss = 1.7 + 400 * params**-0.34 + 410 * (params * ratio) ** -0.28
    names = [f"r{i}" for i in range(params.size)]
    return pd.DataFrame({"family": family, "run_id": names, "params": params, "tokens": params * ratio, "loss": loss})


def draws(seed: int = 0) -> dict[str, np.ndarray]:
    """Values of the latent sites: those of an uncertain additive law."""
    rng = np.random.default_rng(seed)
    middles = {"level": (1.0, 0.002), "ratio_A": (0.3, 0.1), "ratio_B": (0.35, 0.1), "alpha_N": (0.34, 0.04),
               "beta_D": (0.3, 0.04), "sigma": (0.005, 0.1), "nu": (5.0, 0.1)}  # fmt: skip
    return {name: middle * np.exp(sd * rng.standard_normal((CHAINS, DRAWS))) for name, (middle, sd) in middles.items()}


def answers(fit: bs.Fit, flops: float = FLOPS, **given: str) -> dict[str, float]:
    found = bs.decide(bs.Allocation(flops, **given), fit).to_dict()
    return {name: found[name] for name in ANSWERS}


def fit_of(frame: pd.DataFrame, sites: dict[str, np.ndarray]) -> bs.Fit:
    return bs.Fit.from_samples(sites, "additive-unpooled", bs.load_runs(frame, loss_unit="nats"))


@pytest.fixture(scope="module")
def plain() -> dict[str, float]:
    return answers(fit_of(table(), draws()))


@same_examples
@given(seed=st.integers(0, 2**32 - 1))
def test_the_order_of_runs_and_the_name_of_their_family_change_nothing(seed: int, plain: dict[str, float]) -> None:
    rng = np.random.default_rng(seed)
    frame = table(f"family {seed}")
    mixed = frame.iloc[rng.permutation(len(frame))].reset_index(drop=True)
    assert answers(fit_of(mixed, draws())) == pytest.approx(plain, rel=1e-9)


@same_examples
@given(more=st.floats(-2, 2), longer=st.floats(-2, 2))
def test_units_of_params_and_tokens_move_the_split_alone(more: float, longer: float, plain: dict[str, float]) -> None:
    """Sites are read at the anchor, which moves along with the runs."""
    N, D = 10**more, 10**longer
    frame = table()
    moved = frame.assign(params=N * frame["params"], tokens=D * frame["tokens"])
    found = answers(fit_of(moved, draws()), N * D * FLOPS)
    expected = plain | {"params": N * plain["params"], "tokens": D * plain["tokens"]}
    assert found == pytest.approx(expected, rel=1e-6)


@pytest.mark.slow
def test_a_family_of_a_table_without_pooling_decides_as_it_does_alone() -> None:
    """The families have the same params and tokens, and so one anchor."""
    own = [draws(i) for i in range(3)]
    names = ["a", "b", "c"]
    frame = pd.concat([table(name) for name in names], ignore_index=True)
    frame["run_id"] = frame["family"] + frame["run_id"]
    joint = fit_of(frame, {name: np.stack([one[name] for one in own], axis=-1) for name in own[0]})
    for name, sites in zip(names, own, strict=True):
        alone = fit_of(frame[frame["family"] == name].reset_index(drop=True), sites)
        assert answers(joint, family=name) == pytest.approx(answers(alone), rel=1e-9)
