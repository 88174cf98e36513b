"""How cheaply can a ticket be found? Costs, sanity checks, fewer data, other scores."""
