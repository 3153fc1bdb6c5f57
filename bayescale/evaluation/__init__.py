"""Evaluation: checks, backtests, stacking, calibration and comparison."""
