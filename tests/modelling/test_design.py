"""One way to make a design: of fitted runs, of queries and of what is simulated."""

from __future__ import annotations

import ast
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

import bayescale as bs
from bayescale.core.errors import RunsError
from bayescale.evaluation.simulation import FEWEST_SIMULATIONS, simulate
from bayescale.modelling.design import Design, anchor_of, design
from bayescale.parts.catalogue import catalogue
from bayescale.prediction.predict import design_at

OVER_ROWS = ("spent", "columns", "basis")
# A basis through knots has a share of variance of 1 - Σ b² left over: where b is rounded, its root is by this much.
ROUNDED = np.sqrt(64 * np.finfo(np.float64).eps)


@pytest.fixture(scope="module")
def runs() -> bs.Runs:
    """Three families on one grid; two are of one suite, and runs of one budget are one group."""
    random = np.random.default_rng(0)
    sizes, ratios = (grid.ravel() for grid in np.meshgrid(np.geomspace(1e7, 1e9, 4), [5.0, 20.0, 80.0]))
    table = pd.DataFrame({"params": sizes, "tokens": sizes * ratios, "curated": np.resize([0.0, 1.0], 12)})
    table["group"] = [f"size {size:.0e}" for size in sizes]
    tables = [table.assign(family=family, suite=suite)
              for family, suite in (("one", "ours"), ("other", "theirs"), ("third", "ours"))]  # fmt: skip
    frame = pd.concat(tables, ignore_index=True)
    law = 1.7 + 400 / frame["params"] ** 0.34 + 410 / frame["tokens"] ** 0.28
    return bs.load_runs(frame.assign(loss=law * np.exp(0.003 * random.standard_normal(len(frame)))))


@pytest.fixture(scope="module")
def spec() -> bs.Spec:
    """Every discrepancy, noise with a basis, a covariate, and three ways of pooling."""
    return bs.make_spec(
        "every",
        law="additive",
        responses={"loss": "heteroscedastic"},
        discrepancy=list(catalogue("bayescale.parts.discrepancies")),
        covariates={"curated": ["tokens"]},
        pooling={"default": "none", "alpha_N": "suite", "beta_D": "partial"},
        parameters={"alpha_N": {"spread": 0.1}},
    )


def test_a_row_of_a_design_is_the_same_whatever_rows_stand_beside_it(runs, spec):
    """Queries at runs, and simulations at runs and beyond, are where the fit saw the runs."""
    fitted, some = design(spec, runs), np.array([30, 2, 17, 3])
    alone = Design.build(spec, runs.frame.iloc[some], runs.frame)
    for part in OVER_ROWS:
        mine, all_of_them = getattr(alone, part), getattr(fitted, part)
        assert set(mine) == set(all_of_them)
        for name, values in mine.items():
            np.testing.assert_allclose(values, all_of_them[name][some], rtol=0, atol=ROUNDED)
    np.testing.assert_array_equal(alone.family, fitted.family[some])
    assert (alone.anchor, alone.anchor_loss, alone.priors) == (fitted.anchor, fitted.anchor_loss, fitted.priors)
    assert (alone.families, alone.lots, set(alone.centering)) == (3, (("suite", 2),), {"beta_D"})
    assert set(fitted.observed) == {"loss"}
    assert alone.observed == {}


@pytest.mark.parametrize(("suite", "lot", "lots"), [("theirs", 1, 3), ("else", 2, 3), (None, 2, 3)])
def test_a_new_family_is_one_more_in_a_lot_that_was_fitted_or_in_its_own(runs, spec, suite, lot, lots):
    queries = pd.DataFrame({"params": [1e10, 1e11], "tokens": [1e11, 1e13], "family": "new"})
    queries = queries.assign(flops=6 * queries["params"] * queries["tokens"], **({"suite": suite} if suite else {}))
    points = Design.build(spec, queries, runs.frame, new="new")
    assert points.families == 4
    np.testing.assert_array_equal(points.family, [3, 3])
    np.testing.assert_array_equal(points.lot["suite"], [0, 1, 0, lot])
    assert points.lots == (("suite", lots),)
    assert {name: len(values) for name, values in points.centering.items()} == {"beta_D": 4}
    np.testing.assert_array_equal(points.columns["curated"], [0.0, 0.0])  # as usual, unless a query says otherwise
    beyond = np.log(queries["flops"]) - np.log(runs["flops"].max())
    np.testing.assert_allclose(points.basis["break"][:, 0] / points.basis["break"][0, 0], beyond / beyond[0])


