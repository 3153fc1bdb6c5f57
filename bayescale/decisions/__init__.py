"""Decisions: actions and a utility → a choice with its regret; one problem per file."""
