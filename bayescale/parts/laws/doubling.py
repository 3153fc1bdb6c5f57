"""The law of dates: an ability that doubles again and again after the same time."""

import math

import jax.numpy as jnp

from bayescale.parts.base import AbstractLaw, Column, Kind, Parameter, Quantity
from bayescale.parts.laws.additive import LEVEL
from bayescale.parts.priors import LogNormal

KWA = "Kwa et al. 2025, arXiv:2503.14499"
YEAR = Column(
    "years", "date of release, as a calendar year", default=2025.0, low=2010.0, high=2040.0, usual=(2019.0, 2026.0)
)


class Doubling(AbstractLaw):
    r"""Exponential trend over dates.

    .. math:: L(t) = L_0\, 2^{-(t - t_0) / T}

    with the doubling time `T` of the inverse :math:`1 / L`, which a response turns into an ability, such as a
    `time-horizon`. It says what later models can do, and not why: size, data and methods changed with the date.

    Attributes
    ----------
    year : float
        The anchor's year :math:`t_0`. A spec fixes its anchor at the same year.
    """

    year: float = 2025.0

    name = "doubling"
    source = KWA
    use = "Models of many dates, where no compute is known: how fast an ability grows, and when it passes a bar."
    avoid = "Dates beyond the runs by more than a few doubling times: a trend over dates has no limit of its own."
    reproduced = "No published figure; from simulated models, the doubling time."
    inputs = ("year",)
    columns = {"year": YEAR}
    parameters = {
        "level": LEVEL,
        "doubling": Parameter(
            LogNormal(0.6, 0.5), "years", "time in which the inverse of the loss doubles", 0.1,
            f"207 days (166 to 240) for the time horizon of frontier models: {KWA}; here five times as wide",
            kind=Kind.EXPONENT,
        ),
    }  # fmt: skip
    quantities = {"L_0": Quantity(Kind.PUBLISHED, "loss", "loss at the anchor's date", "log")}

    def log_loss(self, x, *, level, doubling):
        return jnp.log(level) - math.log(2.0) * self.year * jnp.expm1(x) / doubling

    def published(self, x, *, loss, level, doubling):
        return {"L_0": jnp.exp(loss) * level}
