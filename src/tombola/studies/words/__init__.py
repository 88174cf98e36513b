"""Tickets in word embeddings: does pruning word2vec make training and use cheaper, and do its dimensions come to mean something?"""

from tombola.studies.words import cost, dimensions, frequency, posthoc, seeds, tickets  # noqa: F401  # registers their studies
