"""Selection: how well the runs that the value of information buys predict runs of a target.

The yardstick is ScaleBench (Li et al. 2026, arXiv:2604.22753). Each task has a pool of runs with their costs, a target
that no rule may buy, and a score: R² at the target, clipped to [-1, 1], after some shares of the cost of the pool. Here
are the tasks whose runs this project ships: `data_con`, `parallel`, `vocab`, `moe` and `sparsity`.

Ours starts from the cheapest runs and buys batches, with a fit after each. The value of a batch is the expected
reduction of the variance of the law at the target, summed over its runs: what it removes from the expected numerator of
1 - R². It is estimated as `Value.level` is: draws are reweighted by the likelihood of fantasies of the batch, and two
halves of the draws estimate independently.

    python benchmarks/selection.py [--tasks data_con parallel ...] [--repetitions 3] [--orders 8]

It prints a table and writes `benchmarks/selection.csv`, where rows of other tasks are kept, and
`benchmarks/selection.md`.
"""

from __future__ import annotations

import argparse
import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pandas as pd
from jax import Array

import bayescale as bs
from bayescale.decisions.engines import sources
from bayescale.prediction.fantasies import at_a_time, fantasies, log_densities
from bayescale.prediction.predict import predict
from bayescale.prediction.queries import queries_of

HERE = Path(__file__).parent
OURS = "value of information"
SLOTS = (1, 2, 4)  # a batch is one large run, or up to as many runs of an equal share of its budget
DRAWS, FANTASIES = 1000, 128
TARGET_PARAMS, TARGET_TOKENS = 4.2465e9, 6e11  # second largest of the 182 runs: the target is at or above either one
UNDER_TRAINED = 4.5  # nats/token: runs above it are marked in data/datablations/card.toml


@dataclass(frozen=True)
class Pool:
    """The pool in order of cost, what each of its runs costs, the target, and the runs that every rule starts from."""

    runs: bs.Runs
    cost: np.ndarray
    target: pd.DataFrame
    start: list[int]


@dataclass(frozen=True)
class Task:
    """A task of the yardstick: its law, its runs, and the batches until each share is spent.

    `published` has, by rule, mean and standard deviation over laws and repetitions at each share, of Table 2 of
    arXiv:2604.22753.
    """

    spec: Any
    load: Callable[[], Pool]
    batches: dict[float, int]
    published: dict[str, tuple[str, ...]]
    most: float = np.inf  # loss above which a run is left out of the fit in one row of the table
    large: float = 0.0  # params from which on a run of the target counts in the mean error


def pool_of(runs: bs.Runs, cost: np.ndarray, held: np.ndarray, start: int) -> Pool:
    """Return the runs in order of cost with the target held out; every rule starts from the cheapest."""
    order = np.argsort(cost, kind="stable")
    order = order[~held[order]]
    return Pool(runs.take(order), cost[order], runs.frame[held], list(range(start)))


def data_con() -> Pool:
    """Return the runs of the published data-constrained law; the target has the most params or tokens."""
    runs = bs.load_runs("datablations").where(in_published_fit="true")
    held = (runs["params"] >= TARGET_PARAMS) | (runs["tokens"] >= TARGET_TOKENS)
    return pool_of(runs, runs["flops"], held, 8)


def parallel() -> Pool:
    """Return the runs of both texts; the target is eight streams, and a run costs its params.

    The start is one run of the two smallest sizes on each text: with one size the exponent of params is unknown.
    """
    runs = bs.load_runs("parallel")
    made = pool_of(runs, runs["params"], runs["streams"] == "8", 0)
    single = np.flatnonzero(made.runs["streams"] == "1")  # in order of cost, the two texts in turn
    return replace(made, start=[int(i) for i in single[:4]])


def vocab() -> Pool:
    """Return all checkpoints; the target is the largest vocabulary, and one costs params times characters.

    The start is the two earliest of the two smallest sizes and vocabularies: the law needs two values of each.
    """
    runs = bs.load_runs("vocabulary")
    size, characters = (runs.frame[name].astype(float).to_numpy() for name in ("vocab_size", "characters"))
    made = pool_of(runs, runs["params"] * characters, size == size.max(), 0)
    of = made.runs.frame.reset_index(drop=True)
    few = of[of["params"].rank(method="dense").le(2) & of["vocab_size"].astype(float).rank(method="dense").le(2)]
    return replace(made, start=few.groupby(["params", "vocab_size"]).head(2).index.tolist())


