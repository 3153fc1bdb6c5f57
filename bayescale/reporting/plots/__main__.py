"""The pictures of `make demo`: ``python -m bayescale.reporting.plots FIT.nc FOLDER``."""

import sys
from pathlib import Path

import matplotlib as mpl

from bayescale.decisions.allocation import Allocation, AllocationChoice
from bayescale.decisions.base import decide
from bayescale.inference.fit_io import load_fit
from bayescale.reporting.plots import figures

mpl.use("agg")
fit, folder = load_fit(sys.argv[1]), Path(sys.argv[2])
budget = 10**1.5 * float(fit.design_frame["flops"].max())
choice = decide(Allocation(budget), fit)
decided = {"allocation": figures.plot_allocation(choice)} if isinstance(choice, AllocationChoice) else {}
folder.mkdir(parents=True, exist_ok=True)
for name, ax in {
    "loss": figures.plot_loss(fit),
    "forecast": figures.plot_forecast(fit),
    **decided,
    "residuals": figures.plot_residuals(fit),
    "prior_posterior": figures.plot_prior_posterior(next(iter(fit.members.values())), "alpha_N"),
}.items():
    figures.save(ax, folder / f"{name}.png")
    print(folder / f"{name}.png")
