"""Nothing is compiled twice: levels, arms, replicates, seeds and studies of equal shapes share their programs."""

import jax
import numpy as np
import pytest

import tombola as tb
from tombola.core.task import Data, Model, Recipe, Task
from tombola.engine.configuring import resolve
from tombola.engine.execute import Engine
from tombola.engine.graph import graph
from tombola.engine.progress import Progress
from tombola.engine.study import run_study
from tombola.procedures.imp import imp_runs
from tombola.store.store import Store
from tombola.training import optimizers, program, replica_batch
from tombola.training import setup as limits

LOWERED = "/jax/core/compile/jaxpr_to_mlir_module_duration"
"""What JAX reports of every program that it has not got in this process, also where the executable then comes from disk."""
SETTINGS = ("task.model.options.widths=[7, 5]", "steps=6it", "evaluate_every=3it", "batch=50")
"""Shapes that no other test has."""


@pytest.fixture(scope="module")
def counted():
    found = []
    jax.monitoring.register_event_duration_secs_listener(lambda name, *_, **__: found.append(name) if name == LOWERED else None)
    return found


@pytest.fixture(autouse=True)
def room():
    """So that no test sees the programs of the tests before given up."""
    if program._compile.cache_info().currsize > program.PROGRAMS - 12:
        program._compile.cache_clear()


@pytest.fixture
def compilations(counted):
    """Calls a function; how many programs that made."""

    def count(function, *arguments):
        before = len(counted)
        function(*arguments)
        return len(counted) - before

    return count


@pytest.fixture
def execute(tmp_path, compilations):
    """Carries a small study out, and counts."""

    def run(name, *settings, replicates=2, seed=0):
        study = resolve(name, scale="smoke", task="digits-mlp", settings=[*SETTINGS, *settings], replicates=replicates, seed=seed)
        return compilations(lambda: run_study(study, Store(tmp_path), quiet=True))

    return run


@pytest.mark.slow
def test_levels_replicates_and_seeds_share_programs(execute):
    assert execute("frankle2019.sparsity", "levels=1", seed=1) > 0
    assert execute("frankle2019.sparsity", "levels=4", seed=2) == 0
    assert execute("frankle2019.sparsity", "levels=1", seed=3, replicates=5) == 0
    assert execute("frankle2019.sparsity", "levels=1", "rewind=2it", seed=4) == 0


@pytest.mark.slow
def test_lengths_share_programs(execute):
    assert execute("frankle2019.sparsity", "levels=1", "task.model.options.widths=[9, 4]") > 0
    assert execute("frankle2019.sparsity", "levels=1", "task.model.options.widths=[9, 4]", "steps=9it", "test_every=6it") == 0


@pytest.mark.slow
def test_learning_rates_share_programs(execute):
    assert execute("frankle2019.sparsity", "levels=1", "task.model.options.widths=[9, 5]") > 0
    assert execute("frankle2019.sparsity", "levels=1", "task.model.options.widths=[9, 5]", "learning_rate=0.02") == 0
    assert execute("frankle2019.sparsity", "levels=1", "task.model.options.widths=[9, 5]", "optimizer=sgd") > 0


@pytest.mark.slow
def test_the_length_of_a_cosine_is_in_its_program(execute):
    assert execute("frankle2019.sparsity", "levels=1", "schedule=cosine") > 0
    assert execute("frankle2019.sparsity", "levels=1", "schedule=cosine", "steps=9it") > 0


@pytest.mark.slow
def test_programs_are_given_up_before_they_fill_the_memory(monkeypatch):
    """Each takes about 20 MB. What comes again is compiled again, and trains to the same bits."""
    monkeypatch.setattr(program, "PROGRAMS", 2)
    program._compile.cache_clear()
    recipe = Recipe(steps="4it", batch=50, learning_rate=1e-2, evaluate_every="2it")
    tasks = [Task(data=Data(name="digits"), model=Model(name="mlp", options={"widths": [7, last]}), recipe=recipe) for last in (5, 6, 4, 5)]
    found, held = [], []
    for task in tasks:
        found.append(tb.train(task).final)
        held.append(program._compile.cache_info().currsize)
    assert held == [1, 2, 1, 2]
    assert all(found[0][path].tobytes() == leaf.tobytes() for path, leaf in found[3].items())


@pytest.mark.slow
def test_another_batch_is_another_program(execute):
    """What is counted here would be noticed."""
    execute("frankle2019.sparsity", "levels=1")
    assert execute("frankle2019.sparsity", "levels=1", "batch=49") > 0


@pytest.mark.slow
@pytest.mark.parametrize(
    "other", ["frankle2019.one_shot", "frankle2019.movement", "zhou2019.mask0", "zhou2019.mask1", "zhou2019.criteria"], ids=str
)
def test_studies_of_equal_shapes_share_programs(execute, other):
    execute("frankle2019.sparsity", "levels=1")
    assert execute(other, seed=7) == 0


@pytest.mark.slow
@pytest.mark.parametrize("name", ["frankle2020.instability", "frankle2020.sparse", "zhang2019.robustness", "zhou2019.supermask"])
def test_probes_of_equal_shapes_share_programs(execute, name):
    execute(name, seed=1)
    assert execute(name, seed=2) == 0


def test_a_resumed_run_goes_on_in_the_same_programs(tmp_path, compilations, monkeypatch):
    monkeypatch.setattr(replica_batch, "CHECKPOINT_SECONDS", 0.0)
    monkeypatch.setattr(limits, "_MOST_ITERATIONS", 2)
    task = Task(
        data=Data(name="digits"),
        model=Model(name="mlp", options={"widths": [7, 5]}),
        recipe=Recipe(steps="6it", batch=50, learning_rate=1e-2, evaluate_every="2it"),
    )

    class Killed(Progress):
        left = np.inf

        def advance(self, steps):
            self.left -= 1
            if self.left < 0:
                raise KeyboardInterrupt

    def engine(seed, left=np.inf):
        progress = Killed(quiet=True)
        progress.left = left
        return Engine(graph(imp_runs(task, seed, 1, rates={"dense": 0.2, "output": 0.1})), Store(tmp_path), progress=progress)

    engine(1).execute()
    with pytest.raises(KeyboardInterrupt):
        engine(2, left=2).execute()
    assert list((tmp_path / ".work").glob("*.checkpoint.safetensors"))
    assert compilations(engine(2).execute) == 0


def test_our_own_optimisers_are_tried_without_compiling(compilations):
    optimizers.check.cache_clear()
    for name in optimizers.optimizers:
        if name not in optimizers.optimizers.users():
            assert compilations(optimizers.check, Recipe(steps="9it", batch=5, learning_rate=0.1, optimizer=name)) == 0, name