def moe() -> Pool:
    """Return each model once, as one family; the target has the most active params, and one costs params · experts."""
    frame = bs.load_runs("clark2022").frame.drop_duplicates("run_id").assign(family="Clark")
    frame["sparsity"] = frame["params"] / frame["active_params"]
    runs = bs.load_runs(frame, name="clark2022", loss_unit="nats")
    active = runs["active_params"]
    return pool_of(runs, active * runs["experts"].astype(float), active == active.max(), 8)


def sparsity() -> Pool:
    """Return all checkpoints; the target is marked, and one costs the FLOP of both phases."""
    runs = bs.load_runs("liew2025")
    first = runs["dense_params"].astype(float) * runs["dense_tokens"].astype(float)
    return pool_of(runs, 6 * (first + runs["active_params"] * runs["tokens"]), runs["split"] == "test", 8)


STREAMS = bs.make_spec("parallel, texts pooled", law="power-floor", inputs=["params"], resources=["parallel"],
                       responses={"loss": "student-t"}, pooling={"default": "partial"})  # fmt: skip
EXPERTS = bs.make_spec("power-floor, with sparsity", law="power-floor", inputs=["active_params"],
                       resources=["sparsity"], responses={"loss": "student-t"},
                       pooling={"default": "none"})  # fmt: skip
LOW, HIGH = {0.01: 4, 0.05: 3, 0.10: 2}, {0.20: 4, 0.35: 3, 0.50: 2}
TASKS = {
    "data_con": Task("repetition", data_con, LOW, most=UNDER_TRAINED, large=TARGET_PARAMS, published={
        "active selection": ("0.73 ± 0.37", "0.85 ± 0.16", "0.86 ± 0.11"),
        "V-optimal": ("0.58 ± 0.53", "0.83 ± 0.17", "0.85 ± 0.13"),
        "D-optimal": ("0.71 ± 0.43", "0.80 ± 0.17", "0.77 ± 0.16"),
        "smallest first": ("-0.58 ± 0.64", "-0.56 ± 0.65", "-0.40 ± 0.64"),
        "random order": ("-0.74 ± 0.48", "-0.36 ± 0.71", "0.12 ± 0.62"),
        "all runs": ("0.79 ± 0.23",) * 3,
    }),
    "parallel": Task(STREAMS, parallel, {0.05: 2, 0.10: 2}, published={
        "active selection": ("0.77 ± 0.39", "0.99 ± 0.00"),
        "V-optimal": ("0.69 ± 0.53", "0.99 ± 0.00"),
        "D-optimal": ("0.70 ± 0.52", "0.99 ± 0.00"),
        "smallest first": ("0.42 ± 0.03", "0.42 ± 0.03"),
        "random order": ("0.27 ± 0.02", "0.19 ± 0.01"),
        "all runs": ("0.99 ± 0.00",) * 2,
    }),
    "vocab": Task("vocabulary", vocab, LOW, published={
        "active selection": ("0.96 ± 0.02", "0.98 ± 0.00", "0.98 ± 0.00"),
        "V-optimal": ("0.96 ± 0.02", "0.97 ± 0.00", "0.98 ± 0.00"),
        "D-optimal": ("0.95 ± 0.03", "0.97 ± 0.01", "0.97 ± 0.00"),
        "smallest first": ("0.30 ± 0.71", "0.53 ± 0.62", "0.55 ± 0.63"),
        "random order": ("0.54 ± 0.57", "0.53 ± 0.62", "0.59 ± 0.54"),
        "all runs": ("0.93 ± 0.16",) * 3,
    }),
    "moe": Task(EXPERTS, moe, LOW, published={
        "active selection": ("0.59 ± 0.39", "0.65 ± 0.27", "0.83 ± 0.07"),
        "V-optimal": ("0.67 ± 0.24", "0.80 ± 0.05", "0.80 ± 0.11"),
        "D-optimal": ("0.34 ± 0.54", "0.55 ± 0.34", "0.74 ± 0.14"),
        "smallest first": ("0.30 ± 0.57", "0.74 ± 0.19", "0.81 ± 0.14"),
        "random order": ("-0.47 ± 0.66", "0.01 ± 0.72", "0.26 ± 0.65"),
        "all runs": ("0.81 ± 0.04",) * 3,
    }),
    "sparsity": Task("upcycling", sparsity, HIGH, published={
        "active selection": ("0.31 ± 0.39", "0.44 ± 0.17", "0.53 ± 0.08"),
        "V-optimal": ("0.12 ± 0.53", "0.39 ± 0.20", "0.51 ± 0.15"),
        "D-optimal": ("-0.07 ± 0.56", "0.23 ± 0.32", "0.19 ± 0.41"),
        "smallest first": ("-0.95 ± 0.14", "0.04 ± 0.46", "0.32 ± 0.20"),
        "random order": ("-0.25 ± 0.63", "0.37 ± 0.26", "0.38 ± 0.25"),
        "all runs": ("0.37 ± 0.10",) * 3,
    }),
}  # fmt: skip


