"""Sparsity by mask or by loss: autoencoders and variational autoencoders (after Kalibhat, Balaji & Feizi 2021)."""

from tombola.studies.autoencoders import frontiers, halves, latents, tickets  # noqa: F401  # each registers its study
