"""The interpreter: a spec and a design → an ordinary NumPyro model."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from functools import partial, singledispatch
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import numpyro
import pandas as pd
from jax import Array
from numpyro import distributions as dist
from numpyro import handlers
from numpyro.primitives import Messenger

from bayescale.core.dims import FAMILY, KNOT
from bayescale.core.lookup import looked_up
from bayescale.modelling.battery import observe_together
from bayescale.modelling.custom import CustomModel
from bayescale.modelling.design import Design, conformed, design
from bayescale.modelling.grouping import ways_of
from bayescale.modelling.model import Instance, Model
from bayescale.modelling.sites import COORDINATES, LAW, LOG_LOSS, location_of
from bayescale.modelling.spec import Spec, inputs_of
from bayescale.modelling.spec_io import load_spec
from bayescale.parts.base import AbstractDiscrepancy, Families, Part, Values
from bayescale.runs.readers import load_runs
from bayescale.runs.table import Runs


@singledispatch
def interpret(model: Model, design: Design) -> None:
    """Draw a model's parameters, then observe its responses for each run.

    Parameters
    ----------
    model : Model
    design : Design
        Runs as arrays.
    """
    raise TypeError(f"not a model: {model!r}")


@interpret.register
def _(model: CustomModel, design: Design) -> None:
    """Run a custom model; a run without a value of what it observes adds nothing to the density."""
    _Masked(model, design.present)(design)


class _Masked(Messenger):
    """A handler that masks observed sites where runs have no value."""

    def __init__(self, fn: Callable[..., None], present: Mapping[str, Array]) -> None:
        self.present = present
        super().__init__(fn)

    def process_message(self, msg: dict[str, Any]) -> None:
        """Mask a site that is observed and lacks values."""
        if msg["type"] == "sample" and msg["is_observed"] and msg["name"] in self.present:
            msg["fn"] = msg["fn"].mask(self.present[msg["name"]])


@interpret.register
def _(spec: Spec, design: Design) -> None:
    """Draw a spec's parameters, then observe its responses for each run."""
    values, batteries = _parameters(spec, design), spec.batteries
    pick = partial(_pick, values)
    law = spec.part("laws", spec.law)
    read = inputs_of(law, spec.inputs)
    anchor = {name: design.anchor[column] for name, column in read.items()}

    def balance(log_tokens: Array) -> Array:
        return anchor["params"] + law.balance(log_tokens - anchor["tokens"], **pick(law))

    worth = _worth(spec, design, values)
    spent: Values = worth | {name: worth[column] for name, column in read.items()}
    for name in spec.resources:
        resource = spec.part("resources", name)
        spent = resource.effective(spent, balance, **pick(resource))
    inputs = [spent[name] - anchor[name] for name in read]
    discrepancies = spec.discrepancies
    coordinates = _coordinates(discrepancies, design)
    with _over_runs(design):
        relative = law.log_loss(*inputs, **pick(law))
        for penalty in spec.penalizing:
            known = worth | {name: worth[column] for name, column in read.items()}
            text = design.basis.get(penalty.name)
            loss = penalty.penalized(design.anchor_loss + relative, known, text, **pick(penalty))
            relative = loss - design.anchor_loss
        numpyro.deterministic(LAW, design.anchor_loss + relative)
        for part, own in zip(discrepancies, coordinates, strict=True):
            relative += part.shift(design.basis[part.name], own, **pick(part))
        log_loss = numpyro.deterministic(LOG_LOSS, design.anchor_loss + relative)
        # What else is measured of a run follows its own loss, with the noise of the run; that of the law if the run has
        # none. Of several losses it is the first.
        measured = log_loss
        alone = [one for one in spec.instances if not one.battery]
        for of in reversed([one for one in alone if one.is_loss]):
            value = _observe(of, values, log_loss, log_loss, design)
            measured = jnp.where(design.present.get(of.site, True), jnp.log(value), measured)
        for of in (one for one in alone if not one.is_loss):
            _observe(of, values, log_loss, measured, design)
        for members in batteries.values():
            observe_together(members, values, log_loss, measured, design)


