"""Annealing: what a falling learning rate takes off the loss of a training curve."""

import jax.numpy as jnp
import numpy as np

from bayescale.parts.base import AbstractPenalty, Column, Kind, Parameter
from bayescale.parts.priors import LogNormal
from bayescale.parts.schedules import along_schedule, annealing_area, changes_of, schedule

LUO = "Luo et al. 2025, arXiv:2503.12811, three sizes"
AREA = Column(
    "learning rate · steps",
    "sum of the learning rates up to the step",
    default=6.0,
    low=1e-6,
    high=1e6,
    usual=(1.0, 20.0),
)
_TEXTS = tuple(f"{kind} peak=3e-4 floor={floor} warmup=200 decay=500 steps=30000"
               for kind, floor in (("linear", 3e-5), ("constant", 3e-4), ("step", 9e-5)))  # fmt: skip
"""Schedules of simulated sweeps."""
REFERENCE = (1e-4, 0.1)
"""Learning rate after a change, and area since it, at which `multi-power` reads its parameters."""
LONG_AGO = AREA.default
"""Area since the warm-up at which a constant learning rate adds nothing."""
_LEAST = -0.999  # of the loss: what is taken off never exceeds it


def _with_area(table):
    """Return the table with its column `lr_area`, from the schedule and the step."""
    if "lr_area" in table or not {"schedule", "step"} <= set(table):
        return table
    rows = zip(table["schedule"], table["step"], strict=True)
    return table.assign(lr_area=[along_schedule(str(text), [int(step)])["lr_area"].iloc[0] for text, step in rows])


class MultiPower(AbstractPenalty):
    r"""Multi-power law of Luo et al. (2025): each change of the learning rate acts through a power of what followed it.

    .. math::
        L(t) = L_1(S(t)) - b\, R(\eta_{\max}, S_1) + b \sum_{k \le t} \frac{\eta_k - \eta_{k-1}}{\eta_{\max}}
        R(\eta_k, S_k(t)),\quad R(\eta, S) = 1 - (1 + c\, \eta^{-\gamma} S)^{-\beta},
        \quad S_k(t) = \sum_{\tau=k}^{t} \eta_\tau

    The base law reads the area :math:`S(t)` under the learning rate: ``law = "power-floor"``, ``inputs = ["lr_area"]``.
    Rows name their schedule and step; the area follows from these. At :math:`S_1 = 6` after the warm-up, :math:`L_1` is
    the loss at a constant learning rate; elsewhere it nearly is. In Luo et al., `B` is :math:`b / \eta_{\max}`, and
    the law of the area is :math:`L_1 - b\, R(\eta_{\max}, S_1)`.

    Training curves tell what a change does soon after it, and little about its end. `anneal_rate` and `anneal_drop`
    are therefore read at a reference :math:`r`, a learning rate of :math:`\eta_r = 0.0001` and an area of
    :math:`S_r = 0.1`: the rate is :math:`c\, \eta_r^{-\gamma} S_r`, and the drop :math:`b\, R(\eta_r, S_r)`.
    For :math:`b` and :math:`c` themselves, the posterior is a narrow ridge along which chains do not mix.

    Attributes
    ----------
    bins : int
        Bins in which the changes before a step are added up. 32 bins are exact to 0.00002 nats on the published curves.
    """

    bins: int = 32

    name = "multi-power"
    source = LUO
    use = "Rows are checkpoints of training curves, and the schedules of their learning rates differ."
    avoid = (
        "Only final losses of one kind of schedule are known: nothing then tells the schedule from the rest. The spec "
        "`training-curves` takes two minutes, and its 90% intervals cover 74% of the losses of the six test curves."
    )
    runs = ("training-curves",)
    reproduced = (
        "The 15 printed metrics of their six test curves at three sizes, to every digit, from the published constants."
    )
    requires = ("step",)
    labels = ("schedule",)
    columns = {"lr_area": AREA}
    parameters = {
        "anneal_drop": Parameter(LogNormal(0.12, 0.7), "nats/token",
                                 "loss that a full decay takes off after the reference area", 0.3,
                                 LUO + ": 0.11, 0.12, 0.15"),
        "anneal_rate": Parameter(LogNormal(70.0, 1.0), "1", "how soon a change acts, at the reference", 0.1,
                                 LUO + ": 73-76 from least squares, which do not determine it well"),
        "anneal_power": Parameter(LogNormal(0.6, 0.3), "1", "exponent of the area after a change", 0.1,
                                  LUO + ": 0.58-0.60", kind=Kind.EXPONENT),
        "anneal_lr": Parameter(LogNormal(0.64, 0.2), "1", "exponent of the learning rate", 0.1, LUO + ": 0.63-0.66",
                               kind=Kind.EXPONENT),
    }  # fmt: skip

    @property
    def texts(self):
        return {"schedule": _TEXTS}

    def filled(self, table):
        return _with_area(table)

    def basis(self, table):
        rows = zip(table["schedule"], table["step"], strict=True)
        return np.stack([self._changes(str(text), int(step)) for text, step in rows])

    def _changes(self, text, step):
        changes = changes_of(text, step, self.bins)
        peak = schedule(text).peak
        known = np.vstack([changes / [peak, 1.0, 1.0], [-1.0, np.log(peak), np.log(LONG_AGO)]])
        return known - np.array([0.0, *np.log(REFERENCE)])

    @staticmethod
    def penalized(log_loss, spent, basis, *, anneal_drop, anneal_rate, anneal_power, anneal_lr):
        change, log_rate, log_area = jnp.moveaxis(basis, -1, 0)
        drop, rate, power, lr = (x[..., None] if jnp.ndim(x) else x
                                 for x in (anneal_drop, anneal_rate, anneal_power, anneal_lr))  # fmt: skip
        reached = -jnp.expm1(-power * jnp.log1p(rate * jnp.exp(log_area - lr * log_rate)))
        at_reference = -jnp.expm1(-power * jnp.log1p(rate))
        added = jnp.sum(drop / at_reference * change * reached, axis=-1)
        return log_loss + jnp.log1p(jnp.maximum(added * jnp.exp(-log_loss), _LEAST))


