"""What a user types, right and wrong: one clear line, exit code 2, nothing changed."""

import errno
import json
import re
import shlex
import subprocess
import sys

import numpy as np
import pytest

from tombola import cli
from tombola.core.spec import digest_of
from tombola.store import disk, store
from tombola.store.export import load_ticket
from tombola.store.files import dump_json
from tombola.store.store import Store

SMOKE = "--scale smoke --task digits-mlp --set steps=40it --set evaluate_every=20it"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("user")


@pytest.fixture(autouse=True)
def _there(folder, monkeypatch):
    monkeypatch.chdir(folder)
    monkeypatch.delenv("TOMBOLA_DATA", raising=False)
    monkeypatch.setenv("COLUMNS", "100")


def call(text):
    return cli.main(shlex.split(text))


def output(capsys, text):
    assert call(text) == 0
    return capsys.readouterr().out


@pytest.fixture(scope="module")
def study(folder):
    """A finished study in runs/, with its report in report/."""
    import contextlib
    import io
    import os

    before = os.getcwd()
    os.chdir(folder)
    out = io.StringIO()
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(io.StringIO()):
            assert call(f"run frankle2019.sparsity {SMOKE} -o report") == 0
    finally:
        os.chdir(before)
    return out.getvalue()


# -- right input ---------------------------------------------------------------------------------------------------------


def test_run_prints_table_claims_and_paths(study, folder):
    for words in ("LTH-C3", "not judged", "of the 6 replicates", "winning ticket", "64.", "report/index.html", "table.csv"):
        assert words in study, words
    header = (folder / "report/frankle2019.sparsity/table.csv").read_text().splitlines()[0].split(",")
    assert header[:7] == ["study", "task", "variant", "arm", "replicate", "level", "density"]
    metrics = {"es_iteration", "es_censored", "acc_es", "acc_final", "train_acc_final", "val_loss_min", "iters_to_1p5x", "iters_to_1p1x"}
    assert metrics <= set(header)


def test_a_finished_study_trains_nothing_again(study, capsys):
    assert call(f"run frankle2019.sparsity {SMOKE} --json") == 0
    out, err = capsys.readouterr()
    assert "training" not in err
    assert json.loads(out)["study"] == "frankle2019.sparsity"


def test_report_reads_the_store(study, capsys, folder):
    out = output(capsys, f"report frankle2019.sparsity {SMOKE} -o again")
    assert "again/index.html" in out
    name = "frankle2019.sparsity/table.csv"
    assert (folder / "again" / name).read_bytes() == (folder / "report" / name).read_bytes()


def test_status_before_and_after(study, capsys):
    assert "14 of 14 runs are done, 0 in progress, 0 to train" in output(capsys, f"status frankle2019.sparsity {SMOKE}")
    found = json.loads(output(capsys, f"status frankle2019.sparsity {SMOKE} --replicates 3 --json"))
    assert found == {"runs": 21, "done": 14, "in progress": 0, "missing": 7, "measurements": 0, "measurements missing": 0}


def test_show_trains_nothing(capsys, folder):
    text = output(capsys, f"show frankle2019.sparsity {SMOKE}")
    for words in ("task.recipe.steps", "40it", "14 (6 ticket, 4 reinit, 4 random)", "estimated time"):
        assert words in text
    found = json.loads(output(capsys, f"show frankle2019.sparsity {SMOKE} --json"))
    assert found["cost"]["runs"] == 14
    assert found["cost"]["replica_steps"] == 14 * 40


def test_list_names_what_can_be_used(capsys):
    text = output(capsys, "list")
    for words in ("frankle2019.sparsity", "mnist1d-mlp", "large_final", "resnet", "glorot_normal", "adam", "reinit"):
        assert words in text
    assert {"studies", "tasks", "criteria", "models"} <= set(json.loads(output(capsys, "list --json")))


def test_runs_and_why_lead_back_to_the_initialisation(study, capsys):
    runs = json.loads(output(capsys, "runs --json"))
    assert len(runs) == 14
    sparsest = min((run for run in runs if run["mask"].startswith("prune")), key=lambda run: run["density"])
    lineage = json.loads(output(capsys, f"why {sparsest['run'][:10]} --json"))
    assert lineage[0]["run"] == sparsest["run"]
    assert "the initialisation follows from the seed" in lineage[-1]["what"]
    assert [entry["depth"] for entry in lineage] == [0, 1, 2]
    assert sparsest["run"] in output(capsys, "runs")
    assert "dense" in output(capsys, f"why {sparsest['run']}")


def test_export_writes_a_ticket_that_loads_bit_for_bit(study, capsys, folder):
    runs = json.loads(output(capsys, "runs --json"))
    ticket = next(run for run in runs if run["mask"].startswith("prune") and run["weights"])
    output(capsys, f"export {ticket['run']} -o ticket.safetensors")
    weights, mask = load_ticket("ticket.safetensors")
    assert sum(int(leaf.sum()) for leaf in mask.values()) == ticket["kept"]
    assert sum(leaf.size for leaf in mask.values()) == ticket["prunable"]
    for path, leaf in mask.items():
        assert not weights[path][~leaf].any()
        assert np.count_nonzero(weights[path]) > 0


