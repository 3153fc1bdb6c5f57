"""Conformance of every resource in the catalogue: it changes what the law reads, or the spec is refused."""

from __future__ import annotations

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from numpyro import handlers

import bayescale as bs
from bayescale.core.errors import QueryError, SpecError
from bayescale.parts.catalogue import catalogue, part

LAWS, RESOURCES = ({name: part(kind, name) for name in catalogue(f"bayescale.parts.{kind}")}
                   for kind in ("laws", "resources"))  # fmt: skip
INPUTS = (["params", "tokens"], ["active_params", "tokens"])


@pytest.fixture(autouse=True)
def _float64():
    with jax.enable_x64(True):
        yield


@pytest.fixture(scope="module")
def runs() -> bs.Runs:
    """Sizes and tokens on a grid, one to 30 epochs, of sparsity 1 to 16; the sizes are in both columns of params."""
    params, tokens, epochs = (
        x.ravel() for x in np.meshgrid(np.geomspace(1e8, 1e10, 4), np.geomspace(1e9, 1e11, 4), [1.0, 5.0, 30.0])
    )
    frame = pd.DataFrame(
        {"params": params, "active_params": params, "tokens": tokens, "unique_tokens": tokens / epochs}
    )
    for name, of in (entry for resource in RESOURCES.values() for entry in resource.columns.items()):
        frame[name] = np.random.default_rng(0).permutation(of.spanned(len(frame)))
    return bs.load_runs(frame.assign(loss=1.8 + 480 * params**-0.35 + 2100 * tokens**-0.37))


def spec_of(law: str, inputs: list[str], resources: list[str]) -> bs.Spec:
    return bs.make_spec("mine", law=law, inputs=inputs, resources=resources, pooling={"default": "none"})


def log_loss(spec: bs.Spec, runs: bs.Runs, **values: float) -> jax.Array:
    """Log loss of the runs with parameters at their priors' medians, or at the values that are given."""
    medians = {name: jnp.asarray(setting.prior.median) for name, setting in spec.settings}
    model = handlers.substitute(handlers.seed(bs.model(spec, runs), 0), data=medians | values)
    return handlers.trace(model).get_trace()["log_loss"]["value"]


def accepted(resource: str) -> list[tuple[str, list[str]]]:
    """Laws, and columns that their inputs are read from, with which a spec may name the resource."""
    found = []
    for law in LAWS:
        for inputs in (columns for columns in INPUTS if len(columns) == len(LAWS[law].inputs)):
            try:
                spec_of(law, inputs, [resource])
            except SpecError:
                continue
            found.append((law, inputs))
    return found


def able(resource: str) -> set[tuple[str, ...]]:
    """The inputs that hold what the resource expects."""
    columns = RESOURCES[resource].changes.values()
    return {tuple(inputs) for inputs in INPUTS if all(set(inputs) & set(one) for one in columns)}


@pytest.mark.parametrize("resource", RESOURCES)
def test_every_parameter_of_a_resource_changes_the_loss_of_every_law_that_takes_it(
    resource: str, runs: bs.Runs
) -> None:
    pairs = accepted(resource)
    assert {"additive", "coupled"} <= {law for law, _ in pairs}
    assert {tuple(inputs) for _, inputs in pairs} == able(resource)
    for law, inputs in pairs:
        spec = spec_of(law, inputs, [resource])
        for name, row in RESOURCES[resource].parameters.items():
            ends = [log_loss(spec, runs, **{name: value}) for value in row.prior.interval()]
            assert float(jnp.max(jnp.abs(ends[1] - ends[0]))) > 1e-3, (law, inputs, name)


@pytest.mark.parametrize("resource", [name for name in RESOURCES if len(able(name)) == len(INPUTS)])
def test_a_resource_does_the_same_whichever_column_holds_the_params(resource: str, runs: bs.Runs) -> None:
    for law in {law for law, _ in accepted(resource)}:
        total, active = (log_loss(spec_of(law, inputs, [resource]), runs) for inputs in INPUTS)
        np.testing.assert_array_equal(total, active)


@pytest.mark.parametrize("resource", RESOURCES.values(), ids=RESOURCES.keys())
def test_a_resource_reads_the_laws_inputs_by_the_laws_names_alone(resource: bs.AbstractResource) -> None:
    """A required column of the same name would be what the runs hold, not what the law reads."""
    assert resource.changes
    assert not set(resource.requires) & {*resource.changes, *(c for one in resource.changes.values() for c in one)}


def test_total_params_are_nothing_to_a_law_of_active_params(runs: bs.Runs) -> None:
    spec = spec_of("additive", INPUTS[1], ["repetition"])
    assert "params" not in spec.columns
    sparse = bs.load_runs(runs.frame.assign(params=8 * runs["params"]))
    np.testing.assert_array_equal(log_loss(spec, sparse), log_loss(spec, runs))


