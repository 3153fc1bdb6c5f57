"""Runs: tables of training runs, read, validated and split."""
