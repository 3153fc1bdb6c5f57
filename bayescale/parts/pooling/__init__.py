"""Pooling: how families share a parameter, one file a variant."""
