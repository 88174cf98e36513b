"""Masks that are searched instead of weights that are trained: one module a question."""
