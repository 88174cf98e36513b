"""Zhang, Bengio & Singer 2019, *Are All Layers Created Equal?* (arXiv:1902.01996): one module a figure or a question."""
