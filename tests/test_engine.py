import errno
import io
import random
import shutil
import signal
import subprocess
import sys
import time
from itertools import pairwise

import numpy as np
import pytest
from toys import RATES, tiny

from tombola.api.imp import imp
from tombola.core import masks, trees
from tombola.core.errors import TombolaError
from tombola.core.keys import replicate_seed
from tombola.core.step import Step
from tombola.data.dataset import load
from tombola.engine.execute import Engine
from tombola.engine.graph import graph
from tombola.engine.progress import Progress, duration
from tombola.procedures.imp import imp_runs
from tombola.procedures.run import Action, Run
from tombola.pruning.pruning import Pruning
from tombola.store.store import Store
from tombola.training import cohort
from tombola.training.plan import plan

pytestmark = pytest.mark.usefixtures("optimized")

TASK = tiny()


def engine(runs, folder, keep=None):
    return Engine(graph(runs, keep), Store(folder), progress=Progress(quiet=True))


# -- the graph ---------------------------------------------------------------------------------------------------------


def test_a_graph_holds_ancestors_and_what_is_wanted_of_them():
    chain = imp_runs(TASK, 1, 3, rates=RATES, rewind="5it")
    found = graph([chain[-1]])
    assert [found.generation[run.digest] for run in chain] == [0, 1, 2, 3]
    assert [found.keep[run.digest] for run in chain] == [{"0it", "5it", "end"}, {"end"}, {"end"}, set()]


def test_long_chains_need_no_recursion():
    chain = imp_runs(TASK, 1, 60, rates=RATES)
    assert len(graph([chain[-1]]).runs) == 61


# -- IMP ---------------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_imp_by_arrays_is_imp_by_description_bitwise(tmp_path):
    by_arrays = imp(TASK, 2, fraction=RATES, rewind="5it", replicates=2, seed=4)
    chains = [imp_runs(TASK, replicate_seed(4, r), 2, rates=RATES, rewind="5it") for r in range(2)]
    keep = {run.digest: ["end"] for chain in chains for run in chain}
    records = engine([run for chain in chains for run in chain], tmp_path, keep).execute()
    for r, chain in enumerate(chains):
        for level, run in enumerate(chain):
            record = records[run.digest]
            assert trees.equal(record.weights(20), trees.replica(by_arrays[level].final, r))
            np.testing.assert_array_equal(record.metrics()["val_loss"], by_arrays[level].metrics["val_loss"][r])
            shapes = {path: leaf.shape[1:] for path, leaf in by_arrays[level].mask.items()}
            assert trees.equal(record.mask(shapes), trees.replica(by_arrays[level].mask, r))


def test_masks_of_imp_are_nested_exact_and_rewound():
    levels = imp(TASK, 3, fraction=0.5, rewind="5it", replicates=1)
    kept = [masks.kept(level.mask) for level in levels]
    assert kept[0] == 64 * 8 + 8 * 6 + 6 * 10
    for before, after in pairwise(levels):
        for path in before.mask:
            assert not (after.mask[path] & ~before.mask[path]).any()
            count = before.mask[path].sum()
            assert after.mask[path].sum() == count - round(0.5 * count)
            source = levels[0].at("5it")[path]
            assert after.initial[path][after.mask[path]].tobytes() == source[after.mask[path]].tobytes()
        np.testing.assert_array_equal(after.initial["output/bias"], levels[0].at("5it")["output/bias"])


def test_mistakes_in_imp():
    with pytest.raises(TombolaError, match="must be less than or equal to 1"):
        imp(TASK, 1, fraction=1.5)
    with pytest.raises(
        TombolaError, match="no layer or kind of layer 'dens'; the layers are hidden1, hidden2, output; the kinds dense, conv"
    ):
        imp(TASK, 1, fraction={"dens": 0.1})
    with pytest.raises(TombolaError, match="pruning is given whole, and criterion beside it"):
        imp(TASK, 1, pruning=Pruning(), criterion="movement")
    with pytest.raises(TombolaError, match="no field 'criterio'"):
        imp(TASK, 1, criterio="movement")
    with pytest.raises(TombolaError, match="levels = -1"):
        imp(TASK, -1)
    with pytest.raises(TombolaError, match="no pruning rate for 'output'"):
        imp(TASK.but(rates={"dense": 0.1}), 1, replicates=1)
    with pytest.raises(TombolaError, match="after the end"):
        imp(TASK, 1, rewind="21it", replicates=1)
    with pytest.raises(TombolaError, match="unknown criterion 'big'"):
        imp(TASK, 1, criterion="big", replicates=1)


