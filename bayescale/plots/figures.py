"""One function a figure; each takes and returns matplotlib Axes and changes no global setting."""

from __future__ import annotations

from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from bayescale import ranking
from bayescale.backtesting import Backtest
from bayescale.calibrating import RANKED, Calibration
from bayescale.decisions.allocation import AllocationChoice
from bayescale.fitting import Fit
from bayescale.forecasting import predict
from bayescale.mixing import AbstractFit
from bayescale.quantities import count
from bayescale.querying import resolve_family
from bayescale.runs import FLOPS_PER_PARAM_TOKEN

_GRID = 60  # points of a curve
_LINES = 5  # IsoFLOP curves
_FEW_DRAWS = 400  # place a median's minimum on a coarse grid as well as thousands
_BLUE, _ORANGE, _GREY = "#2a6f97", "#e07a2f", "#6b7280"


def plot_loss(
    fit: AbstractFit, *, family: str | None = None, flops: list[float] | None = None, ax: Axes | None = None
) -> Axes:
    """Loss against params at fixed budgets: runs, and the law's median with its 90 % band.

    Parameters
    ----------
    fit : Fit
    family : str, optional
        As in :func:`forecast`.
    flops : list of float, optional
        Budgets in FLOP; by default five over the runs' span. Runs within a factor of 1.3 of one are shown with it.
    ax : Axes, optional
    """
    ax = _axes(ax)
    family = resolve_family(fit, family)
    runs = fit.design_frame
    runs = runs[runs["family"] == family] if family in fit.families else runs
    budgets = flops or list(np.geomspace(runs["flops"].quantile(0.05), runs["flops"].quantile(0.98), _LINES))
    colors = plt.get_cmap("viridis")(np.linspace(0.05, 0.85, len(budgets)))
    for budget, color in zip(budgets, colors, strict=True):
        near = runs[np.abs(np.log(runs["flops"] / budget)) < np.log(1.3)]
        low, high = (near["params"].min(), near["params"].max()) if len(near) else (np.nan, np.nan)
        if not low < high:
            low, high = runs["params"].min(), runs["params"].max()
        params = np.geomspace(low / 1.5, high * 1.5, _GRID)
        curve = _curve(fit, family, params, budget / (FLOPS_PER_PARAM_TOKEN * params))
        ax.fill_between(params, curve[0], curve[2], color=color, alpha=0.25, lw=0)
        ax.plot(params, curve[1], color=color, label=f"{budget:.1e} FLOP")
        ax.scatter(near["params"], near["loss"], color=color, s=14, edgecolor="white", linewidth=0.4, zorder=3)
    _log_axis(ax, "x", "params")
    ax.set(ylabel="loss (nats/token)", title=_title(fit, f"{family}: loss at fixed compute, 90 % band of the curve"))
    ax.legend(title="compute", fontsize="small", frameon=False)
    return ax


def plot_forecast(fit: AbstractFit, *, family: str | None = None, decades: float = 2.0, ax: Axes | None = None) -> Axes:
    """Loss of the compute-optimal run against compute, `decades` beyond the runs: 50 and 90 % of a run's loss."""
    ax = _axes(ax)
    family = resolve_family(fit, family)
    runs = fit.design_frame
    runs = runs[runs["family"] == family] if family in fit.families else runs
    most = runs["flops"].max()
    flops = np.geomspace(runs["flops"].min(), most * 10**decades, _GRID)
    params, tokens = near_optimal(fit, family, flops)
    table = pd.DataFrame({"params": params, "tokens": tokens, "flops": flops, "family": family})
    draws = predict(fit, table.assign(unique_tokens=tokens), only="loss", seed=fit.meta["seed"])
    q = np.quantile(draws, [0.05, 0.25, 0.5, 0.75, 0.95], axis=0)
    ax.fill_between(flops, q[0], q[4], color=_BLUE, alpha=0.2, lw=0, label="90 %")
    ax.fill_between(flops, q[1], q[3], color=_BLUE, alpha=0.35, lw=0, label="50 %")
    ax.plot(flops, q[2], color=_BLUE, label="median, near-optimal split")
    ax.scatter(runs["flops"], runs["loss"], s=9, color=_GREY, label="runs", zorder=3)
    ax.axvline(most, color=_GREY, ls=":", lw=1)
    ax.annotate("beyond the runs →", (most, 0.97), xycoords=("data", "axes fraction"), fontsize="small",
                xytext=(4, 0), textcoords="offset points", va="top", color=_GREY)  # fmt: skip
    top = 1.1 * q[4].max()  # a few stray runs would flatten all others
    above = int((runs["loss"] > top).sum())
    if above:
        ax.annotate(f"{above} runs above", (0.02, 0.97), xycoords="axes fraction", fontsize="small", va="top")
    ax.set_ylim(top=top)
    ax.set_xscale("log")
    ax.set(xlabel="compute (FLOP)", ylabel="loss of a run (nats/token)", title=_title(fit, f"{family}: forecast"))
    ax.legend(fontsize="small", frameon=False, loc="lower left")
    return ax


