"""A process that is told to stop stops, says so in one line, and gives back what it claimed; closed or narrow streams stop nothing."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time

import pytest
from toys import until

from tombola import cli
from tombola.core import interrupts
from tombola.engine import checkpoints, provenance
from tombola.engine.progress import Progress
from tombola.store.files import dump_json
from tombola.store.store import Store

LONG = ["run", "frankle2019.sparsity", "--task", "digits-mlp", "--replicates", "1", "--set", "levels=1", "--set", "steps=9999999it"]


def tombola(*arguments, **options):
    return subprocess.Popen([sys.executable, "-m", "tombola", *arguments], stderr=subprocess.PIPE, text=True, **options)


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
@pytest.mark.parametrize(("number", "code", "word"), [(signal.SIGTERM, 143, "terminated"), (signal.SIGINT, 130, "interrupted")])
def test_a_signal_ends_training_by_one_line_and_gives_claims_back(number, code, word, tmp_path):
    store, began = Store(tmp_path), []
    for seconds in (2, 10, 50):  # a machine that does much else compiles for long
        process = tombola(*LONG, "--store", str(tmp_path), stdout=subprocess.DEVNULL)
        until(lambda: store.files.work().claimed or process.poll() is not None)  # noqa: B023
        time.sleep(seconds)
        process.send_signal(number)
        _, said = process.communicate(timeout=60)
        assert process.returncode == code, said
        lines = [line for line in said.splitlines() if line.startswith("tombola: ")]
        assert lines == [f"tombola: {word}; the same command goes on where this one stopped"]
        assert "Traceback" not in said
        assert not list(tmp_path.glob(".work/*.claim"))
        if began := [checkpoints.load(store, digest).iteration for digest in store.files.work().begun]:
            break
    assert began  # long before one is due: nothing that was trained is lost
    assert min(began) > 0


def test_what_does_not_end_in_time_is_interrupted_all_the_same(monkeypatch):
    monkeypatch.setattr(interrupts, "_PATIENCE", 0.2)
    with interrupts.heeded(), interrupts.deferred():
        os.kill(os.getpid(), signal.SIGTERM)
        assert interrupts.told()
        with pytest.raises(KeyboardInterrupt):
            time.sleep(5)
        assert interrupts.name() == "terminated"


def test_an_interrupt_that_was_swallowed_is_raised_again():
    progress = Progress(quiet=True)
    progress.advance(1)
    with interrupts.heeded():
        with contextlib.suppress(KeyboardInterrupt):  # as a callback of a library may
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(1)
        with pytest.raises(KeyboardInterrupt):
            progress.advance(1)
        assert interrupts.name() == "interrupted"
    progress.advance(1)


def test_handlers_are_as_they_were_afterwards():
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    with interrupts.heeded():
        assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] != before
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


CLOSED = "import os, sys; os.close({}); os.execv(sys.executable, [sys.executable, '-m', 'tombola', 'list'])"


@pytest.mark.slow
@pytest.mark.parametrize("closed", [1, 2])
def test_a_closed_stream_is_no_error(closed):
    done = subprocess.run([sys.executable, "-c", CLOSED.format(closed)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""


@pytest.mark.slow
def test_characters_that_a_terminal_lacks_are_escaped(tmp_path):
    environment = os.environ | {"PYTHONIOENCODING": "ascii"}
    process = tombola("runs", "--store", str(tmp_path / "l\u00e4ufe"), stdout=subprocess.PIPE, env=environment)
    _, said = process.communicate(timeout=60)
    assert process.returncode in (0, 2)
    assert "Traceback" not in said


def test_without_a_home_there_is_a_cache_all_the_same(monkeypatch):
    from tombola.core import files

    for name in ("TOMBOLA_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(files.Path, "expanduser", lambda path: (_ for _ in ()).throw(RuntimeError("no home")))
    assert f"tombola-{os.getuid()}" in str(files.cache_folder())


def test_a_home_that_cannot_be_read_is_as_none(monkeypatch):
    from tombola.core import files

    for name in ("TOMBOLA_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(files.Path, "exists", lambda path: (_ for _ in ()).throw(PermissionError(13, "Permission denied")))
    assert f"tombola-{os.getuid()}" in str(files.cache_folder())


def test_what_the_system_refuses_is_one_line(monkeypatch, capsys):
    monkeypatch.setattr("tombola.commands.catalogue", lambda **_: os.listdir("/dev/null/x"))
    assert cli.main(["list"]) == 2
    assert capsys.readouterr().err.startswith("tombola: Not a directory: /dev/null/x; mend that")


def test_a_path_that_the_locale_cannot_show_is_written_down(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["tombola", "run", "--store", "l\udcc3\udca4ufe", "\udcff"])
    found = json.loads(dump_json({"command": provenance.command()}))["command"]
    assert found.startswith("tombola run --store 'l\u00e4ufe' ")
    assert json.loads(dump_json({"path": "\udcc3"})) == {"path": "\udcc3"}
