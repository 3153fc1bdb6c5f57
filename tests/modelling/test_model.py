"""The interpreter: a spec and runs make an ordinary NumPyro model of the size that its tables predict."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pandas as pd
import pytest
from jax.flatten_util import ravel_pytree
from numpyro import handlers
from numpyro.distributions import biject_to
from numpyro.infer import MCMC, NUTS
from numpyro.infer.util import log_density

import bayescale as bs
from bayescale.core import shipped
from bayescale.core.dims import DIMS
from bayescale.evaluation.simulation import sweep_for
from bayescale.modelling.design import design
from bayescale.modelling.interpreter import interpret
from bayescale.modelling.layout import blocked, layout
from bayescale.modelling.sites import COORDINATES, sites_of
from bayescale.parts.base import Families, Role
from bayescale.parts.catalogue import catalogue, part
from bayescale.parts.pooling.by_suite import BySuite
from bayescale.parts.pooling.complete import Complete
from bayescale.parts.pooling.none import Unpooled
from bayescale.parts.pooling.partial import Partial
from bayescale.parts.priors import LogitNormal, LogNormal, Normal, spread_prior

SPECS = [spec for spec in map(bs.load_spec, shipped.names("models")) if spec.law]
RESERVED = {"alpha", "model", "column", "group", "sample", "variable", "plot"}
"""Names that ArviZ's plots take for their own."""

every_spec = pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.name)
PRIORS = [Normal(0.5, 2.0), LogNormal(0.33, 0.35), LogNormal(10.0, 1.2, 1.0), LogitNormal(0.9, 1.0)]
every_prior = pytest.mark.parametrize("prior", PRIORS, ids=repr)
FAMILIES = 4
SEVERAL = Families(FAMILIES, dict.fromkeys(("text", "suite"), np.array([0, 1, 1, 0])), {"text": 2, "suite": 2})


@pytest.fixture(autouse=True)
def _float64():
    with jax.enable_x64(True):
        yield


def table(families: int, spec: bs.Spec | None = None) -> bs.Runs:
    """A dozen runs a family, or as many as a spec needs, with every column that it reads."""
    rng = np.random.default_rng(0)
    each = max(12, len(spec.law_part.parameters) + 1 if spec else 0)
    n = each * families
    params, tokens = np.exp(rng.uniform(17, 22, n)), np.exp(rng.uniform(21, 26, n))
    loss = (1.7 + (params / 1e8) ** -0.3 + (tokens / 1e10) ** -0.3) * np.exp(0.005 * rng.normal(size=n))
    frame = {
        "family": np.repeat([f"f{i}" for i in range(families)], each),
        "params": params,
        "tokens": tokens,
        "unique_tokens": tokens / rng.choice([1.0, 2.0, 8.0], n),
        "loss": loss,
        "examples": tokens,
        "error_rate": loss / 10,
        "n_items": 1000.0,
        "n_correct": rng.integers(300, 700, n).astype(float),
        "chance": 0.25,
        "eval_set": "web",
        "tokenizer": "bytes",
        "suite": np.where(np.arange(n) < 2 * each, "early", "late"),
    }
    swept = sweep_for(spec).frame if spec else pd.DataFrame()
    frame |= {name: np.resize(swept[name].to_numpy(), n) for name in swept if name not in {*frame, "flops"}}
    return bs.load_runs(pd.DataFrame(frame))


def trace_of(spec: bs.Spec, runs: bs.Runs) -> dict:
    return handlers.trace(handlers.seed(bs.model(spec, runs), 0)).get_trace()


def latent(trace: dict) -> dict:
    return {k: s for k, s in trace.items() if s["type"] == "sample" and not s["is_observed"]}


