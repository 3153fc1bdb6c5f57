"""Transfer: priors for a family that was not seen, learnt from families that were."""