TEXT = """
R² at the runs of a target after some shares of the cost of a pool of runs; in brackets, the mean number of runs bought.
± is a standard deviation over repetitions; published, over laws too. The last column is the mean error at the target,
in nats and in posterior standard deviations.

**Protocol.** That of ScaleBench (arXiv:2604.22753, github.com/PlanarG/active-sl): its pools, its targets, its costs,
and R² in nats, clipped to [-1, 1]. Targets are those of the data set that the tasks come from (SLDBench,
arXiv:2507.21184, github.com/linhaowei1/SLD). The task `lr&bsz` is not here, because its runs have no licence and are
not shipped.

**What differs.** Published rows are means over ten laws (four for `sparsity`), fitted by least squares to the loss, for
active selection after every run. Ten repetitions of each law are those of the repository's commands. Rows "here" are
the posterior median of one law with its shipped priors and Student-t noise, fitted after each of 9 batches (4 in
`parallel`) of 1 to 4 runs, and all start from the same few cheap runs. So a comparison with published rows is of
complete methods; only rows "here" compare choices of runs. Repetitions of the value of information differ by random
numbers alone. "Random order" stops at the first run that exceeds the budget, as published; "filled" skips it.

**What it shows.** With the value of information the mean R² is above that of every published row at each cost in
`data_con`, `parallel` and `sparsity`; in `vocab` it is above at 1%, and 0.01 below the best at 5% and 10%; in `moe` it
is below the best ones. Most of the lead is from the posterior: random orders of runs, fitted here, are ahead of
published random orders everywhere, and in `parallel` nothing is left for a choice of runs to add.
"""
NOTES = {
    "data_con": """
The 182 runs of the published data-constrained law; a run costs 6·params·tokens. The target is the 21 runs of at least
4.2465 billion params or 600 billion tokens. Check: on these runs, two laws that the results of SLDBench give with their
constants have the R² that they give, 0.914136 and 0.983974. The law is `repetition`.

With the posterior, random order, filled, reaches 0.93 at 1%, where the choice of runs adds nothing, and the 67 smallest
runs do better still. At 5% and 10% the choice adds 0.05 and 0.04 to random order, filled.

The law is misspecified, so that more runs do not help: 21 runs of the pool, the 8 of the start included, have a loss
above 4.5 nats/token and are mostly under-trained. They bend the law: fitted to all runs, it is 0.135 nats too high at
the target's runs of most params, 4.6 posterior standard deviations. Without them R² is 1.00. The value of information
assumes the law, so it cannot see this error: it buys some of these runs, and its R² falls from 5% to 10%. With the same
runs bought and those above 4.5 nats left out of the fit, its R² is 0.99 from 1% and ten runs on. The limit of 4.5 is
that of the source's own mark (data/datablations/card.toml), but it was applied after these results.
""",
    "parallel": """
The 48 runs of models in parallel streams on two texts; a run costs its params. The target is the 12 runs with eight
streams. At 1% no run fits the budget: every published row has -1. The budget here is that of both texts. The law is a
power law with a floor and the worth of streams, the two texts pooled; published fits are of one text at a time. R² is
over both texts, whose losses differ more than those of the runs of one text, so that the level of each text decides.
Every choice of runs reaches 1.00 here.
""",
    "vocab": """
The 1,200 checkpoints of runs with ten vocabularies; one costs params · characters. The target is the 120 checkpoints of
the largest vocabulary. The law is `vocabulary`.

The value of information is the best rule here at each cost: 0.968, 0.972 and 0.975. With all 1,080 checkpoints R² is
0.962, and the law is 0.12 nats too low at the target, 17 posterior standard deviations: it is misspecified, and
checkpoints of one training share errors. The mean of the ten published laws is 0.98 at 5% and 10%.
""",
    "moe": """
The models of Clark et al. (2022); one costs active params · experts. The target is the 28 models of 1.3 billion active
params. The pool here is the 135 others of `clark2022`; that of the task has 58 more, with other settings of routing. As
in the task, the three routers are one family, and which router a model has is not known. This is most of the noise:
residuals from a smooth surface have an SD of 0.010 for the three together, and of 0.004 for each. The law is a power
law of active params with a floor and the worth of sparsity. The law of the paper, `routed-power`, has no floor: fitted
to all 135 runs, its R² is 0.53, with forecasts 0.04 nats too low.

The value of information is behind active and V-optimal selection at each cost, and behind taking the smallest runs. It
buys the runs that tell most if noise is independent, and fewer of them. But noise here is the router, and many cheap
runs average it out. A batch of up to 16 runs was tried, and reached 0.45, 0.41 and 0.80 in three repetitions at 1%
after three of four batches.
""",
    "sparsity": """
The 88 checkpoints of models made routed from a dense start; one costs the FLOP of both phases. The target is the 18
that the source marks. The law is `upcycling`. R² falls as more is bought, and is 0.55 with all 70 runs: the law is 0.04
nats too low at the target, 4.7 posterior standard deviations, and expensive runs bend it more than cheap ones. Smallest
first, which stays away from them, is best at each cost.
""",
}


