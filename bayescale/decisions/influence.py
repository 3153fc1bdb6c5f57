"""Influence: the few runs without which the best split of a budget, its loss, or any choice would change most."""

from __future__ import annotations

from collections.abc import Sized
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from arviz_stats.base import array_stats

from bayescale.core.dims import FAMILY, RUN
from bayescale.core.errors import QueryError
from bayescale.core.quantities import count, nats
from bayescale.decisions.derived import frontier
from bayescale.decisions.risk import AbstractRisk
from bayescale.inference.average import AbstractFit
from bayescale.inference.fit import Fit
from bayescale.prediction.queries import NEW, counts_flops
from bayescale.runs.columns import FLOPS_PER_PARAM_TOKEN

MARKED = "marked as excluded"
STEADY = "without any run or cluster, staying with this choice costs no more than the expected regret"
ROUGH = "a rough estimate"
_SDS = 1.0  # posterior SDs by which a few runs may move an answer, however small the change
_FEWEST = 100  # draws whose tail shows the shape of their weights
_RELIABLE = 0.7  # largest Pareto shape at which reweighted draws are used: Vehtari et al. 2024
_CLUSTER = 5  # runs that lie together
_LEAST_LEFT = 4  # runs of a family for each run that is left out
_RATIO = "tokens_per_param"
_ANSWERS = {_RATIO: "the best tokens per param", "loss": "the loss of the best split"}
_CHOICE = "choice"
_MOVED = _ANSWERS | {_CHOICE: "the choice"}
_SHORT = {
    _RATIO: "a median of {} tokens per param instead of {} ({} params instead of {})",
    "loss": "a loss of {} instead of {}",
}
_WRITTEN = {_RATIO: "{:.3g}".format, "loss": nats}
_RELATIVE = {_RATIO: "{:.2g} times the tokens per param", "loss": "{:.3f} times the loss"}
# Factors by which an answer may change, however narrow its posterior: a ratio 1.5 times too high wastes about 1% of
# compute, and so does a loss that is forecast 0.5% too low, near 1e23 FLOP.
_MATTERS = {_RATIO: 1.5, "loss": 1.005}


@dataclass(frozen=True)
class Few:
    """A few runs of a family: how they are named, where they lie, and how many their table marks as excluded.

    Attributes
    ----------
    which : str
        In words, such as ``"5 runs (a, b, c, d, e)"``.
    count, marked : int
        How many there are, and how many of them are marked as excluded.
    params, tokens_per_param : tuple of float
        The least and the largest.
    moves : tuple of str
        Answers that no other few runs change more.
    all_marked : bool
        Whether they are all the runs of the family that are marked.
    option : str
        Option of ``bayescale fit`` that leaves them out; empty if no column names them.
    """

    which: str
    count: int
    marked: int
    params: tuple[float, float]
    tokens_per_param: tuple[float, float]
    moves: tuple[str, ...]
    all_marked: bool
    option: str

    def to_do(self, *, matters: bool, reliable: bool) -> str:
        """What to do about a change without them that matters, or that is a rough estimate, in words; else "none"."""
        these, them = ("these runs", "them") if self.count > 1 else ("this run", "it")
        named = f" ({self.option})" * bool(self.option)
        if matters and not self.all_marked:  # what to do about marked runs is said where they are counted
            return f"look at {these}; fit without {them}{named}, and report both answers"
        return "none" if reliable else f"fit again without {these}{named} to confirm it"

    @property
    def place(self) -> str:
        """Where they lie, in words."""
        sizes, ratios = (dict.fromkeys(count(end, 2) for end in ends) for ends in (self.params, self.tokens_per_param))
        has = "they have" if self.count > 1 else "it has"
        return f"{has} {' to '.join(sizes)} params and {' to '.join(ratios)} tokens per param"

    @property
    def overlap(self) -> str:
        """How many of them are marked, in words."""
        if self.count == 1:
            return f"it is {'' if self.marked else 'not '}{MARKED}"
        shared = {0: "none", self.count: "all"}.get(self.marked, str(self.marked))
        return f"{shared} of them {'is' if self.marked < 2 else 'are'} {MARKED}"

    @property
    def moving(self) -> str:
        """Which answers they move most, in words; empty if none."""
        of = " and ".join(_MOVED[name] for name in self.moves)
        return f"no other run or cluster of runs has a larger effect on {of}" * bool(self.moves)

    @property
    def about(self) -> str:
        """Where they lie, what they move most, and how many of them are marked, in words."""
        return "; ".join(filter(None, [self.place, self.moving, self.overlap * bool(self.moves)]))

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}


