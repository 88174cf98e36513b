"""Several workers on one store: who takes what, how they wait, how they are started, stopped and followed."""

import json
import os
import random
import stat
import sys
import time
from collections import Counter

import pytest
from toys import RATES, made_up, tiny, until

from tombola import cli
from tombola.core.errors import TombolaError
from tombola.core.files import write_atomically
from tombola.engine import execute, queue
from tombola.engine.execute import Engine
from tombola.engine.graph import graph
from tombola.engine.order import Order
from tombola.engine.progress import Progress
from tombola.engine.queue import Queue
from tombola.engine.runners import slurm
from tombola.engine.runners.processes import Processes
from tombola.engine.runners.starting import work_arguments
from tombola.engine.runners.workers import at_work, follow, last_line
from tombola.kernels import device
from tombola.procedures.imp import imp_runs
from tombola.store.store import Store
from tombola.studies.base import Row

pytestmark = pytest.mark.usefixtures("optimized")

TASK = tiny()


@pytest.fixture
def store(tmp_path):
    store = Store(tmp_path / "runs")
    store.prepare()
    return store


def chains(count, levels=2):
    """Runs of each chain, and the graph of all."""
    found = [imp_runs(TASK, seed, levels, rates=RATES) for seed in range(count)]
    return [[run.digest for run in chain] for chain in found], graph([run for chain in found for run in chain])


def there(store, *digests):
    """Some runs stored, as far as a queue looks."""
    for digest in digests:
        store.put(digest, {"spec.json": b"{}"}, {})


def claimed_elsewhere(store, digest, holder="node7:12"):
    write_atomically(store.folder / ".work" / f"{digest}.claim", f"{holder}:x".encode())


# -- the queue ---------------------------------------------------------------------------------------------------------


def test_a_queue_sees_what_turned_up_and_opens_what_is_used(store):
    opened = []

    def done(digest):
        opened.append(digest)
        return digest in store

    there(store, "a")
    waiting = Queue(store, "abcd", done)
    assert (list(waiting.missing), opened) == (["b", "c", "d"], ["a"])
    there(store, "c")
    (store.folder / "d").mkdir()  # no whole record
    claimed_elsewhere(store, "b")
    waiting.look()
    assert (list(waiting.missing), waiting.held, opened[1:]) == (["b"], {"b": ""}, [])
    assert waiting.confirm("ac")
    assert waiting.confirm("ac")
    assert opened[1:] == ["c"]
    assert not waiting.confirm("bcd")
    waiting.look(closely=True)
    assert (list(waiting.missing), waiting.held, opened[2:]) == (["b", "d"], {"b": "node7:12"}, ["d"])
    assert waiting.free("bd") == waiting.claim("bd") == ["d"]
    store.remove("d")
    there(store, "d")
    waiting.look()
    assert list(waiting.missing) == ["b"]
    assert waiting.confirm("d")


@pytest.mark.slow
def test_what_another_study_stored_without_the_weights_that_are_wanted_is_trained_again(store):
    """By one worker of several, which confirms what its runs start from; of a run that turns up while it works."""
    digests, found = chains(1, 1)
    engine = Engine(found, store, progress=Progress(quiet=True), workers=2)
    waiting = Queue(store, found.runs, engine._done)
    Engine(graph([found.runs[digests[0][0]]]), store, progress=Progress(quiet=True)).execute()
    assert store.get(digests[0][0]).steps() == set()
    waiting.look()
    assert list(waiting.missing) == digests[0][1:]
    assert list(engine._batches(waiting, engine._order.ready(waiting.missing))) == []
    assert sorted(waiting.missing) == sorted(digests[0])
    records = engine.execute()
    assert records[digests[0][0]].steps() == {0, 20}