def test_claims_say_what_was_run(study, capsys):
    found = json.loads(output(capsys, f"claims frankle2019.sparsity {SMOKE} --json"))
    assert {row["state"] for row in found["claims"]} == {"not judged"}
    found = json.loads(output(capsys, "claims --json"))
    assert {row["state"] for row in found["claims"]} == {"not run"}
    assert found["overall"]["LTH-C3"] == "not run on any of 1 testbed"
    assert "LTH-C3" in output(capsys, "claims")


def test_data_list_and_verify(capsys, tmp_path):
    assert "mnist1d" in output(capsys, "data list")
    assert any(row["name"] == "mnist" for row in json.loads(output(capsys, "data list --json")))
    assert call(f"data verify mnist --data-dir {tmp_path}") == 2
    out, err = capsys.readouterr()
    assert "missing" in out
    assert "tombola data fetch mnist" in err


def test_a_users_own_network_and_parts_need_no_change_of_the_package(capsys, folder):
    (folder / "mine.py").write_text(
        "from flax import nnx\n"
        "from tombola.pruning.criteria import criteria\n"
        "@criteria.register\n"
        "def last_first(initial, final):\n"
        "    '''Position: what comes last is kept.'''\n"
        "    import numpy as np\n"
        "    return np.arange(np.size(final)).reshape(np.shape(final))\n"
        "class Net(nnx.Module):\n"
        "    def __init__(self, shape, classes, *, rngs, width=6):\n"
        "        self.hidden = nnx.Linear(shape[0], width, rngs=rngs)\n"
        "        self.output = nnx.Linear(width, classes, rngs=rngs)\n"
        "    def __call__(self, x):\n"
        "        return self.output(nnx.relu(self.hidden(x)))\n"
    )
    common = f"{SMOKE} --replicates 1 --set levels=1 --set random_masks=0 --set reinits=0 --store mine --model mine.py:Net"
    assert call(f"run frankle2019.sparsity {common} --load mine.py --set criterion=last_first") == 0
    capsys.readouterr()
    runs = json.loads(output(capsys, "runs --store mine --json"))
    assert {run["prunable"] for run in runs} == {64 * 6 + 6 * 10}
    ticket = next(run for run in runs if "last_first" in run["mask"])
    output(capsys, f"export {ticket['run']} --store mine -o t.safetensors") if ticket["weights"] else None
    assert "last_first" in output(capsys, "list --load mine.py")


def test_names_of_others_are_no_codes_for_a_terminal(capsys, folder):
    evil = "\x1b]0;title\x07\x1b[31m\x9bred"
    spec = {"seed": 1, "task": {"data": {"name": evil}, "model": {"name": evil}}, "kept": {"name": evil, "options": {"a": evil}}}
    summary = {"density": 1.0, "kept": 3, "prunable": 3}
    files = {"spec.json": dump_json(spec), "summary.json": dump_json(summary), "metrics.csv": b"step,val_loss,test_acc\n0,1,0.5\n"}
    Store(folder / "odd").put(digest_of(spec), files, {})
    for text in ("runs --store odd", f"why {digest_of(spec)} --store odd"):
        assert call(text) == 0
        said = capsys.readouterr().out
        assert "title?" in said
        assert not set("\x1b\x07\x9b") & set(said)
    assert call(f"run frankle2019.sparsity --load {evil}") == 2
    assert not set("\x1b\x07\x9b") & set(capsys.readouterr().err)


def test_version_and_help(capsys):
    assert call("--version") == 0
    assert capsys.readouterr().out.strip().count(".") == 2
    assert call("") == 0
    assert "run" in capsys.readouterr().out


# -- wrong input -----------------------------------------------------------------------------------------------------------

