"""Modelling: a spec and runs → a NumPyro model."""