# -- the store spares work -----------------------------------------------------------------------------------------------


def test_a_shared_trunk_trains_once_and_a_finished_study_not_at_all(tmp_path, trained):
    chain = imp_runs(TASK, 1, 2, rates=RATES)
    engine(chain, tmp_path).execute()
    assert len(trained) == 3
    engine(chain, tmp_path).execute()
    assert len(trained) == 3
    engine(imp_runs(TASK, 1, 3, rates=RATES), tmp_path).execute()
    assert len(trained) == 5  # level 2 again, since its last weights are wanted now, and level 3


def test_further_weights_of_a_stored_run_are_the_same_run(tmp_path, trained):
    run = Run(task=TASK, seed=1)
    before = engine([run], tmp_path, {run.digest: ["end"]}).execute()[run.digest]
    old = before.weights(20), before.metrics()
    after = engine([run], tmp_path, {run.digest: ["7it", "end"]}).execute()[run.digest]
    assert after.steps() == {7, 20}
    assert trees.equal(after.weights(20), old[0])
    assert len(trained) == 2


def test_weights_that_another_study_keeps_stay(tmp_path, trained):
    run = Run(task=TASK, seed=1)
    for step in ("7it", "9it", "7it"):
        last = engine([run], tmp_path, {run.digest: [step]}).execute()[run.digest]
    assert last.steps() == {7, 9}
    assert len(trained) == 2


def test_a_damaged_file_is_named_and_computed_again(tmp_path, capsys):
    chain = imp_runs(TASK, 1, 2, rates=RATES)
    keep = {chain[-1].digest: ["end"]}
    first = engine(chain, tmp_path, keep).execute()
    whole = {run.digest: first[run.digest].metrics()["val_loss"] for run in chain}
    (tmp_path / chain[1].digest / "weights" / "20it.safetensors").write_bytes(b"damaged")
    Store(tmp_path).remove(chain[2].digest)
    again = Engine(graph(chain, keep), Store(tmp_path), progress=Progress())
    records = again.execute()
    assert f"{chain[1].digest}/weights/20it.safetensors is damaged" in capsys.readouterr().err
    for run in chain:
        np.testing.assert_array_equal(records[run.digest].metrics()["val_loss"], whole[run.digest])


@pytest.mark.parametrize("what", ["no manifest", "a file in its place", "an edited file", "another's folder"])
def test_whatever_is_in_the_place_of_a_run_is_replaced(tmp_path, what, capsys):
    run = Run(task=TASK, seed=1)
    place = tmp_path / run.digest
    whole = engine([run], tmp_path).execute()[run.digest].metrics()["val_loss"]
    if what == "no manifest":
        (place / "manifest.json").unlink()
    elif what == "another's folder":
        other = Run(task=TASK, seed=2)
        engine([other], tmp_path).execute()
        Store(tmp_path).remove(run.digest)
        shutil.copytree(tmp_path / other.digest, place)
    elif what == "an edited file":
        (place / "spec.json").write_text("{}")
    else:
        Store(tmp_path).remove(run.digest)
        place.touch()
    records = Engine(graph([run]), Store(tmp_path), progress=Progress()).execute()
    np.testing.assert_array_equal(records[run.digest].metrics()["val_loss"], whole)
    assert records[run.digest].damaged() == []
    assert ("damaged; computing it again" in capsys.readouterr().err) == (what in ("an edited file", "another's folder"))


def test_a_replicate_that_diverges_is_named_and_does_not_end_the_study(tmp_path, capsys):
    task = TASK.but(recipe=TASK.recipe.but(optimizer="sgd", learning_rate=1e30))
    chain = imp_runs(task, 1, 1, rates=RATES)
    Engine(graph(chain), Store(tmp_path), progress=Progress({chain[0].digest: "level 0"})).execute()
    assert "level 0 diverged" in capsys.readouterr().err


def test_all_ready_runs_of_one_geometry_train_together(tmp_path, trained, monkeypatch):
    chains = [imp_runs(TASK, seed, 1, rates=RATES) for seed in range(4)]
    monkeypatch.setattr("tombola.engine.execute.plan", lambda count, conv, streamed, batch: original(count, conv, trained))

    def original(count, conv, seen):
        assert count == 4
        return plan(count, conv)

    engine([run for chain in chains for run in chain], tmp_path).execute()
    assert sorted(one.seed for wave in trained for one in wave) == sorted([0, 1, 2, 3] * 2)


