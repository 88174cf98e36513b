"""How tests are run: properties without a deadline, and nothing computed again and again that no test asks for."""

import gc
import os

UNOPTIMIZED = "JAX_DISABLE_MOST_OPTIMIZATIONS"
os.environ.setdefault(UNOPTIMIZED, "1")  # to optimise a test's programs takes longer than they run; 0 in the environment: all are
os.environ.setdefault("JAX_TRACEBACK_IN_LOCATIONS_LIMIT", "0")  # nobody reads which line of Python an operation of a program is from

import jax  # noqa: E402 (it reads the environment)
import pytest  # noqa: E402
from hypothesis import HealthCheck, settings  # noqa: E402

# On a machine that others use too, a slow example says nothing.
settings.register_profile("tombola", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("tombola")

_EMITTERS = "xla_cpu_use_fusion_emitters"
CHEAP = f"--{_EMITTERS}=false" if jax.__version_info__ < (0, 11) else ""
"""Flag of XLA by which LLVM's older emitters make loops, which compile in half the time; for processes whose programs run once."""
if CHEAP:
    from jax._src import compiler

    _compile_options = compiler.get_compile_options

    def _cheap_options(*args, **options):
        """Those of JAX, and `CHEAP` for what is not optimised."""
        found = _compile_options(*args, **options)
        if jax.config.read(UNOPTIMIZED.lower()):
            found.env_option_overrides = [*found.env_option_overrides, (_EMITTERS, False)]
        return found

    compiler.get_compile_options = _cheap_options


def pytest_collection_finish():
    """What is imported and collected stays to the end: the collector of garbage need not look through it, nor look so often."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)


@pytest.fixture(scope="module")
def optimized():
    """For a file that compares bits, or measures: its programs, and those of processes that it starts, are compiled as they are for users.

    Other files are given nothing of what was compiled here, nor it anything of theirs.
    """
    given = jax.config.read(UNOPTIMIZED.lower())
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(UNOPTIMIZED, "0")
        _compile(False)
        yield
    _compile(given)


def _compile(unoptimized: bool) -> None:
    if jax.config.read(UNOPTIMIZED.lower()) != unoptimized:
        jax.config.update(UNOPTIMIZED.lower(), unoptimized)
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
