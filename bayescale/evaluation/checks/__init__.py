"""Checks: questions asked of a fit, one file a question."""
