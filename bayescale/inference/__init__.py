"""Inference: a model and runs → posterior draws, with a check of convergence."""
