"""Figures of a choice: what each action loses, what each unknown is worth, and how the optimum moves."""

from __future__ import annotations

import textwrap
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter, PercentFormatter

from bayescale.core.errors import QueryError
from bayescale.core.quantities import count
from bayescale.decisions.choice import Choice
from bayescale.decisions.surface import surface
from bayescale.reporting.front import budget_words
from bayescale.reporting.plots.figures import _BLUE, _GREY, _ORANGE, _axes, _log_axis, _of, _title, banded
from bayescale.reporting.plots.keys import legend_below
from bayescale.reporting.words import number, raised

_TIMES, _SHARE = 60.0, 0.1  # times the smallest mean regret, and share of actions: others are of no interest
_STAGES = (0.25, 0.5, 0.75)  # quantiles of the tokens that successes need: when a tree looks at the loss
_CLEAR = 2.0  # standard errors
_FEW_ACTIONS = 8  # drawn as bars
_BEST_ACTIONS = 12  # drawn as dots, where actions have no order
_MOST_UNKNOWNS = 8
_LABEL, _SMALL_LABEL, _NARROW = 28, 34, 42  # characters of a line: of labels, and of a title next to labels
_LINE, _ROW = 0.16, 0.45  # inches of a line of a label, and of a row at least
_SMALL = 1e-3  # largest number of an axis whose numbers have a power of ten
_LOG_SPAN = 10.0  # ratio of the largest to the smallest value, from which an axis is logarithmic
_CHINCHILLA = 20.0  # tokens per param, Hoffmann et al. 2022
_SIZES = np.linspace(np.log(0.2), np.log(3.0), 60)  # of params over those of the best split
_MOST_OVERHEAD = 3.0
_PLAN = (9.0, 3.6)  # inches of a plan: its stages side by side
_WIDTH = 60  # characters of a title's line
_TOKENS = 64  # points of a surface along tokens


def plot_regret(choice: Choice, *, ax: Axes | None = None) -> Axes:
    """Regret of each action in the scope of the choice: mean and 90% interval over draws, with the chosen action.

    The label says whether that is the law or a run, as of a lifetime until a loss.

    Parameters
    ----------
    choice : Choice
        Of any decision. Its actions are ordered by the first number that names them. Actions of several numbers, such
        as shares of a budget, have no such order: the best of them are drawn in the order of their regret.
    ax : Axes, optional
        Axes to draw on; by default, those of a new figure.

    Returns
    -------
    Axes
    """
    utility, columns = choice.read, np.flatnonzero(choice.allowed)
    regret = utility[:, columns].max(axis=1, keepdims=True) - utility[:, columns]
    mean, (low, high) = regret.mean(axis=0), np.quantile(regret, [0.05, 0.95], axis=0)
    chosen = int(np.flatnonzero(columns == choice.best.action)[0])
    name = _axis_of(choice)
    if name is None and len(columns) > _BEST_ACTIONS:
        return _dots(choice, columns, np.stack([low, mean, high]), ax)
    if name is None or len(columns) <= _FEW_ACTIONS:
        return _bars(choice, columns, np.stack([low, mean, high]), ax)
    x = choice.actions[name].to_numpy(float)[columns]
    if len(np.unique(x)) < len(x):
        return _dots(choice, columns, np.stack([low, mean, high]), ax)
    ax = _axes(ax)
    order = np.argsort(x)
    most = max(_TIMES * mean.min(), np.quantile(mean, _SHARE), np.sort(mean)[:_BEST_ACTIONS][-1])
    near = order[mean[order] <= most]
    banded(ax, x[near], low[near], high[near], _BLUE, label="90% of draws" * bool((high > low)[near].any()))
    ax.plot(x[near], mean[near], color=_BLUE, label="expected regret")
    ax.axvline(x[chosen], color=_ORANGE, label=f"chosen: {raised(choice.name_of(choice.best.action))}")
    _scale(ax, name, x[near])
    ax.set(ylabel=_regret(choice), title=_asked(choice))
    ax.set_ylim(bottom=0)
    _write_numbers(ax.yaxis)
    legend_below(ax)
    return ax


