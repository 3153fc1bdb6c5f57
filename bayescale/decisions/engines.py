"""Engines: the value of an experiment, from simulated outcomes and the stakes of a decision."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from arviz_stats.base import array_stats
from jax import Array
from scipy import stats

from bayescale.core.precision import float64
from bayescale.core.quantities import count
from bayescale.decisions.stakes import Stakes
from bayescale.inference.aot import call, use_cache

_DIAGNOSED = 16  # fantasies whose weights are diagnosed, because a fit of a tail takes a millisecond
_FEW = 0.1  # largest share of fantasies with unreliable weights: an engine that fails more often is not used
_FEWEST = 10  # effective draws, below which no tail can be fitted to the weights
_ENOUGH = 20  # gains, below which a slope on the controls adds more error than it removes
_GOLDEN = (5**0.5 - 1) / 2  # its multiples are spread evenly
_NORMALS = 4096  # quasi-random points at which the Gaussian engine integrates: error 1e-4 of the value's scale
_Estimate = tuple[float, float, np.ndarray, np.ndarray]
"""Value, reduction of variance, and gain by fantasy less controls and as it is: without a block of draws, or with all
(-1)."""


@dataclass(frozen=True, eq=False)
class Value:
    """Expected value of an experiment to a decision, in the unit of the utility, with its Monte Carlo error.

    Attributes
    ----------
    evsi : float
        Expected value of sample information: what choosing the action after the experiment adds to the expected
        utility. The action is chosen from one half of the draws and scored on the other, both ways round, so that the
        maximum's bias does not raise it. It may be slightly negative.
    mcse : float
        Its standard error, from blocks of draws left out in turn.
    plug_in : float
        The same without the split: biased upwards. The exact value is usually between the two.
    evpi : float
        Expected value of perfect information about the parameters: no experiment has a larger value.
    level : float
        Expected reduction of the variance of the outcome of the action that is best now, in squared units.
    level_mcse : float
        Its standard error.
    level_share : float
        The reduction relative to the present variance.
    cost : float
        Cost of the experiment, in FLOP.
    engine : str
        A key of :data:`bayescale.decisions.value.ENGINES`, or ``"refit"``.
    gains : ndarray, shape (fantasy,)
        Gain after each simulated outcome, less controls of mean zero; its mean is `evsi`. Empty for ``"gaussian"``.
    replicates : ndarray, shape (block,)
        The value without each block of draws; for a refit, without each outcome.
    pareto_k : float
        The Pareto shape of the weights that nine of ten fantasies do not exceed; NaN for engines without weights.
    most_k : float
        Largest shape at which the weights are reliable, from the number of draws.
    realised : ndarray, shape (fantasy,)
        Gain after each simulated outcome, without controls. Quantiles and tails are of these, not of `gains`.
    """

    evsi: float
    mcse: float
    plug_in: float
    evpi: float
    level: float
    level_mcse: float
    level_share: float
    cost: float
    engine: str
    gains: np.ndarray
    replicates: np.ndarray
    pareto_k: float = math.nan
    most_k: float = math.nan
    realised: np.ndarray = field(default_factory=lambda: np.empty(0))

    @property
    def reliable(self) -> bool:
        """Whether the weights can be relied on; True for engines without weights."""
        return not self.pareto_k > self.most_k

    @property
    def per_cost(self) -> float:
        """The value per FLOP."""
        return self.evsi / self.cost

    def net(self, worth: float) -> float:
        """Return the value less the cost, in FLOP.

        Parameters
        ----------
        worth : float
            FLOP that one unit of utility is worth.

        Returns
        -------
        float
        """
        return self.evsi * worth - self.cost

    def above(self, other: Value) -> tuple[float, float]:
        """Return how far the value exceeds another that was computed in the same call, and the standard error.

        Experiments that are valued in one call share the draws and the random numbers: most of their errors cancel.

        Parameters
        ----------
        other : Value

        Returns
        -------
        difference, mcse : float
        """
        return self.evsi - other.evsi, jackknife(self.replicates - other.replicates)

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers, for JSON.

        Returns
        -------
        dict
        """
        left_out = ("gains", "replicates", "most_k", "realised")
        return {name: value for name, value in vars(self).items() if name not in left_out} | {
            "per_cost": self.per_cost,
            "reliable": self.reliable,
        }

    def __repr__(self) -> str:
        weights = "" if math.isnan(self.pareto_k) else f", Pareto k {self.pareto_k:.2f}"
        return (
            f"Value {self.evsi:.3g} ± {self.mcse:.1g} of at most {self.evpi:.3g} ({self.engine}{weights}"
            f"{'' if self.reliable else ': not reliable'}), {self.level_share:.0%} of the level's variance, "
            f"for {count(self.cost)} FLOP"
        )


