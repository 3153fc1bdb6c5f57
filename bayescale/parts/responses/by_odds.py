"""Benchmark accuracy by its odds at one loss: the curve of `benchmark`, for benchmarks that may hardly rise."""

import jax
import jax.numpy as jnp

from bayescale.parts.base import Parameter
from bayescale.parts.priors import Normal
from bayescale.parts.responses.benchmark import Benchmark, Score, floor_of

CENTER = 3.0
"""Loss at which the odds are stated, in nats/token. Curves around any other loss are the same curves."""

PARAMETERS = {
    "middle": Parameter(
        Normal(-0.5, 2.0), "logit", f"logit of the share of the rise at a loss of {CENTER:g}, for a ceiling of 1", 0.5,
        "the priors of midpoint and width in benchmark have quartiles of -2.0 and 0.6 here",
    ),
    **{name: row for name, row in Benchmark.parameters.items() if name != "midpoint"},
}  # fmt: skip


def _accuracy(log_loss, columns, middle, width, ceiling, floor_odds):
    floor = floor_of(columns["chance"], floor_odds)
    # Near half of the rise, runs determine the product of the odds and the squared ceiling.
    logit = middle - 2 * jnp.log(ceiling) + (jnp.log(CENTER) - log_loss) / width
    return floor + (ceiling - floor) * jax.nn.sigmoid(logit)


class BenchmarkByOdds(Benchmark):
    r"""Number of correct answers to a benchmark's items, by the odds of its rise at a loss of 3 nats.

    .. math:: p = f + (d - f)\,\sigma\!\left(a - 2 \ln d + \frac{\ln 3 - \ln L}{w}\right), \qquad
              \frac{f}{1 - f} = o\,\frac{c}{1 - c}

    The curves are those of `benchmark`, with the floor `f`, the ceiling `d` and the width `w`. The `middle` `a` takes
    the place of the midpoint. If accuracy hardly rises, runs say little about the midpoint, which lies beyond them, and
    it is tied to the width along a curved ridge. The middle is not. The ceiling is in the logit for the same reason.
    """

    name = "benchmark-by-odds"
    source = f"the curve: {Benchmark.source}; written as a logistic regression: ours"
    use = "Many benchmarks in one battery, some of which hardly rise among the runs."
    avoid = "A few benchmarks that rise among the runs: the midpoint of `benchmark` is easier to read."
    reproduced = (
        "No published figure. From a fit of smaller models to 46 benchmarks, of which one had not quite converged "
        "(R-hat 1.011), 90% intervals contained 80% of 138 accuracies of three 6.9B models."
    )
    parameters = PARAMETERS

    @staticmethod
    def location(log_loss, columns, *, middle, width, ceiling, floor_odds):
        return _accuracy(log_loss, columns, middle, width, ceiling, floor_odds)


class ScoreByOdds(Score):
    r"""Accuracy as a share, by the odds of its rise at a loss of 3 nats.

    The curve is that of the response `benchmark-by-odds`.
    """

    name = "score-by-odds"
    source = BenchmarkByOdds.source
    parameters = PARAMETERS

    @staticmethod
    def location(log_loss, columns, *, middle, width, ceiling, floor_odds):
        return _accuracy(log_loss, columns, middle, width, ceiling, floor_odds)
