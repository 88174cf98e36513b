"""Data sets as arrays in memory: embedded ones, files by checksum, a user's own; splits and augmentation."""

from tombola.data import embedded, images  # noqa: F401  (importing them registers their data sets)
