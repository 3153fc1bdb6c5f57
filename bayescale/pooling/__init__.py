"""Pooling: how groups share a parameter, one file a way."""
