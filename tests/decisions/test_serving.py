"""Serving: the roofline of a step, routed experts, memory, prices, and the lifetime optimum that they decide."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from known import SARDANA, known_fit

import bayescale as bs
from bayescale.core.errors import QueryError
from bayescale.decisions.hardware import hardware
from bayescale.decisions.lifetime import Lifetime
from bayescale.decisions.serving import Served, Server, break_even, flop_equivalent, served
from bayescale.runs.shapes import Shape

LLAMA_70B = Shape(layers=80, width=8192, ffn=28672, heads=64, kv_heads=8, head_dim=128, vocab=128_256)
MIXTRAL = Shape(layers=32, width=4096, ffn=14336, heads=32, kv_heads=8, head_dim=128, vocab=32_000, experts=8,
                experts_per_token=2)  # fmt: skip
BATCHES = 2.0 ** np.arange(13)


@pytest.fixture(scope="module")
def rates():
    return hardware("H100").drawn(200, seed=0)


@pytest.fixture(scope="module")
def server(rates) -> Server:
    return Server(served(LLAMA_70B), rates, accelerators=8)


# A step


def test_a_small_batch_waits_for_memory_and_a_large_one_for_compute(server: Server, rates) -> None:
    context = 500.0
    compute, memory = server.decode_compute(BATCHES, context), server.decode_memory(BATCHES, context)
    assert (memory > compute)[:, 0].all()
    assert (compute > memory)[:, -1].all()
    np.testing.assert_array_equal(server.decode_seconds(BATCHES, context), np.maximum(compute, memory))
    # The batch at which both take as long, by hand: linear in the batch on either side.
    flops = 2 * LLAMA_70B.params + LLAMA_70B.attention_flops * context
    per_second = 8 * 989e12 * 0.5, 8 * 3.35e12 * 0.6
    cross = (2 * LLAMA_70B.params / per_second[1]) / (flops / per_second[0] - context * 327_680 / per_second[1])
    np.testing.assert_allclose(server.decode_compute(cross, context), server.decode_memory(cross, context), rtol=1e-12)


def test_a_token_costs_less_in_a_larger_batch_until_the_crossover(server: Server) -> None:
    context = 500.0
    price = server.decode_dollars(BATCHES, context)
    in_memory = server.decode_memory(BATCHES, context) > server.decode_compute(BATCHES, context)
    falls = np.diff(price, axis=1) < 0
    assert falls[in_memory[:, :-1]].all()  # from a batch before the crossover, a larger one costs less
    beyond = ~in_memory[:, :-1]
    assert beyond.any()
    np.testing.assert_allclose(price[:, 1:][beyond], price[:, :-1][beyond], rtol=1e-12)  # and then no more
    faster = np.diff(server.decode_seconds(BATCHES, context), axis=1)
    assert (faster > 0).all()


def test_the_limit_of_a_large_batch_is_the_time_of_its_matrix_products(rates) -> None:
    params = np.array([1e9, 7e9, 70e9])
    seconds = Server(Served(params, params, 0.0), rates).decode_seconds(1e12, 0.0) / 1e12
    np.testing.assert_allclose(seconds, 2 * params / (rates.peak * rates.serving_utilisation), rtol=1e-12)


def test_where_caches_are_long_the_limit_is_their_reading(rates) -> None:
    model = served(LLAMA_70B)
    seconds = Server(model, rates).decode_seconds(1e12, 1e5) / 1e12
    reading = 1e5 * model.kv_bytes / (rates.bandwidth * rates.bandwidth_utilisation)
    np.testing.assert_allclose(seconds, reading, rtol=1e-9)  # the weights' share vanishes as 1/batch


def test_a_batch_of_one_reads_every_weight(rates) -> None:
    """An 8-billion-param model in bf16 at 3.35 TB/s × 0.6 makes at most 126 tokens a second."""
    rate = Server(Served(8e9, 8e9, 0.0), rates).tokens_per_second(1, 0.0)
    np.testing.assert_allclose(rate, 3.35e12 * 0.6 / 16e9, rtol=1e-12)


# Routed experts


def test_touched_params_go_from_the_active_ones_to_all() -> None:
    model = served(MIXTRAL)
    assert model.touched(1) == MIXTRAL.active_params
    assert model.touched(1e6) == MIXTRAL.params
    assert (np.diff(model.touched(np.arange(1, 30))) > 0).all()
    assert served(LLAMA_70B).touched(np.array([1.0, 64.0])) == pytest.approx(LLAMA_70B.params)


@pytest.mark.parametrize("batch", [1, 3, 16])
def test_touched_experts_are_those_that_random_routing_uses(batch: int) -> None:
    """Simulated: the mean over trials lies within four standard errors of E·(1 - (1 - k/E)^b)."""
    rng, experts, used = np.random.default_rng(5), 8, 2
    routed = rng.random((4000, batch, experts)).argsort(axis=2)[:, :, :used]
    distinct = np.array([len(np.unique(trial)) for trial in routed])
    each = MIXTRAL.layers * MIXTRAL.expert_params
    touched = served(MIXTRAL).touched(batch)
    expected = (touched - (MIXTRAL.params - experts * each)) / each
    assert expected == pytest.approx(experts * (1 - (1 - used / experts) ** batch), rel=1e-12)
    assert distinct.mean() == pytest.approx(expected, abs=4 * distinct.std() / np.sqrt(4000) + 1e-9)


# Memory and latency


def test_the_largest_batch_fills_the_memory(server: Server) -> None:
    batch = server.batch_in_memory(4000.0)
    free = 8 * 80e9 - 2 * LLAMA_70B.params
    assert (batch == np.floor(free / (4000 * 327_680))).all()
    assert (replace(server, accelerators=1).batch_in_memory(4000.0) == 0).all()  # 141 GB of weights in 80 GB
    assert np.isinf(replace(server, model=Served(1e9, 1e9, 0.0)).batch_in_memory(4000.0)).all()


def test_a_latency_limits_the_batch(server: Server) -> None:
    limits = np.array([1e-3, 0.012, 0.015, 0.02, np.inf])
    batch = server.largest_batch(2000.0, limits)
    fits = server.batch_in_memory(2000.0)
    assert (batch[:, 0] == 0).all()  # the weights alone take 9 ms
    assert (batch[:, -1:] == fits).all()
    inside = (batch > 0) & (batch < fits)
    assert inside.any()
    assert (server.decode_seconds(np.maximum(batch, 1), 2000.0) <= limits)[inside].all()
    assert (server.decode_seconds(batch + 1, 2000.0) > limits)[inside].all()


# Prices


def test_dollars_are_time_times_price(server: Server, rates) -> None:
    step = server.decode_seconds(32, 1000.0)
    np.testing.assert_allclose(server.decode_dollars(32, 1000.0), rates.price * 8 / 3600 * step / 32 * 1e6, rtol=1e-12)
    prefill = server.prefill_seconds(1000.0, batch=4)
    by_hand = 4000 * (2 * LLAMA_70B.params + LLAMA_70B.attention_flops * 500) / (8 * 989e12 * 0.5)
    np.testing.assert_allclose(prefill, by_hand, rtol=1e-12)
    np.testing.assert_allclose(server.prefill_dollars(1000.0, batch=4), rates.price * 8 / 3600 * prefill / 4000 * 1e6)
    request = server.request_dollars(1000.0, 200.0, batch=32)
    parts = 1000 * server.prefill_dollars(1000.0) + 200 * server.decode_dollars(32, 1100.0)
    np.testing.assert_allclose(request, parts / 1e6)


def test_a_short_prompt_waits_for_the_weights(server: Server) -> None:
    np.testing.assert_allclose(server.prefill_seconds(1.0), (2 * LLAMA_70B.params + 327_680) / (8 * 3.35e12 * 0.6))


def test_a_price_is_needed_for_dollars() -> None:
    bare = Server(served(LLAMA_70B), hardware("B300").drawn(3, seed=0))
    assert (bare.tokens_per_second(1, 0.0) > 0).all()
    with pytest.raises(QueryError, match="no price"):
        bare.decode_dollars(1, 0.0)


def test_flop_equivalent_is_the_flops_that_cost_as_much(rates) -> None:
    flops = flop_equivalent(np.array([0.1, 1.0]), rates)
    np.testing.assert_allclose(rates.dollars(flops) * 1e6, np.broadcast_to([0.1, 1.0], (200, 2)), rtol=1e-12)


# Two sizes


def test_break_even_is_where_total_costs_meet() -> None:
    small, large = (3e6, 1e-7), (2e6, 3e-7)
    demand = break_even(small, large)
    assert small[0] + small[1] * demand == pytest.approx(large[0] + large[1] * demand)
    assert demand == pytest.approx(5e12)
    assert break_even((1e6, 1e-7), (2e6, 3e-7)) == 0  # less to train and to serve
    assert np.isinf(break_even((3e6, 3e-7), (2e6, 1e-7)))
    assert np.isinf(break_even((3e6, 1e-7), (2e6, 1e-7)))


def test_break_even_has_a_distribution(rates) -> None:
    """8 billion params trained for as long as it takes to equal 13 billion, on shared draws of price and hardware."""
    sizes = np.array([8e9, 13e9])
    training = rates.dollars(6 * sizes * np.array([1e12, 0.5e12]))
    serving = Server(Served(sizes, sizes, 1e5), rates).request_dollars(70, 215, 16) / 285
    demand = break_even((training[:, 0], serving[:, 0]), (training[:, 1], serving[:, 1]))
    assert demand.shape == (200,)
    assert np.isfinite(demand).all()
    # The price is in both costs and cancels; what is left is the spread of utilisation and overhead.
    spread = np.log(rates.overhead / rates.utilisation).std()
    assert np.log(demand).std() == pytest.approx(spread, rel=1e-9)


# The lifetime optimum (Sardana et al. 2024, arXiv:2401.00448)


@pytest.fixture(scope="module")
def price_of_serving(tmp_path_factory) -> float:
    """Dollars for a FLOP in serving over dollars for one in training, of the paper's hardware.

    Training on A100 80 GB at half of the peak, $1.50 an hour. Serving in INT8, twice the peak, on A100 40 GB at $1.10;
    half of the peak for 70 prompt tokens, and 1% for 215 generated ones.
    """
    folder = tmp_path_factory.mktemp("cards")

    def dollars(name: str, peak: float, price: float, utilisation: float) -> float:
        path = folder / f"{name}.toml"
        path.write_text(f'base = "A100"\noverhead = 1\nutilisation = {utilisation}\n[peak]\nbf16 = {peak}\n[price]\n'
                        f'value = {price}\nas_of = 2024-01-01\nsource = "arXiv:2401.00448"\n')  # fmt: skip
        return float(hardware(path).drawn(1, seed=0).dollars(1.0).item())

    training, prompt = dollars("training", 312e12, 1.5, 0.5), dollars("prompt", 624e12, 1.1, 0.5)
    return (70 * prompt + 215 * dollars("generation", 624e12, 1.1, 0.01)) / 285 / training


@pytest.mark.parametrize(
    ("quality", "requests", "params", "tokens", "saving"),
    [(30e9, 1.5e9, 16e9, 3.35e12, 0.17), (70e9, 35.1e9, 21.5e9, 27e12, 0.54)],
)
def test_lifetime_optima_in_dollars(
    chinchilla: bs.Runs, price_of_serving, quality, requests, params, tokens, saving
) -> None:
    """Within two points of the paper's saving: how it counts the rate of INT8 is not stated."""
    plan = Lifetime(demand=285 * requests, like=quality, serving=price_of_serving)
    choice = bs.decide(plan, known_fit(chinchilla, "additive", SARDANA))
    trained = np.exp(choice.ln_least_cost) / np.exp(choice.ln_optimum) / 6 - 285 * requests * price_of_serving / 3
    assert choice.saving == pytest.approx(saving, abs=0.02)
    assert np.exp(choice.ln_optimum) == pytest.approx(params, rel=0.03)
    assert trained == pytest.approx(tokens, rel=0.09)
