"""Tickets under attack: one module a question."""

from tombola.studies.attacks import tables, text, tickets, training, transfer  # each registers its study

__all__ = ["tables", "text", "tickets", "training", "transfer"]
