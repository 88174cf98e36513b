"""Tickets under attack: one module a question."""

from tombola.studies.attacks import tables, tickets, training, transfer  # each registers its study

__all__ = ["tables", "tickets", "training", "transfer"]
