"""Data sets as arrays: embedded ones, files by checksum, folders of images, a user's own; splits and augmentation."""

from tombola.data import embedded, imagenet, images, planar, tables, text  # noqa: F401  (importing them registers their data sets)