def test_runs_of_several_learning_rates_train_together_each_as_by_itself(tmp_path, monkeypatch):
    runs = [Run(task=TASK.but(recipe=TASK.recipe.but(learning_rate=rate)), seed=1) for rate in (1e-2, 3e-3)]
    keep = {run.digest: ["end"] for run in runs}
    counts = []
    monkeypatch.setattr("tombola.engine.execute.plan", lambda count, *rest: counts.append(count) or plan(count, *rest))
    together = engine(runs, tmp_path / "together", keep).execute()
    assert counts == [2]  # one cohort of two, in as many waves as there are devices for
    found = [together[run.digest].weights(20) for run in runs]
    assert not trees.equal(*found)
    for run, weights in zip(runs, found, strict=True):
        alone = engine([run], tmp_path / "alone", {run.digest: ["end"]}).execute()[run.digest]
        assert trees.equal(alone.weights(20), weights)


def test_tasks_that_share_a_program_but_not_their_data_train_on_their_own(tmp_path):
    noisy = TASK.but(data=TASK.data.but(label_noise=0.5))
    runs = [Run(task=TASK, seed=1), Run(task=noisy, seed=1)]
    together = engine(runs, tmp_path / "together").execute()
    for run in runs:
        alone = engine([run], tmp_path / "alone").execute()[run.digest]
        np.testing.assert_array_equal(together[run.digest].metrics()["val_loss"], alone.metrics()["val_loss"])


def test_arms_start_from_what_they_say(tmp_path):
    chain = imp_runs(TASK, 1, 1, rates=RATES)
    ticket = chain[1]
    same = Action(name="same", of=(ticket.its_mask(),))
    fresh = ticket.but(mask=same, kept=Action(name="reinit", options={"stream": "reinit/1/0"}))
    frozen = ticket.but(mask=same, pruned=Action(name="initial"))
    shuffled = ticket.but(mask=Action(name="shuffle", of=(ticket.its_mask(),), options={"stream": "mask/1/0"}))
    runs = [*chain, fresh, frozen, shuffled]
    records = engine(runs, tmp_path, {run.digest: ["0it"] for run in runs}).execute()
    network = cohort.setup(TASK, load(TASK.data)).network
    shapes = {path: network.shapes[path].shape for path in network.prunable}
    mask, initial = records[ticket.digest].mask(shapes), network.init(1)
    starts = {run.digest: records[run.digest].weights(0) for run in runs}
    for path, kept in mask.items():
        np.testing.assert_array_equal(starts[ticket.digest][path], np.where(kept, initial[path], 0))
        np.testing.assert_array_equal(starts[fresh.digest][path], np.where(kept, network.init(1, "reinit/1/0")[path], 0))
        np.testing.assert_array_equal(starts[frozen.digest][path], initial[path])
        other = records[shuffled.digest].mask(shapes)[path]
        assert other.sum() == kept.sum()
        np.testing.assert_array_equal(starts[shuffled.digest][path], np.where(other, initial[path], 0))
    assert not (starts[fresh.digest]["hidden1/kernel"] == starts[ticket.digest]["hidden1/kernel"])[mask["hidden1/kernel"]].any()


def test_unknown_actions_options_and_late_steps_are_one_line_and_train_nothing(tmp_path, trained):
    dense = Run(task=TASK, seed=1)
    for run, words in (
        (dense.but(mask=Action(name="prnue")), "did you mean 'prune'"),
        (dense.but(kept=Action(name="reinit", options={"colour": 1})), "reinit"),
        (dense.but(kept=Action(name="rewind", of=(dense.at("21it"),))), "after the end"),
        (dense.but(begin=Step("99it")), "after the end"),
        (dense.but(begin=Step("20it")), "trains nothing"),
    ):
        with pytest.raises(TombolaError, match=words):
            engine([run], tmp_path).execute()
    assert trained == []
    assert not any(tmp_path.iterdir())


def test_an_empty_layer_is_warned_of(tmp_path, capsys):
    chain = imp_runs(TASK, 1, 1, rates={"dense": 0.2, "output": 1.0})
    Engine(graph(chain), Store(tmp_path)).execute()
    assert "'output/kernel' of run" in capsys.readouterr().err


# -- kill -9, and two processes ------------------------------------------------------------------------------------------

