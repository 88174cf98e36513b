"""Content-addressed runs on disk."""