def plot_allocation(choice: AllocationChoice, *, ax: Axes | None = None) -> Axes:
    """Compute wasted against params at the budget: mean and 90 % over draws, with the band of indifference."""
    ax = _axes(ax)
    params = np.exp(choice.ln_params)
    mean = choice.waste.mean(axis=0)
    low, high = np.quantile(choice.waste, [0.05, 0.95], axis=0)
    near = (mean < 0.5) & (params > choice.params / 20) & (params < choice.params * 20)
    ax.fill_between(
        params[near], 100 * low[near], 100 * high[near], color=_BLUE, alpha=0.2, lw=0, label="90 % of draws"
    )
    ax.plot(params[near], 100 * mean[near], color=_BLUE, label="expected waste")
    ax.axvline(choice.params, color=_ORANGE, label=f"chosen: {count(choice.params)} params")
    if np.isfinite(choice.band[0]):
        ax.axvspan(*choice.band, color=_ORANGE, alpha=0.15, lw=0, label="indifferent")
    _log_axis(ax, "x", "params")
    ax.set(
        ylabel="compute wasted (%)", ylim=(0, 50),
        title=_title(choice.fit, f"{choice.family}: {count(choice.flops)} FLOP"),
    )  # fmt: skip
    ax.legend(fontsize="small", loc="upper center", framealpha=0.9)
    return ax


def plot_prior_posterior(fit: Fit, name: str, *, ax: Axes | None = None) -> Axes:
    """Prior density of a parameter over the histogram of its posterior (its centre where it is pooled)."""
    ax = _axes(ax)
    setting, row = fit.spec.at(fit.meta["anchor"]).parameters[name], fit.spec.table[name]
    site = f"{name}_center" if f"{name}_center" in fit.posterior else name
    draws = fit.posterior[site].to_numpy().ravel()
    low, high = setting.prior.interval()
    grid = np.linspace(min(low, draws.min()), max(high, draws.max()), 400)
    ax.hist(draws, bins=40, density=True, color=_BLUE, alpha=0.5, label="posterior")
    density = np.exp(np.asarray(setting.prior.distribution().log_prob(grid)))
    ax.plot(grid, density, color=_ORANGE, label="prior")
    ax.set(xlabel=site if row.unit == "1" else f"{site} ({row.unit})", ylabel="density", title=row.meaning)
    ax.xaxis.set_major_locator(MaxNLocator(5))
    ax.legend(fontsize="small", frameon=False)
    return ax


def plot_residuals(fit: AbstractFit, column: str = "tokens", *, ax: Axes | None = None) -> Axes:
    """Residuals of log loss about the posterior median, in percent, against params, tokens or flops."""
    ax = _axes(ax)
    runs = fit.design_frame
    center = np.quantile(predict(fit, runs, only="log_loss"), 0.5, axis=0)
    for family in fit.families:
        mine = (runs["family"] == family).to_numpy()
        residual = 100 * (np.log(runs["loss"]) - center)[mine]
        ax.scatter(runs[column][mine], residual, s=12, alpha=0.7, label=family)
    ax.axhline(0, color=_GREY, lw=1)
    if column == "flops":
        ax.set_xscale("log")
        ax.set_xlabel("compute (FLOP)")
    else:
        _log_axis(ax, "x", column)
    ax.set(ylabel="observed over predicted loss (%)", title=_title(fit, "residuals"))
    if len(fit.families) > 1:
        ax.legend(fontsize="x-small", frameon=False, ncols=2)
    return ax


def plot_backtest(result: Backtest, *, ax: Axes | None = None) -> Axes:
    """Coverage of the 90 % interval by family, against what it promises."""
    ax = _axes(ax)
    groups = result.runs.groupby("family")
    table = groups.agg(coverage_90=("coverage_90", "mean"), count=("loss", "size"), reach=("reach_decades", "max"))
    table = table.sort_values("coverage_90").reset_index()
    labels = [f"{r.family} (n = {r.count}, {r.reach:.1f} decades)" for r in table.itertuples(name="Row")]
    ax.barh(labels, 100 * table["coverage_90"], color=_BLUE, height=0.6)
    ax.axvline(90, color=_ORANGE, label="promised")
    ax.set(xlabel="runs inside the 90 % interval (%)", xlim=(0, 100), title="backtest: coverage beyond the cut")
    ax.legend(fontsize="small", frameon=False, loc="lower right")
    return ax


