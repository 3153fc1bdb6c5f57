"""Ablation: what each part of the default model is worth to its forecasts, and how much its constants matter.

Each variant lacks one part of `default`, or has another constant in a prior that was set by hand. Its forecasts of the
open families are scored as a backtest of `default` scores them: what is learned is learned again without the scored
suite. The other parts stay as they are: a variant is not tuned to its change.

    python benchmarks/ablation.py --chains 2 --draws 500 [--way expanding] [--variants full "no walk" ...]

It prints tables and writes the scores of each family to `benchmarks/ablation.csv`, in place of those of the same
variant, way and seed. A variant takes about ten minutes on one core.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

import bayescale as bs
from bayescale.evaluation.backtest import Options, Scored, Task, about, gather, plan, score_cut
from bayescale.inference.batch import fit_many
from bayescale.transfer.evidence_io import recall

TABLE = Path(__file__).with_name("ablation.csv")
SCORES = ["coverage_50", "coverage_80", "coverage_90", "width_90", "crps", "bias"]
WIDE = ("ratio_A", "ratio_B", "alpha_N", "beta_D", "kappa")

Content = dict[str, Any]


def without(*names: str) -> Callable[[Content], None]:
    """Leave out discrepancies and their parameters."""

    def change(content: Content) -> None:
        content["discrepancy"] = [name for name in content["discrepancy"] if name not in names]
        for parameter in list(content["parameters"]):
            if parameter in names or parameter.rpartition("_")[0] in names:
                del content["parameters"][parameter]

    return change


def even_noise(content: Content) -> None:
    """The scale of the noise is the same at all compute."""
    content["responses"]["loss"] = "student-t"
    del content["parameters"]["fall"]


def normal_tails(content: Content) -> None:
    """`growth` has a Normal prior with the same 90% interval as the heavy-tailed one."""
    prior = bs.make_spec("full", **content).parameters["growth"].prior
    low, high = prior.interval()
    content["parameters"]["growth"]["prior"] = {"kind": "Normal", "median": prior.median, "scale": (high - low) / 3.29}


def still(content: Content) -> None:
    """The priors of the shares do not move with the anchor, and are wider instead: a scale of 0.7, set by hand."""
    for name in ("ratio_A", "ratio_B"):
        content["parameters"][name]["prior"]["scale"] = 0.7
        del content["parameters"][name]["trend"]
    del content["reference"], content["range"]


def alone(content: Content) -> None:
    """Families of a suite are fitted alone."""
    for setting in content["parameters"].values():
        setting["pooling"] = "none"


def wide(content: Content) -> None:
    """The law has the wide priors of `coupled-unpooled` instead of learned ones."""
    own = bs.load_spec("coupled-unpooled").to_dict()["parameters"]
    for name in WIDE:
        content["parameters"][name] = own[name] | {"pooling": "none"}
    del content["reference"], content["range"]


def additive(content: Content) -> None:
    """As `wide`, under the additive law."""
    wide(content)
    content["law"] = "additive"
    own = bs.load_spec("additive-unpooled").to_dict()["parameters"]
    del content["parameters"]["kappa"]
    for name in set(WIDE) - {"kappa"}:
        content["parameters"][name] = own[name] | {"pooling": "none"}


def moved(entry: str, times: float, *names: str) -> Callable[[Content], None]:
    """The medians or the scales of priors that were set by hand are a multiple of what they are."""

    def change(content: Content) -> None:
        for name in names:
            content["parameters"][name]["prior"][entry] *= times

    return change


VARIANTS: dict[str, Callable[[Content], None]] = {
    "full": lambda content: None,
    "no walk": without("walk"),
    "no local": without("local"),
    "no walk, no local": without("walk", "local"),
    "no growth": without("growth"),
    "growth with Normal tails": normal_tails,
    "even noise": even_noise,
    "no suites": alone,
    "still priors": still,
    "wide priors": wide,
    "wide priors, additive law": additive,
    "errors doubled": moved("median", 2.0, "walk_N", "walk_D", "local"),
    "errors halved": moved("median", 0.5, "walk_N", "walk_D", "local"),
    "noise doubled": moved("median", 2.0, "sigma"),
    "lighter tails": moved("median", 2.0, "nu"),
    "wider level": moved("scale", 2.0, "level"),
}


class Learned(NamedTuple):
    """The fits of a backtest, the families that it leaves out, and the default model learned without each suite."""

    runs: bs.Runs
    tasks: dict[str, Task]
    left_out: dict[str, str]
    specs: dict[str, Any]


def learned(way: str) -> Learned:
    """Learn the default model again for each fit of a backtest, without the scored suite."""
    runs, spec = bs.load_runs("open-families"), bs.load_spec("default")
    tasks, left_out = plan(runs, [spec], way, Options(), None, "loss")
    learner = recall(runs, bs.load_spec("shared-unpooled"))
    if learner is None:
        raise SystemExit("there is no evidence on the open families: run make learn")
    members = runs.frame.groupby("suite")["family"].unique()
    suites = {name: set(family) for family in members for name in family}
    specs = learner.learn([set().union(*(suites[name] for name in task.unseen)) for task in tasks.values()])
    return Learned(runs, tasks, left_out, dict(zip(tasks, specs, strict=True)))


def measure(variant: str, of: Learned, way: str, chains: int, draws: int, seed: int) -> bs.Backtest:
    """Backtest one variant on the open families."""
    specs = {}
    for label, spec in of.specs.items():
        content = {k: v for k, v in spec.to_dict().items() if k != "learned"}
        VARIANTS[variant](content)
        specs[label] = bs.make_spec(variant, **content)
    tables = {label: of.runs.take(task.train) for label, task in of.tasks.items()}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", bs.ConvergenceWarning)  # its verdict is printed
        batch = fit_many(tables, specs, seed=seed, chains=chains, draws=draws, progress=False)
    made = [(one, fit) for label, fit in batch.fits.items() for one in of.tasks[label].cuts]
    tests = [Scored(one, score_cut(fit, of.runs, one, "loss"), fit.verdict) for one, fit in made]
    failed = {label: str(error) for label, error in batch.failed.items()}
    return gather(tests, of.left_out | failed, about(of.runs, way, Options(), seed, {}))


def keep(rows: pd.DataFrame, path: Path) -> None:
    """Write scores, in place of earlier ones of the same variant, way and seed."""
    if path.exists():
        before, key = pd.read_csv(path), ["variant", "way", "seed"]
        made = pd.MultiIndex.from_frame(rows[key])
        rows = pd.concat([before[~pd.MultiIndex.from_frame(before[key]).isin(made)], rows], ignore_index=True)
    rows.to_csv(path, index=False, float_format="%.5g")


def main() -> None:
    """Parse the command line, measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--way", default="quantile", choices=["quantile", "expanding"])
    parser.add_argument("--variants", nargs="*", default=list(VARIANTS), choices=list(VARIANTS))
    parser.add_argument("--chains", type=int, default=4)
    parser.add_argument("--draws", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=TABLE)
    given = parser.parse_args()
    of = learned(given.way)
    for variant in given.variants:
        began = time.perf_counter()
        found = measure(variant, of, given.way, given.chains, given.draws, given.seed)
        rows = found.families.assign(variant=variant, way=given.way, seed=given.seed)
        print(f"\n{variant}: {time.perf_counter() - began:.0f} s, fits {found.verdict}")
        print(rows[SCORES].mean().round(4).to_frame().T.to_string(index=False))
        print(found.horizons.round(4).to_string(), flush=True)
        keep(rows, given.out)


if __name__ == "__main__":
    main()