@every_spec
@pytest.mark.parametrize("families", [1, 3])
def test_latent_scalars_are_as_many_as_the_tables_predict(spec, families):
    runs = table(families, spec)
    parts = [part("discrepancies", name) for name in spec.discrepancy]
    sizes = {"family": families, "text": 1, "suite": 2, "knot": sum(sum(of.coordinates.values()) for of in parts)}
    sizes |= {battery: len(members) for battery, members in spec.batteries.items()}
    declared = {name: site for name, site in sites_of(spec, families, {"text", "suite"}).items() if site.latent}
    predicted = sum(math.prod(sizes[dim] for dim in site.dims) for site in declared.values())
    sites = latent(trace_of(spec, runs))
    assert set(sites) == set(declared)
    assert sum(np.size(site["value"]) for site in sites.values()) == predicted
    unconstrained = {name: biject_to(site["fn"].support).inv(site["value"]) for name, site in sites.items()}
    assert ravel_pytree(unconstrained)[0].size == predicted


@every_spec
def test_one_family_has_one_latent_scalar_a_row_of_the_tables(spec):
    parts = [part("discrepancies", name) for name in spec.discrepancy]
    own = {COORDINATES} if any(of.coordinates for of in parts) else set()
    alone = {name for name in spec.table if name not in spec.across}  # a battery's vary over its responses
    declared = {name for name, site in sites_of(spec, 1, set()).items() if site.latent}
    found = set(latent(trace_of(spec, table(1, spec))))
    assert found == declared
    assert found & set(spec.table) >= alone
    assert spec.batteries or found == alone | own


@every_spec
@pytest.mark.parametrize("families", [1, 3])
def test_no_site_and_no_dim_has_a_name_that_arviz_reserves(spec, families):
    trace = trace_of(spec, table(families, spec))
    law = spec.law_part
    anchor = [0.0] * len(law.inputs)
    published = law.published(*anchor, loss=0.0, **{name: row.prior.median for name, row in law.parameters.items()})
    assert not RESERVED & {*trace, *published, *DIMS}
    plates = {frame.name for site in trace.values() for frame in site.get("cond_indep_stack", ())}
    assert plates <= set(DIMS)


@every_spec
def test_only_observations_are_drawn_run_by_run(spec):
    sites = latent(trace_of(spec, table(3, spec)))
    assert not {k for k, s in sites.items() if any(f.name == "run" for f in s["cond_indep_stack"])}


@pytest.mark.parametrize("families", [1, pytest.param(3, marks=pytest.mark.slow)])
def test_plain_numpyro_runs_the_model(families):
    spec = bs.load_spec("additive")
    mcmc = MCMC(NUTS(bs.model(spec, table(families))), num_warmup=50, num_samples=50, progress_bar=False)
    mcmc.run(jax.random.key(0))
    draws = mcmc.get_samples()
    shape = (50,) if families == 1 else (50, families)
    for name in part("laws", "additive").parameters:
        assert draws[name].shape == shape
        assert bool(jnp.all(jnp.isfinite(draws[name]) & (draws[name] > 0)))
        assert bool(jnp.all(jnp.std(draws[name], axis=0) > 0))


def test_a_parameter_can_be_held_at_a_plain_number():
    model = handlers.seed(bs.model(bs.load_spec("coupled"), table(1)), 0)
    trace = handlers.trace(handlers.substitute(model, data={"kappa": 1.0})).get_trace()
    assert bool(jnp.all(jnp.isfinite(trace["log_loss"]["value"])))


def draw_partial(prior, centering) -> jax.Array:
    return Partial().draw("theta", prior, 0.4, SEVERAL, centering)


def partial_trace(prior, centering) -> dict:
    return handlers.trace(handlers.seed(partial(draw_partial, prior, centering), 0)).get_trace()


def partial_sites(prior, centering) -> dict[str, jax.Array]:
    return {name: site["value"] for name, site in partial_trace(prior, centering).items() if site["type"] != "plate"}


def replay(prior, centering, sites: dict[str, jax.Array]) -> tuple[jax.Array, dict[str, jax.Array]]:
    """Log density and all sites, given the latent ones."""
    latent = {name: sites[name] for name in ("theta_center", "theta_spread", "theta_coordinate")}
    density, trace = log_density(draw_partial, (prior, centering), {}, latent)
    return density, {name: site["value"] for name, site in trace.items() if "value" in site}


