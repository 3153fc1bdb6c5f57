"""Serving: time and dollars of prompts and generated tokens, and the demand at which a smaller model pays.

A step of a server is as slow as the slower of its matrix products and its memory traffic (the roofline of Williams et
al. 2009, doi:10.1145/1498765.1498785). Every function takes numbers, or arrays that broadcast with (draw, 1).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from bayescale.decisions.costs import HOUR, Rates
from bayescale.runs.shapes import FORWARD, SCORES, Shape

MILLION = 1e6
_MOST_BATCH = 2.0**40  # far more sequences than any server holds
_HALVINGS = 42  # of an interval of _MOST_BATCH, to below one sequence


@dataclass(frozen=True, eq=False)
class Served:
    """A model, as a server sees it; each field is a number or an array, such as one over sizes.

    Attributes
    ----------
    params, active_params : float or ndarray
        All params, and those that one token uses; equal for a dense model.
    kv_bytes : float or ndarray
        Bytes of keys and values per token of context and sequence.
    weight_bytes : float or ndarray
        Bytes per param: 2 for bf16, 1 for fp8.
    routed_share : float or ndarray
        Experts that a token uses over all experts; 1 for a dense model.
    attention_flops : float or ndarray
        Forward FLOP of a token for each token that it attends to.
    """

    params: Any
    active_params: Any
    kv_bytes: Any
    weight_bytes: Any = 2.0
    routed_share: Any = 1.0
    attention_flops: Any = 0.0

    def touched(self, tokens: Any) -> Any:
        """Return the params that a batch reads.

        With `k` of `E` experts for each token, chosen evenly, a batch of `b` tokens is expected to use
        ``E·(1 - (1 - k/E)^b)`` experts. With the routed params that follow from all and active params, this is
        ``params - (params - active)·(1 - k/E)^(b - 1)``.

        Parameters
        ----------
        tokens : float or ndarray
            Tokens in the batch, at least 1.

        Returns
        -------
        float or ndarray
            Params, from the active ones at one token to all.
        """
        unused = (1 - np.asarray(self.routed_share, float)) ** (np.asarray(tokens, float) - 1)
        return self.params - (self.params - self.active_params) * unused


def served(shape: Shape, *, weight_bytes: float = 2.0, cache_bytes: float = 2.0) -> Served:
    """Return a shape as a server sees it.

    Parameters
    ----------
    shape : Shape
    weight_bytes : float
        Bytes per param.
    cache_bytes : float
        Bytes of each number in the cache of keys and values.

    Returns
    -------
    Served
    """
    return Served(shape.params, shape.active_params, shape.kv_bytes(cache_bytes), weight_bytes,
                  shape.experts_per_token / shape.experts, shape.attention_flops)  # fmt: skip


def served_like(params: Any, shapes: pd.DataFrame, *, trend: bool, weight_bytes: float = 2.0) -> Served:
    """Return dense models of any params, with the caches (in bf16) and the attention of shapes of their size.

    Parameters
    ----------
    params : float or ndarray
    shapes : DataFrame
        By params, as :func:`bayescale.runs.shapes.shapes` returns them. Beyond its ends, the ends count.
    trend : bool
        Whether a model follows the trend over shapes, and not the shapes that are next to it in size. Those differ by
        their number of layers, from one size to the next.
    weight_bytes : float
        Bytes per param.

    Returns
    -------
    Served
    """
    known = np.log(shapes["params"].to_numpy(float))
    at = np.clip(np.log(np.asarray(params, float)), known[0], known[-1])
    attention = SCORES * FORWARD * (shapes["layers"] * shapes["heads"] * shapes["head_dim"]).to_numpy(float)

    def read(x: np.ndarray) -> np.ndarray:
        y = np.log(x)
        return np.exp(np.polyval(np.polyfit(known, y, 2), at) if trend else np.interp(at, known, y))

    return Served(params, params, read(shapes["kv_bytes"].to_numpy(float)), weight_bytes,
                  attention_flops=read(attention))  # fmt: skip


@dataclass(frozen=True, eq=False)
class Server:
    """A model on some accelerators, which share its weights, its caches and the work evenly.

    Results have shape (draw, 1), or (draw, action) where the model or an argument is an array over actions.

    Attributes
    ----------
    model : Served
    rates : Rates
        Draws of the hardware, at the precision in which the model is served.
    accelerators : float
        Accelerators that hold one copy of the model.
    """

    model: Served
    rates: Rates
    accelerators: float = 1

    @property
    def flops_per_second(self) -> np.ndarray:
        """FLOP/s that serving reaches."""
        return self.accelerators * self.rates.peak * self.rates.serving_utilisation

    @property
    def bytes_per_second(self) -> np.ndarray:
        """Bytes/s of memory that serving reaches."""
        return self.accelerators * self.rates.bandwidth * self.rates.bandwidth_utilisation

    @property
    def dollars_per_second(self) -> np.ndarray:
        """US dollars per second of all accelerators; raises QueryError if the hardware has no price."""
        return self.accelerators * self.rates.dollars_per_hour / HOUR

    def decode_compute(self, batch: Any, context: Any) -> np.ndarray:
        """Return the time of a step's matrix products: one token for each sequence.

        Parameters
        ----------
        batch : float or ndarray
            Sequences that are generated at the same time.
        context : float or ndarray
            Tokens in the cache of each sequence.

        Returns
        -------
        ndarray
            Seconds.
        """
        flops = FORWARD * self.model.active_params + self.model.attention_flops * np.asarray(context, float)
        return np.asarray(batch, float) * flops / self.flops_per_second

    def decode_memory(self, batch: Any, context: Any) -> np.ndarray:
        """Return the time in which a step reads weights and caches.

        Parameters
        ----------
        batch, context : float or ndarray
            As in :meth:`decode_compute`.

        Returns
        -------
        ndarray
            Seconds.
        """
        batch = np.asarray(batch, float)
        caches = batch * np.asarray(context, float) * self.model.kv_bytes
        return (self.model.weight_bytes * self.model.touched(batch) + caches) / self.bytes_per_second

    def decode_seconds(self, batch: Any, context: Any) -> np.ndarray:
        """Return the time of a step, and so the time between two tokens of a sequence.

        Parameters
        ----------
        batch, context : float or ndarray
            As in :meth:`decode_compute`.

        Returns
        -------
        ndarray
            Seconds: the slower of matrix products and memory.
        """
        return np.maximum(self.decode_compute(batch, context), self.decode_memory(batch, context))

    def tokens_per_second(self, batch: Any, context: Any) -> np.ndarray:
        """Return the tokens that all sequences generate.

        Parameters
        ----------
        batch, context : float or ndarray
            As in :meth:`decode_compute`.

        Returns
        -------
        ndarray
            Tokens/s.
        """
        return np.asarray(batch, float) / self.decode_seconds(batch, context)

    def decode_dollars(self, batch: Any, context: Any) -> np.ndarray:
        """Return the price of generated tokens.

        Parameters
        ----------
        batch, context : float or ndarray
            As in :meth:`decode_compute`.

        Returns
        -------
        ndarray
            US dollars per million generated tokens, with the server always full.

        Raises
        ------
        QueryError
            If the hardware has no price.
        """
        return MILLION * self.dollars_per_second / self.tokens_per_second(batch, context)

    def prefill_seconds(self, prompt: Any, batch: Any = 1) -> np.ndarray:
        """Return the time until prompts are read.

        Parameters
        ----------
        prompt : float or ndarray
            Tokens of each prompt.
        batch : float or ndarray
            Prompts that are read at the same time.

        Returns
        -------
        ndarray
            Seconds: the slower of matrix products (each token attends to half of the prompt on average) and memory.
        """
        prompt = np.asarray(prompt, float)
        tokens = prompt * np.asarray(batch, float)
        flops = tokens * (FORWARD * self.model.active_params + self.model.attention_flops * prompt / 2)
        moved = self.model.weight_bytes * self.model.touched(tokens) + tokens * self.model.kv_bytes
        return np.maximum(flops / self.flops_per_second, moved / self.bytes_per_second)

    def prefill_dollars(self, prompt: Any, batch: Any = 1) -> np.ndarray:
        """Return the price of prompts.

        Parameters
        ----------
        prompt, batch : float or ndarray
            As in :meth:`prefill_seconds`.

        Returns
        -------
        ndarray
            US dollars per million prompt tokens, with the server always full.

        Raises
        ------
        QueryError
            If the hardware has no price.
        """
        tokens = np.asarray(prompt, float) * np.asarray(batch, float)
        return MILLION * self.dollars_per_second * self.prefill_seconds(prompt, batch) / tokens

    def request_dollars(self, prompt: Any, generated: Any, batch: Any) -> np.ndarray:
        """Return the price of a request.

        Parameters
        ----------
        prompt, generated : float or ndarray
            Tokens of the prompt and of the answer.
        batch : float or ndarray
            Sequences that are generated at the same time; prompts are read one at a time.

        Returns
        -------
        ndarray
            US dollars. Over ``prompt + generated`` it is the price of a served token.

        Raises
        ------
        QueryError
            If the hardware has no price.
        """
        prompt, generated = np.asarray(prompt, float), np.asarray(generated, float)
        decode = generated * self.decode_dollars(batch, prompt + generated / 2)  # the average context of the answer
        return (prompt * self.prefill_dollars(prompt) + decode) / MILLION

    def batch_in_memory(self, context: Any) -> np.ndarray:
        """Return the largest batch that fits in memory with the weights.

        Parameters
        ----------
        context : float or ndarray
            Tokens in the cache of each sequence.

        Returns
        -------
        ndarray
            Sequences; 0 if not even the weights and one sequence fit, and infinite if nothing is cached.
        """
        free = self.accelerators * self.rates.memory - self.model.weight_bytes * self.model.params
        each = np.asarray(context, float) * self.model.kv_bytes
        some = np.where(each > 0, np.floor(np.maximum(free, 0) / np.where(each > 0, each, 1)), np.inf)
        return np.where(free >= 0, some, 0.0)

    def memory_bytes(self, batch: Any, context: Any) -> Any:
        """Return the memory of one accelerator that weights and caches take.

        Parameters
        ----------
        batch, context : float or ndarray
            As in :meth:`decode_compute`.

        Returns
        -------
        float or ndarray
            Bytes; the same in all draws.
        """
        caches = np.asarray(batch, float) * np.asarray(context, float) * self.model.kv_bytes
        return (self.model.weight_bytes * self.model.params + caches) / self.accelerators

    def largest_batch(self, context: Any, seconds: Any = np.inf) -> np.ndarray:
        """Return the largest batch that fits in memory and is fast enough.

        Parameters
        ----------
        context : float or ndarray
            Tokens in the cache of each sequence.
        seconds : float or ndarray
            Most time between two tokens of a sequence.

        Returns
        -------
        ndarray
            Sequences, at most 2^40; 0 if there is none.
        """
        most = np.minimum(self.batch_in_memory(context), _MOST_BATCH)
        low, high = np.zeros_like(most), most + 1  # low is fast enough, high is not or does not fit
        for _ in range(_HALVINGS):
            middle = np.floor((low + high) / 2)
            good = self.decode_seconds(np.maximum(middle, 1), context) <= seconds
            low, high = np.where(good, middle, low), np.where(good, high, middle)
        return low


def flop_equivalent(dollars: Any, rates: Rates) -> np.ndarray:
    """Return the training FLOP that cost as much as one served token.

    Parameters
    ----------
    dollars : float or ndarray
        US dollars per million served tokens.
    rates : Rates
        Of the training hardware.

    Returns
    -------
    ndarray, shape (draw, action)
        FLOP per served token. Over ``2·active_params`` it is the price of a FLOP in serving relative to training.

    Raises
    ------
    QueryError
        If the hardware has no price.
    """
    return rates.flops_of_dollars(np.asarray(dollars, float) / MILLION)


def break_even(small: tuple[Any, Any], large: tuple[Any, Any]) -> np.ndarray:
    """Return the demand above which a smaller, longer-trained model of the same quality costs less in total.

    Parameters
    ----------
    small, large : tuple of float or ndarray
        Training cost, and cost of a served token, of each model, in one unit: US dollars and US dollars per token, or
        FLOP and FLOP per token. Arrays hold paired draws.

    Returns
    -------
    ndarray
        Served tokens; 0 where the smaller model costs less at any demand, and infinite where serving it costs no less,
        so that more demand never favours it.

    Examples
    --------
    >>> float(break_even((3e6, 1e-7), (2e6, 2e-7)))
    10000000000000.0
    """
    extra = np.subtract(small[0], large[0], dtype=float)
    saved = np.subtract(large[1], small[1], dtype=float)
    extra, saved = np.broadcast_arrays(extra, saved)
    return np.where(saved > 0, np.maximum(extra, 0) / np.where(saved > 0, saved, 1), np.inf)
