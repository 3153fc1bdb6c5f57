"""An error rate whose odds are the loss of the law."""

from jax import nn

from bayescale.parts.base import AbstractResponse


class ErrorOdds(AbstractResponse):
    r"""Error rate of a score, with the odds of failure as the law's loss: :math:`e = L / (1 + L)`.

    A law that is a power of compute then makes the log odds of success linear in its log, and the middle of the score
    is between 0 and 1.
    """

    name = "error-odds"
    source = (
        "scores as a logistic curve of log compute: Owen 2024, arXiv:2401.04757; Ruan et al. 2024, arXiv:2405.10938"
    )
    observed = "error_rate"
    kind = "log"
    unit = "share of examples"
    a_loss = True
    use = "Scores between 0 and 1 over compute, with the law `stages` or `power`; the error rate is 1 minus the score."
    avoid = (
        "Scores with a chance floor or a known number of items: use `accuracy`. Scores near 0: the noise is on the log "
        "of the error, so an interval may reach below 0."
    )

    @staticmethod
    def location(log_loss, columns):
        return nn.log_sigmoid(log_loss)