_STUDY = """
import sys
from tombola.training import replica_batch
replica_batch.CHECKPOINT_SECONDS = 0.0
from tombola.cli import main
sys.exit(main(["run", "frankle2019.sparsity", "--scale", "smoke", "--task", "digits-mlp", "--set", "steps=400it",
               "--set", "evaluate_every=20it", "--store", sys.argv[1], "-o", sys.argv[2]]))
"""


def start(folder, name):
    command = [sys.executable, "-c", _STUDY, str(folder / "runs"), str(folder / name)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def finish(process):
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, out + err


def table(folder, name):
    return (folder / name / "frankle2019.sparsity" / "table.csv").read_bytes()


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    folder = tmp_path_factory.mktemp("uninterrupted")
    process = start(folder, "report")
    finish(process)
    return table(folder, "report")


@pytest.mark.slow
def test_a_study_killed_at_random_moments_ends_in_the_same_table(tmp_path, uninterrupted):
    moments = random.Random(0)
    kills = 0
    for _ in range(3):
        process = start(tmp_path, "report")
        deadline = time.monotonic() + 60
        # Wait for work to begin: a kill during the imports would prove nothing.
        before = len(list((tmp_path / "runs").glob("*/manifest.json")))
        while time.monotonic() < deadline and process.poll() is None:
            time.sleep(0.01)
            busy = list((tmp_path / "runs" / ".work").glob("*.checkpoint.safetensors"))
            if busy or len(list((tmp_path / "runs").glob("*/manifest.json"))) > before:
                break
        time.sleep(moments.uniform(0, 0.4))
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
            kills += 1
        process.communicate()
    finish(start(tmp_path, "report"))
    assert kills >= 2
    assert table(tmp_path, "report") == uninterrupted
    assert not list((tmp_path / "runs" / ".work").glob("*.checkpoint.safetensors"))


@pytest.mark.slow
def test_two_processes_share_a_store_and_the_work(tmp_path, uninterrupted):
    processes = [start(tmp_path, "one"), start(tmp_path, "two")]
    for process in processes:
        finish(process)
    assert table(tmp_path, "one") == table(tmp_path, "two") == uninterrupted
    assert not list((tmp_path / "runs" / ".work").glob("*.claim"))


# -- progress -------------------------------------------------------------------------------------------------------------


def test_progress_counts_steps_and_tells_the_time_left(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    stream = io.StringIO()
    progress = Progress({"a": "level 1, winning ticket, replicate 0"}, stream)
    progress.start({"a": 100, "b": 300})
    with progress:
        now[0] = 30.0
        progress.training(["a", "b"])
        progress.advance(100)
        now[0] = 60.0
        progress.advance(100)
    assert " 50%  1 min 00 s left  level 1, winning ticket, replicate 0 and 1 more" in stream.getvalue()


def test_progress_that_nobody_reads_ends_nothing():
    class Gone(io.StringIO):
        def write(self, text):
            raise OSError(errno.EIO, "the terminal is gone")

        def isatty(self):
            return True

    progress = Progress(stream=Gone())
    progress.start({"a": 10})
    with progress:
        progress.warn("something")
        progress.training(["a"])
        progress.advance(10)


def test_progress_stays_on_one_line_of_a_narrow_terminal(monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    monkeypatch.setenv("COLUMNS", "30")
    stream = Terminal()
    progress = Progress({"a": "a long name " * 9}, stream=stream)
    progress.start({"a": 10})
    progress._drawn -= 1
    progress.training(["a"])
    assert 20 < len(stream.getvalue().strip()) < 30


@pytest.mark.parametrize(("seconds", "text"), [(4.4, "4 s"), (61, "1 min 01 s"), (3700, "1 h 01 min")])
def test_durations_read_well(seconds, text):
    assert duration(seconds) == text


def test_rates_by_name_of_a_layer_go_before_its_kind_and_imp_follows_the_tasks_scope():
    named = imp(TASK, 1, rates={"hidden2": 0.5, "output": 0}, replicates=1)[1]
    assert [int(leaf.sum()) for leaf in named.mask.values()] == [64 * 8 - round(0.2 * 64 * 8), 24, 60]
    everywhere = TASK.but(rates=dict.fromkeys(("dense", "output"), 0.5), scope="global")
    by_task, by_argument = imp(everywhere, 1, replicates=1)[1], imp(TASK, 1, rates=0.5, scope="global", replicates=1)[1]
    layers = {path: leaf.sum() for path, leaf in by_task.mask.items()}
    assert sum(layers.values()) == 310
    assert layers["output/kernel"] != 30  # half of each layer
    assert trees.equal(by_task.mask, by_argument.mask)
