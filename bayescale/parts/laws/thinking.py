"""The law of thinking: a power law of the tokens that a model writes before it answers, then a plateau."""

from bayescale.parts.base import AbstractLaw, Column, Kind, Parameter, Quantity
from bayescale.parts.laws.additive import IRREDUCIBLE, LEVEL
from bayescale.parts.laws.saturating import Bansal
from bayescale.parts.priors import LogNormal

THINKING = "thinking_tokens"
"""Column with the tokens of an answer, thinking included."""
COLUMN = Column("tokens", "tokens of an answer, thinking included", 1e3, 1.0, 1e9, usual=(1e2, 1e5))


class Thinking(AbstractLaw):
    r"""Error of one model over budgets of thinking tokens.

    .. math:: L(T) = B \left(T^{-1} + T_\max^{-1}\right)^{c}

    At first the error is a power of the budget, so that a score rises about linearly in its log. Beyond the limit
    :math:`T_\max` the curve is flat: a model that may think longer does not, or gains nothing. The form is that of
    `bansal`.
    """

    name = "thinking"
    source = "curves of Snell et al. 2024, arXiv:2408.03314; the form: ours, as Bansal et al. 2022, arXiv:2202.01994"
    use = "Scores of one model over budgets of thinking tokens: what a longer budget can still gain."
    avoid = "Budgets over less than a decade: the limit is then its prior."
    inputs = (THINKING,)
    columns = {THINKING: COLUMN}
    parameters = {
        "level": LEVEL,
        "limit": Parameter(
            LogNormal(10.0, 1.5),
            "input at the anchor",
            "budget beyond which more hardly helps",
            0.5,
            "wide: from below the anchor to two decades beyond it",
            at_anchor=True,
        ),
        "exponent": Parameter(
            LogNormal(0.3, 0.7), "1", "exponent of the error at small budgets", 0.1, "weak: from 0.1 to 1",
            kind=Kind.EXPONENT,
        ),
    }  # fmt: skip
    quantities = {
        "E": IRREDUCIBLE,
        "B": Quantity(Kind.PUBLISHED, "loss · tokens^c", "coefficient of the power", "log"),
        "T_max": Quantity(Kind.PUBLISHED, "tokens", "budget beyond which more hardly helps", "log"),
    }

    @staticmethod
    def log_loss(thinking, *, level, limit, exponent):
        return Bansal.log_loss(thinking, level=level, limit=limit, exponent=exponent)

    @staticmethod
    def published(thinking, *, loss, level, limit, exponent):
        found = Bansal.published(thinking, loss=loss, level=level, limit=limit, exponent=exponent)
        return {"E": found["E"], "B": found["B"], "T_max": found["X_max"]}
