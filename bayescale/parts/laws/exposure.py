"""The law of exposure: what was seen, itself, for responses that say what of it they need."""

from bayescale.parts.base import AbstractLaw


class Exposure(AbstractLaw):
    r"""The inverse of one input, without parameters.

    .. math:: L(X) = X_0 / X

    It is no loss. It hands an input to a response that has a scale of its own, such as `skill`: with the anchor's loss
    at 1, minus its log is the log of the input over the anchor's.
    """

    name = "exposure"
    source = "no claim: the response says how scores depend on the input"
    use = "Scores over the tokens that one model has seen, with the response `skill`."
    avoid = "Losses, and models of several sizes: each size learns at its own rate."
    runs = ("pythia",)
    inputs = ("tokens",)
    parameters = {}
    quantities = {}

    @staticmethod
    def log_loss(x):
        return -x

    @staticmethod
    def published(x, *, loss):
        return {}
