"""Benchmark accuracy whose floor is informed: as a count of items, or as an average without a count."""

import jax
import jax.numpy as jnp

from bayescale.parts.base import AbstractResponse, Parameter
from bayescale.parts.priors import LogNormal
from bayescale.parts.responses.accuracy import Accuracy

FLOOR_ODDS = Parameter(
    LogNormal(1.0, 0.3), "odds per odds of guessing", "odds of a correct answer without skill", 0.2,
    "the smallest runs of Gadre et al. 2024, arXiv:2403.08540, score below guessing: boolq has 0.7 times its odds",
)  # fmt: skip


def floor_of(chance, floor_odds):
    """Return the accuracy without skill: that of guessing, its odds multiplied by a factor; 0 stays 0."""
    return chance * floor_odds / (1 - chance + chance * floor_odds)


def _accuracy(log_loss, columns, midpoint, width, ceiling, floor_odds):
    floor = floor_of(columns["chance"], floor_odds)
    return floor + (ceiling - floor) * jax.nn.sigmoid((jnp.log(midpoint) - log_loss) / width)


class Benchmark(AbstractResponse):
    r"""Number of correct answers to a benchmark's items, above a floor that the runs inform.

    .. math:: p = f + (d - f)\,\sigma\!\left(\frac{\ln m - \ln L}{w}\right), \qquad
              \frac{f}{1 - f} = o\,\frac{c}{1 - c}

    with the floor `f`, whose odds are `o` times those of guessing `c`, the ceiling `d`, the midpoint loss `m` and the
    width `w`.
    """

    name = "benchmark"
    source = "two-step prediction, as in Gadre et al. 2024, arXiv:2403.08540, and the Llama 3 report, arXiv:2407.21783"
    use = "From loss to accuracy where small models may score below guessing. A battery of several shares a population."
    avoid = "A benchmark on which accuracy falls again as the loss falls: use bent-accuracy, which can say so."
    runs = ("gadre2024-benchmarks",)
    reproduced = (
        "No published figure. From a fit of smaller models to four benchmarks, 90% intervals contained 8 of 12 "
        "accuracies of three 6.9B models."
    )
    observed = "n_correct"
    requires = ("n_items", "chance")
    ranges = {"chance": (0.0, 0.99)}
    of_one = "benchmark"
    kind = "count"
    unit = "items"
    parameters = {**Accuracy.parameters, "floor_odds": FLOOR_ODDS}

    @staticmethod
    def location(log_loss, columns, *, midpoint, width, ceiling, floor_odds):
        return _accuracy(log_loss, columns, midpoint, width, ceiling, floor_odds)


class Score(AbstractResponse):
    r"""Accuracy as a share, where the number of items is not known or the score is an average over subjects.

    The curve is that of the response `benchmark`.
    """

    name = "score"
    source = Benchmark.source
    use = "Averages, such as MMLU over its subjects, and accuracies that were published without a number of items."
    avoid = "Scores with a known number of items: their count says how precise they are."
    runs = ("gadre2024-benchmarks",)
    observed = "score"
    requires = ("chance",)
    ranges = {"chance": (0.0, 0.99)}
    of_one = "benchmark"
    kind = "share"
    unit = "share"
    parameters = Benchmark.parameters

    @staticmethod
    def location(log_loss, columns, *, midpoint, width, ceiling, floor_odds):
        return _accuracy(log_loss, columns, midpoint, width, ceiling, floor_odds)
