"""Experts: dense or routed, and of what size, under a FLOP budget and limits of memory and serving."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from bayescale.core.errors import QueryError
from bayescale.core.quantities import count, quantity
from bayescale.decisions.base import FAMILY, LIMITS, AbstractDecision, Details, draws_by_action, quantiles, setting
from bayescale.decisions.bills import SEED, card_of
from bayescale.decisions.choice import Choice
from bayescale.decisions.serving import Served, Server
from bayescale.decisions.surface import Scope, draws_of, losses
from bayescale.decisions.words import measured
from bayescale.inference.average import AbstractFit
from bayescale.prediction.extrapolation import reach, reach_words
from bayescale.prediction.queries import resolve_family
from bayescale.runs.columns import FLOPS_PER_PARAM_TOKEN
from bayescale.runs.shapes import FORWARD, Shape

MEMORY = "max_memory_gb"
"""Name of the limit that the setting ``memory`` sets."""
_HEAD = 64  # width of an attention head, of which the widths of models are multiples
_MOST_WIDTH = 32_768  # twice that of the widest published dense model, Llama-3 405B (16,384)
_RATIO = (0.5, 1e5)  # tokens per param that a token uses, among the actions
_GB, _MILLI = 1e9, 1e-3
_FEW = 3  # numbers of experts in text


@dataclass(frozen=True)
class Experts(AbstractDecision):
    """Choose the number of experts and the size of a model: dense or routed, within limits of memory and serving.

    A token uses one expert of each layer, as large as the MLP of the dense model. Compute follows the params that a
    token uses, and memory all of them. The law needs `active_params`, `tokens`, and `experts` or `sparsity`.

    Attributes
    ----------
    flops : float or str
        Budget in FLOP: of training, and of serving if tokens are served.
    memory : float or str, optional
        Memory in GB that all params and the caches may take. It is the limit ``max_memory_gb``.
    served : float or str, optional
        Tokens that the model will process in its life, paid from the same budget.
    context : float or str
        Tokens in the caches of keys and values, over all sequences.
    sequences : float
        Sequences that share these caches; with `hardware`, they set the time of a step.
    experts : str
        Numbers of experts to choose from. 1 is a dense model.
    vocab : float or str
        Entries of the token embedding, which is not tied to the output head.
    aspect, ffn : float
        Width over layers, and width of an expert over that of the model.
    kv_heads : int, optional
        Key and value heads; by default as many as query heads.
    weight_bytes : float
        Bytes of a param when served.
    hardware : str, optional
        Accelerators. The actions then have ``milliseconds`` between two tokens of a sequence, on as few accelerators as
        hold the model, and what training costs.
    """

    flops: float | str = setting("count", "Budget in FLOP (1e22).")
    memory: float | str | None = setting("count", "Memory in GB for params and caches (80).", default=None)
    served: float | str | None = setting("count", "Tokens processed in its life, from the same budget.", default=None)
    context: float | str = setting("count", "Tokens in all caches while serving.", default=16_384.0)
    sequences: float = setting("number", "Sequences that share the caches.", default=1.0)
    experts: str = setting("text", "Numbers of experts to choose from.", default="1,2,4,8,16,32")
    vocab: float | str = setting("count", "Entries of the token embedding.", default=128_000.0)
    aspect: float = setting("number", "Width over layers.", default=100.0)
    ffn: float = setting("number", "Width of an expert over that of the model.", default=3.0)
    kv_heads: int | None = setting("integer", "Key and value heads; by default as many as query heads.", default=None)
    weight_bytes: float = setting("number", "Bytes of a param when served.", default=2.0)
    hardware: str | None = setting("text", "Accelerators that train and serve (H100).", default=None)
    family: str | None = setting("text", FAMILY, default=None)
    limits: Mapping[str, str] = setting("texts", LIMITS, default_factory=dict)

    name = "experts"
    source = "Ludziejewski et al. 2025, arXiv:2502.05172, over the posterior's curves"
    unit = "nats/token"
    key = ("experts", "active_params", "tokens")

    def __post_init__(self) -> None:
        positive = ("sequences", "aspect", "ffn", "weight_bytes", *(["memory"] if self.memory is not None else []))
        if bad := [name for name in positive if not quantity(getattr(self, name)) > 0]:
            raise QueryError(f"{bad[0]} is out of range", expected="a positive number", got=str(getattr(self, bad[0])))
        if self.memory is not None:
            object.__setattr__(self, "limits", {MEMORY: str(self.memory), **self.limits})

    @property
    def menu(self) -> list[int]:
        """Numbers of experts, in ascending order."""
        try:
            found = sorted({int(one) for one in str(self.experts).split(",")})
        except ValueError:
            found = [0]
        if found[0] < 1:
            raise QueryError("a number of experts is out of range", expected="integers from 1, such as 1,8,64",
                             got=str(self.experts))  # fmt: skip
        return found

    def actions(self, fit: AbstractFit) -> pd.DataFrame:
        """Every number of experts at every width that the budget can train, with what serving takes."""
        check_routed(fit)
        shapes = [replace(shape, experts=experts) for shape in self._shapes() for experts in self.menu]
        table = pd.DataFrame([self._action(shape) for shape in shapes])
        budget, served = quantity(self.flops), quantity(self.served or 0.0)
        training = budget - FORWARD * table["active_params"] * served
        table["tokens"] = training / (FLOPS_PER_PARAM_TOKEN * table["active_params"])
        table["flops"] = training
        ratio = table["tokens"] / table["active_params"]
        table = table[(ratio > _RATIO[0]) & (ratio < _RATIO[1])]
        if table.empty:
            raise QueryError("the budget trains no model on enough tokens", got=f"{count(budget)} FLOP",
                             hint="give more flops, or fewer served tokens")  # fmt: skip
        table = table.sort_values(["experts", "active_params"], ignore_index=True)
        return self._timed(table, draws_of(fit))

    def _shapes(self) -> list[Shape]:
        """Dense shapes in steps of one attention head."""
        found = []
        for heads in range(2, _MOST_WIDTH // _HEAD + 1):
            width = heads * _HEAD
            layers, ffn = max(1, round(width / self.aspect)), max(1, round(self.ffn * width))
            kv_heads = self.kv_heads or heads
            if heads % kv_heads == 0:
                found.append(Shape(layers, width, ffn, heads, kv_heads, _HEAD, int(quantity(self.vocab))))
        return found

    def _action(self, shape: Shape) -> dict[str, Any]:
        weights, kv = self.weight_bytes * shape.params / _GB, shape.kv_bytes()
        return {
            "experts": shape.experts,
            "active_params": float(shape.active_params),
            "params": float(shape.params),
            "layers": shape.layers,
            "width": shape.width,
            "weights_gb": weights,
            "memory_gb": weights + quantity(self.context) * kv / _GB,
            "kv_bytes": kv,
            "attention_flops": float(shape.attention_flops),
        }

    def _timed(self, table: pd.DataFrame, draws: int) -> pd.DataFrame:
        """Return the actions with the mean time between two tokens of a sequence, if the hardware is known."""
        columns = {name: table[name].to_numpy(float) for name in ("params", "active_params", "kv_bytes")}
        attention = table.pop("attention_flops").to_numpy(float)
        if card := card_of(self):
            of = Served(**columns, weight_bytes=self.weight_bytes, routed_share=1 / table["experts"].to_numpy(float),
                        attention_flops=attention)  # fmt: skip
            rates = card.drawn(draws, SEED)
            needed = np.ceil(table["memory_gb"].to_numpy() * _GB / rates.memory.mean())
            each = quantity(self.context) / self.sequences
            seconds = Server(of, rates, needed).decode_seconds(self.sequences, each)
            table = table.assign(accelerators=needed, milliseconds=seconds.mean(axis=0) / _MILLI)
        return table

    def outcome(self, fit: AbstractFit, actions: pd.DataFrame, scope: Scope) -> xr.DataArray:
        """The loss."""
        return draws_by_action(losses(fit, self.queries(fit, actions), scope))

    def queries(self, fit: AbstractFit, actions: pd.DataFrame) -> pd.DataFrame:
        """Return actions as queries: of tokens that are seen once.

        Parameters
        ----------
        fit : Fit or Average
        actions : DataFrame

        Returns
        -------
        DataFrame
        """
        own = actions[["params", "active_params", "tokens", "experts", "flops"]]
        return own.assign(sparsity=own["params"] / own["active_params"], unique_tokens=own["tokens"],
                          family=resolve_family(fit, self.family))  # fmt: skip

    def utility(self, outcome: xr.DataArray, actions: pd.DataFrame) -> xr.DataArray:
        """The loss, negated."""
        return -outcome

    def details(self, choice: Choice) -> Details:
        """How probable each number of experts is, and the best model of each within the limits.

        Parameters
        ----------
        choice : Choice

        Returns
        -------
        Details
        """
        by_experts = best_of_each(choice)
        plan = self.queries(choice.fit, choice.action.to_frame().T.astype(float))
        return Details(
            problem=f"{self._problem(choice)}, {reach_words(choice.fit, plan)}",
            lines=self._lines(choice, by_experts),
            figures={
                "by_experts": by_experts.astype(float).rename(index=str).to_dict("index"),
                "tokens_per_active_param": float(choice.action["tokens"] / choice.action["active_params"]),
                "reach_decades": float(reach(choice.fit, plan)["reach_decades"].iloc[0]),
            },
            notes=self._notes(choice, by_experts),
        )

    def _problem(self, choice: Choice) -> str:
        served, memory = quantity(self.served or 0.0), self.limits.get(MEMORY)
        parts = [f"Experts for {count(quantity(self.flops))} FLOP"]
        parts += [f"{count(served)} tokens served"] * (served > 0) + [f"{memory} GB"] * (memory is not None)
        return ", ".join([*parts, f"family {resolve_family(choice.fit, self.family)!r}"])

    def _lines(self, choice: Choice, by_experts: pd.DataFrame) -> list[tuple[str, str]]:
        plan = choice.action
        likely = by_experts.sort_values("probability", ascending=False).head(_FEW)
        said = [f"{experts:g} with probability {row['probability']:.2g}" for experts, row in likely.iterrows()
                if row["probability"] > 0]  # fmt: skip
        other = by_experts.drop(index=plan["experts"])["worse"]
        nearest = other.idxmin() if len(other) else None
        all_gb, weights = plan["memory_gb"], plan["weights_gb"]
        lines = [
            ("shape", f"{plan['layers']:.0f} layers, width {plan['width']:.0f}, {count(plan['params'])} params in all; "
             f"{count(plan['tokens'] / plan['active_params'])} tokens per param that a token uses"),
            ("memory", f"{count(all_gb)} GB: {count(weights)} of params, {count(all_gb - weights)} of caches"),
            ("best", f"number of experts: {', '.join(said)}"),
        ]  # fmt: skip
        for experts in dict.fromkeys([nearest, *([1] if 1 in other else [])]) if nearest is not None else ():
            row = by_experts.loc[experts]
            lines.append(("dense" if experts == 1 else "next best",
                          f"{'a dense model' if experts == 1 else f'{experts:g} experts'} of "
                          f"{count(row['active_params'])} active params has {measured(row['worse'], self.unit)} more "
                          f"(90% interval {count(row['worse_q05'], 2)} to {count(row['worse_q95'], 2)})"))  # fmt: skip
        if "milliseconds" in plan:
            lines.append(("serve", f"{count(plan['milliseconds'])} ms between two tokens of a sequence; accelerators: "
                          f"{plan['accelerators']:.0f}"))  # fmt: skip
        return lines

    def _notes(self, choice: Choice, by_experts: pd.DataFrame) -> tuple[str, ...]:
        runs, most = choice.fit.design_frame, max(self.menu)
        notes = []
        if "experts" in runs and choice.action["experts"] > runs["experts"].max():
            notes.append(f"{choice.action['experts']:.0f} experts are more than any run has "
                         f"({runs['experts'].max():.0f})")  # fmt: skip
        if len(self.menu) > 1 and (share := by_experts["probability"].get(most, 0.0)) > 0:
            notes.append(f"in {share:.0%} of draws the largest number of experts on the menu, {most}, is best")
        ratio = choice.action["tokens"] / choice.action["active_params"]
        if ratio > (largest := float((runs["tokens"] / runs["active_params"]).max())):
            notes.append(f"{count(ratio)} tokens per active param are more than any run has ({count(largest)})")
        return tuple(notes)


def check_routed(fit: AbstractFit) -> None:
    """Raise unless a fit has a law of the params that a token uses, of tokens, and of experts or sparsity.

    Parameters
    ----------
    fit : Fit or Average

    Raises
    ------
    QueryError
    """
    columns = set(fit.columns)
    if not ({"active_params", "tokens"} <= columns and columns & {"experts", "sparsity"}):
        raise QueryError("the decision needs a law of active_params, tokens, and experts or sparsity",
                         got=f"{fit.name!r} reads {', '.join(fit.columns)}",
                         hint="fit routed-joint or sparsity to dense and routed runs")  # fmt: skip


def best_of_each(choice: Choice) -> pd.DataFrame:
    """Return the best allowed model of each number of experts.

    Parameters
    ----------
    choice : Choice

    Returns
    -------
    DataFrame
        One row per number of experts with an allowed model: ``active_params tokens loss worse worse_q05 worse_q95
        probability``. ``worse`` is the expected loss above that of the choice, with quantiles over draws;
        ``probability`` is that of the best allowed action of a draw.
    """
    loss, actions = choice.outcome.to_numpy(), choice.actions
    best = actions["experts"].to_numpy()[choice.best.by_draw]
    rows = {}
    for experts, mine in actions[choice.allowed].groupby("experts").indices.items():
        columns = np.flatnonzero(choice.allowed)[mine]
        at = columns[loss[:, columns].mean(axis=0).argmin()]
        worse = loss[:, at] - loss[:, choice.best.action]
        ends = quantiles(worse)
        rows[experts] = {
            **actions.loc[at, ["active_params", "tokens"]],
            "loss": loss[:, at].mean(),
            "worse": worse.mean(),
            "worse_q05": ends["q05"],
            "worse_q95": ends["q95"],
            "probability": (best == experts).mean(),
        }
    return pd.DataFrame.from_dict(rows, orient="index")
