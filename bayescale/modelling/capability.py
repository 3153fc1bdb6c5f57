"""Capability: an observational law of public models, from compute and date over one latent capability to scores."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import partial
from typing import Any

import jax.numpy as jnp
import numpy as np
import numpyro
from jax import Array
from jax.nn import sigmoid
from numpyro import distributions as dist

from bayescale.core.errors import SpecError, nearest
from bayescale.modelling.battery import observe_rows, stacked
from bayescale.modelling.custom import CustomModel, Observes, named
from bayescale.parts.base import Column
from bayescale.parts.noise.share import UnitNormal

NAME = "capability"
_INPUTS = (("flops",), ("params", "tokens"), ())
FLOPS, PARAMS, TOKENS = 1e23, 1e10, 1e12
"""Where capability is zero for a usual family: FLOP, or params and tokens."""
_MIDDLE = -1.0  # logits of the first benchmark, at which the offsets of others are least tied to their slopes
YEAR = 2024.0
"""Where the trend over dates is zero, and the date of a query that names none."""
_EXTRA = {
    "released": Column("year", "date of release, as a year with decimals", YEAR, 2015.0, 2040.0),
    "flops_error": Column("e-folds", "standard deviation of the log of the compute", 0.0, 0.0, 5.0),
    "post_trained": Column("0 or 1", "whether the model was trained further after pre-training", 0.0, 0.0, 1.0),
}


@dataclass(frozen=True)
class Benchmark:
    """What a spec says of a benchmark.

    Attributes
    ----------
    chance : float
        Score of guessing.
    ceiling : float
        Score that no model exceeds.
    free : bool
        Whether the floor is estimated, with `chance` as its median.
    items : float
        Number of items, if the score is a share of them: their sampling error is then added to the scatter.
    of : str
        Benchmark of which this is the same test with an intervention, such as chain of thought: it is passed at the
        same slope and at less capability.
    anchor : bool
        Whether it anchors a speciality, which then raises its score by one in its logits.
    """

    chance: float = 0.0
    ceiling: float = 1.0
    free: bool = False
    items: float = float("inf")
    of: str = ""
    anchor: bool = False


@dataclass(frozen=True)
class Options:
    """Options of the model; a spec sets them under ``fields.capability``.

    Attributes
    ----------
    skills : int
        Number of latent dimensions: capability, and specialities that do not follow compute.
    trend : bool
        Whether capability at given compute grows with the date of release, in the column ``released``.
    slopes : bool
        Whether families differ in how fast capability grows with compute.
    uncertain : bool
        Whether the column ``flops_error`` says how well compute is known.
    post_training : bool
        Whether the column ``post_trained`` marks models that were trained further, which shifts their capability.
    interaction : bool
        Whether tokens are worth more or less to larger models (with params and tokens as inputs).
    leanings : bool
        Whether a family may be better or worse at a benchmark than its other scores say.
    """

    skills: int = 1
    trend: bool = True
    slopes: bool = True
    uncertain: bool = False
    post_training: bool = False
    interaction: bool = False
    leanings: bool = False


def capability_model(
    name: str, title: str, inputs: tuple[str, ...], benchmarks: Mapping[str, Benchmark], options: Options
) -> CustomModel:
    """Return the model of a spec.

    For model m of family f with compute C, released at date t, and benchmark b::

        S_m = trend · (t - 2024) + efficiency_f + steepness_f · ln(C / 1e23 FLOP) + own_m
        q_mb = sigmoid(slope_b · (S_m - midpoint_b) + loadings_b · T_m + dispersion_b · sqrt(shared) · leaning_bf)
        score_mb ~ Normal(p_mb, v_mb) between 0 and 1,   p_mb = floor_b + (ceiling_b - floor_b) · q_mb
        v_mb² = own_mb² + p_mb · (1 - p_mb) / items_b + scatter_b²
        own_mb = dispersion_b · sqrt(1 - shared) · (ceiling_b - floor_b) · q_mb · (1 - q_mb)

    Capability S is in e-folds of compute: a usual family (steepness 1, the centre of its prior) gains one with each
    e-fold of compute, and the compute sets its zero. This identifies scale and location. Slopes are positive, which
    sets the sign. A family's efficiency is then the log of the factor of compute that it saves at 1e23 FLOP. Without
    inputs, the spread of S within families is one, and its prior centres it: this is a one-dimensional item response
    model with difficulty ``midpoint`` and discrimination ``slope``. With params and tokens,
    ``S = 2 · share · ln N + 2 · (1 - share) · ln D``, so that compute that is spent on both in equal measure is again
    worth one. Specialities T have unit variance, do not depend on compute or date, and their loadings form a lower
    triangle with a positive diagonal on the benchmarks in the order of the spec, which excludes rotations.

    With leanings, the models of a family may be better at a benchmark, or worse, than their other scores say. The share
    ``shared`` of the variance of a benchmark's dispersion is then that of families. Without leanings, ``shared`` is 0,
    and ten models of one family count as ten witnesses of where a benchmark's curve lies.

    A missing score adds nothing to the density, which integrates it out.

    Use it for models of many makers, whose losses are not comparable and whose recipes are not known: to place a model
    among others, to forecast benchmarks from those that are known, or from compute and date. Do not use it for a sweep
    of one recipe, nor to say what an action would do: compute, data, date and family are confounded in public models.

    Parameters
    ----------
    name, title : str
        Of the spec, for display.
    inputs : tuple of str
        ``("flops",)``, ``("params", "tokens")``, or nothing.
    benchmarks : mapping of str to Benchmark
        By the column of the score, between 0 and 1.
    options : Options

    Returns
    -------
    CustomModel

    Notes
    -----
    Ruan, Maddison, Hashimoto 2024 (arXiv:2405.10938) take principal components of the scores and regress on them; here
    the error of the scores stays in the model. With params and tokens, an interaction and shared slopes it is close to
    Sloth (Maia Polo et al. 2024, arXiv:2412.06540), and without inputs to the capabilities index of Epoch AI
    (arXiv:2512.00193). The prior of the trend, a factor of three in compute a year, is the middle of published
    estimates from 2.2 to 9 (Ho et al. 2024, arXiv:2403.05812); that of families, a factor of 2.7 either way. Without
    skills or dates, it is standard compute scaling: a sigmoid in log compute with families.
    """
    extra = [name for name, wanted in zip(_EXTRA, (options.trend, options.uncertain, options.post_training),
                                          strict=True) if wanted]  # fmt: skip
    reads = dict.fromkeys(inputs) | {name: _EXTRA[name] for name in extra}
    observes = {name: Observes("real", "share of items") for name in benchmarks}
    function = partial(_capability, inputs, tuple(benchmarks.items()), options)
    said = {"model": NAME, "inputs": list(inputs), "benchmarks": {one: _changed(of) for one, of in benchmarks.items()},
            "fields": {NAME: _changed(options)}}  # fmt: skip
    maker = capability_model, (name, title, inputs, dict(benchmarks), options)
    return CustomModel(name, title, function, reads, observes, inputs, named(observes), said,
                       maker, whitened=True)  # fmt: skip


def _changed(of: Any) -> dict[str, Any]:
    """Return the fields of a dataclass that differ from their defaults."""
    return {one.name: getattr(of, one.name) for one in fields(of) if getattr(of, one.name) != one.default}


def read_capability(name: str, content: Mapping[str, Any]) -> CustomModel:
    """Read the model from the content of a spec.

    Parameters
    ----------
    name : str
        Of the spec.
    content : mapping
        Content of its TOML file.

    Returns
    -------
    CustomModel

    Raises
    ------
    SpecError
        If it names or sets something that does not exist.
    """
    if more := set(content) - {"model", "title", "learned", "inputs", "benchmarks", "fields"}:
        raise SpecError(f"spec {name!r}: model {NAME!r} has no {', '.join(sorted(more))}",
                        expected="title, inputs, benchmarks and fields")  # fmt: skip
    inputs = tuple(content.get("inputs", ("flops",)))
    if inputs not in _INPUTS:
        raise SpecError(f"spec {name!r}: the inputs do not fit model {NAME!r}",
                        expected="flops, or params and tokens, or none", got=str(list(inputs)))  # fmt: skip
    tests = {one: _made(name, Benchmark, said) for one, said in content.get("benchmarks", {}).items()}
    options = _made(name, Options, content.get("fields", {}).get(NAME, {}))
    _check(name, inputs, tests, options)
    return capability_model(name, content.get("title", name), inputs, tests, options)


def _made(spec: str, kind: type[Any], said: Mapping[str, Any]) -> Any:
    """Return a dataclass with the fields that a spec sets."""
    known: dict[str, Any] = {one.name: type(one.default) for one in fields(kind)}
    for name, value in said.items():
        if name not in known:
            raise SpecError(f"spec {spec!r} sets {name!r}, which there is not", expected=f"one of: {', '.join(known)}",
                            hint=nearest(name, known))  # fmt: skip
        number = known[name] is float and type(value) is int
        if type(value) is not known[name] and not number:
            raise SpecError(f"spec {spec!r}: {name} has the wrong type", expected=known[name].__name__, got=repr(value))
    return kind(**{name: known[name](value) for name, value in said.items()})


def _check(spec: str, inputs: tuple[str, ...], benchmarks: Mapping[str, Benchmark], options: Options) -> None:
    """Refuse benchmarks and options that make no model."""
    if not benchmarks:
        raise SpecError(
            f"spec {spec!r} names no benchmark", expected="for example benchmarks = {mmlu = {chance = 0.25}}"
        )
    if not 1 <= options.skills <= len(benchmarks):
        raise SpecError(f"spec {spec!r}: skills is out of range", expected=f"from 1 to {len(benchmarks)}",
                        got=str(options.skills))  # fmt: skip
    if options.interaction and len(inputs) < 2:
        raise SpecError(f"spec {spec!r}: an interaction needs params and tokens as inputs", got=str(list(inputs)))
    before: list[str] = []
    for name, of in benchmarks.items():
        least = 0.0 if not of.free else np.finfo(float).tiny
        if not least <= of.chance < of.ceiling <= 1 or of.items < 1:
            raise SpecError(f"spec {spec!r}: benchmark {name!r} is out of range",
                            expected="0 <= chance < ceiling <= 1, chance above 0 if free, at least one item",
                            got=str(_changed(of)))  # fmt: skip
        if of.of and (of.of not in before or benchmarks[of.of].of):
            raise SpecError(f"spec {spec!r}: benchmark {name!r} is a test with an intervention of no earlier benchmark",
                            expected=f"one of: {', '.join(before)}", got=of.of)  # fmt: skip
        before.append(name)


def _capability(
    inputs: tuple[str, ...], benchmarks: tuple[tuple[str, Benchmark], ...], options: Options, design: Any
) -> None:
    """Draw the ability of each model on the first benchmark, and its specialities; then observe every benchmark."""
    slope = numpyro.sample("slope", dist.LogNormal(np.log(0.5), 0.6))
    midpoint = numpyro.sample("midpoint", dist.Normal(0.0, 5.0))
    ability = _abilities(inputs, options, design, slope, midpoint)
    anchors = _anchors(benchmarks, options.skills - 1)
    special = _specialities(anchors, design)
    lines: dict[str, tuple[Any, Any, Any]] = {}  # of each benchmark's logit: intercept, slope in ability, loadings
    for i, (name, of) in enumerate(benchmarks):
        if of.of:
            intercept, ratio, loadings = lines[of.of]
            gain = numpyro.sample(f"gain_{name}", dist.Normal(0.0, 2.0))
            lines[name] = intercept + gain * slope * ratio, ratio, loadings
        elif i:
            ratio = numpyro.sample(f"ratio_{name}", dist.LogNormal(np.log(0.8), 0.6))
            offset = numpyro.sample(f"offset_{name}", dist.Normal(0.0, 2.0))
            lines[name] = offset - ratio * _MIDDLE, ratio, _loadings(name, anchors)
        else:
            lines[name] = jnp.zeros(()), jnp.ones(()), jnp.zeros(len(anchors))
        intercept, ratio, _ = lines[name]
        numpyro.deterministic(f"slope_{name}", slope * ratio)
        numpyro.deterministic(f"midpoint_{name}", midpoint - intercept / (slope * ratio))
    intercepts, ratios, loadings = (stacked(part) for part in zip(*lines.values(), strict=True))
    logits = intercepts[:, None] + ratios[:, None] * ability + loadings @ special
    _observe(benchmarks, options, logits, design)


def _loadings(name: str, anchors: list[str]) -> Array:
    """Return what each speciality adds to the logit of a benchmark."""
    if name in anchors:
        return jnp.asarray([float(name == anchor) for anchor in anchors])
    drawn = [numpyro.sample(f"loading_{name}_{one}", dist.Normal(0.0, 0.7)) for one in anchors]
    return stacked(drawn) if drawn else jnp.zeros(0)


def _observe(benchmarks: tuple[tuple[str, Benchmark], ...], options: Options, logits: Array, design: Any) -> None:
    """Observe the scores of all benchmarks, computed together: one benchmark per row."""
    drawn = []
    for name, of in benchmarks:
        dispersion = numpyro.sample(f"dispersion_{name}", dist.LogNormal(np.log(0.3), 0.6))
        scatter = numpyro.sample(f"scatter_{name}", dist.LogNormal(np.log(0.01), 0.6))
        drawn.append((dispersion, scatter, _floor(name, of), of.ceiling, 1 / of.items))
    dispersion, scatter, floor, ceiling, per_item = (
        stacked([jnp.asarray(one) for one in part])[:, None] for part in zip(*drawn, strict=True)
    )
    shared: Any = 0.0
    if options.leanings:
        shared = numpyro.sample("shared_dispersion", dist.Beta(2.0, 2.0))
        with numpyro.plate("benchmark", len(benchmarks), dim=-2), numpyro.plate("family", design.families, dim=-1):
            leaning = numpyro.sample("leaning", dist.Normal(0.0, 1.0))
        logits = logits + dispersion * jnp.sqrt(shared) * leaning[:, design.family]
    rise, share = ceiling - floor, sigmoid(logits)
    p = floor + rise * share
    own = (1 - shared) * (dispersion * rise * share * (1 - share)) ** 2
    spread = jnp.sqrt(own + p * (1 - p) * per_item + scatter**2)
    with numpyro.plate("run", len(design.family)):
        sites = {name: name for name, _ in benchmarks}
        # The sites of a custom model are masked from outside.
        observe_rows(sites, UnitNormal(p, spread), p, design.observed, present={})


def _abilities(inputs: tuple[str, ...], options: Options, design: Any, slope: Array, midpoint: Array) -> Array:
    """Return the ability of each model: what its family, its date and its compute say, and its own deviation.

    It is capability in logits of the first benchmark. The scores determine it, whatever its regression on compute
    says of the unit of capability, so that it mixes far better than capability itself.
    """
    spread = numpyro.sample("spread_family", dist.HalfNormal(1.0))
    with numpyro.plate("family", design.families):
        lead = numpyro.sample("lead", dist.Normal(0.0, slope * spread))
    numpyro.deterministic("efficiency", lead / slope)
    steepness = jnp.ones(())
    if options.slopes and inputs:
        differ = numpyro.sample("spread_steepness", dist.HalfNormal(0.3))
        with numpyro.plate("family", design.families):
            units = numpyro.sample("steepness_units", dist.Normal(0.0, 1.0))
        steepness = numpyro.deterministic("steepness", jnp.exp(differ * units))[design.family]
    center = steepness * _spent(inputs, options, design) - midpoint
    if options.trend:
        trend = numpyro.sample("trend", dist.Normal(np.log(3.0), 0.5))
        center = center + trend * (design.columns["released"] - YEAR)
    if options.post_training:
        boost = numpyro.sample("post_training", dist.Normal(0.0, 1.0))
        center = center + boost * design.columns["post_trained"]
    own = numpyro.sample("spread_own", dist.LogNormal(np.log(0.5), 0.5)) if inputs else 1.0
    if options.uncertain:
        own = jnp.sqrt(own**2 + (steepness * design.columns["flops_error"]) ** 2)
    with numpyro.plate("run", len(design.family)):
        return numpyro.sample("ability", dist.Normal(lead[design.family] + slope * center, slope * own))


def _spent(inputs: tuple[str, ...], options: Options, design: Any) -> Array:
    """Return what the resources spent are worth to a usual family, in e-folds of compute."""
    if not inputs:
        return jnp.zeros(())
    if inputs == ("flops",):
        return jnp.log(design.columns["flops"] / FLOPS)
    params, tokens = (jnp.log(design.columns[name] / at) for name, at in zip(inputs, (PARAMS, TOKENS), strict=True))
    share = numpyro.sample("share_of_params", dist.Beta(4.0, 4.0))
    spent = 2 * (share * params + (1 - share) * tokens)
    if options.interaction:
        spent = spent + numpyro.sample("interaction", dist.Normal(0.0, 0.1)) * params * tokens
    return spent


def _specialities(anchors: list[str], design: Any) -> Array:
    """Return each speciality of each model, in logits of its anchor, shape (speciality, run)."""
    if not anchors:
        return jnp.zeros((0, len(design.family)))
    shared, found = numpyro.sample("shared_speciality", dist.Beta(2.0, 2.0)), []
    for name in anchors:
        spread = numpyro.sample(f"spread_{name}", dist.HalfNormal(1.0))
        with numpyro.plate("family", design.families):
            family = numpyro.sample(f"speciality_{name}_family", dist.Normal(0.0, spread * jnp.sqrt(shared)))
        with numpyro.plate("run", len(design.family)):
            own = dist.Normal(family[design.family], spread * jnp.sqrt(1 - shared))
            found.append(numpyro.sample(f"speciality_{name}", own))
    return jnp.stack(found)


def _anchors(benchmarks: tuple[tuple[str, Benchmark], ...], count: int) -> list[str]:
    """Return the benchmarks that anchor specialities: those that the spec names, then the last ones of their own."""
    able = [(name, of) for name, of in benchmarks[1:] if not of.of]
    return [*(name for name, of in able if of.anchor), *(name for name, of in reversed(able) if not of.anchor)][:count]


def _floor(name: str, of: Benchmark) -> Any:
    """Return the floor of a benchmark: its chance, or an estimate about it."""
    if not of.free:
        return of.chance
    logit = np.log(of.chance) - np.log1p(-of.chance)
    return sigmoid(numpyro.sample(f"floor_{name}", dist.Normal(logit, 0.3)))
