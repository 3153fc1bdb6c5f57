"""Published laws of modalities, and the interaction of two modalities in one model."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

import bayescale as bs
from bayescale.core.errors import QueryError, RunsError, UnknownName
from bayescale.modelling.design import anchor_of
from bayescale.parts.catalogue import part
from bayescale.parts.modalities import FLOPS, PARAMS, PF_DAY

TRUTH = {"synergy": 0.12, "rivalry_params": 0.06, "rivalry_tokens": 0.05, "rivalry_alpha": 0.3, "rivalry_beta": 0.4}
SECOND = {"floor": 2.4, "params": 0.4, "tokens": 0.25, "alpha": 0.3, "beta": 0.25}
CHAINS, DRAWS = 4, 250
TABLE_1 = {  # Henighan et al. 2020: floor, scale and exponent by params, and by compute in PF-days
    "language": ((0, 1.47e14, 0.070), (0, 3.47e8, 0.048)),
    "image_8x8": ((3.12, 8.0e1, 0.24), (3.13, 1.8e-8, 0.19)),
    "image_16x16": ((2.64, 2.8e2, 0.22), (2.64, 1.6e-8, 0.16)),
    "image_32x32": ((2.20, 6.3e1, 0.13), (2.21, 3.6e-9, 0.1)),
    "image_vq_16x16": ((3.99, 2.7e4, 0.13), (4.09, 6.1e-7, 0.11)),
    "image_vq_32x32": ((3.07, 1.9e4, 0.14), (3.17, 2.6e-6, 0.12)),
    "text_to_image_caption": ((0, 5.6e8, 0.037), None),
    "text_to_image_picture": ((2.0, 5.1e3, 0.16), (1.93, 1.5e-6, 0.15)),
    "image_to_text_caption": ((0, 7.0e8, 0.039), None),
    "image_to_text_picture": ((2.0, 5.5e3, 0.15), (1.97, 1.5e-6, 0.16)),
    "video_vq_16x16x16": ((1.01, 3.7e4, 0.24), (0.95, 2.2e-5, 0.14)),
    "math_extrapolate": ((0.28, 1.1e4, 0.16), (0.14, 1.4e-5, 0.17)),
}


def interaction(params: np.ndarray, tokens: np.ndarray) -> np.ndarray:
    """Loss of a shared model over the mean of two, by the formula of Aghajanyan et al."""
    rivalry = TRUTH["rivalry_params"] * (params / 1e9) ** -TRUTH["rivalry_alpha"]
    return rivalry + TRUTH["rivalry_tokens"] * (2 * tokens / 2e10) ** -TRUTH["rivalry_beta"] - TRUTH["synergy"]


def second(params: np.ndarray, tokens: np.ndarray) -> np.ndarray:
    by_tokens = SECOND["tokens"] * (tokens / 2e10) ** -SECOND["beta"]
    return SECOND["floor"] + SECOND["params"] * (params / 1e9) ** -SECOND["alpha"] + by_tokens


def first(params: np.ndarray, tokens: np.ndarray) -> np.ndarray:
    return 1.8 + 406.0 * params**-0.34 + 410.0 * tokens**-0.28


def runs_of(scatter: float) -> bs.Runs:
    """Both controls and a shared model at the same params and tokens of each modality."""
    params, tokens = (x.ravel() for x in np.meshgrid(np.geomspace(1e7, 6e9, 7), np.geomspace(5e9, 1e11, 5)))
    mean = 0.5 * (first(params, tokens) + second(params, tokens))
    losses = {"first": first(params, tokens), "second": second(params, tokens),
              "both": mean + interaction(params, tokens)}  # fmt: skip
    frame = pd.concat([pd.DataFrame({"params": params, "tokens": tokens, "loss": loss, "modality": name})
                       for name, loss in losses.items()], ignore_index=True)  # fmt: skip
    rng = np.random.default_rng(0)
    return bs.load_runs(frame.assign(loss=frame["loss"] * np.exp(scatter * rng.standard_normal(len(frame)))),
                        name="pair", loss_unit="nats")  # fmt: skip


@pytest.fixture(scope="module")
def known() -> bs.Fit:
    """A fit whose draws are the truth, but for an uncertain synergy."""
    spec, runs, rng = bs.load_spec("modalities"), runs_of(0.0), np.random.default_rng(1)
    anchor = {name: float(np.exp(value)) for name, value in anchor_of(spec, runs.frame).items()}
    a, b = 406.0 * anchor["params"] ** -0.34, 410.0 * anchor["tokens"] ** -0.28
    sites = {"level": (1.8 + a + b) / anchor["loss"], "ratio_A": a / 1.8, "ratio_B": b / 1.8, "alpha_N": 0.34,
             "beta_D": 0.28, "sigma": 0.002, "nu": 5.0, **{f"second_{name}": x for name, x in SECOND.items()},
             **TRUTH}  # fmt: skip
    drawn = {name: x * np.exp(1e-9 * rng.standard_normal((CHAINS, DRAWS))) for name, x in sites.items()}
    drawn["synergy"] = TRUTH["synergy"] * np.exp(0.1 * rng.standard_normal((CHAINS, DRAWS)))
    return bs.Fit.from_samples(drawn, spec, runs)


def test_henighan_2020_the_constants_are_those_of_table_1() -> None:
    assert {name: tuple(row) for name, row in PARAMS.items()} == {name: row for name, (row, _) in TABLE_1.items()}
    by_compute = {name: row for name, (_, row) in TABLE_1.items() if row}
    assert FLOPS.keys() == by_compute.keys()
    for name, (floor, scale, exponent) in by_compute.items():
        assert FLOPS[name] == (floor, pytest.approx(scale * 1e15 * 86_400, rel=1e-12), exponent), name


@pytest.mark.parametrize("rows", [PARAMS, FLOPS], ids=["params", "flops"])
def test_henighan_2020_the_rows_are_laws_of_the_catalogue(rows: dict) -> None:
    """At its scale a published law is one nat above its floor, and its exponent is the slope of the reducible loss."""
    law = part("laws", "power-floor")
    with jax.enable_x64(True):
        for row in (row for row in rows.values() if row.floor):
            start = np.log(row.floor + 1.0)
            found = [jnp.exp(start + law.log_loss(x, level=1.0, ratio_X=1 / row.floor, exponent=row.exponent))
                     for x in (0.0, np.log(1e3))]  # fmt: skip
            np.testing.assert_allclose(found, [row.floor + 1, row.floor + 1e3**-row.exponent], rtol=1e-12)
            values = {"level": 1.0, "ratio_X": 1 / row.floor, "exponent": row.exponent}
            published = law.published(np.log(row.scale), loss=start, **values)
            assert float(published["x_0"]) == pytest.approx(row.scale, rel=1e-9)
            assert float(published["E"]) == pytest.approx(row.floor, rel=1e-9)


@pytest.mark.parametrize("rows", [PARAMS, FLOPS], ids=["params", "flops"])
def test_henighan_2020_the_rows_without_a_floor_are_power_laws(rows: dict) -> None:
    law = part("laws", "power")
    for row in (row for row in rows.values() if not row.floor):
        published = law.published(
            np.log(row.scale / 1e3), loss=np.log(1e3**row.exponent), level=1.0, exponent=row.exponent
        )
        assert float(published["X_c"]) == pytest.approx(row.scale, rel=1e-4)


def test_henighan_2020_floors_by_params_and_by_compute_agree_within_a_tenth_but_for_mathematics() -> None:
    apart = {name: abs(PARAMS[name].floor - FLOPS[name].floor) for name in FLOPS}
    assert {name for name, x in apart.items() if x > 0.1 + 1e-9} == {"math_extrapolate"}
    assert FLOPS["video_vq_16x16x16"].scale == pytest.approx(1.9008e15)
    assert PF_DAY == 1e15 * 86_400


def test_henighan_2020_a_prior_of_an_exponent_has_the_published_one_as_its_median() -> None:
    assert [bs.exponent_from_modality(name).median for name in PARAMS] == [row.exponent for row in PARAMS.values()]
    spec = bs.load_spec("modalities").with_prior(alpha_N=bs.exponent_from_modality("image_8x8"))
    assert spec.parameters["alpha_N"].prior.median == 0.24
    with pytest.raises(UnknownName, match="no published law of flops for modality 'text_to_image_caption'"):
        bs.exponent_from_modality("text_to_image_caption", "flops")


def test_aghajanyan_2023_a_shared_model_has_the_published_interaction(known: bs.Fit) -> None:
    """Forecasts of the first, the second and both, at params and tokens that no run has."""
    params, tokens = np.array([3e8, 2e10]), np.array([4e10, 3e9])
    query = pd.DataFrame({"params": params, "tokens": tokens})
    low, other, both = (bs.forecast(known, query.assign(modality=name)).table["epred_q50"].to_numpy()
                        for name in ("first", "second", "both"))  # fmt: skip
    np.testing.assert_allclose(low, first(params, tokens), rtol=1e-6)
    np.testing.assert_allclose(other, second(params, tokens), rtol=1e-6)
    np.testing.assert_allclose(both, 0.5 * (low + other) + interaction(params, tokens), atol=0.002)


def test_aghajanyan_2023_sharing_is_better_from_the_size_at_which_synergy_outweighs_competition(known: bs.Fit) -> None:
    choice = bs.decide("share", known, params="1B", tokens="20B")
    grid = np.geomspace(1e6, 1e12, 100_000)
    synergy = np.median(known.posterior["synergy"].to_numpy())
    even = grid[np.argmax(interaction(grid, 20 * grid) + TRUTH["synergy"] < synergy)]
    assert choice.break_even_params["q50"] == pytest.approx(even, rel=0.02)
    truth = known.posterior["synergy"].to_numpy() > interaction(np.array(1e9), np.array(2e10)) + TRUTH["synergy"]
    assert choice.probability_share == pytest.approx(truth.mean(), abs=1e-9)
    assert choice.action["model"] == "share"
    small = bs.decide("share", known, params="10M", tokens="200M")
    assert small.action["model"] == "split"


def test_a_decision_to_share_needs_two_modalities(chinchilla_fit: bs.Fit) -> None:
    with pytest.raises(QueryError, match="needs a fit of two modalities"):
        bs.decide("share", chinchilla_fit, params="1B", tokens="20B")


def test_a_run_of_an_unknown_modality_is_refused() -> None:
    frame = runs_of(0.0).frame
    with pytest.raises(RunsError, match=r"(?s)unknown modality.*first, second, both.*'video'"):
        part("penalties", "modalities").basis(frame.assign(modality="video"))


@pytest.mark.slow
def test_aghajanyan_2023_the_interaction_is_recovered() -> None:
    fit = bs.fit(runs_of(0.002), "modalities", seed=0)
    assert fit.converged
    for name, value in {**TRUTH, **{f"second_{name}": x for name, x in SECOND.items()}}.items():
        drawn = np.log(fit.posterior[name].to_numpy())
        assert abs(np.log(value) - drawn.mean()) < 4 * drawn.std(), name
