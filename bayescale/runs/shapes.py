"""Shapes: the sizes of a Transformer, its params and FLOP, and the shapes that can be built."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import pandas as pd

from bayescale.core.errors import QueryError
from bayescale.core.quantities import quantity

FORWARD, TRAINING = 2.0, 6.0
"""FLOP per param and token: a multiplication and an addition; with the backward pass, three times as many."""
SCORES = 2.0
"""Products of an attention head for each earlier token: query with key, and weight with value."""
_LEAST_LAYERS = 2
_MOST_WIDTH = 32_768  # twice that of the widest published dense model, Llama-3 405B (16,384)


@dataclass(frozen=True)
class Shape:
    """A decoder-only Transformer without biases.

    Attributes
    ----------
    layers, width, ffn, heads, kv_heads, head_dim : int
        Blocks, residual width, hidden width of the MLP (of each expert), query heads, key and value heads, and the
        width of a head.
    vocab : int
        Entries of the token embedding.
    tied : bool
        Whether the output head is the token embedding.
    gated : bool
        Whether the MLP has a gate, so that it has three matrices and not two.
    positions : int
        Learned position embeddings; 0 for rotary ones.
    experts, experts_per_token : int
        Routed experts of each block, and how many of them a token uses; 1 and 1 for a dense model.

    Examples
    --------
    >>> llama = Shape(layers=32, width=4096, ffn=11008, heads=32, kv_heads=32, head_dim=128, vocab=32000)
    >>> llama.params
    6738415616
    """

    layers: int
    width: int
    ffn: int
    heads: int
    kv_heads: int
    head_dim: int
    vocab: int
    tied: bool = False
    gated: bool = True
    positions: int = 0
    experts: int = 1
    experts_per_token: int = 1

    def __post_init__(self) -> None:
        flags = ("tied", "gated", "positions")
        if bad := [name for name, value in vars(self).items() if name not in flags and value < 1]:
            raise QueryError(f"a shape needs a positive {bad[0]}", got=str(getattr(self, bad[0])))
        if self.heads % self.kv_heads or self.experts_per_token > self.experts:
            raise QueryError("a shape cannot be built", got=str(self),
                             expected="heads a multiple of kv_heads, experts_per_token up to experts")  # fmt: skip

    @property
    def attention_params(self) -> int:
        """Params of a block's four attention matrices."""
        return 2 * self.width * self.head_dim * (self.heads + self.kv_heads)

    @property
    def expert_params(self) -> int:
        """Params of one MLP, or of one expert."""
        return (3 if self.gated else 2) * self.width * self.ffn

    @property
    def matrix_params(self) -> int:
        """Params of the matrices in all blocks: for a dense model without gates or shared heads, 12·layers·width²."""
        return self._blocks(self.experts)

    @property
    def active_matrix_params(self) -> int:
        """Params of the matrices in all blocks that one token passes through."""
        return self._blocks(self.experts_per_token)

    def _blocks(self, experts: int) -> int:
        router = self.width * self.experts * (self.experts > 1)
        return self.layers * (self.attention_params + experts * self.expert_params + router)

    @property
    def head_params(self) -> int:
        """Entries of the matrix that turns the last block's output into logits."""
        return self.vocab * self.width

    @property
    def embedding_params(self) -> int:
        """Params of the token embedding, the output head unless tied, and the position embeddings."""
        return self.head_params * (1 if self.tied else 2) + self.positions * self.width

    @property
    def params(self) -> int:
        """All params: matrices, embeddings and the gains of the norms (two a block, and a last one)."""
        return self.matrix_params + self.embedding_params + (2 * self.layers + 1) * self.width

    @property
    def active_params(self) -> int:
        """Params that one token uses; all of them if the model is dense."""
        return self.params - self.matrix_params + self.active_matrix_params

    @property
    def attention_flops(self) -> int:
        """Forward FLOP of a token for each token that it attends to: 4·layers·heads·head_dim."""
        return int(FORWARD * SCORES) * self.layers * self.heads * self.head_dim

    def training_flops(self, context: int, *, causal: bool = True) -> float:
        """Return the training FLOP per token, with attention and the output head.

        Parameters
        ----------
        context : int
            Tokens in a sequence.
        causal : bool
            Whether attention to later tokens is left out, as fast kernels do; otherwise it counts (as in the
            utilisation of the PaLM paper, arXiv:2204.02311, appendix B), which doubles the term of attention.

        Returns
        -------
        float
            FLOP per token: 6 × (matrices that a token uses + head) + (6 or 12) × layers·heads·head_dim × context.
        """
        seen = context / 2 if causal else context
        return TRAINING * (self.active_matrix_params + self.head_params) + 3 * self.attention_flops * seen

    def forward_flops(self, context: float) -> float:
        """Return the FLOP of generating a token.

        Parameters
        ----------
        context : float
            Tokens that it attends to.

        Returns
        -------
        float
            FLOP per token.
        """
        return FORWARD * (self.active_matrix_params + self.head_params) + self.attention_flops * context

    def kv_bytes(self, bytes_each: float = 2.0) -> float:
        """Return the size of the cache of keys and values.

        Parameters
        ----------
        bytes_each : float
            Bytes of one number: 2 for bf16, 1 for fp8.

        Returns
        -------
        float
            Bytes per token of context and sequence.
        """
        return 2 * self.layers * self.kv_heads * self.head_dim * bytes_each

    @property
    def aspect(self) -> float:
        """Width over layers: loss is flat around 100 in language and around 5 in images (arXiv:2010.14701)."""
        return self.width / self.layers


