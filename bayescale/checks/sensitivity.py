"""Would the posterior move if the prior or the likelihood weighed a little more?"""

from __future__ import annotations

from bayescale.checking import AbstractCheck, Finding
from bayescale.law import part

_MOST = 0.05  # of the power-scaling diagnostic: Kallioinen et al.'s threshold


class Sensitivity(AbstractCheck):
    """Power-scaling sensitivity of the law's parameters to prior and likelihood."""

    name = "sensitivity"
    source = "Kallioinen, Paananen, Buerkner, Vehtari 2023, arXiv:2107.14054 (arviz-stats psense)"
    asks = "would the posterior move if the prior weighed a little more?"

    @staticmethod
    def ask(fit):
        from arviz_stats import psense_summary

        posterior = fit.posterior
        names = list(part("laws", fit.spec.law).parameters)
        names = [f"{n}_center" if f"{n}_center" in posterior else n for n in names]
        table = psense_summary(fit.tree, var_names=names, round_to=6)
        findings = []
        for site, row in table.iterrows():
            prior, likelihood = float(row["prior"]), float(row["likelihood"])
            conflict = prior > _MOST and likelihood > _MOST
            advice = (
                "prior and runs disagree: look at the prior's interval (bayescale show models NAME)"
                if conflict
                else "the prior holds it: report it with that caveat, or add runs"
            )
            findings.append(
                Finding(
                    "sensitivity", str(site), prior <= _MOST, prior, _MOST,
                    f"{site}: sensitivity {prior:.3f} to the prior, {likelihood:.3f} to the runs", advice,
                )
            )  # fmt: skip
        return findings