def sources(draws: int, count: int, seed: int = 0) -> np.ndarray:
    """Return the draws from which fantasies are simulated: evenly spaced over all chains.

    Parameters
    ----------
    draws, count : int
        Numbers of draws and of fantasies; there is at most one fantasy per draw.
    seed : int
        Different seeds start at different draws.

    Returns
    -------
    ndarray of int, shape (fantasy,)
    """
    fewer = min(draws, count)
    return ((np.arange(fewer) + (0.5 + seed * _GOLDEN) % 1.0) * draws / fewer).astype(int)


def reweighted(stakes: Stakes, density: np.ndarray, source: np.ndarray) -> Value:
    """Value an experiment by reweighting the draws with the likelihood of each simulated outcome.

    The posterior of the actions' utility after outcome m is the mean over draws with weights proportional to its
    density. Fantasies of one half of the draws score, on that half, the actions chosen on the other half: the value of
    a rule that is independent of what scores it.

    Parameters
    ----------
    stakes : Stakes
    density : ndarray, shape (chain·draw, fantasy)
        Log density of each outcome under each draw.
    source : ndarray of int, shape (fantasy,)
        Draw from which each outcome was simulated.

    Returns
    -------
    Value
        Without a cost.

    References
    ----------
    Menzies 2016, doi:10.1177/0272989X15583495 (importance weights); Vehtari, Simpson, Gelman, Yao, Gabry 2024,
    arXiv:1507.02646 (Pareto diagnostic).
    """
    sums, top = _weighted_sums(stakes, density)
    block, half = stakes.block[source], stakes.half[source]
    parity = np.arange(len(sums)) % 2
    everything = _means(np.einsum("bm,bma->ma", np.exp(top - top.max(axis=0))[parity], sums))

    def estimate(without: int) -> _Estimate:
        kept = np.arange(len(sums)) != without
        after = [_means(sums[kept & (parity == h)].sum(axis=0)) for h in (0, 1)]
        prior = [_means(stakes.sums[kept & (parity == h)].sum(axis=0))[:-1] for h in (0, 1)]
        rows = np.flatnonzero(block != without)
        gains, realised = np.empty(len(rows)), np.empty(len(rows))
        for h in (0, 1):
            mine = half[rows] == h
            mean, chosen = after[h][rows[mine], :-1], after[1 - h][rows[mine], :-1].argmax(axis=1)
            realised[mine] = np.take_along_axis(mean, chosen[:, None], axis=1)[:, 0] - mean[:, prior[1 - h].argmax()]
            gains[mine] = _controlled(realised[mine], (mean - prior[h]) @ stakes.directions)
        return float(gains.mean()), covariance(*(mean[rows, -1] for mean in after)), gains, realised

    shape, most = _pareto(density)
    return replace(_value(stakes, estimate, float(everything[:, :-1].max(axis=1).mean()), "reweight"),
                   pareto_k=shape, most_k=most)  # fmt: skip


def _controlled(gains: np.ndarray, controls: np.ndarray) -> np.ndarray:
    """Return gains less what they share with controls whose expectation is zero: posterior means less the prior's."""
    if len(gains) < _ENOUGH:
        return gains
    slopes = np.linalg.lstsq(controls - controls.mean(axis=0), gains - gains.mean(), rcond=None)[0]
    return gains - controls @ slopes


