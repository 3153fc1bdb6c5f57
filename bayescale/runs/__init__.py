"""Runs: reading, validating and splitting tables of training runs."""
