"""A score as a share, over what was spent: from a floor to a ceiling, in the log of the amount."""

from bayescale.parts.base import AbstractResponse
from bayescale.parts.responses.skill import Skill


class SkillScore(AbstractResponse):
    r"""Score as a share of items whose number is not known, over the amount `X` of an input.

    .. math:: p = f + (d - f)\,\sigma\!\left(s\,(\ln X - \ln m)\right), \qquad
              \frac{f}{1 - f} = o\,\frac{c}{1 - c}

    The curve is that of the response `skill`. The law of the spec is `exposure`, whose anchor sets the unit of the
    midpoint `m`. A score of two models whose compute differs by a factor `k` differs by :math:`s \ln k` in its log odds
    between floor and ceiling.
    """

    name = "skill-score"
    source = (
        "scores as a sigmoid of log compute: Owen 2024, arXiv:2401.04757; "
        "the baseline of Ruan et al. 2024, arXiv:2405.10938"
    )
    use = "Published scores over training compute alone, over all models or within a family: a baseline."
    avoid = "Scores with a known number of items: use `skill`. Models of many makers that a capability could place."
    runs = ("obsscaling",)
    observed = "score"
    requires = ("chance",)
    ranges = Skill.ranges
    of_one = Skill.of_one
    kind = "share"
    unit = "share of items"
    parameters = Skill.parameters

    @staticmethod
    def location(log_loss, columns, *, midpoint, steepness, ceiling, floor_odds):
        return Skill.location(
            log_loss, columns, midpoint=midpoint, steepness=steepness, ceiling=ceiling, floor_odds=floor_odds
        )