@dataclass(frozen=True)
class Change:
    """What leaving out some runs does to one answer.

    Attributes
    ----------
    answer : str
        ``"tokens_per_param"`` or ``"loss"``, of the best split.
    runs : Few
        The runs that are left out.
    flops : float
        The budget.
    before, after : float
        Median of the answer with all runs, and without these.
    sds : float
        Size of the change in posterior SDs.
    shape : float
        Pareto shape of the weights; above 0.7 the change is one of first order.
    """

    answer: str
    runs: Few
    flops: float
    before: float
    after: float
    sds: float
    shape: float

    @property
    def sizes(self) -> tuple[str, ...]:
        """Params of the best split without the runs, and with them; empty for another answer than the ratio."""
        if self.answer != _RATIO:
            return ()
        split = self.flops / FLOPS_PER_PARAM_TOKEN
        return count(np.sqrt(split / self.after), 2), count(np.sqrt(split / self.before), 2)

    @property
    def size(self) -> float:
        """The smaller of the change in posterior SDs, and of its log over that of a factor that matters."""
        return min(self.sds / _SDS, self.times)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self) | {"runs": self.runs.to_dict()}

    @property
    def times(self) -> float:
        """Log of the change over that of a factor that matters: 1.5 in the ratio, or 0.5% of the loss."""
        return float(abs(np.log(self.after / self.before)) / np.log(_MATTERS[self.answer]))

    @property
    def matters(self) -> bool:
        """Whether the change is over one posterior SD, and a factor of 1.5 in the ratio or 0.5% of the loss."""
        return self.size > 1

    @property
    def reliable(self) -> bool:
        """Whether the draws could be reweighted."""
        return self.shape <= _RELIABLE

    def __str__(self) -> str:
        """The change in words."""
        said = (
            f"without {self.runs.which}, {_ANSWERS[self.answer]} at {self.flops:.2e} FLOP goes from {self.before:.4g} "
            f"to {self.after:.4g}: {self.sds:.1f} posterior SDs"
        )
        if self.reliable:
            return said
        return f"{said}, to first order; reweighting is not reliable here (Pareto shape {self.shape:.2f})"


@dataclass(frozen=True)
class Effect:
    """What leaving out some runs does, in words that the command line and a report share.

    Attributes
    ----------
    runs : Few or None
        The runs that are left out; None if what is said is of any of them.
    answer : str
        What the answer would be without them.
    action : str
        What to do about it, or ``"none"``.
    large : bool
        Whether the change is large.
    most : bool
        Whether the answer depends most on these runs.
    before : str
        What is said first.
    """

    runs: Few | None
    answer: str
    action: str = "none"
    large: bool = False
    most: bool = False
    before: str = ""

    @property
    def changed(self) -> str:
        """The runs, and the answer without them."""
        return f"without {self.runs.which}: {self.answer}" if self.runs else self.answer

    @property
    def sentence(self) -> str:
        """What changes, where the runs lie, and how many of them are marked."""
        return f"{self.before}{self.changed}{f'; {self.runs.about}' if self.runs else ''}"

    @property
    def line(self) -> str:
        """The sentence with its action."""
        return f"{self.sentence}. Action: {self.action}" if self.action != "none" else self.sentence


@dataclass(frozen=True)
class Sway:
    """What leaving out some runs does to a choice.

    Attributes
    ----------
    runs : Few
        The runs that are left out.
    action : int
        Row of the action that would be chosen without them.
    cost : float
        What the chosen action scores below that one without them, in the unit of the utility; zero if it is the same.
    regret : float
        Expected regret of the chosen action with all runs.
    shape : float
        Pareto shape of the weights; above 0.7 the change is one of first order.
    """

    runs: Few
    action: int
    cost: float
    regret: float
    shape: float

    @property
    def matters(self) -> bool:
        """Whether the runs decide more than is unknown anyway: the cost is over the expected regret."""
        return self.cost > self.regret

    @property
    def reliable(self) -> bool:
        """Whether the draws could be reweighted."""
        return self.shape <= _RELIABLE