def _parameters(spec: Spec, design: Design) -> dict[str, Array]:
    """Draw every parameter: of shape (run,), (response,) for a battery, or () if families share it."""
    values: dict[str, Array] = {}
    families = Families(design.families, design.lot, dict(design.lots))
    across, batteries = spec.across, spec.batteries
    for name, way in ways_of(spec, design.families, design.lot).items():
        setting, centering = spec.parameters[name], design.centering.get(name, 0.0)
        prior = setting.prior.placed(design.priors[name])
        spread = design.spreads.get(name, setting.spread)
        if name in across:  # a battery's responses take the place of families
            values[name] = way.draw(name, prior, spread, Families(len(batteries[across[name]]), {}, {}), centering)
            continue
        value = way.draw(name, prior, spread, families, centering)
        values[name] = looked_up(value, design.family) if jnp.ndim(value) else value
    return values


def _observe(of: Instance, values: Values, log_loss: Array, measured: Array, design: Design) -> Array:
    """Observe a response of each run at its measured log loss; a run without a value adds nothing to the density."""
    columns = of.view(design.columns)
    at = partial(of.response.location, columns=columns, **of.pick(values, of.response))
    numpyro.deterministic(location_of(of.name), at(log_loss))
    likelihood = of.noise.distribution(at(measured), {**columns, **design.basis}, **of.pick(values, of.noise))
    if of.site in design.present:
        likelihood = likelihood.mask(design.present[of.site])
    return numpyro.sample(of.site, likelihood, obs=design.observed.get(of.site))


def _worth(spec: Spec, design: Design, values: Values) -> dict[str, Array]:
    """Return resources spent, scaled by the worth that covariates give them; unique tokens scale as tokens do."""
    spent = dict(design.spent)
    for name, worth, column in spec.gains:
        for also in {worth, worth.replace("tokens", "unique_tokens")} & set(spent):
            spent[also] = spent[also] + values[name] * design.columns[column]
    return spent


def _coordinates(discrepancies: Sequence[AbstractDiscrepancy], design: Design) -> list[Array]:
    """Return the coordinates of each discrepancy for each run's family; each of shape (run, coordinate)."""
    ends = np.cumsum([sum(of.coordinates.values()) for of in discrepancies], dtype=int).tolist()
    if not ends or not ends[-1]:
        return [jnp.zeros(0)] * len(discrepancies)
    with numpyro.plate(FAMILY, design.families, dim=-2), numpyro.plate(KNOT, ends[-1], dim=-1):
        own = numpyro.sample(COORDINATES, dist.Normal(jnp.zeros((design.families, ends[-1])), 1.0))[design.family]
    return jnp.split(own, ends[:-1], axis=-1)


def _over_runs(design: Design) -> AbstractContextManager:
    """Return one plate over the runs, or plates over blocks and slots with the empty slots masked."""
    if design.mask is None:
        return numpyro.plate("run", design.family.shape[0])
    stack = ExitStack()
    stack.enter_context(numpyro.plate_stack("run", design.mask.shape))
    stack.enter_context(handlers.mask(mask=design.mask))
    return stack


def model(spec: Model | str | Path, runs: Runs | str | Path | pd.DataFrame) -> Callable[[], None]:
    """Return a spec on runs as an ordinary NumPyro model without arguments.

    Parameters
    ----------
    spec : Model, or what :func:`load_spec` takes
    runs : Runs, or what :func:`load_runs` takes

    Returns
    -------
    callable
        The NumPyro model.

    Raises
    ------
    RunsError
        If a cell is not valid, or the runs cannot identify the law of `spec`.

    Examples
    --------
    >>> from numpyro.infer import MCMC, NUTS
    >>> mcmc = MCMC(NUTS(bs.model("additive", "hoffmann2022")), num_warmup=1, num_samples=1)
    """
    spec = spec if isinstance(spec, Model) else load_spec(spec)
    runs = runs if isinstance(runs, Runs) else load_runs(runs)
    return partial(interpret, spec, design(spec, conformed(spec, runs)))


def _pick(values: Values, of: Part) -> dict[str, Array]:
    return {name: values[name] for name in of.parameters}