def shapes(params: tuple[float | str, float | str], vocab: int, *, aspect: tuple[float, float] = (70.0, 140.0),
           head_dim: int = 128, kv_heads: int | None = None, ffn_ratio: float = 8 / 3, multiple: int = 128,
           tensor: int = 1, pipeline: int = 1, tied: bool = False, gated: bool = True,
           context: int = 4096) -> pd.DataFrame:  # fmt: skip
    """Return the dense shapes that can be built, so that a decision may choose among them.

    Parameters
    ----------
    params : tuple of float or str
        Smallest and largest params, embeddings included (``("1B", "10B")``).
    vocab : int
        Entries of the token embedding.
    aspect : tuple of float
        Smallest and largest width over layers. The default is around 100, where the loss of language models is lowest
        and flat (Henighan et al. 2020, arXiv:2010.14701).
    head_dim : int
        Width of a head.
    kv_heads : int, optional
        Key and value heads; by default as many as query heads, which are a multiple of them.
    ffn_ratio : float
        Hidden width of the MLP over `width`, rounded up to a multiple. 8/3 gives a gated MLP the params of an
        ungated one with 4.
    multiple : int
        Of which `width` and `ffn` are multiples, for the tiles of matrix units.
    tensor : int
        Degree of tensor parallelism: query heads and `ffn` are multiples of it.
    pipeline : int
        Degree of pipeline parallelism: layers are a multiple of it.
    tied, gated : bool
        As in :class:`Shape`.
    context : int
        Tokens in a training sequence, for the FLOP.

    Returns
    -------
    DataFrame
        One row per shape, by params: the fields of :class:`Shape`, and ``params non_embedding_params aspect
        flops_per_token kv_bytes`` (training FLOP with causal attention; bytes per token of context in bf16).

    Raises
    ------
    QueryError
        If a setting is out of range, or no shape meets all of them.

    Examples
    --------
    >>> found = shapes(("6.7B", "6.8B"), vocab=32000, pipeline=8)
    >>> found[["layers", "width", "ffn", "params"]].values.tolist()
    [[32, 4096, 11008, 6738415616]]
    """
    least, most = (_count(end) for end in params)
    degrees = {"head_dim": head_dim, "kv_heads": kv_heads or 1, "multiple": multiple, "tensor": tensor,
               "pipeline": pipeline, "aspect": aspect[0], "vocab": vocab, "ffn_ratio": ffn_ratio}  # fmt: skip
    if bad := [name for name, value in degrees.items() if not value > 0]:
        raise QueryError(f"{bad[0]} is out of range", expected="a positive number", got=str(degrees[bad[0]]))
    found = []
    for width, layers in _sides(math.lcm(multiple, head_dim * math.lcm(kv_heads or 1, tensor)), pipeline, aspect):
        step = math.lcm(multiple, tensor)
        heads, ffn = width // head_dim, step * math.ceil(ffn_ratio * width / step)
        shape = Shape(layers, width, ffn, heads, kv_heads or heads, head_dim, vocab, tied, gated)
        if least <= shape.params <= most:
            found.append(_row(shape, context))
    if not found:
        raise QueryError("no shape meets every limit", got=f"{params[0]} to {params[1]} params, {degrees}",
                         hint="widen the range of params or aspect, or lower the degrees of parallelism")  # fmt: skip
    return pd.DataFrame(found).sort_values("params", ignore_index=True)


def _count(end: float | str) -> float:
    try:
        return quantity(end)
    except ValueError as error:
        raise QueryError("the range of params cannot be read", expected="a number, such as 7B", got=str(end)) from error


def _sides(step: int, pipeline: int, aspect: tuple[float, float]) -> Iterator[tuple[int, int]]:
    """Yield each width and number of layers within the range of aspect."""
    for width in itertools.takewhile(lambda width: width <= _MOST_WIDTH, itertools.count(step, step)):
        fewest = max(math.ceil(width / aspect[1]), _LEAST_LAYERS)
        for layers in range(pipeline * math.ceil(fewest / pipeline), math.floor(width / aspect[0]) + 1, pipeline):
            yield width, layers


def _row(shape: Shape, context: int) -> dict[str, Any]:
    return {**asdict(shape), "params": shape.params, "non_embedding_params": shape.params - shape.embedding_params,
            "aspect": shape.aspect, "flops_per_token": shape.training_flops(context),
            "kv_bytes": shape.kv_bytes()}  # fmt: skip
