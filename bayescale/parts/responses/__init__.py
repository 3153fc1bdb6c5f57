"""Responses: loss → what was observed, one file a kind."""
