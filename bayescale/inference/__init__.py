"""Inference: a model and runs → posterior draws, with their convergence."""