@pytest.mark.parametrize("new", [None, "new"])
def test_a_family_that_was_not_fitted_is_new_or_refused(runs, spec, new):
    with pytest.raises(KeyError, match="stranger"):
        Design.build(spec, runs.frame.assign(family="stranger"), runs.frame, new=new)


def test_an_anchor_is_given_or_that_of_the_fitted_runs(runs, spec):
    few = runs.frame.iloc[:2]
    derived, given = Design.build(spec, few, runs.frame), {"params": 20.0, "tokens": 23.0, "loss": 1.0}
    logs = {"params": np.log(runs["params"]).mean(), "tokens": np.log(runs["tokens"]).mean()}
    assert {name: float(value) for name, value in derived.anchor.items()} == pytest.approx(logs)
    assert float(derived.anchor_loss) == pytest.approx(np.log(np.median(runs["loss"])))
    assert anchor_of(spec, runs.frame) == derived.anchor | {"loss": derived.anchor_loss}
    other = Design.build(spec, few, runs.frame, anchor=given)
    assert other.anchor | {"loss": other.anchor_loss} == given
    assert not np.allclose(other.basis["walk"], derived.basis["walk"])


def test_a_covariate_that_says_nothing_is_refused_before_a_fit(runs, spec):
    still = bs.load_runs(runs.frame.assign(curated=1.0))
    with pytest.raises(RunsError, match=r"'curated' .* is 1 in every run"):
        design(spec, still)
    assert set(Design.build(spec, still.frame, runs.frame).columns["curated"]) == {1.0}  # of a query it is an answer


def queried(spec: bs.Spec, runs: bs.Runs) -> Design:
    """Design of queries at the runs that a fit had, of which no draw is needed."""
    anchor = {name: float(np.exp(value)) for name, value in anchor_of(spec, runs.frame).items()}
    fit: Any = SimpleNamespace(spec=spec, design_frame=runs.frame, meta={"anchor": anchor})
    return design_at(fit, runs.frame, {})


def simulated(spec: bs.Spec, runs: bs.Runs) -> object:
    return simulate(spec, runs, simulations=FEWEST_SIMULATIONS, seed=0)


every_door = pytest.mark.parametrize("door", [design, queried, simulated], ids=["fit", "query", "simulation"])


@every_door
def test_fits_queries_and_simulations_are_built_in_one_place(runs, spec, door, monkeypatch):
    class BuiltHereError(Exception):
        """What the place raises."""

    def build(*_: object, **__: object) -> Design:
        raise BuiltHereError

    monkeypatch.setattr(Design, "build", build)
    with pytest.raises(BuiltHereError):
        door(spec, runs)


@every_door
def test_fits_queries_and_simulations_refuse_the_same_families(runs, spec, door):
    torn = bs.load_runs(runs.frame.assign(suite=np.resize(["ours", "theirs"], len(runs))))
    with pytest.raises(RunsError, match="runs of family 'one' differ in suite"):
        door(spec, torn)


def test_no_other_room_puts_a_design_together():
    home = Path(bs.__file__).parent

    def makes_one(path: Path) -> bool:
        calls = (node.func for node in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(node, ast.Call))
        return any(isinstance(called, ast.Name) and called.id == "Design" for called in calls)

    assert [path for path in home.rglob("*.py") if makes_one(path)] == []


def test_a_table_without_params_and_without_a_loss_has_the_unit_of_the_law_as_its_anchor() -> None:
    spec = bs.make_spec("mine", law="power", responses={"gold-of-best": "gaussian-real"}, pooling={"default": "none"})
    table = pd.DataFrame({"flops": [1e18, 1e19, 1e20], "kl": 1.0, "gold_score": 0.5, "family": "ours"})
    assert float(anchor_of(spec, table)["loss"]) == 0.0  # ln 1
