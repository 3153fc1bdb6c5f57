"""Metrics of one smooth capability: sharp ones, such as exact match, and smooth ones, such as the share of tokens."""

import jax.numpy as jnp

from bayescale.parts.base import AbstractResponse, Parameter
from bayescale.parts.priors import LogNormal

_SOURCE = "Schaeffer, Miranda, Koyejo 2023, arXiv:2304.15004; Wei et al. 2022, arXiv:2206.07682"

PARAMETERS = {
    "hardness": Parameter(
        LogNormal(0.5, 1.0), "nats/token", "loss on a token of the answer, where the loss on text is e nats/token", 0.3
    ),
    "steepness": Parameter(
        LogNormal(3.0, 0.7), "e-folds per e-fold", "how fast the answer's loss falls with that on text", 0.3,
        "the loss on text has a floor that the answer's loss lacks, so the answer's falls several times as fast",
    ),
}  # fmt: skip


def token_accuracy(log_loss, hardness, steepness):
    """Return the probability of one token of the answer, from the log of the loss on text."""
    return jnp.exp(-hardness * jnp.exp(steepness * (log_loss - 1.0)))


class TokenScore(AbstractResponse):
    r"""Share of the answer's tokens that are right: a smooth metric.

    .. math:: q = \exp\!\left(-h\,(L/e)^{s}\right)
    """

    name = "token-score"
    source = _SOURCE
    use = "To see a capability grow before exact match does. In one spec with exact-match, both have one curve."
    avoid = "Answers whose first token decides: their tokens differ in difficulty."
    observed = "token_score"
    kind = "share"
    unit = "share of tokens"
    parameters = PARAMETERS

    @staticmethod
    def location(log_loss, columns, *, hardness, steepness):
        return token_accuracy(log_loss, hardness, steepness)


class ExactMatch(AbstractResponse):
    r"""Number of answers of which every token is right: a sharp metric of a smooth capability.

    .. math:: p = q^k, \qquad q = \exp\!\left(-h\,(L/e)^{s}\right)

    for answers of `k` tokens, the field `tokens`.
    """

    name = "exact-match"
    source = _SOURCE
    use = "Answers that are right only if every token is, such as sums of several digits."
    avoid = "Multiple choice, which has a floor: use benchmark."
    observed = "n_correct"
    requires = ("n_items",)
    of_one = "benchmark"
    kind = "count"
    unit = "items"
    parameters = PARAMETERS

    tokens: int = 5

    def location(self, log_loss, columns, *, hardness, steepness):
        return token_accuracy(log_loss, hardness, steepness) ** self.tokens


class PassAtN(AbstractResponse):
    r"""Number of problems that at least one of `n` independent tries solves.

    .. math:: p = 1 - (1 - q^k)^n
    """

    name = "pass-at-n"
    source = _SOURCE
    use = "Scores of several tries for each problem, on problems of about equal difficulty."
    avoid = "Problems whose difficulty differs much: the tries of one problem are then not independent."
    observed = "n_solved"
    requires = ("n_items",)
    of_one = "benchmark"
    kind = "count"
    unit = "problems"
    parameters = PARAMETERS

    tokens: int = 5
    tries: int = 10

    def location(self, log_loss, columns, *, hardness, steepness):
        missed = 1 - token_accuracy(log_loss, hardness, steepness) ** self.tokens
        return 1 - missed**self.tries


class MultipleChoice(AbstractResponse):
    r"""Number of correct choices, when what is not known is guessed.

    .. math:: p = c + (1 - c)\,q
    """

    name = "multiple-choice"
    source = _SOURCE
    use = "Multiple choice as a metric of the same capability as exact match."
    avoid = "A benchmark of its own: the response benchmark has a midpoint, a ceiling and an informed floor."
    observed = "n_chosen"
    requires = ("n_items", "chance")
    ranges = {"chance": (0.0, 0.99)}
    of_one = "benchmark"
    kind = "count"
    unit = "items"
    parameters = PARAMETERS

    @staticmethod
    def location(log_loss, columns, *, hardness, steepness):
        return columns["chance"] + (1 - columns["chance"]) * token_accuracy(log_loss, hardness, steepness)


class Brier(AbstractResponse):
    r"""Brier score of a choice between `n`, the rest of the probability spread evenly: a smooth metric.

    .. math:: B = (1 - p)^2 \frac{n}{n - 1}, \qquad p = \tfrac{1}{n} + \left(1 - \tfrac{1}{n}\right) q
    """

    name = "brier"
    source = _SOURCE
    use = "The same capability under a proper score, which changes smoothly where accuracy jumps."
    avoid = "Overconfident models: their wrong choices do not share the rest of the probability."
    observed = "brier"
    kind = "real"
    unit = "Brier score"
    falls = True
    parameters = PARAMETERS

    choices: int = 4

    def location(self, log_loss, columns, *, hardness, steepness):
        wrong = (1 - 1 / self.choices) * (1 - token_accuracy(log_loss, hardness, steepness))
        return wrong**2 * self.choices / (self.choices - 1)