def _weighted_sums(stakes: Stakes, density: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return weighted sums of the columns by block, and the log weight of each half that they are relative to."""
    with use_cache(), float64():
        found = call(_block_sums, density, stakes.columns, *stakes.blocks)
        return np.asarray(found[0]), np.asarray(found[1])


@jax.jit
def _block_sums(density: Array, columns: Array, rows: Array, filled: Array) -> tuple[Array, Array]:
    # JAX, because the threads of NumPy's products wait for each other where other programs use the cores.
    blocks = len(rows)
    highest = jax.lax.map(lambda at: jnp.where(at[1][:, None], density[at[0]], -jnp.inf).max(axis=0), (rows, filled))
    top = jnp.stack([highest[h::2].max(axis=0) for h in (0, 1)])

    def one(at: tuple[Array, Array, Array]) -> Array:
        weight = jnp.where(at[1][:, None], jnp.exp(density[at[0]] - top[at[2]]), 0.0)
        return (columns[at[0]].T @ weight).T

    return jax.lax.map(one, (rows, filled, jnp.arange(blocks) % 2)), top


def _means(sums: np.ndarray) -> np.ndarray:
    """Return means of gains and of the outcome from sums; 0, the gain of the present action, without any weight."""
    return sums[..., 1:] / np.maximum(sums[..., :1], np.finfo(float).tiny)


def _pareto(density: np.ndarray) -> tuple[float, float]:
    """Return the Pareto shape that nine of ten fantasies do not exceed, and the largest reliable one."""
    some = density[:, sources(density.shape[1], _DIAGNOSED)].T
    weight = np.exp(some - some.max(axis=1, keepdims=True))
    effective = weight.sum(axis=1) ** 2 / (weight**2).sum(axis=1)
    shapes = np.full(len(some), np.inf)
    if (enough := effective >= _FEWEST).any():  # psislw takes log likelihoods that draws are weighted against
        shapes[enough] = array_stats.psislw(-some[enough])[1]
    return float(np.quantile(shapes, 1 - _FEW, method="higher")), min(1 - 1 / math.log10(len(density)), 0.7)


def regressed(stakes: Stakes, observed: np.ndarray) -> Value:
    """Value an experiment by regression of the utility on its simulated outcome, one outcome per draw.

    The regression is on normal scores of the observations: cubic in each, with products of pairs. It is fast and needs
    no density, but cannot follow a posterior mean of another shape: a screen, and a test of the other engine.

    Parameters
    ----------
    stakes : Stakes
    observed : ndarray, shape (chain·draw, run)
        Outcome simulated under each draw.

    Returns
    -------
    Value
        Without a cost.

    References
    ----------
    Strong, Oakley, Brennan, Breeze 2015, doi:10.1177/0272989X15575286.
    """
    features = _features(stats.norm.ppf((stats.rankdata(observed, axis=0) - 0.5) / len(observed)))
    block, parity = stakes.block, np.arange(stakes.block.max() + 1) % 2
    targets = stakes.columns[:, 1:]
    grams = np.stack([features[block == b].T @ features[block == b] for b in range(len(parity))])
    cross = np.stack([features[block == b].T @ targets[block == b] for b in range(len(parity))])

    def estimate(without: int) -> _Estimate:
        kept = np.arange(len(parity)) != without
        fitted = [features @ _solved(grams, cross, kept & (parity == h)) for h in (0, 1)]
        now = [int(_means(stakes.sums[kept & (parity == h)].sum(axis=0))[:-1].argmax()) for h in (0, 1)]
        rows = np.flatnonzero(block != without)
        gains = np.empty(len(rows))
        for h in (0, 1):
            mine = stakes.half[rows] == h
            chosen = fitted[1 - h][rows[mine], :-1].argmax(axis=1)
            gains[mine] = stakes.gain[rows[mine], chosen] - stakes.gain[rows[mine], now[1 - h]]
        return float(gains.mean()), covariance(*(mean[rows, -1] for mean in fitted)), gains, gains

    everything = features @ _solved(grams, cross, parity >= 0)
    return _value(stakes, estimate, float(everything[:, :-1].max(axis=1).mean()), "regress")


def _features(scores: np.ndarray) -> np.ndarray:
    pairs = [scores[:, i] * scores[:, j] for i in range(scores.shape[1]) for j in range(i)]
    return np.column_stack([np.ones(len(scores)), scores, scores**2, scores**3, *pairs])


def _solved(grams: np.ndarray, cross: np.ndarray, kept: np.ndarray) -> np.ndarray:
    return np.linalg.lstsq(grams[kept].sum(axis=0), cross[kept].sum(axis=0), rcond=None)[0]


def gaussian(stakes: Stakes, observed: np.ndarray) -> Value:
    r"""Value an experiment whose outcome and the utilities are jointly Gaussian.

    The posterior mean of each action's utility is then linear in the outcome. For two actions whose difference has
    prior mean `m` and whose posterior mean has the prior predictive standard deviation `s`, the value is

    .. math:: s\,\psi(|m| / s), \quad \psi(u) = \varphi(u) - u\,(1 - \Phi(u)),

    otherwise it is integrated numerically. Nothing is split: the maximum's bias is that of a few slopes.

    Parameters
    ----------
    stakes : Stakes
    observed : ndarray, shape (chain·draw, run)
        Outcome simulated under each draw.

    Returns
    -------
    Value
        Without a cost.

    References
    ----------
    Raiffa and Schlaifer 1961, Applied Statistical Decision Theory, chapter 5.
    """
    normals = stats.qmc.MultivariateNormalQMC(np.zeros(observed.shape[1]), rng=0).random(_NORMALS)

    def estimate(without: int) -> _Estimate:
        kept = stakes.block != without
        targets, seen = stakes.columns[kept, 1:], observed[kept]
        white = (seen - seen.mean(axis=0)) @ np.linalg.inv(np.linalg.cholesky(np.atleast_2d(np.cov(seen.T)))).T
        slopes = white.T @ (targets - targets.mean(axis=0)) / len(white)
        level = float((slopes[:, -1] ** 2).sum())
        return _linear(targets[:, :-1].mean(axis=0), slopes[:, :-1], normals), level, np.empty(0), np.empty(0)

    return _value(stakes, estimate, estimate(-1)[0], "gaussian")


def two_action_value(mean: float, sd: float) -> float:
    r"""Expected value of information on a Gaussian difference between two actions.

    Parameters
    ----------
    mean : float
        Expected difference of their utilities.
    sd : float
        Standard deviation, before the experiment, of the expected difference after it.

    Returns
    -------
    float

    Examples
    --------
    >>> round(two_action_value(0.3, 0.5**0.5), 5), round(two_action_value(0.3, 1.0), 5)
    (0.15711, 0.26676)
    """
    if sd == 0:
        return 0.0
    away = abs(mean) / sd
    return float(sd * (stats.norm.pdf(away) - away * stats.norm.sf(away)))


def _linear(means: np.ndarray, slopes: np.ndarray, normals: np.ndarray) -> float:
    """Return the value for utilities with these means that are linear in independent standard normals."""
    if len(means) == 2:
        return two_action_value(means[1] - means[0], float(np.linalg.norm(slopes[:, 1] - slopes[:, 0])))
    return float((means + normals @ slopes).max(axis=1).mean() - means.max())


def covariance(first: np.ndarray, second: np.ndarray) -> float:
    """Return the variance of what two halves of the draws both estimate: their own errors are independent.

    Parameters
    ----------
    first, second : ndarray, shape (fantasy,)

    Returns
    -------
    float
    """
    return float(((first - first.mean()) * (second - second.mean())).mean())


def _value(stakes: Stakes, estimate: Callable[[int], _Estimate], plug_in: float, engine: str) -> Value:
    """Return the value with its errors by the jackknife over blocks, which leaves out draws and their fantasies."""
    evsi, level, gains, realised = estimate(-1)
    blocks = int(stakes.block.max()) + 1
    again = np.array([estimate(b)[:2] for b in range(blocks)])
    share = level / variance if (variance := float(stakes.outcome.var())) else 0.0
    return Value(evsi, jackknife(again[:, 0]), plug_in, stakes.evpi, level, jackknife(again[:, 1]), share, math.nan,
                 engine, gains, again[:, 0], realised=realised)  # fmt: skip


def jackknife(replicates: np.ndarray) -> float:
    """Return the standard error from estimates that each leave out one of several parts of equal size.

    Parameters
    ----------
    replicates : ndarray, shape (part,)

    Returns
    -------
    float
    """
    return float(np.sqrt((len(replicates) - 1) * replicates.var()))
