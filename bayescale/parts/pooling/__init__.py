"""Pooling: how families share a parameter, one file per variant."""
