"""Plots: one function a figure; takes and returns matplotlib Axes."""
