"""Shapes: params and FLOP of published models, and the shapes that can be built."""

from __future__ import annotations

from dataclasses import asdict, fields

import pytest

from bayescale.core.errors import QueryError
from bayescale.runs.shapes import Shape, shapes

GPT3 = Shape(layers=96, width=12288, ffn=4 * 12288, heads=96, kv_heads=96, head_dim=128, vocab=50257, tied=True,
             gated=False, positions=2048)  # fmt: skip
LLAMA2_7B = Shape(layers=32, width=4096, ffn=11008, heads=32, kv_heads=32, head_dim=128, vocab=32_000)
LLAMA3_8B = Shape(layers=32, width=4096, ffn=14336, heads=32, kv_heads=8, head_dim=128, vocab=128_256)
LLAMA3_70B = Shape(layers=80, width=8192, ffn=28672, heads=64, kv_heads=8, head_dim=128, vocab=128_256)
MIXTRAL = Shape(layers=32, width=4096, ffn=14336, heads=32, kv_heads=8, head_dim=128, vocab=32_000, experts=8,
                experts_per_token=2)  # fmt: skip
NAMES = [field.name for field in fields(Shape)]


@pytest.mark.parametrize(
    ("shape", "params", "digit"),
    [(GPT3, 174.6e9, 0.05e9), (LLAMA2_7B, 6.738e9, 0.0005e9), (LLAMA3_8B, 8.030e9, 0.0005e9),
     (LLAMA3_70B, 70.55e9, 0.005e9), (MIXTRAL, 46.7e9, 0.05e9)],
    ids=["GPT-3", "Llama-2-7B", "Llama-3-8B", "Llama-3-70B", "Mixtral 8x7B"],
)  # fmt: skip
def test_shapes_params_are_those_that_were_published(shape: Shape, params: float, digit: float) -> None:
    assert shape.params == pytest.approx(params, abs=digit)


def test_matrices_follow_the_rule_of_twelve() -> None:
    assert GPT3.matrix_params == 12 * 96 * 12288**2
    assert GPT3.matrix_params == pytest.approx(173.95e9, abs=0.005e9)
    assert MIXTRAL.active_params == pytest.approx(12.9e9, abs=0.05e9)
    assert LLAMA3_8B.active_params == LLAMA3_8B.params


def test_caches_of_keys_and_values() -> None:
    assert LLAMA3_70B.kv_bytes() == 327_680
    assert LLAMA3_70B.kv_bytes(1.0) == 163_840
    assert LLAMA2_7B.kv_bytes() == 4 * LLAMA3_8B.kv_bytes()  # 32 key and value heads, and 8


def test_flops_beyond_six_per_param() -> None:
    """Kaplan's term of attention, and PaLM's, which counts the later tokens that a causal mask hides."""
    plain = 6 * (GPT3.matrix_params + 50257 * 12288)
    assert GPT3.training_flops(2048) == plain + 6 * 96 * 12288 * 2048
    assert GPT3.training_flops(2048, causal=False) == plain + 12 * 96 * 12288 * 2048
    assert GPT3.training_flops(2048) / (6 * GPT3.params) == pytest.approx(1.0137, abs=5e-5)
    assert GPT3.forward_flops(1024) == pytest.approx(GPT3.training_flops(2048) / 3)  # half of the context on average
    assert MIXTRAL.training_flops(1) == pytest.approx(6 * MIXTRAL.active_params, rel=0.02)


def test_tying_saves_the_head() -> None:
    tied = Shape(**(asdict(LLAMA3_8B) | {"tied": True}))
    assert LLAMA3_8B.params - tied.params == 128_256 * 4096
    assert tied.training_flops(4096) == LLAMA3_8B.training_flops(4096)  # the head is used as often


@pytest.mark.parametrize(
    "wrong",
    [{"layers": 0}, {"heads": 30}, {"experts_per_token": 2}, {"vocab": -1}],
    ids=lambda wrong: next(iter(wrong)),
)
def test_a_shape_that_cannot_be_built_is_an_error(wrong: dict) -> None:
    with pytest.raises(QueryError, match="a shape"):
        Shape(**(asdict(LLAMA3_8B) | wrong))


def test_shapes_meet_every_limit() -> None:
    found = shapes(("5B", "100B"), 128_256, kv_heads=8, ffn_ratio=3.5, tensor=8, pipeline=4, context=8192)
    assert len(found) > 20
    assert found["params"].between(5e9, 100e9).all()
    assert found["params"].is_monotonic_increasing
    assert found["aspect"].between(70, 140).all()
    assert (found["width"] % 1024 == 0).all()  # eight heads of 128 for each of eight ranks
    assert (found["ffn"] % 128 == 0).all()
    assert (found["layers"] % 4 == 0).all()
    assert (found["heads"] % 8 == 0).all()
    assert (found["ffn"] / found["width"]).between(3.5, 3.6).all()


def test_published_shapes_are_among_them() -> None:
    found = shapes(("6B", "80B"), 128_256, kv_heads=8, ffn_ratio=3.5, tensor=8, pipeline=4)
    rows = found[NAMES].to_dict("records")
    for shape in (LLAMA3_8B, LLAMA3_70B):
        assert asdict(shape) in rows
    assert asdict(LLAMA2_7B) in shapes(("6B", "7B"), 32_000)[NAMES].to_dict("records")


def test_each_row_is_a_shape_with_its_figures() -> None:
    for row in shapes(("1B", "2B"), 50_304, tied=True, gated=False, ffn_ratio=4.0).to_dict("records"):
        shape = Shape(**{name: row[name] for name in NAMES})
        assert (shape.params, shape.training_flops(4096), shape.kv_bytes()) == (
            row["params"], row["flops_per_token"], row["kv_bytes"])  # fmt: skip
        assert row["non_embedding_params"] == shape.params - 50_304 * shape.width


def test_limits_that_no_shape_meets_are_an_error() -> None:
    with pytest.raises(QueryError, match="no shape meets every limit"):
        shapes(("1B", "1.001B"), 32_000, tensor=16, pipeline=8)
    with pytest.raises(QueryError, match="the range of params cannot be read"):
        shapes(("one", "2B"), 32_000)
    with pytest.raises(QueryError, match="tensor is out of range"):
        shapes(("1B", "2B"), 32_000, tensor=0)