class Annealing(AbstractPenalty):
    r"""Annealing law of Tissue et al. (2024): the loss falls in proportion to the annealing area.

    .. math:: L(t) = L_0(S_1(t)) - c\, S_2(t),\quad
        S_2(t) = \sum_{i \le t} \sum_{k \le i} (\eta_{k-1} - \eta_k)_+ \lambda^{i-k}

    Falls add up in proportion, and fade by steps and not by area: `multi-power` has no case that does this. The spec
    `annealing` is that of `training-curves` with this penalty, for a comparison of the two and for `decay`.

    Attributes
    ----------
    memory : float
        Share of a fall of the learning rate that is remembered after one step, :math:`\lambda`.
    """

    memory: float = 0.999

    name = "annealing"
    source = "Tissue et al. 2024, arXiv:2408.11029"
    use = "A simple law of training curves is wanted, as a second opinion on `multi-power`."
    avoid = "Schedules with decays of very different lengths: its effect grows without bound."
    runs = ("training-curves",)
    reproduced = (
        "No published figure; the area of annealing is that of its definition, to 1e-12. Fitted to the three training "
        "curves of 25M and of 100M params it errs by 0.0093 nats on the test curves of each, and `multi-power` by "
        "0.0078 and 0.0104."
    )
    requires = ("step",)
    labels = ("schedule",)
    columns = {"lr_area": AREA}
    parameters = {
        "anneal_slope": Parameter(
            LogNormal(0.5, 1.0), "nats/token per unit of area", "loss that a unit of annealing area takes off", 0.3,
            "a full decay from 3e-4 over a thousand remembered steps takes off about 0.1 nats",
        ),
    }  # fmt: skip

    @property
    def texts(self):
        return {"schedule": _TEXTS}

    def filled(self, table):
        return _with_area(table)

    def basis(self, table):
        rows = zip(table["schedule"], table["step"], strict=True)
        return np.array([[annealing_area(str(text), int(step), self.memory)] for text, step in rows])

    @staticmethod
    def penalized(log_loss, spent, basis, *, anneal_slope):
        added = -anneal_slope * basis[..., 0]
        return log_loss + jnp.log1p(jnp.maximum(added * jnp.exp(-log_loss), _LEAST))
