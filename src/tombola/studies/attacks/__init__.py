"""Tickets under attack: one module a question."""

from tombola.studies.attacks import tickets, training, transfer  # each registers its study

__all__ = ["tickets", "training", "transfer"]
