"""Frankle & Carbin 2019, *The Lottery Ticket Hypothesis* (arXiv:1803.03635): one module a figure."""
