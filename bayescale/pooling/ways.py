"""How families share a parameter: complete, partial or no pooling.

Each way draws a parameter for the interpreter, and can *extend* posterior draws by one family that
was not fitted: a new family is one more entry on the same axis.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpyro
from jax import Array
from numpyro import distributions as dist

from bayescale.law import LogNormal, Placed


def spread_prior(spread: float) -> LogNormal:
    """Prior on the standard deviation between families: median 0.67, 95 % quantile 1.96 times `spread`.

    Both are those of a half-Normal of that scale. Unlike it, the density vanishes at zero, where few
    families would make a funnel that no sampler enters.
    """
    median, high = 0.6745, 1.9600  # of a standard half-Normal
    return LogNormal(median * spread, math.log(high / median) / 1.6449)


class Families(NamedTuple):
    """How many families there are, and which of so many `lots` each is in, by way of pooling: `lot` (family,)."""

    size: int
    lot: Mapping[str, Array]
    lots: Mapping[str, int]


class AbstractPooling(ABC):
    """A way for families to share a parameter with a prior and a spread."""

    name: ClassVar[str]
    about: ClassVar[str]
    """What families have in common, in words; of a parameter whose spread is ``{spread}``."""
    lots: ClassVar[tuple[str, ...]] = ()
    """Columns of text that sort families into lots: in one lot are those that are alike in all of them."""
    named: ClassVar[bool] = True
    """Whether runs must hold these columns."""
    known: ClassVar[bool] = False
    """Whether the spread is known: the standard deviation between families, not the scale of its prior."""
    together: ClassVar[bool] = True
    """Whether a family depends on every other; if not, on those of its lot alone."""

    @staticmethod
    @abstractmethod
    def draw(name: str, prior: Placed, spread: Array | float, families: Families, centering: Array | float) -> Array:
        """Draw the parameter: shape () if shared, else (family,)."""

    @staticmethod
    @abstractmethod
    def latents(families: Families) -> int:
        """Count of latent scalars that `draw` adds."""

    @staticmethod
    def given(name: str, draws: Mapping[str, Array], lots: Sequence[Any]) -> dict[str, Array]:
        """Draws of its latent sites at centering 0, from those that a fit keeps; `lots` of the families, in order."""
        return {name: draws[name]}

    @staticmethod
    @abstractmethod
    def extend(
        name: str, prior: Placed, spread: Array | float, draws: dict[str, Array], key: Array
    ) -> dict[str, Array]:
        """Latent sites to replace in `draws` (leading dim: draw) for one more, new family of a new lot at the end."""


class Complete(AbstractPooling):
    """One value for all families."""

    name = "complete"
    about = "one for all families"

    @staticmethod
    def draw(name, prior, spread, families, centering):
        return numpyro.sample(name, prior.distribution())

    @staticmethod
    def latents(families):
        return 1

    @staticmethod
    def extend(name, prior, spread, draws, key):
        return {}


class Partial(AbstractPooling):
    """Families scatter around a common centre by a spread that is learnt.

    A family's `centering` moves its coordinate from its offset in units of the spread (0, best where
    its own runs say little) to its value (1, best where they say much); the posterior is the same.
    """

    name = "partial"
    about = "families scatter by about {spread}"

    @staticmethod
    def draw(name, prior, spread, families, centering):
        center = numpyro.sample(f"{name}_center", prior.distribution())
        deviation = numpyro.sample(f"{name}_spread", spread_prior(spread).distribution())
        middle = prior.transform.inv(center) - prior.loc
        with numpyro.plate("family", families.size):
            base = dist.Normal(centering * middle, deviation**centering)
            coordinate = numpyro.sample(f"{name}_coordinate", base)
        offset = (coordinate - centering * middle) / deviation**centering
        numpyro.deterministic(f"{name}_offset", offset)
        return numpyro.deterministic(name, prior.transform(prior.loc + middle + deviation * offset))

    @staticmethod
    def center_given(prior: Placed, coordinate: Array, spread: Array, centering: Array) -> tuple[Array, Array]:
        """Mean and SD of the centre's Gaussian coordinate given the families' coordinates and the spread.

        The prior's own conditional. Seen through it, the centre is independent of them: with few
        families the centre's width follows the spread, a funnel of its own.
        """
        weight = centering / spread ** (2 * centering)
        precision = 1 / prior.scale**2 + jnp.sum(centering * weight)
        return prior.loc + jnp.sum(weight * coordinate) / precision, 1 / jnp.sqrt(precision)

    @staticmethod
    def restart(
        name: str, prior: Placed, spread: float, sites: dict[str, Array], variance: Array, centering: Array
    ) -> dict[str, Array]:
        """Sites with the families' values kept, centre and spread moved to fit them, in other coordinates.

        One step of expectation-maximisation, with the `variance` of each family's offset. It stays
        clear of the joint mode, which is without bound where the spread vanishes.
        """
        old, deviation = prior.transform.inv(sites[f"{name}_center"]), sites[f"{name}_spread"]
        offset = sites[f"{name}_offset"]
        shift = jnp.mean(offset)
        found = jnp.log(deviation) + jnp.log(jnp.mean((offset - shift) ** 2 + variance)) / 2
        before = spread_prior(spread)
        # The log of a spread found from n families has a precision of about 2 (n - 1).
        weights = jnp.asarray([2.0 * (offset.size - 1), before.scale**-2])
        wider = jnp.exp(jnp.sum(weights * jnp.stack([found, jnp.asarray(before.loc)])) / jnp.sum(weights))
        center = old + deviation * shift
        moved = deviation * (offset - shift) / wider
        return {
            f"{name}_center": prior.transform(center),
            f"{name}_spread": wider,
            f"{name}_coordinate": centering * (center - prior.loc) + moved * wider**centering,
        }

    @staticmethod
    def latents(families):
        return 2 + families.size

    @staticmethod
    def given(name, draws, lots):
        shared = {site: draws[site] for site in (f"{name}_center", f"{name}_spread")}
        return shared | {f"{name}_coordinate": draws[f"{name}_offset"]}

    @staticmethod
    def extend(name, prior, spread, draws, key):
        return _with_one_more_offset(name, draws, key)


class Unpooled(AbstractPooling):
    """Every family for itself; a new family knows only the prior."""

    name = "none"
    about = "every family for itself"
    together = False

    @staticmethod
    def draw(name, prior, spread, families, centering):
        return _apart(name, "family", prior, families.size)

    @staticmethod
    def latents(families):
        return families.size

    @staticmethod
    def extend(name, prior, spread, draws, key):
        return _with_one_more(name, prior, draws, key)


class ByText(AbstractPooling):
    """One value for each evaluation text in one unit: columns ``eval_set`` and ``tokenizer`` must both match."""

    name = "text"
    about = "one for all families of one evaluation text and tokenizer"
    lots = ("eval_set", "tokenizer")
    together = False

    @staticmethod
    def draw(name, prior, spread, families, centering):
        value = _apart(f"{name}_text", "text", prior, families.lots["text"])
        return numpyro.deterministic(name, value[families.lot["text"]])

    @staticmethod
    def latents(families):
        return families.lots["text"]

    @staticmethod
    def given(name, draws, lots):
        first = [lots.index(lot) for lot in dict.fromkeys(lots)]  # family of each text
        return {f"{name}_text": draws[name][:, jnp.array(first)]}

    @staticmethod
    def extend(name, prior, spread, draws, key):
        return _with_one_more(f"{name}_text", prior, draws, key)


class BySuite(AbstractPooling):
    """Families of one suite, as the column ``suite`` names them, scatter about its middle by a spread that is known.

    Every family by itself has the prior: suites' middles scatter by as much less. Families without a suite have one of
    their own.
    """

    name = "suite"
    about = "families of one suite scatter by {spread}"
    lots = ("suite",)
    named = False
    known = True
    together = False

    @staticmethod
    def draw(name, prior, spread, families, centering):
        middle = _apart(f"{name}_suite", "suite", BySuite.middles(prior, spread), families.lots["suite"])
        with numpyro.plate("family", families.size):
            offset = numpyro.sample(f"{name}_coordinate", dist.Normal(jnp.zeros(families.size), 1.0))
        numpyro.deterministic(f"{name}_offset", offset)
        mine = prior.transform.inv(middle)[families.lot["suite"]]
        return numpyro.deterministic(name, prior.transform(mine + spread * offset))

    @staticmethod
    def middles(prior: Placed, spread: Array | float) -> Placed:
        """Prior of suites' middles."""
        return Placed(prior.transform, prior.loc, jnp.sqrt(prior.scale**2 - spread**2))

    @staticmethod
    def latents(families):
        return families.lots["suite"] + families.size

    @staticmethod
    def given(name, draws, lots):
        return {f"{name}_suite": draws[f"{name}_suite"], f"{name}_coordinate": draws[f"{name}_offset"]}

    @staticmethod
    def extend(name, prior, spread, draws, key):
        own, suite = jax.random.split(key)
        middles = BySuite.middles(prior, spread)
        return _with_one_more(f"{name}_suite", middles, draws, suite) | _with_one_more_offset(name, draws, own)


def _apart(site: str, plate: str, prior: Placed, size: int) -> Array:
    """Draw so many values, each from the prior."""
    # One place each: a distribution that the plate would expand has no quantiles to start from.
    apart = Placed(prior.transform, jnp.broadcast_to(prior.loc, (size,)), prior.scale)
    with numpyro.plate(plate, size):
        return numpyro.sample(site, apart.distribution())


def _with_one_more_offset(name: str, draws: Mapping[str, Array], key: Array) -> dict[str, Array]:
    offset = draws[f"{name}_coordinate"]
    fresh = jax.random.normal(key, (*offset.shape[:-1], 1), offset.dtype)
    return {f"{name}_coordinate": jnp.concatenate([offset, fresh], axis=-1)}


def _with_one_more(site: str, prior: Placed, draws: dict[str, Array], key: Array) -> dict[str, Array]:
    value = draws[site]
    fresh = prior.distribution().sample(key, (*value.shape[:-1], 1)).astype(value.dtype)
    return {site: jnp.concatenate([value, fresh], axis=-1)}
