"""A skill: correct answers over what a model has seen, from a floor to a ceiling of the skill's own."""

import jax
import jax.numpy as jnp

from bayescale.parts.base import AbstractResponse, Parameter
from bayescale.parts.priors import LogitNormal, LogNormal
from bayescale.parts.responses.benchmark import FLOOR_ODDS, floor_of

ZHANG = "Zhang et al. 2021, arXiv:2011.04946"


class Skill(AbstractResponse):
    r"""Number of correct answers to the items of a skill, over the amount `X` that a model has seen.

    .. math:: p = f + (d - f)\,\sigma\!\left(s\,(\ln X - \ln m)\right), \qquad
              \frac{f}{1 - f} = o\,\frac{c}{1 - c}

    with the floor `f`, whose odds are `o` times those of guessing `c`, the ceiling `d` that the model reaches, the
    midpoint `m` and the steepness `s`. The law of the spec is `exposure`, whose anchor sets the unit of the midpoint.
    A share `q` of the rise is reached at :math:`m\,(q / (1 - q))^{1 / s}`: nine tenths of it at :math:`m\,9^{1 / s}`.
    """

    name = "skill"
    source = ZHANG + ", for the question: which skills need how many words; the form: ours"
    use = "Scores of one model along its training, or of equal models on more and more text: which skills come when."
    avoid = "Skills that no run has half of: midpoint and ceiling are then their priors."
    runs = ("pythia",)
    reproduced = (
        "The order of the first and last skills in the scores of Pythia-12B, and recovery from simulated scores."
    )
    observed = "n_correct"
    requires = ("n_items", "chance")
    ranges = {"chance": (0.0, 0.99)}
    of_one = "benchmark"
    kind = "count"
    unit = "items"
    parameters = {
        "midpoint": Parameter(
            LogNormal(3.0, 2.5), "of the anchor's input", "amount seen at which half of the rise is made", 0.3,
            f"syntax and most semantics by 10 to 100 million words, other skills far later: {ZHANG}",
        ),
        "steepness": Parameter(
            LogNormal(0.7, 0.5), "log odds per e-fold", "how fast the rise is", 0.2,
            "weak: a tenth to nine tenths in 1 to 6 decades"
        ),
        "ceiling": Parameter(
            LogitNormal(0.7, 1.0), "1", "accuracy that more text does not raise for a model of this size", 0.3, "weak"
        ),
        "floor_odds": FLOOR_ODDS,
    }  # fmt: skip

    @staticmethod
    def location(log_loss, columns, *, midpoint, steepness, ceiling, floor_odds):
        floor = floor_of(columns["chance"], floor_odds)
        return floor + (ceiling - floor) * jax.nn.sigmoid(-steepness * (log_loss + jnp.log(midpoint)))