def fitted(task: Task, pool: Pool, chosen: dict[str, list[int]]) -> dict[str, bs.Fit]:
    """Fit the law of a task to each choice of runs."""
    tables = {name: pool.runs.take(np.array(rows)) for name, rows in chosen.items()}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", bs.ConvergenceWarning)  # counted in the table
        return bs.fit_many(tables, task.spec, seed=0, progress=False).fits


def read_by(fit: bs.Fit) -> list[str]:
    """Columns that a fit reads from a query; every query has params and tokens."""
    return list(dict.fromkeys(["family", "params", "tokens", *(c for c in fit.columns if c not in fit.observed)]))


def law_at(fit: bs.Fit, table: pd.DataFrame) -> np.ndarray:
    """What the law says of the observed column at the target under each draw, shape (draw, run)."""
    (name,) = fit.responses
    drawn = predict(fit, table[read_by(fit)], only=f"{name}_location", most=DRAWS)
    return np.exp(drawn) if fit.response(name).response.kind == "log" else drawn


def score(task: Task, pool: Pool, fit: bs.Fit) -> dict[str, float]:
    """R² of the posterior medians, clipped as the yardstick clips it, and their error.

    The error is a mean over the target, or its runs of most params, in nats and in posterior standard deviations of the
    law.
    """
    (site,) = fit.observed
    loss, drawn = pool.target[site].to_numpy(float), law_at(fit, pool.target)
    error = np.median(drawn, axis=0) - loss
    large = (pool.target["params"] >= task.large).to_numpy()
    return {"r2": float(np.clip(1 - (error**2).sum() / ((loss - loss.mean()) ** 2).sum(), -1, 1)),
            "error": error[large].mean(), "error_sd": (error / drawn.std(axis=0))[large].mean()}  # fmt: skip


def simulated(fit: bs.Fit, pool: pd.DataFrame, seed: int) -> np.ndarray:
    """Log density of fantasies of each run of the pool under each draw, shape (run, draw, fantasy)."""
    each = [queries_of(fit, pool[read_by(fit)].iloc[[i]], None, {}) for i in range(len(pool))]
    size, source = at_a_time(DRAWS, FANTASIES, 1), sources(DRAWS, FANTASIES, seed=0)
    found = []
    for few in (each[i : i + size] for i in range(0, len(each), size)):
        padded = [*few, *few[:1] * (size - len(few))]  # one shape, one program
        seen = fantasies(fit, padded, seed=seed, most=DRAWS)
        density = log_densities(fit, padded, {site: y[source] for site, y in seen.items()}, most=DRAWS)
        found.append(density.transpose(1, 0, 2)[: len(few)].astype(np.float32))
    return np.concatenate(found)