def _regret(choice: Choice) -> str:
    """Return the label of an axis of regret, with its scope."""
    scope = {"law": "under the law", "run": "of a run"}[choice.read_in] if choice.decision.scoped else ""
    return f"regret {scope}".strip() + f" ({choice.decision.unit})"


def _bars(choice: Choice, columns: np.ndarray, regret: np.ndarray, ax: Axes | None) -> Axes:
    """Draw the regret of a few actions, low, mean and high in shape (3, action)."""
    labels = [_lines(choice.name_of(int(i))) for i in columns]
    ax, at = _rows(ax, labels), np.arange(len(columns))
    low, mean, high = regret
    ax.barh(at, mean, color=[_ORANGE if i == choice.best.action else _BLUE for i in columns], height=0.6)
    ax.hlines(at, low, high, color=_GREY, lw=1)
    _label(ax, labels)
    ax.set_xlabel(f"{_regret(choice)}, 90% of draws")
    ax.set_title(_asked(choice, _NARROW), fontsize="medium")
    return ax


def _dots(choice: Choice, columns: np.ndarray, regret: np.ndarray, ax: Axes | None) -> Axes:
    """Draw the regret of the best actions, in its order, and that of the chosen one."""
    order = np.argsort(regret[1], kind="stable")
    chosen = int(np.flatnonzero(columns == choice.best.action)[0])
    shown = order[:_BEST_ACTIONS] if chosen in order[:_BEST_ACTIONS] else np.append(order[: _BEST_ACTIONS - 1], chosen)
    labels = [_lines(choice.name_of(int(columns[i]))) for i in shown]
    ax, at = _rows(ax, labels), np.arange(len(shown))
    low, mean, high = regret[:, shown]
    ax.hlines(at, low, high, color=_GREY, lw=1, label="90% of draws")
    ax.scatter(mean, at, s=28, color=[_ORANGE if i == chosen else _BLUE for i in shown], zorder=3)
    _label(ax, labels)
    ax.set_xlim(left=0)
    ax.set_xlabel(f"{_regret(choice)}, 90% of draws\nof the best {len(shown)} of {len(columns)} actions")
    ax.set_title(_asked(choice, _NARROW), fontsize="medium")
    return ax


def plot_mixture(choice: Choice, *, ax: Axes | None = None) -> Axes:
    """Chosen share of each domain, with the best shares of the draws and the shares that are as good.

    Parameters
    ----------
    choice : Choice
        Of a :class:`Mixture`.
    ax : Axes, optional
        Axes to draw on; by default, those of a new figure.

    Returns
    -------
    Axes
    """
    best, ax = _of(choice, "best_shares", "a mixture"), _axes(ax)
    names = sorted(best, key=lambda name: -choice.action[name])
    labels = [name.partition("_")[2] for name in names]
    ax.hlines(labels, *zip(*(choice.as_good[name] for name in names), strict=True), color=_BLUE, alpha=0.25, lw=8,
              label="as good, the others in proportion")  # fmt: skip
    ax.hlines(labels, *zip(*((best[name]["q05"], best[name]["q95"]) for name in names), strict=True), color=_BLUE, lw=2,
              label="best, 90% of draws")  # fmt: skip
    ax.plot([choice.action[name] for name in names], labels, "o", color=_ORANGE, label="chosen")
    ax.invert_yaxis()
    ax.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    ax.set(xlabel="share of tokens", title=_asked(choice))
    legend_below(ax)
    return ax


