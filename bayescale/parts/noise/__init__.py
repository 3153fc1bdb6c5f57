"""Noise: the distribution of what was observed around its location, one file per kind."""
