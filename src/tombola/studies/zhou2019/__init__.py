"""Zhou et al. 2019, *Deconstructing Lottery Tickets: Zeros, Signs, and the Supermask* (arXiv:1905.01067): one module a question."""
