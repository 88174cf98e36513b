"""Sparsity by mask or by loss: autoencoders and variational autoencoders (after Kalibhat, Balaji & Feizi 2021)."""