@jax.jit
def reductions(chosen: Array, densities: Array, outcomes: Array) -> Array:
    """Expected reduction of the variance of the outcomes, summed, by a run on top of those chosen; shape (run,).

    It is the covariance, over fantasies, of the posterior means that two halves of the draws estimate.
    """

    def one(density: Array) -> Array:
        means = [jax.nn.softmax((chosen + density)[half::2], axis=0).T @ outcomes[half::2] for half in (0, 1)]
        first, second = (mean - mean.mean(axis=0) for mean in means)
        return (first * second).mean(axis=0).sum()

    return jax.lax.map(one, densities)


def batch(fit: bs.Fit, pool: Pool, owned: list[int], budget: float, seed: int) -> list[int]:
    """Choose the batch of the largest expected reduction: one run after another, in slots of equal budget."""
    outcomes = law_at(fit, pool.target).astype(np.float32)
    densities = [simulated(fit, pool.runs.frame, seed * max(SLOTS) + slot) for slot in range(max(SLOTS))]
    cost, plans = pool.cost, []
    for slots in SLOTS:
        plan, density, gain = list[int](), np.zeros((DRAWS, FANTASIES), np.float32), 0.0
        for slot in range(slots):
            limit = (budget - cost[plan].sum()) / (slots - slot)
            closed = cost > limit
            closed[[*owned, *plan]] = True
            if closed.all():
                break
            gains = np.where(closed, -np.inf, reductions(density, densities[slot], outcomes))
            plan.append(int(gains.argmax()))
            density, gain = density + densities[slot][plan[-1]], float(gains.max())
        plans.append((gain, plan))
    return max(plans)[1]


def row(name: str, pool: Pool, rule: str, repetition: int, share: float, rows: list[int],
        fit: bs.Fit) -> dict[str, Any]:  # fmt: skip
    """Describe one choice of runs and its score."""
    return {"task": name, "rule": rule, "repetition": repetition, "share": share, "runs": len(rows),
            "spent": pool.cost[rows].sum() / pool.cost.sum(), "converged": fit.converged,
            **score(TASKS[name], pool, fit), "ids": " ".join(pool.runs.frame["run_id"].iloc[rows])}  # fmt: skip


def ours(name: str, pool: Pool, repetitions: int) -> list[dict[str, Any]]:
    """Buy by the value of information, in repetitions that differ by their random numbers."""
    task, found = TASKS[name], []
    owned = {str(i): list(pool.start) for i in range(repetitions)}
    fits = fitted(task, pool, owned)
    for share, batches in task.batches.items():
        for left in range(batches, 0, -1):
            for one, rows in owned.items():
                budget = (share * pool.cost.sum() - pool.cost[rows].sum()) / left
                rows += batch(fits[one], pool, rows, budget, int(one))
            fits = fitted(task, pool, owned)
            done = [(len(rows), round(score(task, pool, fits[one])["r2"], 2)) for one, rows in owned.items()]
            print(name, share, left, done, file=sys.stderr, flush=True)
        found += [row(name, pool, OURS, int(one), share, rows, fits[one]) for one, rows in owned.items()]
    return found