def plot_unknowns(choice: Choice, *, ax: Axes | None = None) -> Axes:
    """Worth of settling each unknown, largest first, with what would be chosen if it were low or high.

    Parameters
    ----------
    choice : Choice
        Of any decision.
    ax : Axes, optional
        Axes to draw on; by default, those of a new figure.

    Returns
    -------
    Axes

    Raises
    ------
    QueryError
        If the decision has no unknowns, or none that could change the choice.
    """
    table = choice.unknowns.head(_MOST_UNKNOWNS)
    if table.empty:
        raise QueryError(f"decision {choice.decision.name!r} has no unknowns to draw")
    if choice.evpi <= 0:
        raise QueryError("no unknown is worth settling: one action is best in every draw")
    words = [_choices(row.choose_low, row.choose_high) for row in table.itertuples()]
    ax, at = _rows(ax, words), np.arange(len(table))
    ax.barh(at, table["worth"].clip(lower=0), color=_BLUE, height=0.5, xerr=table["mcse"], ecolor=_GREY)
    ax.axvline(choice.evpi, color=_ORANGE, ls=":", label="knowing all of the law")
    for y, one in zip(at, words, strict=True):  # beyond the axes, which give them room
        ax.annotate(one, (1.02, y), xycoords=("axes fraction", "data"), ha="left", va="center", fontsize="x-small")
    meanings = {name: said for fit in choice.fit.members.values() for name, said in fit.spec.meanings.items()}
    named = [(str(name), meanings.get(str(name).partition("[")[0], "").partition(",")[0]) for name in table.index]
    spans = (f"{count(r.q05)} to {count(r.q95)}" for r in table.itertuples())
    _label(ax, [f"{_lines(said)}\n{name} {span}".strip() if said else f"{name}\n{span}"
                for (name, said), span in zip(named, spans, strict=True)])  # fmt: skip
    more = len(choice.unknowns) - len(table)
    ax.set_xlabel(f"worth of knowing it ({choice.decision.unit})" + f"\nand {more} more, of less worth" * (more > 0))
    ax.set_title(_asked(choice, _NARROW), fontsize="medium")
    ax.set_xlim(0, 1.1 * max(choice.evpi, table["worth"].max(), np.finfo(float).tiny))
    legend_below(ax)
    return ax


def _choices(low: str, high: str) -> str:
    """Return what is chosen if an unknown is low and if it is high, in lines that fit next to a bar."""
    said = ["low or high:", low] if low == high else [f"low: {low}", f"high: {high}"]
    return "\n".join("\n".join(textwrap.wrap(raised(one), _SMALL_LABEL, break_on_hyphens=False)) for one in said)


def plot_optimum(choice: Choice, *, ax: Axes | None = None) -> Axes:
    """Tokens per param of the best split by budget: median and 90% interval over draws.

    Parameters
    ----------
    choice : Choice
        Of an :class:`Allocation`.
    ax : Axes, optional
        Axes to draw on; by default, those of a new figure.

    Returns
    -------
    Axes
    """
    curve, ax = _of(choice, "curve", "an allocation"), _axes(ax)
    flops = curve["flops"]
    banded(ax, flops, curve["tokens_per_param_q05"], curve["tokens_per_param_q95"], _BLUE, label="90% of draws")
    ax.plot(flops, curve["tokens_per_param_q50"], color=_BLUE, label="best split, median")
    ax.axvline(choice.flops, color=_ORANGE, label=f"budget: {budget_words(choice)}")
    ax.axhline(_CHINCHILLA, color=_GREY, ls=":", lw=1, label="20 tokens per param")
    most = choice.fit.design_frame["flops"].max()
    if most > flops.min():
        ax.axvline(most, color=_GREY, ls="--", lw=1, label="largest run")
    ax.set_xscale("log")
    ax.set_yscale("log")
    ax.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    ax.yaxis.set_minor_formatter(NullFormatter())
    ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    ax.set_ylabel("tokens per param")
    ax.set(xlabel="compute (FLOP)", title=_title(choice.fit, f"{choice.family}: best split by budget"))
    legend_below(ax)
    return ax


