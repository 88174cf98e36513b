"""Tickets under attack: one module a question."""