def influence(fit: Fit, family: str, flops: float) -> list[Change]:
    r"""Return what changes without the runs of a family that move an answer most, and without the marked runs.

    Each run is left out, and each cluster of five runs that lie together in params and tokens, as strays often do. To
    first order, leaving out runs :math:`G` moves the mean of an answer :math:`g` by
    :math:`-\sum_{i \in G} \operatorname{cov}(g, \ln p(y_i))` over the draws. This finds the runs with the largest
    effect. For these, the draws are reweighted by Pareto-smoothed importance sampling. Where its shape says that the
    weights are not reliable, the first-order change is returned. It may be half or twice the true one, and a change of
    a fraction of a posterior SD may have the wrong sign.

    Parameters
    ----------
    fit : Fit
    family : str
    flops : float
        Budget whose best split is the answer.

    Returns
    -------
    list of Change
        Both answers without each group of runs. Empty if the fit has no log likelihood by run, fewer than eight runs of
        the family, or no best split.
    """
    runs = fit.design_frame
    rows = np.flatnonzero((runs["family"] == family).to_numpy())
    if (
        not _by_run(fit)
        or len(rows) < 2 * _LEAST_LEFT
        or not counts_flops(fit)
        or not {"params", "tokens"} <= set(runs)
    ):
        return []
    try:
        draws = frontier(fit, flops, family=family).draws
    except QueryError:
        return []  # the law has no best split
    answers = {name: np.log(draws[name].to_numpy()[:, 0]) for name in _ANSWERS}
    likelihood = _log_likelihoods(fit, len(answers["loss"]), len(runs))
    groups, marked = _groups(runs, rows), _marked(runs, rows)
    most = [_most_influential(answer, likelihood, groups) for answer in answers.values()]
    chosen = {few: _few(runs, few, tuple(name for name, of in zip(answers, most, strict=True) if of == few), marked)
              for few in dict.fromkeys([*most, *[marked] * bool(marked)])}  # fmt: skip
    return [_changed(name, answer, likelihood, rows, few, flops) for name, answer in answers.items()
            for rows, few in chosen.items()]  # fmt: skip


def swayed(
    fit: AbstractFit,
    family: str | None,
    utility: np.ndarray,
    risk: AbstractRisk,
    chosen: int,
    regret: float,
    allowed: np.ndarray,
) -> list[Sway] | None:
    """Return what any choice would be without the runs that decide it most, and without the marked runs.

    The groups of runs are those of :func:`influence`. To first order, leaving out runs moves the score of every action.
    The group for which the chosen action then falls behind most is found, and the draws are reweighted for it.

    Parameters
    ----------
    fit : Fit or Average
    family : str or None
        Whose runs are left out; of every family if None or ``"new"``.
    utility : ndarray, shape (draw, action)
        In the scope that the attitude to risk reads.
    risk : AbstractRisk
    chosen : int
        Row of the chosen action.
    regret : float
        Its expected regret.
    allowed : ndarray of bool, shape (action,)

    Returns
    -------
    list of Sway or None
        Empty if the chosen action stays best without any group, and no run is marked. None if this is not known: for an
        average, a fit without log likelihood by run, params or tokens, fewer than eight runs, and if an outcome is
        infinite.
    """
    one, *others = fit.members.values()
    runs, columns = one.design_frame, np.flatnonzero(allowed)
    mine = np.ones(len(runs), bool) if family in (None, NEW) else (runs["family"] == family).to_numpy()
    rows, utility = np.flatnonzero(mine), utility[:, columns]
    if others or not _by_run(one) or len(rows) < 2 * _LEAST_LEFT or not {"params", "tokens"} <= set(runs):
        return None
    likelihood = _log_likelihoods(one, len(utility), len(runs))
    if len(likelihood) != len(utility) or not np.isfinite(utility).all():
        return None
    stays, score = int(np.flatnonzero(columns == chosen)[0]), risk.score(utility)
    slope = (utility - utility.mean(axis=0)).T @ (likelihood - likelihood.mean(axis=0)) / len(utility)
    groups, marked = _groups(runs, rows), _marked(runs, rows)
    costs = [_behind(score - slope[:, list(group)].sum(axis=1), stays) for group in groups]
    most = groups[int(np.argmax(costs))] if max(costs) > 0 else ()
    found = []
    for few in dict.fromkeys(filter(None, [most, marked])):
        weights, shape = _reweighted(likelihood[:, list(few)].sum(axis=1))
        after = score - slope[:, list(few)].sum(axis=1) if weights is None else risk.score(utility[_drawn(weights)])
        named = _few(runs, few, (_CHOICE,) * (few == most), marked)
        found.append(Sway(named, int(columns[after.argmax()]), _behind(after, stays), regret, shape))
    return found


