"""Decisions: problems with actions and a utility, one file a problem."""
