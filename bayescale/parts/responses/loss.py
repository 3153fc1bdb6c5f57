"""The loss itself: in nats per token, or an error rate."""

from bayescale.parts.base import AbstractResponse


class Loss(AbstractResponse):
    """A run's loss, with noise on its logarithm."""

    name = "loss"
    source = "log loss, so that small models do not dominate the fit and the floor stays sharp"
    runs = ("hoffmann2022", "open-families")
    observed = "loss"
    kind = "log"
    unit = "nats/token"
    a_loss = True

    @staticmethod
    def location(log_loss, columns):
        return log_loss


class ErrorRate(AbstractResponse):
    """A run's error rate, with noise on its logarithm: the law's loss is then an error rate, not nats per token."""

    name = "error_rate"
    source = "Alabdulmohsin et al. 2022, arXiv:2209.06640, who compare the logs of error rates"
    observed = "error_rate"
    kind = "log"
    unit = "share of examples"
    a_loss = True
    use = (
        "For a law of an error rate, in examples seen, params or compute, where the number of test items is not known."
    )
    avoid = "With a known number of test items, the response accuracy describes their sampling noise better."
    runs = ("revisiting",)

    @staticmethod
    def location(log_loss, columns):
        return log_loss