def plot_horizons(result: Backtest, *, ax: Axes | None = None) -> Axes:
    """Coverage of the 50, 80 and 90 % intervals by compute beyond the fitted runs, against what they promise.

    Bars are one standard error over families; a bin of one family has none.
    """
    ax = _axes(ax)
    table = result.horizons
    at = np.arange(len(table))
    for i, (level, color) in enumerate(((50, _GREY), (80, _ORANGE), (90, _BLUE))):
        name = f"coverage_{level}"
        ax.axhline(level, color=color, ls=":", lw=1)
        error = 100 * table[f"{name}_se"].fillna(0)
        ax.errorbar(at + (i - 1) * 0.12, 100 * table[name], error, color=color, marker="o", ms=5, capsize=3, lw=1,
                    ls="", label=f"{level} %, ± one SE")  # fmt: skip
    labels = [f"{r.horizon}\n{r.n_test} forecasts\n{r.families} families" for r in table.itertuples()]
    ax.set_xticks(at, labels)
    ax.set_yticks(range(0, 101, 20))
    title = f"{result.meta['spec']}: coverage beyond the runs"
    title = title if result.converged else f"{title}\nNOT ALL CONVERGED"
    ax.set(xlabel="compute over the dearest fitted run's", xlim=(-0.5, len(table) - 0.5), ylim=(-3, 122), title=title,
           ylabel="inside the interval (%); dotted: promised")  # fmt: skip
    ax.legend(fontsize="small", frameon=False, loc="upper center", ncols=3)
    return ax


def plot_calibration(result: Calibration, *, ax: Axes | None = None) -> Axes:
    """Rank distribution of every quantity less the uniform one, with the band that each must stay in."""
    ax = _axes(ax)
    points, low, high = ranking.band(len(result.ranks), RANKED, 1 - result.alpha)
    ax.fill_between(points, low - points, high - points, step="mid", color=_GREY, alpha=0.2, lw=0,
                    label=f"{1 - result.alpha:.2%} band of each")  # fmt: skip
    table = result.table.sort_values("p", ascending=False)
    label = f"{int(table['passed'].sum())} quantities inside"
    for row in table.itertuples():
        away = ranking.distribution(result.ranks[row.quantity].to_numpy(), RANKED) - points
        ax.plot(points, away, color=_BLUE if row.passed else _ORANGE, lw=1, alpha=0.6 if row.passed else 1.0,
                label=label if row.passed else f"{row.quantity}, p = {row.p:.1g}")  # fmt: skip
        label = "_" if row.passed else label
    ax.axhline(0, color=_GREY, lw=1)
    ax.set(xlabel="rank of the truth among posterior draws, as a share", ylabel="share of truths up to it, less it",
           xlim=(0, 1), title=f"{result.spec.name}: {len(result.ranks)} simulations")  # fmt: skip
    ax.legend(fontsize="small", frameon=False, loc="upper right")
    return ax


def _axes(ax: Axes | None) -> Axes:
    return ax if ax is not None else plt.subplots(figsize=(6.4, 4.2), layout="constrained")[1]


def _log_axis(ax: Axes, axis: str, label: str) -> None:
    """Log axis whose ticks are written as people write counts: 70M, 7B."""
    ax.set(**{f"{axis}scale": "log", f"{axis}label": label})
    chosen = getattr(ax, f"{axis}axis")
    low, high = getattr(ax, f"get_{axis}lim")()
    subs = (1.0,) if high / low > 30 else (1.0, 2.0, 5.0) if high / low > 6 else (1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0)
    chosen.set_major_locator(LogLocator(subs=subs))
    chosen.set_major_formatter(FuncFormatter(lambda value, _: count(value, 1)))
    chosen.set_minor_formatter(NullFormatter())


def _curve(fit: AbstractFit, family: str, params: np.ndarray, tokens: np.ndarray) -> np.ndarray:
    """Quantiles 5, 50 and 95 % of the law's loss; shape (3, point)."""
    table = pd.DataFrame({"params": params, "tokens": tokens, "family": family})
    table = table.assign(flops=FLOPS_PER_PARAM_TOKEN * table["params"] * table["tokens"], unique_tokens=tokens)
    return np.exp(np.quantile(predict(fit, table, only="log_loss"), [0.05, 0.5, 0.95], axis=0))


def near_optimal(fit: AbstractFit, family: str, flops: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Params and tokens of least median loss on a coarse grid around equal growth from the anchor."""
    anchor = fit.meta["anchor"]
    ratio = anchor["tokens"] / anchor["params"] * np.geomspace(1 / 30, 30, 61)
    params = np.sqrt(flops[:, None] / (FLOPS_PER_PARAM_TOKEN * ratio))
    tokens = params * ratio
    table = pd.DataFrame({"params": params.ravel(), "tokens": tokens.ravel(), "family": family})
    table = table.assign(flops=np.repeat(flops, len(ratio)), unique_tokens=table["tokens"])
    median = np.median(predict(fit, table, only="log_loss", most=_FEW_DRAWS), axis=0).reshape(params.shape)
    best = (np.arange(len(flops)), median.argmin(axis=1))
    return params[best], tokens[best]


def _title(fit: AbstractFit, text: str) -> str:
    """Title with the verdict where the fit has not converged: a picture never travels without it."""
    return text if fit.converged else f"{text}\nNOT CONVERGED"


def save(ax: Axes, path: Any) -> None:
    """Write the figure of `ax` as PNG (or by the path's suffix), 160 dots an inch."""
    figure = ax.get_figure(root=True)
    if figure is not None:
        figure.savefig(path, dpi=160)
