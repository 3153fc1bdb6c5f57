"""Accounting: what a number of params, tokens and FLOP counts, and how one way of counting becomes another.

Exponents of the compute-optimal size depend on the way of counting. Kaplan et al. (2020) count neither embeddings nor
the output head. Their models are small, so these are a large part of a model, and the optimum seems to grow much faster
with compute (Porian et al. 2024, arXiv:2406.19146; Pearce & Song 2024, arXiv:2406.12907).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from bayescale.core.errors import QueryError, RunsError
from bayescale.runs.shapes import FORWARD, TRAINING, Shape
from bayescale.runs.table import Runs

Attention = Literal["none", "causal", "full"]
PEARCE_SONG = 47_491.0
"""Params per cube root of non-embedding params that embeddings add, for the shapes of Hoffmann et al. (2022)."""
KAPLAN_SIZES = (768.0, 1.5e9)
"""Non-embedding params of the smallest and the largest model of Kaplan et al. (2020)."""
_SEEN = {"none": 0.0, "causal": 0.5, "full": 1.0}  # share of a sequence that a token attends to on average
_SIZES = 200  # of a regression of ln(params) on ln(FLOP); more do not change its third decimal


@dataclass(frozen=True)
class Accounting:
    """A way of counting params, tokens and FLOP.

    The matrices of all blocks always count. FLOP per token are 6 for each counted param, and those of attention.

    Attributes
    ----------
    head : bool
        Whether params hold the output head.
    embeddings : bool
        Whether params hold what is looked up or scaled by: embeddings of tokens and positions, and gains of norms.
    attention : {"none", "causal", "full"}
        Which products of queries with keys, and of weights with values, are among the FLOP: none, those with earlier
        tokens, or all of a sequence.
    warmup : bool
        Whether tokens of the warm-up count.

    Examples
    --------
    >>> gpt3 = Shape(layers=96, width=12288, ffn=49152, heads=96, kv_heads=96, head_dim=128, vocab=50257, tied=True,
    ...              gated=False, positions=2048)
    >>> CONVENTIONS["kaplan"].params(gpt3), CONVENTIONS["total"].params(gpt3)
    (173946175488, 174591270912)
    """

    head: bool = True
    embeddings: bool = True
    attention: Attention = "none"
    warmup: bool = True

    def __post_init__(self) -> None:
        if self.attention not in _SEEN:
            raise QueryError("no such count of attention", expected="one of: " + ", ".join(_SEEN),
                             got=repr(self.attention))  # fmt: skip

    def params(self, shape: Shape) -> int:
        """Return the counted params of a shape.

        Parameters
        ----------
        shape : Shape

        Returns
        -------
        int
        """
        return self._counted(shape, shape.matrix_params)

    def _counted(self, shape: Shape, matrices: int) -> int:
        looked_up = shape.params - shape.matrix_params - shape.head_params  # a tied embedding is the head
        shared = shape.tied and self.embeddings
        return matrices + shape.head_params * (self.head or shared) + looked_up * self.embeddings

    def flops_per_token(self, shape: Shape, context: int) -> float:
        """Return the training FLOP of a token.

        Parameters
        ----------
        shape : Shape
            Of routed experts, those that a token uses count.
        context : int
            Tokens in a sequence.

        Returns
        -------
        float
            FLOP per token.
        """
        attention = TRAINING / FORWARD * shape.attention_flops * context * _SEEN[self.attention]
        return TRAINING * self._counted(shape, shape.active_matrix_params) + attention

    def effective_params(self, shape: Shape, context: int) -> float:
        """Return a sixth of the FLOP per token: the params with which 6·params·tokens are the counted FLOP.

        Parameters
        ----------
        shape : Shape
        context : int
            Tokens in a sequence.

        Returns
        -------
        float
        """
        return self.flops_per_token(shape, context) / TRAINING

    def tokens(self, tokens: float, warmup_tokens: float = 0.0) -> float:
        """Return the counted tokens of a run.

        Parameters
        ----------
        tokens : float
            All tokens, those of the warm-up included.
        warmup_tokens : float
            Tokens of the warm-up.

        Returns
        -------
        float
        """
        return tokens if self.warmup else tokens - warmup_tokens


CONVENTIONS = {
    "kaplan": Accounting(head=False, embeddings=False),
    "porian": Accounting(embeddings=False),
    "exact": Accounting(embeddings=False, attention="causal"),
    "total": Accounting(),
    "palm": Accounting(attention="full"),
}
"""Ways of counting in the literature: Kaplan et al. 2020 (non-embedding params); Porian et al. 2024 (with the head),
and with their attention; all params and 6·params·tokens (Hoffmann et al. 2022, approach 3); and, for the utilisation of
hardware, Chowdhery et al. 2022 (arXiv:2204.02311)."""


def recount(
    runs: Runs, shapes: Sequence[Shape], accounting: Accounting, *, context: int, effective: bool = False,
    warmup_tokens: Sequence[float] | float = 0.0,
) -> Runs:  # fmt: skip
    """Return runs with params, tokens and FLOP counted in another way.

    Parameters
    ----------
    runs : Runs
        Their tokens are all tokens, those of the warm-up included.
    shapes : sequence of Shape
        Shape of each row.
    accounting : Accounting
        The new way of counting, such as ``CONVENTIONS["total"]``.
    context : int
        Tokens in a training sequence.
    effective : bool
        Whether params are a sixth of the FLOP per token, so that FLOP stay 6·params·tokens.
    warmup_tokens : float or sequence of float
        Tokens of the warm-up of each row.

    Returns
    -------
    Runs

    Raises
    ------
    RunsError
        If there is not one shape for each row, or a run has no counted tokens.

    Examples
    --------
    >>> shape = Shape(layers=8, width=512, ffn=2048, heads=8, kv_heads=8, head_dim=64, vocab=50257, gated=False)
    >>> runs = bs.load_runs(pd.DataFrame({"params": [25e6], "tokens": [1e9], "loss": [3.9]}), loss_unit="nats")
    >>> recount(runs, [shape], CONVENTIONS["total"], context=1024)["params"]
    array([76637696.])
    """
    if len(shapes) != len(runs):
        raise RunsError("there is not one shape for each row", expected=f"{len(runs)} shapes", got=str(len(shapes)))
    warmup = np.broadcast_to(np.asarray(warmup_tokens, float), len(runs))
    tokens = np.array([accounting.tokens(*both) for both in zip(runs["tokens"], warmup, strict=True)])
    if not (tokens > 0).all():
        raise RunsError("a run has no counted tokens", expected="fewer tokens of warm-up than tokens",
                        got=f"row {int(np.argmin(tokens))}")  # fmt: skip
    each = np.array([accounting.flops_per_token(shape, context) for shape in shapes])
    params = each / TRAINING if effective else np.array([float(accounting.params(shape)) for shape in shapes])
    frame = runs.frame.assign(params=params, tokens=tokens, flops=each * tokens)
    return replace(runs, _frame=frame, card={}, flops_assumed=False)


def total_params(non_embedding: np.ndarray | float, per_root: float = PEARCE_SONG) -> np.ndarray:
    r"""Return all params from non-embedding params, where shapes are not known.

    .. math:: N_T = N + \omega N^{1/3}

    Width grows with the cube root of params at a constant width over depth, and embeddings grow with width.

    Parameters
    ----------
    non_embedding : float or ndarray
    per_root : float
        :math:`\omega`; see :func:`per_root_of` for another vocabulary.

    Returns
    -------
    ndarray

    Examples
    --------
    >>> total_params(1e9)
    np.float64(1047491000.0)
    """
    n = np.asarray(non_embedding, float)
    return (n + per_root * np.cbrt(n))[()]


def non_embedding_params(total: np.ndarray | float, per_root: float = PEARCE_SONG) -> np.ndarray:
    """Return non-embedding params from all params: the inverse of :func:`total_params`.

    Parameters
    ----------
    total : float or ndarray
    per_root : float

    Returns
    -------
    ndarray

    Examples
    --------
    >>> round(float(non_embedding_params(total_params(1e9))))
    1000000000
    """
    scale = np.sqrt(per_root / 3)  # Vieta's hyperbolic solution of x³ + ω x = total, which has one real root
    return ((2 * scale * np.sinh(np.arcsinh(np.asarray(total, float) / (2 * scale**3)) / 3)) ** 3)[()]


def per_root_of(vocab: int, *, aspect: float = 100.0, tied: bool = True, positions: int = 0) -> float:
    """Return the params of embeddings per cube root of non-embedding params, for shapes of one width over depth.

    Parameters
    ----------
    vocab : int
        Entries of the token embedding.
    aspect : float
        Width over layers; non-embedding params are 12·layers·width².
    tied : bool
        Whether the output head is the token embedding.
    positions : int
        Learned position embeddings.

    Returns
    -------
    float

    Examples
    --------
    >>> round(per_root_of(32_000, aspect=40.0))
    47802
    """
    return float((vocab * (1 if tied else 2) + positions) * np.cbrt(aspect / 12))


def apparent_exponent(
    A: np.ndarray | float, alpha_N: np.ndarray | float, B: np.ndarray | float, beta_D: np.ndarray | float, *,
    sizes: tuple[float, float] = KAPLAN_SIZES, per_root: float = PEARCE_SONG,
) -> np.ndarray:  # fmt: skip
    """Return the exponent of optimal non-embedding params by non-embedding FLOP, over a range of sizes.

    The law counts all params (:math:`L = E + A/N_T^α + B/D^β`), and a study that counts 6·N·tokens with non-embedding
    params N looks for its optimum. The exponent is the slope of ln N on ln FLOP, at budgets evenly spaced over `sizes`
    (Pearce & Song 2024, arXiv:2406.12907). Draws of the coefficients give draws of the exponent.

    Parameters
    ----------
    A, alpha_N, B, beta_D : float or ndarray, shapes that broadcast
        Coefficients of the law in all params and in tokens.
    sizes : tuple of float
        Smallest and largest non-embedding params; by default, those of Kaplan et al. (2020).
    per_root : float
        As in :func:`total_params`. With 0 the exponent is β / (α + β).

    Returns
    -------
    ndarray

    Examples
    --------
    >>> round(float(apparent_exponent(482.01, 0.3478, 2085.43, 0.3658)), 2)
    0.79
    """
    A, alpha_N, B, beta_D = (np.asarray(value, float)[..., None] for value in (A, alpha_N, B, beta_D))
    ln_n = np.linspace(np.log(sizes[0]), np.log(sizes[1]), _SIZES)
    total = total_params(np.exp(ln_n), per_root)
    elasticity = (np.exp(ln_n) + per_root / 3 * np.exp(ln_n / 3)) / total  # d ln(all params) / d ln(non-embedding)
    params_term = alpha_N * elasticity * A * np.exp(-alpha_N * np.log(total))
    ln_tokens = (np.log(beta_D * B) - np.log(params_term)) / beta_D  # at which both terms fall equally fast
    ln_flops = np.log(TRAINING) + ln_n + ln_tokens
    weight = np.gradient(ln_flops, axis=-1)  # of even steps in ln(FLOP), not in ln(params)
    weight[..., [0, -1]] /= 2
    x, y = (value - np.average(np.broadcast_to(value, weight.shape), -1, weight, keepdims=True)
            for value in (ln_flops, ln_n))  # fmt: skip
    return ((weight * x * y).sum(axis=-1) / (weight * x * x).sum(axis=-1))[()]
