"""Tickets in word embeddings: does pruning word2vec make training and use cheaper, and do its dimensions come to mean something?"""
