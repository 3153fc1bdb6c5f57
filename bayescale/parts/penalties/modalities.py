"""Modalities: two modalities in one model, with their synergy and their competition."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pandas as pd

from bayescale.core.errors import RunsError
from bayescale.parts.base import AbstractPenalty, Kind, Parameter, log_sum
from bayescale.parts.laws.additive import SHARE
from bayescale.parts.priors import LogNormal

AGHAJANYAN = "Aghajanyan et al. 2023, arXiv:2301.03728"
BOTH = "both"
"""Label of runs that train on both modalities."""
_PARAMS, _TOKENS = float(np.log(1e9)), float(np.log(2e10))  # where the terms are given: a run of usual size
_LEAST = 0.05  # of the mean loss: a synergy saves no more than the rest

TERM = Parameter(SHARE, "nats/token", "term at 1B params and 20B tokens", 0.3, AGHAJANYAN)
POWER = Parameter(LogNormal(0.25, 0.6), "1", "exponent", 0.1, AGHAJANYAN + ": 0.11 to 0.37", kind=Kind.EXPONENT)


class Modalities(AbstractPenalty):
    r"""Interaction of two modalities of Aghajanyan et al. (2023).

    .. math::
        L(N, D_1, D_2) = \tfrac{1}{2} [L_1(N, D_1) + L_2(N, D_2)] - C + \frac{A}{N^{\alpha}} +
        \frac{B}{(D_1 + D_2)^{\beta}}

    The base law is that of the first modality; the penalty holds the law of the second. The column ``modality`` says
    what a run trained on and is scored on: the first name of `pair`, the second, or ``both``, whose loss is the mean of
    the two. A run on both sees `tokens` of each, as its two controls do, so that :math:`D_1 + D_2` is twice as many.
    The synergy `C` is the most that sharing can save; the other two terms are the competition for params and tokens.
    """

    pair: tuple[str, ...] = ("first", "second")

    name = "modalities"
    source = AGHAJANYAN
    use = "Two modalities may share one model, and each has control runs of its own at the same params and tokens."
    avoid = "A modality has no control runs: its synergy and its floor are then their priors."
    reproduced = "No published figure; from simulated runs, the interaction and the size from which sharing is better."
    reads = ("params", "tokens")
    labels = ("modality",)
    parameters = {
        "second_floor": Parameter(
            LogNormal(2.0, 0.5), "nats/token", "irreducible loss of the second modality", 0.3, AGHAJANYAN
        ),
        "second_params": TERM,
        "second_tokens": TERM,
        "second_alpha": POWER,
        "second_beta": POWER,
        "synergy": Parameter(LogNormal(0.07, 1.0), "nats/token", "most that sharing can save", 0.3, AGHAJANYAN),
        "rivalry_params": Parameter(
            LogNormal(0.1, 1.0), "nats/token", "competition for params, at 1B params", 0.3, AGHAJANYAN
        ),
        "rivalry_tokens": Parameter(
            LogNormal(0.1, 1.0), "nats/token", "competition for tokens, at 20B tokens of both", 0.3, AGHAJANYAN
        ),
        "rivalry_alpha": POWER,
        "rivalry_beta": POWER,
    }

    @property
    def texts(self) -> dict[str, tuple[str, ...]]:
        """The two modalities, and both."""
        return {"modality": (*self.pair, BOTH)}

    def basis(self, table: pd.DataFrame) -> np.ndarray:
        """Return which modality each run trained on, one column for each and one for both."""
        kinds = (*self.pair, BOTH)
        unknown = table.loc[~table["modality"].isin(kinds), "modality"]
        if len(unknown):
            raise RunsError("a run has an unknown modality", expected=f"one of: {', '.join(kinds)}",
                            got=repr(unknown.iloc[0]))  # fmt: skip
        return (table["modality"].to_numpy(str)[:, None] == np.array(kinds)).astype(float)

    @staticmethod
    def penalized(
        log_loss, spent, basis, *, second_floor, second_params, second_tokens, second_alpha, second_beta, synergy,
        rivalry_params, rivalry_tokens, rivalry_alpha, rivalry_beta,
    ):  # fmt: skip
        params, tokens = spent["params"] - _PARAMS, spent["tokens"] - _TOKENS
        second = log_sum(jnp.log(second_floor), jnp.log(second_params) - second_alpha * params,
                         jnp.log(second_tokens) - second_beta * tokens)  # fmt: skip
        mean = 0.5 * (jnp.exp(log_loss) + jnp.exp(second))
        rivalry = rivalry_params * jnp.exp(-rivalry_alpha * params)
        rivalry += rivalry_tokens * jnp.exp(-rivalry_beta * (tokens + jnp.log(2.0)))
        both = jnp.log(jnp.maximum(mean - synergy + rivalry, _LEAST * mean))
        return basis[..., 0] * log_loss + basis[..., 1] * second + basis[..., 2] * both
