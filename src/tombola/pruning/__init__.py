"""Criteria, selection with exact counts, control masks."""
