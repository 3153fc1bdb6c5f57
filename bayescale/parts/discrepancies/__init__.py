"""Discrepancies: what laws are wrong by beyond the runs, one file each; a new file is found by being there."""
