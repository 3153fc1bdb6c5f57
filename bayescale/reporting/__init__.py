"""Report: one self-contained HTML page of a comparison or a fit; computes nothing."""

from bayescale.reporting.html import check_target, report

__all__ = ["check_target", "report"]
