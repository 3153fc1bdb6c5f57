"""Penalties: how runs were made → a change of the law's loss, one file per kind."""