def plot_overhead(choice: Choice, *, ax: Axes | None = None) -> Axes:
    """Extra compute that a smaller or larger model needs for the loss of the best split: median and 90% interval.

    Parameters
    ----------
    choice : Choice
        Of an :class:`Allocation`.
    ax : Axes, optional
        Axes to draw on; by default, those of a new figure.

    Returns
    -------
    Axes
    """
    budgets, ax = _of(choice, "budgets", "an allocation"), _axes(ax)
    ln_optimum, now = choice.ln_optimum, int(np.argmin(np.abs(np.log(budgets / choice.flops))))
    ln_params = np.log(choice.params) + _SIZES
    middle = np.log(choice.tokens)
    tokens = np.linspace(middle - np.log(100), middle + np.log(1000), _TOKENS)
    grid = surface(choice.fit, ln_params, tokens, {"family": choice.family, **choice.recipe})
    needed = grid.tokens_for(np.log(choice.least_loss[:, now])[:, None]) + ln_params
    best = np.log(choice.spent[:, 0] / 6)[:, None]
    overhead = np.expm1(needed - best)
    low, mid, high = np.quantile(overhead, [0.05, 0.5, 0.95], axis=0, method="inverted_cdf")
    params, top = np.exp(ln_params), _MOST_OVERHEAD
    banded(ax, params, low.clip(0, top), high.clip(0, top), _BLUE, label="90% of draws")
    ax.plot(params, np.where(mid <= top, mid, np.nan), color=_BLUE, label="median")
    ax.axvspan(*np.exp(np.quantile(ln_optimum[:, now], [0.05, 0.95])), color=_ORANGE, alpha=0.15, lw=0,
               label="best split, 90%")  # fmt: skip
    _log_axis(ax, "x", "params")
    ax.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    ax.set(ylabel="extra compute for the same loss", ylim=(0, top),
           title=_title(choice.fit, f"{choice.family}: at the loss of {budget_words(choice)}"))  # fmt: skip
    legend_below(ax)
    return ax


def plot_information(choice: Choice, *, ax: Axes | None = None) -> Axes:
    """Value of each candidate run over params and tokens, with the fitted runs and the pilots to buy.

    Parameters
    ----------
    choice : Choice
        Of a :class:`NextRun`. Candidates whose value is within two standard errors of zero are empty.
    ax : Axes, optional
        Axes to draw on; by default, those of a new figure.

    Returns
    -------
    Axes
    """
    plane, ax = _of(choice, "plane", "a decision on the next run"), _axes(ax)
    runs, chosen = choice.fit.design_frame, choice.chosen
    clear = plane["evsi"] > _CLEAR * plane["mcse"]
    ax.scatter(runs["params"], runs["tokens"], s=6, color=_GREY, label="fitted runs")
    ax.scatter(plane["params"][~clear], plane["tokens"][~clear], s=60, marker="s", facecolor="none", edgecolor=_GREY,
               lw=0.6, label="no clear value")  # fmt: skip
    shown = ax.scatter(plane["params"][clear], plane["tokens"][clear], c=plane["evsi"][clear], s=60, marker="s",
                       cmap="viridis", vmin=0)  # fmt: skip
    ax.scatter(chosen["params"], chosen["tokens"], s=140, marker="*", color=_ORANGE, edgecolor="white", zorder=4,
               label="buy" * bool(len(chosen)))  # fmt: skip
    bar = ax.figure.colorbar(shown, ax=ax, label=f"value of one run ({choice.utility_unit})")
    _write_numbers(bar.ax.yaxis)
    _log_axis(ax, "x", "params")
    _log_axis(ax, "y", "tokens")
    ax.set_title(_asked(choice))
    legend_below(ax)
    return ax