def same_values(prior, centering, sites: dict[str, jax.Array]) -> dict[str, jax.Array]:
    """Latent sites of another centering that say the same centre, spread and families' values."""
    middle = prior.transform.inv(sites["theta_center"]) - prior.loc
    value = prior.transform.inv(sites["theta"]) - prior.loc
    scale = sites["theta_spread"] ** centering
    coordinate = centering * middle + (value - middle) / sites["theta_spread"] * scale
    return sites | {"theta_coordinate": coordinate}


# A dozen roundings of figures up to 64, magnified by inverting a transform whose slope may be 1/100.
ROUNDED = 12 * 64 * 100 * np.finfo(np.float64).eps
EVERY_CENTERING = [0.0, 0.5, 1.0, np.array([0.0, 0.2, 0.7, 1.0])]


@every_prior
def test_centering_leaves_the_density_of_the_values_as_it_is(prior):
    sites = partial_sites(prior, 0.0)
    spread = sites["theta_spread"]
    middle, value = (prior.transform.inv(sites[k]) - prior.loc for k in ("theta_center", "theta"))
    direct = (
        prior.distribution().log_prob(sites["theta_center"])
        + partial_trace(prior, 0.0)["theta_spread"]["fn"].log_prob(spread)
        + jnp.sum(dist.Normal(middle, spread).log_prob(value))
    )
    for centering in EVERY_CENTERING:
        density, found = replay(prior, centering, same_values(prior, centering, sites))
        np.testing.assert_allclose(found["theta"], sites["theta"], rtol=ROUNDED)
        # A coordinate's slope by its family's value is spread ** (centering - 1).
        jacobian = jnp.sum((jnp.broadcast_to(jnp.asarray(centering), (FAMILIES,)) - 1) * jnp.log(spread))
        assert float(density + jacobian) == pytest.approx(float(direct), abs=ROUNDED)


def test_centering_leaves_the_posterior_of_a_whole_spec_as_it_is():
    spec, runs = bs.load_spec("additive"), table(3)
    points = design(spec, runs)
    trace = trace_of(spec, runs)
    sites = {name: site["value"] for name, site in latent(trace).items()}
    density, _ = log_density(partial(interpret, spec), (points,), {}, sites)
    centred, jacobian = dict(sites), 0.0
    for name in points.centering:
        value = spec.parameters[name].prior.transform.inv(trace[name]["value"])
        centred[f"{name}_coordinate"] = value - spec.parameters[name].prior.loc
        jacobian += 3 * jnp.log(sites[f"{name}_spread"])
    ones = {name: np.ones(3) for name in points.centering}
    other, _ = log_density(partial(interpret, spec), (replace(points, centering=ones),), {}, centred)
    # The likelihood's slope by a value is at most (misfit in sigmas) / sigma, here below 1e6.
    assert float(other + jacobian) == pytest.approx(float(density), abs=1e6 * 64 * np.finfo(np.float64).eps)
    assert other != density


@pytest.mark.parametrize("spare", [0, 3])
def test_blocks_change_neither_the_density_nor_its_slope(spare):
    spec = bs.load_spec("additive")
    runs = table(3).take(np.arange(len(table(3))) % 7 != 3)  # sizes that fill no block
    flat = design(spec, runs)
    order = np.random.default_rng(0).permutation(len(runs))
    flat = replace(
        flat,
        spent={k: v[order] for k, v in flat.spent.items()},
        observed={k: v[order] for k, v in flat.observed.items()},
        family=flat.family[order],
    )
    least, width = layout([flat])
    blocks, rows = blocked(flat, (least + spare, width))
    assert not blocks.mask.all()
    np.testing.assert_array_equal(blocks.observed["loss"].ravel()[rows], flat.observed["loss"])
    np.testing.assert_array_equal(np.broadcast_to(blocks.family, blocks.mask.shape).ravel()[rows], flat.family)
    sites = {name: site["value"] for name, site in latent(trace_of(spec, runs)).items()}

    def slope(points):
        return jax.value_and_grad(lambda values: log_density(partial(interpret, spec), (points,), {}, values)[0])(sites)

    (one, one_slope), (other, other_slope) = slope(flat), slope(blocks)
    # A sum of n terms is rounded by up to n eps of its size.
    close = 64 * len(runs) * np.finfo(np.float64).eps
    assert float(other) == pytest.approx(float(one), rel=close)
    for name, value in one_slope.items():
        np.testing.assert_allclose(other_slope[name], value, rtol=close, atol=close * float(jnp.abs(value).max()))


