"""Report: one self-contained HTML page of a comparison, a fit or a choice; computes nothing."""

from bayescale.reporting.html import check_target, report

__all__ = ["check_target", "report"]
