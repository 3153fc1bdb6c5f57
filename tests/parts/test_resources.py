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
from bayescale.parts.catalogue import catalogue

LAWS, RESOURCES = catalogue("bayescale.parts.laws"), catalogue("bayescale.parts.resources")
INPUTS = (["params", "tokens"], ["active_params", "tokens"])


@pytest.fixture(autouse=True)
def _float64():
    with jax.enable_x64(True):
        yield


@pytest.fixture(scope="module")
def runs() -> bs.Runs:
    """Sizes and tokens on a grid, one to 30 epochs; the sizes are in both columns of params."""
    params, tokens, epochs = (
        x.ravel() for x in np.meshgrid(np.geomspace(1e8, 1e10, 4), np.geomspace(1e9, 1e11, 4), [1.0, 5.0, 30.0])
    )
    frame = pd.DataFrame(
        {"params": params, "active_params": params, "tokens": tokens, "unique_tokens": tokens / epochs}
    )
    for name, of in (entry for resource in RESOURCES.values() for entry in resource.columns.items()):
        spanned = np.geomspace(of.low + of.offset, of.high + of.offset, len(frame)) - of.offset
        frame[name] = np.random.default_rng(0).permutation(np.clip(spanned, of.low, of.high))
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
def test_a_resource_reads_the_laws_inputs_by_the_laws_names_alone(resource: type) -> None:
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


def test_a_budget_of_a_law_of_active_params_is_refused_with_repetition_too() -> None:
    """A budget is split by the column that the law reads, not by one that the resource alone named."""
    spec = spec_of("additive", INPUTS[1], ["repetition"])
    members = {spec.name: SimpleNamespace(spec=spec)}
    fit = SimpleNamespace(name=spec.name, columns=spec.columns, inputs=spec.inputs, members=members)
    with pytest.raises(QueryError, match="the decision needs a law of params and tokens"):
        bs.Allocation("1e22").actions(fit)
