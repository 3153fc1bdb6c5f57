"""Responses: loss → the location of what was observed, one file per kind."""
