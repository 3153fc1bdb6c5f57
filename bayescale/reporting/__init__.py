"""Report: one self-contained HTML page of a comparison or a fit; renders what it is given."""

from bayescale.reporting.html import check_target, report

__all__ = ["check_target", "report"]