def influence_lines(changes: list[Change], settled: bool = True) -> list[tuple[str, str]]:
    """Return a line of text for each group of runs that matters, or is marked, with both answers without it.

    If none matters, a line says so and gives what moves the best ratio most: a posterior SD may be a factor of two. If
    no group was left out, there is no line.

    Parameters
    ----------
    changes : list of Change
    settled : bool
        Whether the runs settle the split. If not, there is no single figure: changes are given as factors.

    Returns
    -------
    list of (str, str)
        Label and sentence.
    """
    return [("influence", one.line) for one in effects(changes, settled)]


def effects(changes: list[Change], settled: bool = True) -> list[Effect]:
    """Return what leaving out each group of runs that matters, or is marked, does; if none matters, that none does.

    Parameters
    ----------
    changes : list of Change
    settled : bool
        As in :func:`influence_lines`.

    Returns
    -------
    list of Effect
    """
    if not changes:
        return []
    matter = [one for one in changes if one.matters]
    of_ratio = [one for one in changes if one.answer == _RATIO and _RATIO in one.runs.moves]
    most = max(matter or of_ratio or changes, key=lambda one: one.size).runs
    said = [_effect(changes, few, settled, few == most and bool(matter)) for few in that_matter(changes)]
    if matter or not of_ratio:  # if only marked runs were left out, their lines say all
        return said
    last = _effect(changes, most, settled, True)
    none = "no large change is over one posterior SD" if last.large else "no large change"
    return [*said, replace(last, before=f"{none}; the largest is ")]


def _effect(changes: list[Change], few: Few, settled: bool, most: bool) -> Effect:
    """What leaving out some runs does; a change within a posterior SD is large too if that SD is."""
    of = [one for one in changes if one.runs == few]
    large = any(one.matters or (most and one.times > 1) for one in of)
    action = few.to_do(matters=large, reliable=all(one.reliable for one in of))
    return Effect(few, answers_without(changes, few, settled), action, large, most)


def that_matter(changes: list[Change]) -> list[Few]:
    """Return the groups of runs whose change matters, and those that are marked.

    Parameters
    ----------
    changes : list of Change

    Returns
    -------
    list of Few
    """
    return list(dict.fromkeys(one.runs for one in changes if one.matters or one.runs.all_marked))


def answers_without(changes: list[Change], few: Few, settled: bool = True) -> str:
    """Return both answers without some runs, in words.

    Parameters
    ----------
    changes : list of Change
    few : Few
    settled : bool
        As in :func:`influence_lines`.

    Returns
    -------
    str
    """
    of = [one for one in changes if one.runs == few]
    words = [_SHORT[one.answer].format(*map(_WRITTEN[one.answer], (one.after, one.before)), *one.sizes) if settled
             else _RELATIVE[one.answer].format(one.after / one.before) for one in of]  # fmt: skip
    return " and ".join(words) + f"; {ROUGH}" * (not all(one.reliable for one in of))


def _by_run(fit: Fit) -> bool:
    """Whether a fit has the log likelihood of each run, and not sums by family, as for large tables."""
    return "log_likelihood" in fit.tree and FAMILY not in fit.tree["log_likelihood"].dims


