"""Frankle et al. 2020, *Linear Mode Connectivity and the Lottery Ticket Hypothesis* (arXiv:1912.05671): one module a figure."""
