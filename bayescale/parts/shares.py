"""Shares: the columns that say how much of the training text came from each domain."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache

import jax.numpy as jnp
from jax import Array
from jax.nn import logsumexp

from bayescale.parts.base import Column, Kind, Parameter
from bayescale.parts.priors import LogNormal

PREFIX = "share_"
"""What the name of a column of shares begins with; the name of the domain follows."""
OFFSET = 1e-6
"""Added to a share before the log is taken, because a mixture may have none of a domain."""
MIXTURE = "mixture"
"""What the columns are shares of."""
DOMAINS = ("web", "code")
"""Domains of a mixture that a spec does not name: the split of web text and code."""

SHUKOR = "Shukor et al. 2025, arXiv:2507.09404"
POWER = Parameter(LogNormal(0.5, 0.5), "1", "common power of the shares", 0.1, SHUKOR, kind=Kind.EXPONENT)


def own_power(domain: str) -> Parameter:
    """Return the row of the factor by which a domain's power differs from the common one.

    Parameters
    ----------
    domain : str

    Returns
    -------
    Parameter
    """
    return Parameter(LogNormal(1.0, 0.3), "1", f"power of {domain}, over the common power", 0.1)


def names(domains: Sequence[str]) -> tuple[str, ...]:
    """Return the names of the columns of shares.

    Parameters
    ----------
    domains : sequence of str

    Returns
    -------
    tuple of str

    Examples
    --------
    >>> names(("web", "code"))
    ('share_web', 'share_code')
    """
    return tuple(f"{PREFIX}{domain}" for domain in domains)


@cache
def columns(domains: tuple[str, ...]) -> Mapping[str, Column]:
    """Return the columns of shares that a part of these domains declares; a query without them has equal shares.

    Parameters
    ----------
    domains : tuple of str

    Returns
    -------
    mapping of str to Column
    """
    equal = 1.0 / len(domains)
    return {
        name: Column(
            "share of tokens", f"share of {domain} in the training text", equal, 0.0, 1.0, OFFSET, share_of=MIXTURE
        )
        for name, domain in zip(names(domains), domains, strict=True)
    }


def weighted(
    logs: Sequence[Array], domains: Sequence[str], parameters: Mapping[str, Array], worth: str, power: str
) -> Array:
    r"""Return the log of :math:`\sum_i C_i h_i^{\gamma_i}`, where a power is the common one times its own.

    Parameters
    ----------
    logs : sequence of Array
        Natural log of each share :math:`h_i`.
    domains : sequence of str
    parameters : mapping of str to Array
    worth, power : str
        Stems of the names of :math:`C_i` and of the power: ``worth_web``, ``power`` and ``power_web``.

    Returns
    -------
    Array
    """
    # Stacked, so that the program that is compiled grows little with the number of domains.
    each = [jnp.stack([parameters[f"{stem}_{one}"] for one in domains]) for stem in (worth, power)]
    at = jnp.stack(list(logs))
    own, factor = (one.reshape(len(one), *(1,) * (at.ndim - one.ndim), *one.shape[1:]) for one in each)
    return logsumexp(jnp.log(own) + parameters[power] * factor * at, axis=0)