def plot_plan(choice: Choice, *, ax: Axes | None = None) -> Axes:
    """Tree of the plan that trains until a target is reached: at each stage, stop if it is reached, else go on.

    Parameters
    ----------
    choice : Choice
        Of a :class:`Target`.
    ax : Axes, optional
        Axes to draw on; by default, those of a new figure.

    Returns
    -------
    Axes
    """
    params = _of(choice, "sequential_params", "a target")
    target: Any = choice.decision
    needed = target.needed(choice.fit, np.log([params]))[:, 0]
    last = float(np.quantile(needed, float(target.probability), method="inverted_cdf"))
    if not np.isfinite(last):
        raise QueryError("there is no plan to draw", got=choice.unsettled)
    ax = ax or plt.subplots(figsize=_PLAN, layout="constrained")[1]
    stages = [*np.quantile(needed[needed < last], np.array(_STAGES)), last]
    left = 1.0
    for i, stage in enumerate(stages):
        reached = float((needed <= stage).mean())
        stop = (reached - (1 - left)) / left
        tokens = np.exp(stage)
        ax.annotate(f"{count(tokens)} tokens\n{number(6 * params * tokens)} FLOP", (i, 1), ha="center", va="center",
                    fontsize="small", bbox={"boxstyle": "round", "fc": "white", "ec": _BLUE})  # fmt: skip
        ax.annotate(f"stop: reached\n{reached:.0%} of draws by now", (i, 0), ha="center", va="center", fontsize="small")
        _arrow(ax, (i, 1), (i, 0), f"{stop:.0%}")
        _arrow(ax, (i, 1), (i + 1, 1), f"{1 - stop:.0%}")
        left = 1 - reached
    ax.annotate(f"give up\n{left:.0%} of draws", (len(stages), 1), ha="center", va="center", fontsize="small")
    ax.set(xlim=(-0.6, len(stages) + 0.6), ylim=(-0.3, 1.3), xticks=[], yticks=[],
           title=f"{_asked(choice)}\ntrain {count(params)} params until it is reached")  # fmt: skip
    ax.set_frame_on(False)
    return ax


def _arrow(ax: Axes, start: tuple[float, float], end: tuple[float, float], share: str) -> None:
    """Draw an arrow between two boxes of a plan, down or to the right, labelled with its share of draws."""
    down = start[0] == end[0]
    shrink = {"shrinkA": 22, "shrinkB": 18} if down else {"shrinkA": 42, "shrinkB": 42}  # points: half a box
    ax.annotate("", end, start, arrowprops={"arrowstyle": "->", "color": _GREY, **shrink})
    ax.annotate(share, (0.5 * (start[0] + end[0]), 0.5 * (start[1] + end[1])), xytext=(5, 0) if down else (0, 5),
                textcoords="offset points", ha="left" if down else "center", va="center" if down else "bottom",
                fontsize="small", color=_ORANGE)  # fmt: skip


def _asked(choice: Choice, width: int = _WIDTH) -> str:
    """Return what was asked as a title, in lines of a width in characters."""
    return _title(choice.fit, "\n".join(textwrap.wrap(raised(choice.problem), width)))


def _rows(ax: Axes | None, labels: list[str]) -> Axes:
    """Return axes for rows with labels; new ones are as high as the labels need."""
    if ax is not None:
        return ax
    lines = 1 + max(one.count("\n") for one in labels)
    height = max(4.2, 1.6 + len(labels) * max(_ROW, _LINE * (lines + 0.5)))
    return plt.subplots(figsize=(6.4, height), layout="constrained")[1]


def _label(ax: Axes, labels: list[str]) -> None:
    """Label the rows from the top down."""
    ax.set_yticks(np.arange(len(labels)), labels, fontsize="small")
    ax.invert_yaxis()
    ax.xaxis.set_major_locator(MaxNLocator(4))
    _write_numbers(ax.xaxis)


def _write_numbers(axis: Axis) -> None:
    """Write a number at each tick of a linear axis; if they are small, all but zero have a power of ten."""

    def written(value: float, _: Any) -> str:
        return raised(f"{value:.1e}" if value and axis.get_view_interval()[1] < _SMALL else f"{value:.3g}")

    axis.set_major_formatter(FuncFormatter(written))


def _lines(text: str) -> str:
    """Return a label in lines that leave room for what is drawn."""
    return "\n".join(textwrap.wrap(text, _LABEL, break_on_hyphens=False))


def _axis_of(choice: Choice) -> str | None:
    """Return the first numeric column that names an action."""
    numeric = choice.actions.select_dtypes("number")
    return next((name for name in choice.decision.key or numeric if name in numeric), None)


def _scale(ax: Axes, name: str, x: np.ndarray) -> None:
    if name == "flops":
        ax.set(xscale="log", xlabel="compute (FLOP)")
    elif (x.min() > 0 and x.max() > _LOG_SPAN * x.min()) or name in ("params", "tokens"):
        _log_axis(ax, "x", name)
    else:
        ax.set_xlabel(name.replace("_", " "))
        _write_numbers(ax.xaxis)
