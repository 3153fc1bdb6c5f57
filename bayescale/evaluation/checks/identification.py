"""Do the runs, rather than the prior, determine the parameters?"""

from __future__ import annotations

import numpy as np

from bayescale.evaluation.checks.base import AbstractCheck, Finding
from bayescale.runs.columns import DATE, size_column

_LEAST_CONTRACTION = 0.5
_LEAST_DECADES = 1.0  # of compute; two identify the irreducible loss well
_LEAST_RATIO = 3.0  # largest over smallest tokens per param


class Identification(AbstractCheck):
    """Prior-to-posterior contraction of every parameter, and the span of the design.

    Contraction is ``1 - Var_posterior / Var_prior`` in the prior's Gaussian coordinate: 1 if the runs determine the
    parameter, 0 if the prior does. Pooled parameters are judged by their centre. Parameters of discrepancies are not
    judged: the error of a law is meant to be learned from other families, whose errors are known.
    """

    name = "identification"
    source = "science of the design: spans of compute and of tokens per param identify floor and exponents"
    asks = "do the runs, rather than the prior, determine the parameters?"
    of_each = True

    @staticmethod
    def ask(fit):
        posterior, findings, ways = fit.posterior, [], fit.ways
        law = fit.spec.law_part
        decided = {name for of in fit.spec.discrepancies for name in of.parameters}
        for name, setting in fit.spec.at(fit.meta["anchor"]).settings:
            if name in decided:
                continue
            site = ways[name].population(name).name
            value = np.asarray(setting.prior.transform.inv(posterior[site].to_numpy()))
            variance = value.reshape(*value.shape[:2], -1).var(axis=(0, 1)).max()
            contraction = float(1 - variance / setting.prior.scale**2)
            findings.append(
                Finding(
                    "identification", site, contraction >= _LEAST_CONTRACTION, contraction, _LEAST_CONTRACTION,
                    f"{site}: posterior variance is {max(contraction, 0):.0%} smaller than the prior's",
                    f"the prior determines {site}: say so, or add runs that inform it",
                )
            )  # fmt: skip
        runs = fit.design_frame
        sized = size_column(runs)
        what = "compute" if sized == "flops" else sized
        if sized != DATE:
            decades = float(np.log10(runs[sized].max() / runs[sized].min()))
            findings.append(
                Finding(
                    "identification", what, decades >= _LEAST_DECADES, decades, _LEAST_DECADES,
                    f"the largest run has {10**decades:.2g} times the {what} of the smallest",
                    "add smaller or larger runs: "
                    "irreducible loss needs at least a tenfold range, preferably a hundredfold one",
                )
            )  # fmt: skip
        if law is not None and len(law.inputs) == 2:
            ratio = runs["tokens"] / runs["params"]
            span = float(ratio.max() / ratio.min())
            findings.append(
                Finding(
                    "identification", "tokens per param", span >= _LEAST_RATIO, span, _LEAST_RATIO,
                    f"tokens per param range from {ratio.min():.3g} to {ratio.max():.3g}",
                    "add runs with other ratios: at one ratio the two exponents are not identified",
                )
            )  # fmt: skip
        return findings