def _log_likelihoods(fit: Fit, draws: int, runs: int) -> np.ndarray:
    """Return the log likelihood of each run, summed over responses, shape (draw, run), of the draws of an answer."""
    by_site = fit.tree["log_likelihood"].data_vars.values()
    placed = [values.rename({values.dims[-1]: RUN}).reindex({RUN: range(runs)}, fill_value=0.0) for values in by_site]
    total = np.sum(placed, axis=0)
    chains, length = total.shape[:2]
    thin = -(-chains * length // draws)
    return total[:, ::thin].reshape(-1, runs)


def _groups(runs: pd.DataFrame, rows: np.ndarray) -> list[tuple[int, ...]]:
    """Return each run alone, and each cluster of runs that are nearest to one of them."""
    size = min(_CLUSTER, len(rows) // _LEAST_LEFT)
    at = np.log(runs[["params", "tokens"]].to_numpy(float)[rows])
    far = ((at[:, None] - at[None]) ** 2).sum(axis=-1)
    near = np.argsort(far, axis=1, kind="stable")[:, :size]
    clusters = {tuple(sorted(rows[of].tolist())) for of in near}
    return [*((int(row),) for row in rows), *sorted(clusters)]


def _marked(runs: pd.DataFrame, rows: np.ndarray) -> tuple[int, ...]:
    """Return runs that the table marks as excluded, if enough others are left."""
    found = [int(row) for row in rows if _is_marked(runs, row)]
    return tuple(found) if len(found) < len(rows) - _LEAST_LEFT else ()


def _is_marked(runs: pd.DataFrame, row: int) -> bool:
    return "exclusion" in runs and bool(str(runs["exclusion"].iloc[row]))


def _most_influential(answer: np.ndarray, likelihood: np.ndarray, groups: list[tuple[int, ...]]) -> tuple[int, ...]:
    """Return the group that moves an answer most, to first order."""
    slope = (answer - answer.mean()) @ (likelihood - likelihood.mean(axis=0)) / len(answer)
    effects = np.array([slope[list(group)].sum() for group in groups])
    return groups[int(np.abs(effects).argmax())]


def _changed(
    name: str, answer: np.ndarray, likelihood: np.ndarray, rows: tuple[int, ...], few: Few, flops: float
) -> Change:
    left_out, middle = likelihood[:, list(rows)].sum(axis=1), answer.mean()
    moved = -float((answer - middle) @ (left_out - left_out.mean()) / len(answer))
    weights, shape = _reweighted(left_out)
    if weights is not None:
        moved = float(weights @ answer - middle)
    before = float(np.exp(np.median(answer)))
    return Change(name, few, flops, before, before * float(np.exp(moved)), abs(moved) / float(answer.std()),
                  shape)  # fmt: skip


def _reweighted(left_out: np.ndarray) -> tuple[np.ndarray | None, float]:
    """Return weights of the draws without some runs, from the log likelihood of these; None if not reliable."""
    if len(left_out) < _FEWEST:
        return None, np.inf
    log_weights, shape = array_stats.psislw(left_out)  # draws are weighted against the likelihood that it is given
    if shape > _RELIABLE:
        return None, float(shape)
    weights = np.exp(log_weights - log_weights.max())
    return weights / weights.sum(), float(shape)


def _drawn(weights: np.ndarray) -> np.ndarray:
    """Return draws in proportion to their weights, each at equal steps of the cumulative weight."""
    steps = (np.arange(len(weights)) + 0.5) / len(weights)
    return np.searchsorted(np.cumsum(weights), steps).clip(max=len(weights) - 1)


def _behind(score: np.ndarray, action: int) -> float:
    return float(score.max() - score[action])


def _counted(rows: Sized) -> str:
    return f"{len(rows)} run{'s' * (len(rows) > 1)}"


def _few(runs: pd.DataFrame, rows: tuple[int, ...], moves: tuple[str, ...], marked: tuple[int, ...]) -> Few:
    """Describe the runs in these rows."""
    few = runs.iloc[list(rows)]
    ratio = (few["tokens"] / few["params"]).astype(float)
    named = _named(few) if moves else f"{_counted(rows)} {MARKED}"
    option = "--where 'exclusion=\"\"'" if rows == marked else "--exclude" * ("run_id" in few)
    return Few(named, len(rows), sum(_is_marked(runs, row) for row in rows),
               (float(few["params"].min()), float(few["params"].max())),
               (float(ratio.min()), float(ratio.max())), moves, rows == marked, option)  # fmt: skip


def _named(few: pd.DataFrame) -> str:
    if "run_id" in few:
        return f"{_counted(few)} ({', '.join(few['run_id'].astype(str))})"
    sizes = zip(few["params"], few["tokens"], strict=True)
    return f"{_counted(few)} ({'; '.join(f'{count(n)} params on {count(d)} tokens' for n, d in sizes)})"