@pytest.mark.parametrize("resource", ["efficiency", "repetition"])
@pytest.mark.parametrize(
    ("law", "inputs", "lost"),
    [
        ("additive", ["params", "step"], "tokens"),
        ("additive", ["flops", "tokens"], "params"),
        ("additive", ["tokens", "params"], "params or tokens"),
        ("power", ["tokens"], "params"),
    ],
)
def test_a_resource_without_effect_is_refused(resource: str, law: str, inputs: list[str], lost: str) -> None:
    with pytest.raises(
        SpecError, match=f"'{resource}' would have no effect, because the law does not read {lost}\n"
    ) as caught:
        spec_of(law, inputs, [resource])
    assert f"law {law!r} of {', '.join(inputs)}" in str(caught.value)
    assert "params (column params or active_params)" in str(caught.value)


def test_sparsity_of_a_law_of_all_params_is_refused() -> None:
    """There it would count the params that a token does not use twice."""
    with pytest.raises(SpecError, match="the law does not read params\n"):
        spec_of("additive", ["params", "tokens"], ["sparsity"])


@pytest.mark.parametrize(("worth", "like"), [(1e-9, 1.0), (1 - 1e-9, 8.0)])
def test_sparsity_lies_between_a_dense_model_of_the_used_params_and_one_of_all(worth: float, like: float) -> None:
    used, resource = np.log([1e8, 1e9]), RESOURCES["sparsity"]
    spent = {"params": used, "tokens": used, "sparsity": np.log(8.0)}
    found = resource.effective(spent, None, worth=worth)
    np.testing.assert_allclose(found["params"], used + np.log(like), atol=1e-7)
    assert found["tokens"] is used


def test_a_budget_of_a_law_of_active_params_is_refused_with_repetition_too() -> None:
    """A budget is split by the column that the law reads, not by one that the resource alone named."""
    spec = spec_of("additive", INPUTS[1], ["repetition"])
    members = {spec.name: SimpleNamespace(spec=spec)}
    fit = SimpleNamespace(name=spec.name, columns=spec.columns, inputs=spec.inputs, members=members)
    with pytest.raises(QueryError, match="the decision needs a law of params and tokens"):
        bs.Allocation("1e22").actions(fit)


def test_liew_2025_a_dense_start_adds_its_tokens_at_their_worth() -> None:
    tokens, resource = np.log([1e9, 1e11]), RESOURCES["dense-start"]
    spent = {"params": tokens, "tokens": tokens, "dense_tokens": np.log([4e9, 1.0])}
    found = resource.effective(spent, None, dense_worth=0.5)
    np.testing.assert_allclose(np.exp(found["tokens"]), [3e9, 1e11], rtol=1e-9)


@pytest.mark.slow
def test_liew_2025_worths_of_routed_models_are_recovered_where_the_dense_phase_varies() -> None:
    """Sizes, sparsities and tokens of both phases on a grid, as the open runs do not have them."""
    sizes, sparsities, lengths, starts = (
        np.geomspace(3e7, 1e9, 4),
        [1.0, 4.0, 16.0],
        np.geomspace(1e9, 6e10, 4),
        [1e9, 3e10],
    )
    used, sparsity, tokens, dense = (x.ravel() for x in np.meshgrid(sizes, sparsities, lengths, starts))
    truth = {"worth": 0.4, "dense_worth": 0.3}
    curve = (
        1.8
        + 480 * (used * sparsity ** truth["worth"]) ** -0.35
        + 2100 * (tokens + truth["dense_worth"] * dense) ** -0.37
    )
    frame = pd.DataFrame({"params": used * sparsity, "active_params": used, "sparsity": sparsity, "tokens": tokens,
                          "dense_tokens": dense, "flops": 6 * used * tokens})  # fmt: skip
    noise = 0.003 * np.random.default_rng(0).standard_normal(len(frame))
    fit = bs.fit(bs.load_runs(frame.assign(loss=curve * np.exp(noise)), loss_unit="nats"), "upcycling", seed=0)
    assert fit.converged
    for name, value in truth.items():
        row = fit.summary.loc[name]
        assert abs(row["mean"] - value) < 4 * row["sd"], name
        assert row["sd"] < 0.25 * value, name


def test_a_resource_of_tokens_alone_needs_a_law_of_tokens() -> None:
    with pytest.raises(SpecError, match="'critical-batch' would have no effect, because the law does not read tokens"):
        spec_of("additive", ["params", "step"], ["critical-batch"])
    assert spec_of("additive", ["flops", "tokens"], ["critical-batch"]).columns  # whatever the other input