@every_prior
@pytest.mark.parametrize("centering", [0.0, 1.0, np.array([0.0, 0.2, 0.7, 1.0])], ids=["0", "1", "mixed"])
def test_restart_keeps_the_families_values(prior, centering):
    sites = partial_sites(prior, 0.3)
    moved = Partial().restart("theta", prior, 0.3, sites, jnp.full(FAMILIES, 0.2), jnp.asarray(centering))
    assert set(moved) == {"theta_center", "theta_spread", "theta_coordinate"}
    assert moved["theta_spread"] != sites["theta_spread"]
    _, found = replay(prior, centering, moved)
    np.testing.assert_allclose(found["theta"], sites["theta"], rtol=ROUNDED)


def test_restart_centres_the_offsets_and_moves_the_spread_between_families_and_prior():
    prior, variance = Normal(0.0, 1.0), jnp.asarray([0.1, 0.2, 0.3, 0.4])
    sites = partial_sites(prior, 0.0)
    offset = sites["theta_offset"] - jnp.mean(sites["theta_offset"])
    families_say = float(sites["theta_spread"] * jnp.sqrt(jnp.mean(offset**2 + variance)))
    for spread in (families_say / 3, families_say * 3):
        moved = Partial().restart("theta", prior, spread, sites, variance, jnp.zeros(FAMILIES))
        _, found = replay(prior, 0.0, moved)
        assert float(jnp.mean(found["theta_offset"])) == pytest.approx(0.0, abs=ROUNDED)
        low, high = sorted((families_say, spread_prior(spread).median))
        assert low < float(moved["theta_spread"]) < high


def many(way, prior, n: int = 2000) -> dict[str, jax.Array]:
    """Draws of a way's sites, leading dim draw."""

    def one(key: jax.Array) -> dict[str, jax.Array]:
        model = handlers.seed(way.draw, key)
        trace = handlers.trace(model).get_trace("theta", prior, 0.3, SEVERAL, 0.0)
        return {name: site["value"] for name, site in trace.items() if site["type"] != "plate"}

    return jax.vmap(one)(jax.random.split(jax.random.key(1), n))


@pytest.mark.parametrize(("way", "sites"), [
    (Partial(), {"theta_coordinate"}), (Unpooled(), {"theta"}), (BySuite(), {"theta_coordinate", "theta_suite"}),
])  # fmt: skip
def test_extending_adds_one_family_and_keeps_the_others(way, sites):
    prior = LogNormal(0.33, 0.35)
    draws = many(way, prior)
    extended = way.extend("theta", prior, 0.3, draws, jax.random.key(2))
    assert set(extended) == sites
    for site in sites:
        assert extended[site].shape == (2000, draws[site].shape[1] + 1)
        np.testing.assert_array_equal(extended[site][:, :-1], draws[site])


def test_families_of_one_suite_are_similar_and_each_alone_has_the_prior():
    prior, n = LogNormal(0.33, 0.35), 2000
    draws = many(BySuite(), prior)
    first, second, third, _ = jnp.log(draws["theta"] / 0.33).T / 0.35  # the second and the third share a suite
    share = 1 - (0.3 / 0.35) ** 2
    for one in (first, second, third):
        assert abs(float(one.mean())) < 4 / np.sqrt(n)
        assert abs(float((one**2).mean()) - 1) < 4 * np.sqrt(2 / n)
    assert abs(float((second * third).mean()) - share) < 4 * np.sqrt((1 + share**2) / n)
    assert abs(float((first * second).mean())) < 4 / np.sqrt(n)
    extended = BySuite().extend("theta", prior, 0.3, draws, jax.random.key(2))
    fresh = jnp.log(extended["theta_suite"][:, -1] / 0.33) / np.sqrt(0.35**2 - 0.3**2)
    assert abs(float((fresh**2).mean()) - 1) < 4 * np.sqrt(2 / n)


