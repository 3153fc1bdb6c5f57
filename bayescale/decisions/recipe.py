"""Recipe: which recipe is better at a scale that none was run at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from bayescale.core.errors import QueryError, nearest
from bayescale.core.quantities import count
from bayescale.decisions.base import FAMILY, AbstractDecision, Details, draws_by_action, quantiles, setting
from bayescale.decisions.choice import Choice
from bayescale.decisions.draws import chances, ends, kendall_tau, promote, unsettled, written
from bayescale.decisions.surface import LOSS, MOST_DRAWS, Scope, Surface, losses, others_of
from bayescale.inference.average import AbstractFit
from bayescale.modelling.sites import LOG_LOSS
from bayescale.prediction.extrapolation import reach_words
from bayescale.prediction.predict import predict
from bayescale.prediction.queries import flops_of, resolve_family
from bayescale.runs.columns import FLOPS_PER_PARAM_TOKEN

LEAST_TAU, MOST_REGRET = 0.6, 0.025
"""Gates of promotion: the least mean Kendall tau and the largest selection regret, a share of the loss."""
_DECADES, _LENGTH = 3.0, 80  # of compute on either side of the target, where equal losses are looked for
_TIMES = f"{10.0**_DECADES:g}"
_SELDOM = 0.001  # probability of the best, below which the text leaves a recipe out
_STEP = 0.5  # decades between the scales of the table
_SAME_SCALE = 2.0  # ratio of compute, or of params, between runs that count as one scale


@dataclass(frozen=True)
class Recipe(AbstractDecision):
    """Choose between recipes at a scale that none was run at: families of one fit, or values of a covariate.

    Attributes
    ----------
    params, tokens : float, optional
        The target.
    flops : float, optional
        The target's compute, with the tokens per param of the largest runs; params and tokens or this are given.
    recipes : str, optional
        Families, or values of the covariate, separated by commas.
    covariate : str, optional
        The covariate whose values are the recipes.
    promote : int, optional
        Recipes to carry to a next stage, at which the best of them becomes known.
    """

    params: float | None = setting("count", "Params of the target (70B).", default=None)
    tokens: float | None = setting("count", "Tokens of the target (1.4T).", default=None)
    flops: float | None = setting(
        "count", "Compute of the target instead, at the tokens per param of the largest runs.", default=None
    )
    recipes: str | None = setting("text", "Families, or values of the covariate, as A,B; by default all.", default=None)
    covariate: str | None = setting("text", "Covariate whose values are the recipes.", default=None)
    promote: int | None = setting("integer", "Recipes to carry to the next stage, which shows the best.", default=None)
    family: str | None = setting("text", FAMILY, default=None)

    name = "recipe"
    source = "expected loss at the target over the posterior's curves, the same draws for every recipe"
    unit = "nats/token"
    key = ("recipe",)

    def actions(self, fit: AbstractFit) -> pd.DataFrame:
        """One recipe per row, at the target."""
        params, tokens = self._target(fit)
        return pd.DataFrame({"recipe": self._labels(fit), "params": params, "tokens": tokens,
                             "flops": FLOPS_PER_PARAM_TOKEN * params * tokens})  # fmt: skip

    def outcome(self, fit: AbstractFit, actions: pd.DataFrame, scope: Scope) -> xr.DataArray:
        """The loss at the target."""
        target = self._queries(fit, *(np.array([x]) for x in self._target(fit)))
        return draws_by_action(losses(fit, target, scope))

    def utility(self, outcome: xr.DataArray, actions: pd.DataFrame) -> xr.DataArray:
        """The loss, negated."""
        return -outcome

    def details(self, choice: Choice) -> Details:
        """How sure the ranking is, how it changes with scale, and the compute that the other recipes need.

        Parameters
        ----------
        choice : Choice

        Returns
        -------
        Details
        """
        fit, labels, best = choice.fit, self._labels(choice.fit), choice.best.action
        params, tokens = self._target(fit)
        flops, losses = FLOPS_PER_PARAM_TOKEN * params * tokens, choice.outcome.to_numpy()
        scales, steep = self._scales(fit, flops), flops * np.logspace(-_DECADES, _DECADES, _LENGTH)
        by_scale, along = np.split(self._along(fit, np.append(scales, steep)), [len(scales)], axis=1)
        tau = kendall_tau(by_scale, by_scale[:, :1])
        leader = by_scale.argmin(axis=2)
        needed = Surface(np.empty(0), np.log(steep), along.swapaxes(1, 2)).tokens_for(by_scale[:, -1, [best]])
        times = np.exp(needed - np.log(flops))
        picked = self._picked(fit)
        regret = float((losses[:, labels.index(picked)] / losses.min(axis=1) - 1).mean()) if picked else None
        found = {
            "probability_best": dict(zip(labels, chances(by_scale[:, -1]).tolist(), strict=True)),
            "kendall_tau": float(tau[:, -1].mean()),
            "kendall_tau_interval": quantiles(tau[:, -1]),
            "picked_by_largest_runs": picked,
            "selection_regret": regret,
            "passes": {"kendall_tau": bool(tau[:, -1].mean() >= LEAST_TAU),
                       "selection_regret": None if regret is None else regret <= MOST_REGRET},
            "compute_needed": {label: ends(times[:, i]) for i, label in enumerate(labels) if i != best},
            "runs_flops": self._common(fit),
            "by_scale": pd.DataFrame({"flops": scales, "best": (leader == best).mean(axis=0),
                                      "reversed": (leader != leader[:, :1]).mean(axis=0),
                                      "kendall_tau": tau.mean(axis=0)}).to_dict("records"),
        }  # fmt: skip
        query = self._queries(fit, np.array([params]), np.array([tokens])).assign(flops=flops)
        problem = (f"Recipe at {count(params)} params on {count(tokens)} tokens ({count(flops)} FLOP), {len(labels)} "
                   f"recipes, {reach_words(fit, query)}")  # fmt: skip
        asked = {"recipes": labels, "covariate": self.covariate, "target_params": params, "target_tokens": tokens}
        note = "losses must be on one evaluation text and tokenizer; a text that a recipe trains on favours it"
        open_ = unsettled(choice, found["probability_best"][labels[best]])
        found["promoted"] = self._promoted(choice)
        lines = [
            *([("unsettled", open_)] if open_ else []),
            *_promotion(found["promoted"]),
            *_lines(found, labels[best]),
        ]
        return Details(problem, asked, lines, found, open_, (note,))

    def _promoted(self, choice: Choice) -> list[dict[str, Any]]:
        """The recipes to carry to the next stage, in order, each with the expected regret of all up to it."""
        if self.promote is None:
            return []
        chosen, regret = promote(choice.utility.to_numpy(), self.promote)
        labels = self._labels(choice.fit)
        return [{"recipe": labels[i], "regret": float(r)} for i, r in zip(chosen, regret, strict=True)]

    def _labels(self, fit: AbstractFit) -> list[str]:
        """Names of the recipes; raises QueryError if they are fewer than two or unknown."""
        values = np.unique(self._own_runs(fit)[self._column(fit)])
        known = [str(x) if self.covariate is None else _labelled(float(x)) for x in values]
        labels = list(dict.fromkeys(one.strip() for one in self.recipes.split(","))) if self.recipes else known
        for label in labels:
            if label not in known:
                raise QueryError(f"no run has the recipe {label!r}", expected=f"one of: {', '.join(known)}",
                                 hint=nearest(label, known))  # fmt: skip
        if len(labels) < 2:
            raise QueryError("a choice between recipes needs two", got=", ".join(labels) or "none",
                             hint="fit several families, or name a covariate")  # fmt: skip
        return labels

    def _column(self, fit: AbstractFit) -> str:
        """Column of the runs whose values are the recipes."""
        if self.covariate is not None and self.covariate not in fit.covariates:
            expected = f"one of: {', '.join(fit.covariates)}" if fit.covariates else "a fit with covariates"
            raise QueryError(f"{fit.name!r} has no covariate {self.covariate!r}", expected=expected,
                             hint="leave it out to compare families")  # fmt: skip
        return self.covariate or "family"

    def _runs(self, fit: AbstractFit) -> list[pd.DataFrame]:
        """Fitted runs of each recipe, with their compute, those of least compute first."""
        runs, column, labels = self._own_runs(fit), self._column(fit), self._labels(fit)
        runs = runs.assign(flops=flops_of(runs)).sort_values("flops")
        return [runs[runs[column] == (label if self.covariate is None else float(label))] for label in labels]

    def _own_runs(self, fit: AbstractFit) -> pd.DataFrame:
        """Fitted runs; of values of a covariate, those of the family that is decided about, if it was fitted."""
        runs, family = fit.design_frame, None if self.covariate is None else resolve_family(fit, self.family)
        return runs[runs["family"] == family] if family in fit.families else runs

    def _common(self, fit: AbstractFit) -> float:
        """Largest compute that every recipe was run at, in FLOP."""
        return float(min(runs["flops"].iloc[-1] for runs in self._runs(fit)))

    def _largest(self, fit: AbstractFit) -> pd.DataFrame:
        """Largest run of each recipe up to the largest common compute, one per row."""
        common = self._common(fit) * (1 + 1e-9)
        return pd.concat([runs[runs["flops"] <= common].iloc[[-1]] for runs in self._runs(fit)])

    def _picked(self, fit: AbstractFit) -> str | None:
        """Recipe with the least loss in the largest runs; None if those are not of one scale, or not of one family."""
        runs = self._largest(fit)
        if self.covariate is not None and runs["family"].nunique() > 1:
            return None
        spread = max(runs[name].max() / runs[name].min() for name in ("flops", "params"))
        if LOSS not in runs or spread > _SAME_SCALE:
            return None
        return self._labels(fit)[int(runs[LOSS].to_numpy().argmin())]

    def _target(self, fit: AbstractFit) -> tuple[float, float]:
        """Params and tokens of the target."""
        if (self.flops is None) == (self.params is None or self.tokens is None):
            raise QueryError("the target is not clear", expected="params and tokens, or flops",
                             got=f"params {self.params}, tokens {self.tokens}, flops {self.flops}")  # fmt: skip
        if self.flops is None:
            return float(self.params or 0), float(self.tokens or 0)
        runs = self._largest(fit)
        ratio = float(np.exp(np.log(runs["tokens"] / runs["params"]).mean()))
        params = np.sqrt(float(self.flops) / (FLOPS_PER_PARAM_TOKEN * ratio))
        return float(params), float(params * ratio)

    def _queries(self, fit: AbstractFit, params: np.ndarray, tokens: np.ndarray) -> pd.DataFrame:
        """Every recipe at every scale, one query per row; the recipes of one scale are next to each other."""
        split = [{"params": n, "tokens": d, "unique_tokens": d} for n, d in zip(params, tokens, strict=True)]
        fixed = [others_of(fit, label) if self.covariate is None else
                 others_of(fit, self.family, {self.covariate: float(label)})
                 for label in self._labels(fit)]  # fmt: skip
        return pd.DataFrame([{**one, **other} for one in split for other in fixed])

    def _along(self, fit: AbstractFit, flops: np.ndarray) -> np.ndarray:
        """Log losses with discrepancies at the target's tokens per param, shape (draw, scale, recipe).

        The noise of a run is left out: it is common to all recipes, so that it changes no ranking.
        """
        params, tokens = self._target(fit)
        times = np.sqrt(flops / (FLOPS_PER_PARAM_TOKEN * params * tokens))
        found = predict(fit, self._queries(fit, params * times, tokens * times), only=LOG_LOSS, most=MOST_DRAWS)
        return found.reshape(len(found), len(flops), -1)

    def _scales(self, fit: AbstractFit, target: float) -> np.ndarray:
        """Compute from the scale of the runs to the target, in steps of half a decade at most."""
        start, end = np.log10([self._common(fit), target])
        return np.logspace(start, end, 2 + int(abs(end - start) / _STEP))


def _lines(found: Mapping[str, Any], best: str) -> list[tuple[str, str]]:
    tau, passes = found["kendall_tau_interval"], found["passes"]
    picked, regret = found["picked_by_largest_runs"], found["selection_regret"]
    often = {name: p for name, p in found["probability_best"].items() if p >= _SELDOM}
    lines = [("best", ", ".join(f"{name} {p:.1%}" for name, p in often.items()) + " of draws")]
    far = [name for name, times in found["compute_needed"].items() if times["q50"] is None]
    for name, times in found["compute_needed"].items():
        low, middle, high = (written(x, f"over {_TIMES}", least=10**-_DECADES) for x in times.values())
        if name not in far:
            lines.append(("compute", f"{name}: {middle} times the FLOP for the loss of {best} "
                          f"(90% interval {low} to {high})"))  # fmt: skip
    lines += [("compute", f"{name}: over {_TIMES} times in most draws") for name in far]
    lines.append(("ranking", f"mean Kendall tau {found['kendall_tau']:.2f} ({tau['q05']:.2f} to {tau['q95']:.2f}) from "
                  f"the runs to the target: {_gate(passes['kendall_tau'])} the gate of {LEAST_TAU}"))  # fmt: skip
    lines.append(("selection", f"by the largest runs, {picked}: expected regret {regret:.2%} of the loss, "
                  f"{_gate(passes['selection_regret'])} the gate of {MOST_REGRET:.1%}" if picked else
                  "the largest runs of the recipes differ in scale or family: they cannot pick a recipe"))  # fmt: skip
    lines += [(count(row["flops"]), f"{best} best in {row['best']:.0%} of draws; the best is not the runs' best in "
               f"{row['reversed']:.0%}; tau {row['kendall_tau']:.2f}") for row in found["by_scale"]]  # fmt: skip
    return lines


def _promotion(promoted: Sequence[Mapping[str, Any]]) -> list[tuple[str, str]]:
    """Lines of the recipes to carry to the next stage."""
    said = [f"{one['recipe']} (expected regret {'alone' if i == 0 else 'with it'} {count(one['regret'], 2)} nats/token)"
            for i, one in enumerate(promoted)]  # fmt: skip
    return [("promote", ", then ".join(said))] if said else []


def _labelled(value: float) -> str:
    """Return a value of a covariate in words from which it can be read again."""
    short = f"{value:g}"
    return short if float(short) == value else repr(value)


def _gate(passed: bool) -> str:
    return "passes" if passed else "fails"
