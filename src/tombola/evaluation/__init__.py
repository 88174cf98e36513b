"""Early stopping, intervals and tests over replicates, verdicts."""