def test_a_shared_parameter_needs_no_extension():
    prior = LogNormal(0.33, 0.35)
    assert Complete().extend("theta", prior, 0.3, many(Complete(), prior), jax.random.key(2)) == {}


@pytest.mark.parametrize(("way", "site", "coordinate"), [
    (Partial(), "theta_coordinate", lambda x: x),
    (Unpooled(), "theta", lambda x: jnp.log(x / 0.33) / 0.35),
])  # fmt: skip
def test_a_new_family_is_drawn_like_the_others(way, site, coordinate):
    prior, n = LogNormal(0.33, 0.35), 2000
    fresh = coordinate(way.extend("theta", prior, 0.3, many(way, prior), jax.random.key(2))[site][:, -1])
    assert abs(float(fresh.mean())) < 4 / np.sqrt(n)  # 4 standard errors of a standard Normal's mean
    assert abs(float((fresh**2).mean()) - 1) < 4 * np.sqrt(2 / n)  # and of its mean square


WAYS = [part("pooling", name) for name in catalogue("bayescale.parts.pooling")]
every_way = pytest.mark.parametrize("way", WAYS, ids=lambda way: way.name)


@every_way
def test_every_way_of_pooling_declares_exactly_the_sites_that_it_draws(way):
    sizes = {"family": FAMILIES, "text": 2, "suite": 3}
    lots = {"text": np.array([0, 1, 1, 0]), "suite": np.array([0, 1, 2, 0])}
    families = Families(FAMILIES, lots, {"text": 2, "suite": 3})
    trace = handlers.trace(handlers.seed(way.draw, 0)).get_trace("theta", Normal(0.0, 1.0), 0.4, families, 0.0)
    drawn = {name: site for name, site in trace.items() if site["type"] != "plate"}
    declared = {site.name: site for site in way.sites("theta")}
    assert set(declared) == set(drawn)
    for name, site in drawn.items():
        assert declared[name].latent == (site["type"] == "sample"), name
        assert site["value"].shape == tuple(sizes[dim] for dim in declared[name].dims), name
        plates = {frame.name for frame in site["cond_indep_stack"]}
        assert plates == (set(declared[name].dims) if declared[name].latent else set()), name
    roles = [site.role for site in declared.values()]
    assert len(set(roles)) == len(roles)
    assert way.site("theta", Role.VALUE).name == "theta"
    assert way.centered == ({Role.CENTER, Role.SPREAD, Role.COORDINATE} <= set(roles))
    assert way.population("theta").role is (Role.CENTER if way.centered else Role.VALUE)
    assert declared["theta"].kept


@every_way
def test_what_a_fit_keeps_replays_the_draws_of_every_family(way):
    """What is kept of the sites gives back the latent ones, and so every site."""
    lots, prior = [0, 1, 1, 0], LogNormal(0.33, 0.35)
    drawn = many(way, prior, 5)
    kept = {site.name: drawn[site.name] for site in way.sites("theta") if site.kept}
    latent = way.given("theta", kept, lots)
    assert set(latent) == {site.name for site in way.sites("theta") if site.latent}

    def again(values: dict[str, jax.Array]) -> dict[str, jax.Array]:
        model = handlers.substitute(handlers.seed(way.draw, 0), data=values)
        trace = handlers.trace(model).get_trace("theta", prior, 0.3, SEVERAL, 0.0)
        return {name: site["value"] for name, site in trace.items() if site["type"] != "plate"}

    for name, value in jax.vmap(again)(latent).items():
        np.testing.assert_allclose(value, drawn[name], rtol=ROUNDED)
