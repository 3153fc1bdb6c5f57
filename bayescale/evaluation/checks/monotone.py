"""Does accuracy rise with compute, or fall, or turn?"""

from __future__ import annotations

import numpy as np

from bayescale.evaluation.checks.base import AbstractCheck, Finding
from bayescale.inference.fit import Fit
from bayescale.modelling.design import losses
from bayescale.modelling.model import Instance
from bayescale.parts.responses.bent import CENTER, BentAccuracy

_SURE = 0.95


class Monotone(AbstractCheck):
    """The probability of the most likely shape of accuracy, as the loss falls over the runs' range.

    It passes if the runs decide for one shape: rising, falling (inverse scaling), U-shaped or with a peak. A response
    other than `bent-accuracy` always rises and is not checked.
    """

    name = "monotone"
    source = "McKenzie et al. 2023, arXiv:2306.09479 (inverse scaling); Wei et al. 2022, arXiv:2211.02011 (U-shaped)"
    asks = "do the runs decide whether accuracy rises, falls or turns as the loss falls?"
    of_each = True

    @staticmethod
    def ask(fit):
        return [_finding(of, fit) for of in fit.spec.instances if of.response.name == BentAccuracy.name]


def shapes(rise: np.ndarray, bend: np.ndarray, low: float, high: float) -> dict[str, float]:
    """Return the probability of each shape of the accuracy between two losses.

    Parameters
    ----------
    rise, bend : ndarray, shape (draw,)
        Parameters of `bent-accuracy`.
    low, high : float
        Smallest and largest loss, in nats/token.

    Returns
    -------
    dict of str to float
        Of ``rising``, ``falling``, ``U-shaped`` and ``peaked``, as the loss falls.
    """
    first, last = (np.log(CENTER) - np.log(loss) for loss in (high, low))
    start, end = rise + 2 * bend * first > 0, rise + 2 * bend * last > 0
    found = {"rising": start & end, "falling": ~start & ~end, "U-shaped": ~start & end, "peaked": start & ~end}
    return {shape: float(np.mean(holds)) for shape, holds in found.items()}


def _finding(of: Instance, fit: Fit) -> Finding:
    values = {}
    for name in ("rise", "bend"):
        draws = fit.posterior[of.parameter(name)]
        draws = draws.sel({of.battery: of.name}) if of.battery in draws.dims else draws
        values[name] = draws.to_numpy().reshape(draws.sizes["chain"] * draws.sizes["draw"], -1).mean(axis=1)
    runs = fit.design_frame
    column = next((one.site for one in fit.spec.instances if one.response.a_loss), "loss")
    known = runs[column].dropna() if column in runs else losses(fit.spec, runs)
    found = shapes(**values, low=float(known.min()), high=float(known.max()))
    shape = max(found, key=found.__getitem__)
    likely = ", ".join(f"{name} {p:.2g}" for name, p in found.items())
    return Finding(
        "monotone", of.name, found[shape] >= _SURE, found[shape], _SURE,
        f"{of.name}: as the loss falls accuracy is most likely {shape} ({likely})",
        "the runs do not yet say whether accuracy turns: add runs, and do not extrapolate it",
    )  # fmt: skip