def test_looking_costs_two_listings_however_many_runs_there_are(store, monkeypatch):
    there(store, *map(str, range(40)))
    waiting = Queue(store, map(str, range(2000)), store.__contains__)
    calls = Counter()
    scan, stats, opens = os.listdir, os.stat, open
    monkeypatch.setattr(os, "listdir", lambda *given: calls.update(["list"]) or scan(*given))
    monkeypatch.setattr(os, "stat", lambda *given, **how: calls.update(["stat"]) or stats(*given, **how))
    monkeypatch.setattr("builtins.open", lambda *given, **how: calls.update(["open"]) or opens(*given, **how))
    waiting.look()
    assert calls == {"list": 2}
    claimed_elsewhere(store, "50")
    waiting.look(closely=True)
    calls.clear()
    pauses = waiting.pauses(["50"])
    next(pauses)
    next(pauses)
    assert calls == {"list": 2}


def test_pauses_grow_are_never_equal_and_end_when_something_is_given_back(store, monkeypatch):
    monkeypatch.setattr(queue.random, "uniform", random.Random(0).uniform)
    claimed_elsewhere(store, "a")
    claimed_elsewhere(store, "b")
    waiting = Queue(store, "abc", store.__contains__)
    pauses = waiting.pauses("ab")
    slept = [next(pauses) for _ in range(120)]
    assert len(set(slept)) == 120
    assert all(0.1 <= pause <= 45 for pause in slept)
    assert slept[0] < 0.3
    assert all(later <= 1.5 * max(0.2, 0.1 * sum(slept[:index])) for index, later in enumerate(slept))
    assert 20 < sum(slept[-40:]) / 40 < 40  # about half a minute, in the end
    (store.folder / ".work" / "b.claim").unlink()
    assert list(pauses) == []
    assert waiting.claim("ab") == ["b"]
    claimed_elsewhere(store, "c")
    assert next(waiting.pauses("c")) < 0.31  # who got something has not waited in vain


def test_a_claim_of_the_dead_is_free_after_a_look_and_taken_over(store):
    claimed_elsewhere(store, "a")
    os.utime(store.folder / ".work" / "a.claim", (0, 0))
    waiting = Queue(store, "a", store.__contains__)
    assert waiting.free("a") == ["a"]
    assert list(waiting.pauses("a")) == []
    waiting.look()
    assert waiting.free("a") == ["a"]
    assert waiting.claim("a") == ["a"]


def test_claims_are_renewed_while_something_long_computes(store, monkeypatch):
    monkeypatch.setattr(queue, "STALE_SECONDS", 0.05)
    renewed = []

    def renew(digests):
        renewed.append(list(digests))
        raise OSError("the network is down for a moment")

    monkeypatch.setattr(store, "renew", renew)
    with queue.renewed(store, ["a"]):
        time.sleep(0.1)
    count = len(renewed)
    assert count >= 2
    assert renewed[0] == ["a"]
    time.sleep(0.05)
    assert len(renewed) == count


# -- the order ---------------------------------------------------------------------------------------------------------


def order_of(found, workers, lengths=None):
    return Order(found, lengths or dict.fromkeys(found.runs, 20), workers)


def test_several_finish_chains_before_they_begin_others_until_few_are_left():
    digests, found = chains(12)
    missing = {digest: None for chain in digests for digest in chain}
    del missing[digests[0][0]]
    one, two = order_of(found, 1), order_of(found, 2)
    ready = two.ready(missing)
    assert sorted(ready) == sorted([digests[0][1], *(chain[0] for chain in digests[1:])])
    assert min(ready, key=two.key(missing)) == digests[0][1]  # of a chain that is begun
    assert min(ready, key=one.key(missing)) != digests[0][1]  # one worker: earlier generations first
    few = {digest: None for chain in digests[:4] for digest in chain}
    del few[digests[0][0]]
    ready = two.ready(few)
    assert max(ready, key=two.key(few)) == digests[0][1]  # all others have a longer way to go
    lengths = {digest: 200 if digest in digests[3] else 20 for digest in found.runs}
    assert min(ready, key=order_of(found, 2, lengths).key(few)) == digests[3][0]


def test_of_equals_each_worker_begins_with_another():
    _, found = chains(30)
    ready = order_of(found, 2).ready(found.runs)
    firsts = {min(ready, key=order_of(found, 2).key(found.runs)) for _ in range(20)}
    assert len(firsts) > 5
    assert {min(ready, key=order_of(found, 1).key(found.runs)) for _ in range(20)} == {ready[0]}


