"""Runs as descriptions, the actions that make masks and starts, iterative magnitude pruning."""