MISTAKES = [
    ("fly", "invalid choice"),
    ("run", "STUDY"),
    ("run frankle2019.sparsty", "did you mean 'frankle2019.sparsity'"),
    ("run frankle2019.sparsity --taks x", "did you mean --task"),
    ("run frankle2019.sparsity --scale huge", "smoke"),
    ("run frankle2019.sparsity --task mnist1d-mpl", "did you mean 'mnist1d-mlp'"),
    ("run frankle2019.sparsity --replicates 0", "replicates"),
    ("run frankle2019.sparsity --replicates few", "not a whole number"),
    ("run frankle2019.sparsity --seed -1", "seed"),
    ("run frankle2019.sparsity --set levles=3", "did you mean 'levels'"),
    ("run frankle2019.sparsity --set density=2", "density"),
    ("run frankle2019.sparsity --set levels", "KEY=VALUE"),
    ("run frankle2019.sparsity --set rewind=9999it", "after the end of training"),
    ("run frankle2019.sparsity --set rates.dense=1.5", "less than or equal to 1"),
    ("run frankle2019.sparsity --set criterion=biggest", "unknown criterion"),
    ("run frankle2019.sparsity --set batch=99999", "training examples"),
    ("run frankle2019.sparsity --set train=99999", "mnist1d"),
    ("run frankle2019.sparsity --set initializer=gloro_normal", "did you mean 'glorot_normal'"),
    ("run frankle2019.sparsity --set task.model.options.depth=3", "option"),
    ("run frankle2019.sparsity --task lenet-mnist --data-dir nowhere", "tombola data fetch"),
    ("run frankle2019.sparsity --model nowhere.py:Net", "nowhere.py"),
    ("run frankle2019.sparsity --model unheard_of", "unknown model"),
    ("run frankle2019.sparsity --load nowhere.py", "nowhere.py"),
    ("run frankle2019.sparsity --store taken --scale smoke", "--store DIR"),
    ("report frankle2019.sparsity --store empty -o out", "tombola run frankle2019.sparsity"),
    ("report frankle2019.sparsity", "-o"),
    *[(f"{verb} --store empty", "there is no store 'empty'; name one") for verb in ("runs", "why abc", "export abc -o x")],
    *[(f"{verb} --store taken", "'taken' is a file, but a folder") for verb in ("runs", "why abc", "status frankle2019.sparsity")],
    ("run frankle2019.sparsity --replicates 1000000000000", "10,000 or fewer"),
    (f"show frankle2019.sparsity --set steps={'9' * 100}it", "9 digits"),
    (f"show frankle2019.sparsity --set {'k' * 10000}=1", "unknown field 'k{75} \\.\\.\\.: one of"),
    ("show frankle2019.sparsity --set rewind=end", "trains nothing"),
    ("show frankle2019.sparsity --set rates.hidden7=0.1", "there is no layer or kind of layer .hidden7.; the layers are hidden1"),
    ("show autoencoders.halves --task digits-mlp", "there is no layer or kind of layer .encoder."),
    ("show frankle2019.sparsity --set weight_decay=Infinity", "finite"),
    ("show frankle2019.sparsity --set learning_rate=true", "valid number"),
    ("show frankle2019.sparsity --set seed=3.0", "whole number"),
    ("run frankle2019.sparsity --set rates.foo=0.5", "dense"),
    ("run frankle2019.sparsity --set scope=global", 'rates={"dense"'),
    ("run frankle2019.sparsity --set rewind=end", "trains nothing"),
    ("data fetch nothing", "unknown data set.*one of"),
    ("data fetch imagenet", "account"),
    ("data fetch mnist1d", "embedded|needs no file|no file"),
    ("data", "required"),
]


@pytest.mark.parametrize(("text", "words"), MISTAKES, ids=[text[:60] for text, _ in MISTAKES])
def test_a_mistake_is_one_line_with_the_remedy_and_changes_nothing(text, words, capsys, folder):
    (folder / "taken").write_text("a file where a folder should be")
    before = sorted(path for path in folder.rglob("*") if "mine" not in path.parts)
    try:
        code = call(text)
    except SystemExit as error:
        code = error.code
    err = capsys.readouterr().err
    assert code == 2, err
    assert re.search(words, err), err
    assert err.startswith("tombola: ")
    assert err.count("\n") == 1, err
    assert sorted(path for path in folder.rglob("*") if "mine" not in path.parts) == before


def test_mistakes_show_no_traceback_from_a_shell(folder):
    command = [sys.executable, "-m", "tombola", "run", "frankle2019.sparsity", "--set", "learning_rate=-1"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)


def test_a_closed_pipe_is_no_error(folder):
    done = subprocess.run(f"{sys.executable} -m tombola list | head -1", shell=True, capture_output=True, text=True, cwd=folder)
    assert "Traceback" not in done.stderr


def test_a_full_disk_is_one_line_and_the_same_command_goes_on(capsys, tmp_path, monkeypatch):
    command = f"run frankle2019.sparsity {SMOKE} --replicates 2 --set levels=1 --store {tmp_path}/runs"
    written, write = [], disk._write

    def full(path, content):
        written.append(path)
        if len(written) > 8:
            raise OSError(errno.ENOSPC, "No space left on device")
        write(path, content)

    monkeypatch.setattr(disk, "_write", full)
    assert call(command) == 2
    said = capsys.readouterr()
    assert said.err.splitlines()[-1].startswith("tombola: No space left on device; make room")
    assert "Traceback" not in said.err
    assert not list(tmp_path.glob("runs/.work/*~*"))
    (finished,) = store.Store(tmp_path / "runs")
    assert finished.damaged() == []
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    when = (finished.folder / "made.json").stat().st_mtime_ns
    assert call(command) == 0
    assert (finished.folder / "made.json").stat().st_mtime_ns == when
