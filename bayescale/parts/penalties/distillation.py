"""Distillation: the loss of a student, from its own law and the loss of its teacher."""

import jax.numpy as jnp
import numpy as np

from bayescale.parts.base import AbstractPenalty, Column, Kind, Parameter
from bayescale.parts.priors import LogitNormal, LogNormal

BUSBRIDGE = "Busbridge et al. 2025, arXiv:2502.08606"
_PARAMS, _TOKENS = np.log(1e9), np.log(2e10)  # of the student, where its reducible term is given
WEAK = "weak: the published coefficients were not found in a readable form"
_NONE = 1e-6  # offset of the column: a teacher loss of zero stands for no teacher


class Distillation(AbstractPenalty):
    r"""Loss of a student by Busbridge et al. (2025).

    .. math::
        L_S = L_T + L_T^{-c_0} \left[1 + \left(\frac{L_T}{d\, \tilde L_S}\right)^{1/f}\right]^{-c_1 f}
        \left(A N_S^{-\alpha} + B D_S^{-\beta}\right)^{\gamma}

    :math:`\tilde L_S` is the loss that the student would have without a teacher: that of the base law, and of rows
    without `teacher_loss`. :math:`L_T` is the loss of the teacher. Tokens are those of the distillation.
    """

    name = "distillation"
    source = BUSBRIDGE
    use = "Students of several sizes are distilled from teachers of several losses, and some students have no teacher."
    avoid = "One teacher only: how the student depends on it is then the prior."
    reproduced = "No published figure; from simulated students, parameters, and losses under a new teacher."
    reads = ("params", "tokens")
    requires = ("teacher_loss",)
    columns = {
        "teacher_loss": Column("nats/token", "loss of the teacher; 0 without a teacher", default=0.0, low=0.0,
                               high=15.0, offset=_NONE, usual=(1.8, 3.5))
    }  # fmt: skip
    parameters = {
        "student_term": Parameter(
            LogNormal(1.0, 0.7), "nats/token", "its term, at 1B params and 20B tokens", 0.3, WEAK
        ),
        "student_share": Parameter(LogitNormal(0.5, 1.0), "1", "share of params in the term there", 0.3, WEAK),
        "student_alpha": Parameter(
            LogNormal(0.35, 0.35), "1", "exponent of params of the student", 0.1, WEAK, kind=Kind.EXPONENT
        ),
        "student_beta": Parameter(
            LogNormal(0.4, 0.35), "1", "exponent of tokens of the student", 0.1, WEAK, kind=Kind.EXPONENT
        ),
        "student_gamma": Parameter(LogNormal(0.7, 0.3), "1", "exponent of the sum", 0.1, WEAK, kind=Kind.EXPONENT),
        "teacher_power": Parameter(
            LogNormal(1.0, 0.7), "1", "exponent of the teacher's loss", 0.1, WEAK, kind=Kind.EXPONENT
        ),
        "gap_at": Parameter(LogNormal(1.0, 0.2), "1", "teacher's loss over the student's where the bend is", 0.1, WEAK),
        "gap_width": Parameter(LogNormal(0.2, 0.5), "e-folds", "how gradual the bend is", 0.1, WEAK),
        "gap_power": Parameter(LogNormal(0.5, 0.7), "1", "exponent beyond the bend", 0.1, WEAK, kind=Kind.EXPONENT),
    }

    @staticmethod
    def penalized(
        log_loss,
        spent,
        basis,
        *,
        student_term,
        student_share,
        student_alpha,
        student_beta,
        student_gamma,
        teacher_power,
        gap_at,
        gap_width,
        gap_power,
    ):
        taught = spent["teacher_loss"] > np.log(2 * _NONE)
        teacher = jnp.where(taught, spent["teacher_loss"], log_loss)  # a finite value where it is not used
        params = jnp.log(student_share) - student_alpha * (spent["params"] - _PARAMS)
        tokens = jnp.log1p(-student_share) - student_beta * (spent["tokens"] - _TOKENS)
        term = jnp.log(student_term) + student_gamma * jnp.logaddexp(params, tokens)
        bend = jnp.logaddexp(0.0, (teacher - log_loss - jnp.log(gap_at)) / gap_width)
        gap = term - teacher_power * teacher - gap_power * gap_width * bend
        return jnp.where(taught, jnp.logaddexp(teacher, gap), log_loss)