def left_out(name: str, pool: Pool, made: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Fit what was bought again without the runs whose loss says that they are under-trained; they are still paid."""
    task, place = TASKS[name], {run: i for i, run in enumerate(pool.runs.frame["run_id"])}
    kept = {str(k): [place[run] for run in one["ids"].split()] for k, one in enumerate(made)}
    kept = {k: [i for i in rows if pool.runs["loss"][i] <= task.most] for k, rows in kept.items()}
    fits, rule = fitted(task, pool, kept), f"{OURS}, under-trained left out of the fit"
    again = [row(name, pool, rule, one["repetition"], one["share"], kept[str(k)], fits[str(k)])
             for k, one in enumerate(made)]  # fmt: skip
    return [one | {"spent": before["spent"]} for one, before in zip(again, made, strict=True)]


def bought(pool: Pool, order: np.ndarray, share: float, fill: bool) -> list[int]:
    """Return the start and the runs of an order within a share of the cost, up to the first beyond it unless `fill`."""
    rows, budget = list(pool.start), share * pool.cost.sum()
    spent = pool.cost[rows].sum()
    for i in order[~np.isin(order, rows)]:
        if spent + pool.cost[i] <= budget:
            rows.append(int(i))
            spent += pool.cost[i]
        elif not fill:
            break
    return rows


def others(name: str, pool: Pool, orders: int) -> list[dict[str, Any]]:
    """Buy in random orders and in order of cost; fit all runs, and all that are not under-trained."""
    task, count = TASKS[name], len(pool.cost)
    chosen: dict[tuple[str, int, float], list[int]] = {}
    for share in task.batches:
        for i in range(orders):
            order = np.random.default_rng(i).permutation(count)
            chosen["random order", i, share] = bought(pool, order, share, fill=False)
            chosen["random order, filled", i, share] = bought(pool, order, share, fill=True)
        chosen["smallest first", 0, share] = bought(pool, np.arange(count), share, fill=False)
    chosen["all runs", 0, 1.0] = list(range(count))
    if np.isfinite(task.most):
        few = np.flatnonzero(pool.runs["loss"] <= task.most)
        chosen["all runs except under-trained", 0, 1.0] = [int(i) for i in few]
    fits = fitted(task, pool, {str(key): rows for key, rows in chosen.items()})
    return [row(name, pool, *key, rows, fits[str(key)]) for key, rows in chosen.items()]


def measured(task: Task, table: pd.DataFrame) -> list[str]:
    """Return a line of the table for each rule: R² with its standard deviation, number of runs, and error; means."""
    lines = []
    for rule, mine in table.groupby("rule", sort=False):
        cells, by_share = [], mine.groupby("share")
        for share in task.batches:
            one = by_share.get_group(share if share in by_share.groups else 1.0)
            spread = f" ± {one['r2'].std(ddof=0):.2f}" if len(one) > 1 else ""
            cells.append(f"{one['r2'].mean():.2f}{spread} ({one['runs'].mean():.0f})")
        off = f"{one['error'].mean():+.2f} ({one['error_sd'].mean():+.1f})"
        lines.append(f"| {rule} | here | {mine['repetition'].nunique()} | {' | '.join(cells)} | {off} |")
    return lines


def words(table: pd.DataFrame) -> str:
    """Return the tables as Markdown, with the published figures."""
    lines = [TEXT.strip()]
    for name, task in TASKS.items():
        mine = table[table["task"] == name]
        if not len(mine):
            continue
        shares = " | ".join(f"{share:.0%}" for share in task.batches)
        lines += [
            "", f"## {name}", "", NOTES[name].strip(), "",
            f"| rule | source | repetitions | {shares} | error at {max(task.batches):.0%}, nats (SD) |",
            f"|---|---|---:|{'---:|' * len(task.batches)}---:|",
            *measured(task, mine),
            *(f"| {rule} | published | 10 × 10 | {' | '.join(cells)} | – |" for rule, cells in task.published.items()),
            "", f"Choices with a fit that has not converged: {int((~mine['converged']).sum())} of {len(mine)}.",
        ]  # fmt: skip
    return "\n".join(lines) + "\n"


def write(rows: list[dict[str, Any]], folder: Path) -> str:
    """Write the rows and their tables, which it returns; rows of tasks that were not measured again are kept."""
    table, path = pd.DataFrame(rows), folder / "selection.csv"
    if path.exists():
        old = pd.read_csv(path, keep_default_na=False, na_values=["nan"])
        table = pd.concat([old[~old["task"].isin(set(table["task"]))], table])
    table.to_csv(path, index=False, float_format="%.4g")
    (folder / "selection.md").write_text(words(table), encoding="utf-8")
    return words(table)


def main() -> None:
    """Parse the command line, run, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", nargs="+", choices=TASKS, default=list(TASKS))
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--orders", type=int, default=8)
    parser.add_argument("--out", type=Path, default=HERE)
    given = parser.parse_args()
    rows: list[dict[str, Any]] = []
    for name in given.tasks:
        pool = TASKS[name].load()
        mine = ours(name, pool, given.repetitions)
        if np.isfinite(TASKS[name].most):
            mine += left_out(name, pool, mine)
        rows += mine + others(name, pool, given.orders)
        write(rows, given.out)
    print(write(rows, given.out))


if __name__ == "__main__":
    main()
