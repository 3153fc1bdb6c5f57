"""Digests of everything that a seed determines: print them before and after a change that must not change a digit.

    python benchmarks/digits.py > before.txt   # then change the code
    python benchmarks/digits.py | diff before.txt -

Digits depend on the machine and on versions, so the output is compared on one machine and is not kept.
"""

import hashlib

import numpy as np

import bayescale as bs

SPECS = ("additive", "coupled", "default")
CHOSEN = ("params", "tokens", "expected_loss", "regret_nats", "regret_mcse", "waste_fraction", "waste_q95",
          "indifference_params", "optimum", "curve", "reach_decades")  # fmt: skip
SETTINGS = {"seed": 0, "progress": False}


def digest(*arrays: np.ndarray) -> str:
    """Return the first 16 digits of the SHA-256 of arrays of floats."""
    found = hashlib.sha256()
    for array in arrays:
        found.update(np.ascontiguousarray(array, dtype=float).tobytes())
    return found.hexdigest()[:16]


def of_fit(name: str, fit: bs.Fit | bs.Average, flops: float, family: str) -> None:
    """Print the digests of a fit: its draws, a forecast of each kind and an allocation."""
    for label, member in fit.members.items():
        posterior = member.posterior
        print(f"{name} {label} draws {digest(*(posterior[k].to_numpy() for k in sorted(map(str, posterior))))}")
    found = bs.forecast(fit, params=[7e9, 70e9], tokens=[2e11, 1.4e12], family=family)
    print(f"{name} forecast {digest(found.draws['epred'].to_numpy(), found.draws['predictive'].to_numpy())}")
    choice = bs.decide(bs.Allocation(flops, family=family), fit).to_dict()
    print(f"{name} allocation", *(f"{key}={choice[key]!r}" for key in CHOSEN))


def main() -> None:
    """Print one line per digest."""
    runs = bs.load_runs("hoffmann2022")
    fits = {spec: bs.fit(runs, spec, **SETTINGS) for spec in SPECS}
    for spec, fit in fits.items():
        of_fit(spec, fit, 5.76e23, "Chinchilla")
    of_fit("average", bs.average({name: fits[name] for name in ("additive", "coupled")}), 5.76e23, "Chinchilla")
    several = bs.load_runs("open-families").where(family=["OpenLM-C4", "OpenLM-RedPajama", "Misfitting-FineWeb"])
    of_fit("hierarchy", bs.fit(several, "additive", **SETTINGS), 1e22, "new")
    backtest = bs.backtest(runs, "additive", **SETTINGS)
    print("backtest", *(f"{name}={value!r}" for name, value in backtest.mean.items()))


if __name__ == "__main__":
    main()
