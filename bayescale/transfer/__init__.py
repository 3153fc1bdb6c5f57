"""Transfer: priors for a new family, learned from the runs of other families."""
