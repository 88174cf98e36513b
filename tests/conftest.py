"""How tests are run: properties without a deadline, and nothing computed again and again that no test asks for."""

import gc

import jax
import pytest
from hypothesis import HealthCheck, settings

# On a machine that others use too, a slow example says nothing.
settings.register_profile("tombola", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("tombola")


def pytest_collection_finish():
    """What is imported and collected stays to the end: the collector of garbage need not look through it, nor look so often."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)


@pytest.fixture(scope="module")
def unoptimized():
    """For a file that carries small studies out and reads their tables: to optimise its programs takes longer than they run.

    Other files are given nothing of what was compiled here.
    """
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)
    jax.clear_caches()


@pytest.fixture
def trained(monkeypatch):
    """The replicas of every cohort that an engine trains."""
    from tombola.engine import execute

    found, original = [], execute.train_cohort
    monkeypatch.setattr(
        execute, "train_cohort", lambda task, dataset, replicas, *rest: found.append(replicas) or original(task, dataset, replicas, *rest)
    )
    return found