# -- an engine among others --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("workers", "elsewhere", "sizes"), [(1, 0, [6]), (4, 0, [2]), (4, 3, [2]), (4, 5, [1]), (9, 0, [1])])
def test_a_worker_takes_its_share_of_what_is_ready(workers, elsewhere, sizes, store, monkeypatch):
    """6 dense runs on a device that takes all at once, as a GPU does."""
    digests, found = chains(6, 1)
    laid_out = []
    monkeypatch.setattr(execute, "plan", lambda count, *_: laid_out.append(count) or execute_plan(6))
    engine = Engine(found, store, progress=Progress(quiet=True), workers=workers)
    for chain in digests[:elsewhere]:
        claimed_elsewhere(store, chain[0])
    waiting = Queue(store, found.runs, store.__contains__)
    taken, _ = next(engine._batches(waiting, engine._order.ready(waiting.missing)))
    assert [len(taken)] == sizes
    assert not {chain[0] for chain in digests[:elsewhere]} & set(taken)
    assert laid_out == [-(-6 // workers)]


class execute_plan:  # noqa: N801
    """A device for so many."""

    per_device, native = 2, False

    def __init__(self, count):
        self.capacity = count


def test_a_batch_that_leaves_no_device_idle_goes_first(store, monkeypatch):
    digests, found = chains(5, 1)
    monkeypatch.setattr(execute, "plan", lambda count, *_: execute_plan(2))
    there(store, digests[0][0])
    engine = Engine(found, store, progress=Progress(quiet=True), workers=2)
    engine._order.key = lambda missing: lambda digest: (digest != digests[0][1], digest)
    engine._spans[digests[0][1]] = (0, 19)  # trains by itself
    waiting = Queue(store, found.runs, store.__contains__)
    batches = [batch for batch, _ in engine._batches(waiting, engine._order.ready(waiting.missing))]
    assert [len(batch) for batch in batches] == [2, 2, 1]
    assert batches[-1] == [digests[0][1]]


def test_who_is_waited_for_is_said(capsys):
    progress = Progress()
    progress.start({"a": 1, "b": 1})
    progress._drawn = -60.0
    progress.waiting(["node7:12", "node7:12", "node8:3", "", "x:1", "y:1"])
    assert "waiting for runs of node7:12 (2), node8:3 (1), another process (1), 2 more" in capsys.readouterr().err


# -- processes of this machine -----------------------------------------------------------------------------------------

STUDY = """study = "frankle2019.sparsity"
scale = "smoke"
task = "digits-mlp"
replicates = 2
[set]
levels = 2
steps = "60it"
evaluate_every = "20it"
"""


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """A study file, and the table of one process."""
    folder = tmp_path_factory.mktemp("alone")
    (folder / "study.toml").write_text(STUDY)
    assert cli.main(["run", str(folder / "study.toml"), "--store", str(folder / "runs"), "-o", str(folder / "report")]) == 0
    return folder / "study.toml", table(folder / "report")


def table(report):
    return (report / "frankle2019.sparsity" / "table.csv").read_bytes()


@pytest.mark.slow
def test_two_workers_end_in_the_same_table(alone, tmp_path, capfd):
    study, expected = alone
    options = [str(study), "--store", str(tmp_path / "runs")]
    assert cli.main(["run", *options, "-o", str(tmp_path / "report"), "--workers", "2"]) == 0
    assert table(tmp_path / "report") == expected
    assert "trained" in capfd.readouterr().err
    said = [(tmp_path / "runs" / "logs" / f"worker-{index}.log").read_text() for index in (1, 2)]
    assert all("trained" in one for one in said)
    assert not list((tmp_path / "runs" / ".work").glob("*.claim"))
    made = [json.loads(path.read_text()) for path in (tmp_path / "runs").glob("*/made.json")]
    assert all(one["command"].startswith("tombola work ") for one in made)  # the command itself trained nothing
    shares = {one["device"].rpartition(", ")[2] for one in made}
    assert shares == {f"{(count := max(1, device.cores() // 2))} CPU device{'s' if count > 1 else ''}"}


SLEEPS = "import sys, time, signal; signal.signal(signal.SIGTERM, lambda *_: sys.exit(143)); print('here', flush=True); time.sleep(60)"


def test_workers_share_the_cores_and_are_told_to_stop_once(tmp_path, monkeypatch):
    monkeypatch.setattr("tombola.engine.runners.processes.cores", lambda: 7)
    code = SLEEPS.replace("'here'", f"__import__('os').environ['{device.CORES}']")
    workers = Processes([sys.executable, "-c", code], 3, tmp_path / "logs")
    until(lambda: [last_line(tmp_path / "logs" / f"worker-{index}.log") for index in (1, 2, 3)] == ["2"] * 3)
    assert workers.running() == 3
    workers.stop()
    assert workers.running() == 0
    assert len(workers.failures()) == 3
    assert workers.failures()[0].startswith("worker 1 of 3 failed (2; see ")


@pytest.mark.parametrize(("value", "expected"), [("1", 1), ("0", 1), ("99999", None), ("two", None)])
def test_cores_that_others_left(value, expected, monkeypatch):
    there = device.cores()
    for name in (device.CORES, "SLURM_CPUS_ON_NODE"):
        with monkeypatch.context() as patch:
            patch.setenv(name, value)
            assert device.cores() == (expected or there)


class Ended:
    """Workers that have ended, some of them badly."""

    def __init__(self, count, failures):
        self.count, self._failures, self.stopped = count, failures, 0

    def running(self):
        return 0

    def failures(self):
        return self._failures

    def stop(self):
        self.stopped += 1


def study_of(count=1):
    digests, found = chains(count)
    rows = [Row("ticket", replicate, level, found.runs[one]) for replicate, chain in enumerate(digests) for level, one in enumerate(chain)]
    return made_up(TASK, rows=tuple(rows), arms={"ticket": "winning ticket"}), digests


def test_a_worker_that_failed_is_named_and_all_of_them_are_an_error(store, capsys):
    study, _ = study_of()
    follow(Ended(2, ["worker 1 of 2 was ended by signal 9 (x; see y)"]), study, store)
    assert "warning: worker 1 of 2 was ended by signal 9 (x; see y); the others did its work" in capsys.readouterr().err
    with pytest.raises(TombolaError, match="worker 1 of 1 failed"):
        follow(workers := Ended(1, ["worker 1 of 1 failed (x; see y)"]), study, store)
    assert workers.stopped == 1


def test_who_is_told_to_stop_stops_the_workers(store, monkeypatch):
    workers = Ended(2, [])

    def interrupted():
        raise KeyboardInterrupt

    workers.running = interrupted
    with pytest.raises(KeyboardInterrupt):
        follow(workers, study_of()[0], store)
    assert workers.stopped == 1


def test_status_says_who_is_at_what(store):
    study, digests = study_of()
    assert at_work(study, store) == {}
    for digest in digests[0][1:]:
        claimed_elsewhere(store, digest)
    claimed_elsewhere(store, "0123456789abcdef", "node8:1")
    claimed_elsewhere(store.measurements, "fedcba9876543210", "node8:1")
    names = [f"level {level}, winning ticket, replicate 0" for level in (1, 2)]
    assert at_work(study, store) == {"node7:12": names, "node8:1": ["measurement fedcba9876543210", "run 0123456789abcdef"]}


def test_status_on_the_command_line(alone, tmp_path, capsys):
    options = ["status", str(alone[0]), "--store", str(tmp_path / "runs")]
    assert cli.main(["runs", "--json", "--store", str(alone[0].parent / "runs")]) == 0
    digest = json.loads(capsys.readouterr().out)[0]["run"]
    claimed_elsewhere(Store(tmp_path / "runs"), digest)
    assert cli.main(options) == 0
    assert "\nnode7:12 is at level " in capsys.readouterr().out
    assert cli.main([*options, "--json"]) == 0
    assert list(json.loads(capsys.readouterr().out)["workers"]) == ["node7:12"]


# -- Slurm -------------------------------------------------------------------------------------------------------------

SUBMIT = ["submit", "frankle2019.sparsity", "--slurm", "--scale", "smoke"]


def test_the_job_is_printed(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    options = ["--array", "8", "--time", "1:00:00", "--partition", "short", "--set-slurm", "cpus-per-task=4", "--set-slurm", "exclusive="]
    assert cli.main([*SUBMIT, "--set", "levels=1", "--store", "my runs", *options, "--dry-run"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "#!/bin/sh"
    assert set(lines[1:-1]) == {
        "#SBATCH --job-name=tombola-frankle2019.sparsity",
        "#SBATCH --array=0-7",
        "#SBATCH --requeue",
        "#SBATCH --open-mode=append",
        f"#SBATCH --output='{tmp_path}/my runs/logs/slurm-%A_%a.log'",
        f"#SBATCH --chdir={tmp_path}",
        "#SBATCH --signal=B:TERM@60",
        "#SBATCH --time=1:00:00",
        "#SBATCH --partition=short",
        "#SBATCH --cpus-per-task=4",
        "#SBATCH --exclusive",
    }
    given = f"--scale=smoke --workers=8 '--store={tmp_path}/my runs' --set=levels=1"
    assert lines[-1] == f"exec {sys.executable} -m tombola work frankle2019.sparsity {given}"
    assert not (tmp_path / "my runs").exists()


def test_options_of_a_study_reach_its_workers(tmp_path):
    options = {"scale": "smoke", "task": None, "replicates": 3, "image_size": 8, "settings": ["a=1"], "sweep": ["b=[1]"], "load": ["x.py"]}
    found = work_arguments(["s", "t.toml"], 4, tmp_path, None, options)
    assert found[:3] == ["work", "s", "t.toml"]
    given = ["--scale=smoke", "--replicates=3", "--image-size=8", "--workers=4", f"--store={tmp_path}", "--set=a=1", "--sweep=b=[1]"]
    assert sorted(found[3:]) == sorted([*given, "--load=x.py"])


def fake(folder, code):
    """A `sbatch` that does as the shell code says."""
    path = folder / "sbatch"
    path.write_text(f"#!/bin/sh\n{code}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


def test_a_job_is_submitted_as_printed(tmp_path, monkeypatch, capsys):
    fake(tmp_path, f"cat > {tmp_path}/given; echo '42;cluster'")
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    assert cli.main([*SUBMIT, "--store", str(tmp_path / "runs"), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["job"], found["script"]) == ("42", (tmp_path / "given").read_text())
    assert (tmp_path / "runs" / "logs").is_dir()  # Slurm makes none
    assert cli.main([*SUBMIT, "--store", str(tmp_path / "runs")]) == 0
    assert "job 42 of 1 worker is submitted; `tombola status frankle2019.sparsity`" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["submit", "frankle2019.sparsity"], "required: --slurm"),
        ([*SUBMIT[:2], "--slurm", "--scale", "tiny"], "unknown scale 'tiny'"),
        ([*SUBMIT, "--array", "0"], "0 is no number of workers; from 1 to 10,000"),
        ([*SUBMIT, "--set-slurm", "mem"], "write KEY=VALUE with a long option of sbatch"),
        ([*SUBMIT, "--set-slurm", "mem=1\n#SBATCH --x"], "write KEY=VALUE"),
        ([*SUBMIT, "--set-slurm", "array=1"], "--array N says how many"),
        (SUBMIT, "there is no `sbatch` here"),
        (["run", "frankle2019.sparsity", "--workers", "two"], "'two' is not a whole number"),
        (["work", "frankle2019.sparsty"], "did you mean 'frankle2019.sparsity'"),
    ],
)
def test_what_is_wrong_is_one_line(options, words, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("PATH", str(tmp_path))
    try:
        code = cli.main([*options, "--store", str(tmp_path / "runs")])
    except SystemExit as left:
        code = left.code
    said = capsys.readouterr().err
    assert (code, said.count("\n")) == (2, 1)
    assert words in said
    assert not (tmp_path / "runs").exists()


def test_what_slurm_refuses_is_one_line(tmp_path, monkeypatch):
    fake(tmp_path, "echo 'sbatch: error: invalid partition specified: x' >&2; exit 1")
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    with pytest.raises(TombolaError, match="Slurm refused the job: sbatch: error: invalid partition"):
        slurm.send("#!/bin/sh", tmp_path / "logs")
