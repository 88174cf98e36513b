"""What an initialisation is for: how weights are drawn, how large, with which signs, and under a mask (IDEAS I4). One module a question."""

from tombola.studies.initial import deep, gain, initialisers, signs, sparse  # noqa: F401  # each registers its study
