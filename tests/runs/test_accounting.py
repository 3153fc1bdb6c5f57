"""Accounting: the same model counted in several ways, and one count made into another."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy.optimize import minimize_scalar

import bayescale as bs
from bayescale.core.errors import QueryError, RunsError
from bayescale.runs.accounting import (
    CONVENTIONS,
    KAPLAN_SIZES,
    Accounting,
    apparent_exponent,
    non_embedding_params,
    per_root_of,
    recount,
    total_params,
)
from bayescale.runs.shapes import Shape

GPT3 = Shape(layers=96, width=12288, ffn=4 * 12288, heads=96, kv_heads=96, head_dim=128, vocab=50257, tied=True,
             gated=False, positions=2048)  # fmt: skip
LLAMA3_8B = Shape(layers=32, width=4096, ffn=14336, heads=32, kv_heads=8, head_dim=128, vocab=128_256)
MIXTRAL = Shape(layers=32, width=4096, ffn=14336, heads=32, kv_heads=8, head_dim=128, vocab=32_000, experts=8,
                experts_per_token=2)  # fmt: skip


def of_porian(width: int, layers: int) -> Shape:
    """OpenLM: a gated MLP of 8/3 times the width, rounded up to 256, and the vocabulary of GPT-NeoX."""
    return Shape(layers=layers, width=width, ffn=256 * -(-8 * width // 3 // 256), heads=4, kv_heads=4,
                 head_dim=width // 4, vocab=50_432)  # fmt: skip


def test_conventions_count_the_same_model() -> None:
    assert CONVENTIONS["kaplan"].params(GPT3) == 12 * 96 * 12288**2
    assert CONVENTIONS["porian"].params(GPT3) == 12 * 96 * 12288**2 + 50257 * 12288
    assert CONVENTIONS["total"].params(GPT3) == GPT3.params
    assert CONVENTIONS["kaplan"].params(LLAMA3_8B) == LLAMA3_8B.params - LLAMA3_8B.embedding_params - 65 * 4096
    assert CONVENTIONS["total"].params(LLAMA3_8B) == LLAMA3_8B.params


def test_a_tied_embedding_counts_once() -> None:
    table = 50257 * 12288
    assert Accounting(head=False).params(GPT3) == Accounting().params(GPT3)
    assert Accounting(head=False).params(replace(GPT3, tied=False)) == Accounting().params(GPT3)
    assert Accounting().params(replace(GPT3, tied=False)) == Accounting().params(GPT3) + table


def test_flops_are_those_of_the_shape() -> None:
    """Catalogues of FLOP: Kaplan's term of attention is causal, PaLM's has the whole sequence."""
    exact, palm = CONVENTIONS["exact"], CONVENTIONS["palm"]
    for shape in (GPT3, LLAMA3_8B, MIXTRAL):
        assert exact.flops_per_token(shape, 2048) == shape.training_flops(2048)
        extra = 12 * shape.layers * shape.heads * shape.head_dim * 2048
        assert palm.flops_per_token(shape, 2048) == 6 * shape.active_params + extra
        assert palm.effective_params(shape, 2048) == palm.flops_per_token(shape, 2048) / 6
    assert CONVENTIONS["total"].flops_per_token(GPT3, 2048) == 6 * GPT3.params
    causal, full = (Accounting(attention=way).flops_per_token(LLAMA3_8B, 8192) for way in ("causal", "full"))
    assert (full - causal) / (6 * LLAMA3_8B.params) == pytest.approx(0.13, abs=0.005)


def test_tokens_of_the_warm_up_may_be_left_out() -> None:
    assert Accounting().tokens(1e9, 1e8) == 1e9
    assert Accounting(warmup=False).tokens(1e9, 1e8) == 9e8


def test_a_count_that_does_not_exist_is_an_error() -> None:
    with pytest.raises(QueryError, match="no such count of attention"):
        Accounting(attention="half")  # type: ignore[arg-type]


def counted(family: str) -> tuple[bs.Runs, list[Shape]]:
    runs = bs.load_runs("porian2024").where(family=family)
    return runs, [of_porian(int(width), int(layers)) for width, layers in zip(runs["width"], runs["layers"],
                                                                               strict=True)]  # fmt: skip


@pytest.mark.parametrize(
    ("family", "convention"),
    [("RefinedWeb-kaplan", "kaplan"), ("RefinedWeb-head", "porian"), ("RefinedWeb-head-attention", "exact")],
)
def test_shipped_counts_follow_from_shapes(family: str, convention: str) -> None:
    """Every row of a family, from its width and layers, in each of the three ways in which Porian et al. count."""
    runs, shapes = counted(family)
    new = recount(runs, shapes, CONVENTIONS[convention], context=2048, effective=convention == "exact")
    np.testing.assert_array_equal(new["params"], runs["params"])
    np.testing.assert_allclose(new["flops"], runs["flops"], rtol=1e-8)
    np.testing.assert_array_equal(new["loss"], runs["loss"])


def test_a_recount_and_back_returns_the_runs() -> None:
    runs, shapes = counted("RefinedWeb-kaplan")
    there = recount(runs, shapes, CONVENTIONS["palm"], context=2048)
    assert (there["params"] > runs["params"]).all()
    assert (there["flops"] > runs["flops"]).all()
    back = recount(there, shapes, CONVENTIONS["kaplan"], context=2048)
    pd.testing.assert_frame_equal(back.frame, runs.frame)


def test_a_recount_says_what_it_needs() -> None:
    runs, shapes = counted("RefinedWeb-kaplan")
    with pytest.raises(RunsError, match="one shape for each row"):
        recount(runs, shapes[:-1], CONVENTIONS["total"], context=2048)
    with pytest.raises(RunsError, match="no counted tokens"):
        recount(runs, shapes, Accounting(warmup=False), context=2048, warmup_tokens=1e13)
    less = recount(runs, shapes, Accounting(warmup=False), context=2048, warmup_tokens=1e6)
    np.testing.assert_allclose(less["tokens"], runs["tokens"] - 1e6)


def test_pearce_song_2024_params_without_shapes() -> None:
    """Pearce & Song 2024: all params are the non-embedding ones and 47,491 times their cube root."""
    assert total_params(1e6) == 1e6 + 47_491 * 100
    sizes = np.geomspace(1.0, 1e12, 50)
    np.testing.assert_allclose(non_embedding_params(total_params(sizes)), sizes, rtol=1e-9)
    width, layers = 1024, 16
    shape = Shape(layers, width, 4 * width, 16, 16, 64, 32_000, tied=True, gated=False)
    rule = total_params(shape.matrix_params, per_root_of(32_000, aspect=width / layers))
    assert rule == pytest.approx(shape.matrix_params + shape.embedding_params, rel=1e-12)


EPOCH = (482.01, 0.3478, 2085.43, 0.3658)
HOFFMANN = (406.4, 0.3392, 410.7, 0.2849)


@pytest.mark.parametrize("law", [EPOCH, HOFFMANN], ids=["Besiroglu et al.", "Hoffmann et al."])
def test_pearce_song_2024_the_apparent_exponent_is_that_of_the_minima(law: tuple) -> None:
    """Chinchilla's law, counted as Kaplan et al. count, seems to have an exponent far above its own.

    Nothing is compared with the paper's printed exponents, which were not read in it.
    """
    A, alpha_N, B, beta_D = law
    ln_flops = np.linspace(np.log(1e16), np.log(1e20), 300)

    def loss(ln_n: float, flops: float) -> float:
        tokens = flops / (6 * np.exp(ln_n))
        return A * total_params(np.exp(ln_n)) ** -alpha_N + B * tokens**-beta_D

    best = np.array([minimize_scalar(loss, bounds=(5.0, 25.0), args=(c,), method="bounded",
                                     options={"xatol": 1e-9}).x for c in np.exp(ln_flops)])  # fmt: skip
    slope = np.polyfit(ln_flops, best, 1)[0]
    found = apparent_exponent(*law, sizes=(np.exp(best[0]), np.exp(best[-1])))
    assert found == pytest.approx(slope, abs=1e-3)
    assert found > beta_D / (alpha_N + beta_D) + 0.1


def test_without_embeddings_the_apparent_exponent_is_the_true_one() -> None:
    A, B = np.array([300.0, 482.01]), np.array([900.0, 2085.43])
    found = apparent_exponent(A, 0.3478, B, 0.3658, per_root=0.0)
    np.testing.assert_allclose(found, 0.3658 / (0.3478 + 0.3658), rtol=1e-9)
    small, large = (apparent_exponent(*EPOCH, sizes=sizes) for sizes in (KAPLAN_SIZES, (1e10, 1e12)))
    assert small - found[1] > 0.25 > 0.02 > large - found[1] > 0  # the count matters for small models only
