"""Masks that move during training, and the journeys of weights."""
