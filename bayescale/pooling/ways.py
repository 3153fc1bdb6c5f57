"""How families share a parameter: complete, partial or no pooling.

Each way draws a parameter for the interpreter, and can *extend* posterior draws by one family that
was not fitted: a new family is one more entry on the same axis.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import ClassVar, NamedTuple

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
    """How many families there are, and which of `texts` evaluation texts each is of: `text` (family,)."""

    size: int
    text: Array | None = None
    texts: int = 0


class AbstractPooling(ABC):
    """A way for families to share a parameter with a prior and a spread."""

    name: ClassVar[str]
    labels: ClassVar[tuple[str, ...]] = ()
    """Columns of text that runs must hold."""

    @staticmethod
    @abstractmethod
    def draw(name: str, prior: Placed, spread: float, families: Families, centering: Array | float) -> Array:
        """Draw the parameter: shape () if shared, else (family,)."""

    @staticmethod
    @abstractmethod
    def latents(families: Families) -> int:
        """Count of latent scalars that `draw` adds."""

    @staticmethod
    @abstractmethod
    def extend(name: str, prior: Placed, draws: dict[str, Array], key: Array) -> dict[str, Array]:
        """Sites to replace in `draws` (leading dim: draw) for one more, new family of a new text at the end."""


class Complete(AbstractPooling):
    """One value for all families."""

    name = "complete"

    @staticmethod
    def draw(name, prior, spread, families, centering):
        return numpyro.sample(name, prior.distribution())

    @staticmethod
    def latents(families):
        return 1

    @staticmethod
    def extend(name, prior, draws, key):
        return {}


class Partial(AbstractPooling):
    """Families scatter around a common centre by a spread that is learnt.

    A family's `centering` moves its coordinate from its offset in units of the spread (0, best where
    its own runs say little) to its value (1, best where they say much); the posterior is the same.
    """

    name = "partial"

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
    def extend(name, prior, draws, key):
        offset = draws[f"{name}_offset"]
        fresh = jax.random.normal(key, (*offset.shape[:-1], 1), offset.dtype)
        return {f"{name}_offset": jnp.concatenate([offset, fresh], axis=-1)}


class Unpooled(AbstractPooling):
    """Every family for itself; a new family knows only the prior."""

    name = "none"

    @staticmethod
    def draw(name, prior, spread, families, centering):
        # One place a family: a distribution that the plate would expand has no quantiles to start from.
        apart = Placed(prior.transform, jnp.broadcast_to(prior.loc, (families.size,)), prior.scale)
        with numpyro.plate("family", families.size):
            return numpyro.sample(name, apart.distribution())

    @staticmethod
    def latents(families):
        return families.size

    @staticmethod
    def extend(name, prior, draws, key):
        value = draws[name]
        fresh = prior.distribution().sample(key, (*value.shape[:-1], 1)).astype(value.dtype)
        return {name: jnp.concatenate([value, fresh], axis=-1)}


class ByText(AbstractPooling):
    """One value for each evaluation text in one unit: columns ``eval_set`` and ``tokenizer`` must both match."""

    name = "text"
    labels = ("eval_set", "tokenizer")

    @staticmethod
    def draw(name, prior, spread, families, centering):
        apart = Placed(prior.transform, jnp.broadcast_to(prior.loc, (families.texts,)), prior.scale)
        with numpyro.plate("text", families.texts):
            value = numpyro.sample(f"{name}_text", apart.distribution())
        return numpyro.deterministic(name, value[families.text])

    @staticmethod
    def latents(families):
        return families.texts

    @staticmethod
    def extend(name, prior, draws, key):
        value = draws[f"{name}_text"]
        fresh = prior.distribution().sample(key, (*value.shape[:-1], 1)).astype(value.dtype)
        return {f"{name}_text": jnp.concatenate([value, fresh], axis=-1)}
