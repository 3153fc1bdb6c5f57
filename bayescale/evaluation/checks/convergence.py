"""Do the chains agree, and are there enough draws?"""

from bayescale.evaluation.checks.base import AbstractCheck, Finding


class Convergence(AbstractCheck):
    """R-hat, effective sample sizes, divergences, E-BFMI and tree depth."""

    name = "convergence"
    source = "Vehtari et al. 2021, arXiv:1903.08008; Betancourt 2017, arXiv:1701.02434"
    decisive = True
    asks = "do the chains agree, and are there enough draws?"

    @staticmethod
    def ask(fit):
        return [
            Finding("convergence", c.name, c.passed, c.figure, c.limit, c.sentence, c.advice) for c in fit.convergence
        ]
