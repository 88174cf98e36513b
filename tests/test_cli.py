"""What a user types, right and wrong: one clear line, exit code 2, nothing changed."""

import errno
import json
import re
import shlex
import shutil
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest

from tombola import cli
from tombola.commands.listed import chosen
from tombola.core.errors import TombolaError
from tombola.core.spec import digest_of
from tombola.engine.configuring import resolve
from tombola.store import disk, store
from tombola.store.export import load_ticket
from tombola.store.files import dump_json
from tombola.store.places import Place, note, study_files
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


@pytest.mark.slow
def test_run_prints_table_claims_and_paths(study, folder):
    for words in ("LTH-C3", "not judged", "of the 6 replicates", "winning ticket", "64.", "report/index.html", "table.csv"):
        assert words in study, words
    header = (folder / "report/frankle2019.sparsity/table.csv").read_text().splitlines()[0].split(",")
    assert header[:7] == ["study", "task", "variant", "arm", "replicate", "level", "density"]
    metrics = {"es_iteration", "es_censored", "acc_es", "acc_final", "train_acc_final", "val_loss_min", "iters_to_1p5x", "iters_to_1p1x"}
    assert metrics <= set(header)


@pytest.mark.slow
def test_the_demonstration_says_what_it_does_shows_it_and_says_what_to_try(study, capsys, monkeypatch):
    def started(command, **_):
        watches.append(command)
        return SimpleNamespace(terminate=lambda: ended.append("told"), wait=lambda: ended.append("waited"))

    watches, ended = [], []
    small = resolve("frankle2019.sparsity", scale="smoke", task="digits-mlp", settings=["steps=40it", "evaluate_every=20it"])
    monkeypatch.setattr("tombola.engine.configuring.resolve", lambda name: small)
    monkeypatch.setattr("tombola.commands.beginning.subprocess.Popen", started)
    said = output(capsys, "demo -o demonstrated")
    first, last = said.split("LTH-C3")[0], said.split("LTH-C3")[-1]
    for words in ("14 small networks", "all trained already", "demonstrated/index.html", "the same command goes on"):
        assert words in first, words
    assert "winning ticket" in said
    for words in ("demonstrated/index.html", "tombola run frankle2020.onset -o onset", "tombola new study"):
        assert words in last, words
    (watch,) = watches
    parsed = vars(cli._parser().parse_args(watch[3:]))
    assert (parsed["verb"], parsed["study"], str(parsed["store"]), str(parsed["output"])) == (
        "watch",
        "frankle2019.sparsity",
        "runs",
        "demonstrated",
    )
    assert ended == ["told", "waited"]


def test_a_finished_study_trains_nothing_again(study, capsys):
    assert call(f"run frankle2019.sparsity {SMOKE} --json") == 0
    out, err = capsys.readouterr()
    assert "training" not in err
    assert json.loads(out)["study"] == "frankle2019.sparsity"


@pytest.mark.slow
def test_report_reads_the_store(study, capsys, folder):
    out = output(capsys, f"report frankle2019.sparsity {SMOKE} -o again")
    assert "again/index.html" in out
    name = "frankle2019.sparsity/table.csv"
    assert (folder / "again" / name).read_bytes() == (folder / "report" / name).read_bytes()


def test_status_before_and_after(study, capsys):
    assert "14 of 14 runs are done, 0 in progress, 0 to train" in output(capsys, f"status frankle2019.sparsity {SMOKE}")
    found = json.loads(output(capsys, f"status frankle2019.sparsity {SMOKE} --replicates 3 --json"))
    assert found.pop("seconds left") > 0
    assert found == {"runs": 21, "done": 14, "in progress": 0, "missing": 7, "measurements": 0, "measurements missing": 0, "workers": {}}


def test_show_trains_nothing(capsys, folder):
    text = output(capsys, f"show frankle2019.sparsity {SMOKE} --store none")
    for words in ("task.recipe.steps", "40it", "14 (6 ticket, 4 reinit, 4 random)", "time left on this machine: about", "guessed"):
        assert words in text
    found = json.loads(output(capsys, f"show frankle2019.sparsity {SMOKE} --store none --json"))
    assert found["cost"]["runs"] == found["cost"]["missing_runs"] == 14
    assert found["cost"]["replica_steps"] == 14 * 40
    assert not (folder / "none").exists()


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
    assert sparsest["run"][:8] in output(capsys, "runs")
    assert "dense" in output(capsys, f"why {sparsest['run']}")


def test_time_left_is_that_of_what_is_missing_as_the_store_took(study, capsys):
    assert "all is stored" in output(capsys, f"show frankle2019.sparsity {SMOKE}")
    found = json.loads(output(capsys, f"show frankle2019.sparsity {SMOKE} --json"))["cost"]
    assert (found["runs"], found["missing_runs"], found["seconds"]) == (14, 0, 0)
    more = output(capsys, f"status frankle2019.sparsity {SMOKE} --replicates 3")
    for words in ("time left on this machine: about", "as long as the store's own took here", "stored already: 14 of 21 runs"):
        assert words in more


@pytest.mark.slow
def test_several_studies_are_one_command(study, capsys, folder):
    found = json.loads(output(capsys, f"run frankle2019.sparsity frankle2019.sparsity {SMOKE} -o several --json"))["studies"]
    assert [one["study"] for one in found] == ["frankle2019.sparsity"] * 2
    assert (folder / "several/index.html").read_text().count("<h2>frankle2019.sparsity</h2>") == 1


def test_a_row_of_the_table_leads_to_its_run_and_back(study, capsys, folder):
    import pandas as pd

    table = pd.read_csv(folder / "report/frankle2019.sparsity/table.csv", dtype={"run": str})
    (row,) = table[(table.arm == "ticket") & (table.level == 1) & (table.replicate == 1)].itertuples()
    assert output(capsys, f"why {row.run}").startswith(row.run)
    (found,) = json.loads(output(capsys, "runs --study frankle2019.sparsity --arm ticket --level 1 --replicate 1 --json"))
    assert (found["run"], found["places"][0]["arm"], found["kept"]) == (row.run, "ticket", row.kept)
    assert row.run in output(capsys, "export frankle2019.sparsity --arm ticket --level 1 --replicate 1 -o row.safetensors")
    assert set(table.run) == {run["run"] for run in json.loads(output(capsys, "runs --study frankle2019.sparsity --json"))}


def test_runs_are_listed_narrowly_chosen_and_sorted(study, capsys, folder):
    lines = output(capsys, "runs").splitlines()
    assert lines[0].split() == ["run", "study", "arm", "level", "rep", "density", "test", "acc", "date", "size"]
    assert len(lines) == 15
    assert max(map(len, lines)) <= 100
    sparse = json.loads(output(capsys, "runs --where 'density<0.9' --where arm!=ticket --sort=-bytes --json"))
    assert [one["bytes"] for one in sparse] == sorted((one["bytes"] for one in sparse), reverse=True)
    assert {one["arm"] for one in sparse} == {"reinit", "random"}
    assert len(sparse) == 8
    first = sparse[0]
    assert first["bytes"] == sum(path.stat().st_size for path in (folder / "runs" / first["run"]).rglob("*") if path.is_file())


def test_runs_of_a_store_that_says_no_study_are_not_chosen_by_one():
    with pytest.raises(TombolaError, match="no run of this store says its study: drop --study, or"):
        chosen([{"run": "abc", "study": "", "level": None}], [], study="frankle2019.sparsity")


@pytest.mark.slow
def test_weights_that_no_study_needs_are_kept_when_asked_for(study, capsys, folder, tmp_path):
    shutil.copytree(folder / "runs", tmp_path / "runs")
    where = f"frankle2019.sparsity --arm reinit --level 2 --replicate 0 --store {tmp_path}/runs -o reinit.safetensors"
    assert call(f"export {where}") == 2
    assert "`tombola run frankle2019.sparsity --keep reinit`" in capsys.readouterr().err
    output(capsys, f"run frankle2019.sparsity {SMOKE} --keep reinit --store {tmp_path}/runs -o {tmp_path}/report")
    before, after = (one / "report/frankle2019.sparsity/table.csv" for one in (folder, tmp_path))
    assert before.read_bytes() == after.read_bytes()
    assert "at iteration 40" in output(capsys, f"export {where}")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("runs --study frankle2019.sparsty", "did you mean 'frankle2019.sparsity'"),
        ("runs --arm tickets", "did you mean 'ticket'"),
        ("runs --level 7", "unknown level 7: one of 0, 1, 2"),
        ("runs --where density", "write NAME, one of = != < <= > >="),
        ("runs --where densty<1", "did you mean 'density'"),
        ("runs --where density<few", "is compared with the number"),
        ("runs --sort dates", "did you mean 'date'"),
        (
            "export frankle2019.sparsity -o x",
            "14 runs of frankle2019.sparsity are so; they differ in arm (ticket, reinit, random; choose with --arm)",
        ),
        ("export frankle2019.sparsity --arm ticket --where level>2 -o x", "no run of frankle2019.sparsity is so"),
        ("export zhou2019.signs --level 1 -o x", "is no study that was carried out on this store (frankle2019.sparsity)"),
        (f"run frankle2019.sparsity {SMOKE} --keep tickets", "did you mean 'ticket'"),
    ],
)
def test_what_no_run_is_like_is_one_line(study, text, words, capsys, folder):
    assert call(text) == 2
    err = capsys.readouterr().err
    assert words in err
    assert err.count("\n") == 1
    assert not (folder / "x").exists()


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


@pytest.mark.slow
def test_claims_say_what_was_run(study, capsys):
    found = json.loads(output(capsys, f"claims frankle2019.sparsity {SMOKE} --json"))
    assert {row["state"] for row in found["claims"]} == {"not judged"}
    found = json.loads(output(capsys, "claims frankle2019.sparsity zhou2019.mask1 --json --store none"))
    assert {row["state"] for row in found["claims"]} == {"not run"}
    assert found["overall"]["LTH-C3"] == "not run on any of 1 testbed"
    found = json.loads(output(capsys, "claims --json"))  # as it was carried out, whatever the options were
    states = {(row["study"] == "frankle2019.sparsity", row["state"]) for row in found["claims"]}
    assert states == {(True, "not judged"), (False, "not run")}
    assert "LTH-C3" in output(capsys, "claims frankle2019.sparsity zhou2019.mask1")


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
    made = {"command": evil, "date": evil, "device": "", "seconds": 1.0, "versions": {}, "trained_together": 1}
    files["made.json"] = dump_json(made)
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


def test_show_says_where_each_value_comes_from(capsys, folder, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    (tmp_path / "tombola").mkdir()
    own = tmp_path / "tombola" / "tombola.toml"
    own.write_text('scale = "smoke"\nseed = 5\nreplicates = 3\nstore = "kept"\n[set]\nlevels = 1\n')
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tombola.toml").write_text('task = "digits-mlp"\nreplicates = 2\n[set]\ntask.recipe.steps = "40it"\nrates.dense = 0.5\n')
    (tmp_path / "s.toml").write_text('study = "frankle2019.sparsity"\nseed = 6\n[set]\nrandom_masks = 1\n')
    found = json.loads(output(capsys, "show s.toml --set evaluate_every=20it --json"))
    said = {path: (found["configuration"][path], origin) for path, origin in found["origins"].items()}
    assert said["replicates"] == (2, "tombola.toml")  # the folder's goes before the user's
    assert said["levels"] == (1, str(own))
    assert said["seed"] == (6, "s.toml")
    assert said["random_masks"] == (1, "s.toml")
    assert said["task.recipe.steps"] == ("40it", "tombola.toml")
    assert said["pruning.rates"][1] == "tombola.toml"
    assert said["task.recipe.evaluate_every"] == ("20it", "command line")
    assert said["task.recipe.batch"][1] == "task digits-mlp"
    assert said["reinits"][1] in ("default", "scale smoke")
    assert found["options"] == {
        "scale": {"value": "smoke", "origin": str(own)},
        "task": {"value": "digits-mlp", "origin": "tombola.toml"},
        "store": {"value": str(own.parent / "kept"), "origin": str(own)},
    }
    found = json.loads(output(capsys, "show frankle2019.sparsity --replicates 4 --scale small --task mnist1d-mlp --json"))
    assert (found["configuration"]["replicates"], found["origins"]["replicates"]) == (4, "command line")
    assert {one["origin"] for name, one in found["options"].items() if name != "store"} == {"command line"}
    assert "tombola.toml" in output(capsys, "show frankle2019.sparsity")
    assert call("runs") == 2
    assert f"there is no store '{own.parent / 'kept'}'" in capsys.readouterr().err
    assert call("runs --store elsewhere") == 2
    assert "there is no store 'elsewhere'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("study = 'x'", "file of defaults 'tombola.toml': unknown key 'study'"),
        ("seed = [", "file of defaults 'tombola.toml' is not TOML"),
        ("store = 3", "store = 3, but a text is needed"),
        ("scale = 'huge'", "smoke"),
        ("[set]\nlevles = 3", "did you mean 'levels'"),
    ],
)
def test_a_mistake_in_the_defaults_is_one_line(content, words, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tombola.toml").write_text(content)
    assert call("show frankle2019.sparsity") == 2
    err = capsys.readouterr().err
    assert words in err
    assert err.count("\n") == 1


FEWER = "--set random_masks=0"


def test_what_no_study_that_was_carried_out_needs_can_go(study, capsys, folder, tmp_path):
    shutil.copytree(folder / "runs", tmp_path / "kept")
    store = Store(tmp_path / "kept")
    earlier, own = digest_of({"a": 1}), digest_of({"a": 2})
    for digest in (earlier, own):  # of the study, by earlier code; of a call in Python
        store.put(digest, {"spec.json": b"{}"}, {})
    (described,) = study_files(store).values()
    note(store, "frankle2019.sparsity", "digits-mlp", "0" * 16, [Place(earlier)], described)
    verb = f"store prune --store {tmp_path / 'kept'}"
    found = json.loads(output(capsys, f"{verb} --json"))
    assert [found[name] for name in ("runs", "measurements", "weights", "files", "kept whole")] == [[earlier], [], {}, [], {}]
    assert (call(f"{verb} --seed 0"), capsys.readouterr().err.count("name those")) == (2, 1)
    store.remove(next(record.digest for record in store if record.digest not in (earlier, own)))
    assert json.loads(output(capsys, f"{verb} --yes --json"))["kept whole"] == {"frankle2019.sparsity": "it is not finished"}
    assert earlier in store
    for name in store.files.names("studies"):
        store.files.erase(f"studies/{name}")
    assert call(verb) == 2
    assert "nothing says what is needed; name those that are to stay" in capsys.readouterr().err


@pytest.mark.slow
def test_a_store_is_measured_checked_packed_and_pruned(study, capsys, folder, tmp_path):
    kept = tmp_path / "kept"
    shutil.copytree(folder / "runs", kept)
    sizes = json.loads(output(capsys, f"store size --store {kept} --json"))
    assert sizes["bytes"] == sum(path.stat().st_size for path in kept.rglob("*") if path.is_file())
    assert sizes["tasks"]["digits/mlp"]["files"] == 14
    assert "digits/mlp" in output(capsys, f"store size --store {kept}")
    assert "14 runs" in output(capsys, f"store verify --store {kept}")

    packed = tmp_path / "study.zip"
    assert "14 runs" in output(capsys, f"store pack frankle2019.sparsity {SMOKE} --store {kept} -o {packed}")
    output(capsys, f"report frankle2019.sparsity {SMOKE} --store {packed} -o {tmp_path / 'report'}")
    name = "frankle2019.sparsity/table.csv"
    assert (tmp_path / "report" / name).read_bytes() == (folder / "report" / name).read_bytes()
    assert call(f"run frankle2019.sparsity {SMOKE} --replicates 3 --store {packed}") == 2
    assert "only read" in capsys.readouterr().err
    assert json.loads(output(capsys, f"runs --store {packed} --json")) == json.loads(output(capsys, f"runs --store {kept} --json"))

    said = output(capsys, f"store prune frankle2019.sparsity {SMOKE} {FEWER} --store {kept}")
    assert "4 runs" in said
    assert "nothing was removed" in said
    assert len(list(Store(kept))) == 14
    assert "removed: 4 runs" in output(capsys, f"store prune frankle2019.sparsity {SMOKE} {FEWER} --store {kept} --yes")
    assert len(list(Store(kept))) == 10
    assert "every file" in output(capsys, f"store prune frankle2019.sparsity {SMOKE} {FEWER} --store {kept}")
    assert "10 of 10 runs are done" in output(capsys, f"status frankle2019.sparsity {SMOKE} {FEWER} --store {kept}")
    assert call(f"store pack frankle2019.sparsity {SMOKE} --store {kept} -o {packed}") == 2
    assert "4 of 14 runs are not in store" in capsys.readouterr().err

    shutil.rmtree(kept / "studies")
    assert "4 runs new" in output(capsys, f"store merge {packed} --store {kept}")
    assert len(json.loads(output(capsys, f"runs --study frankle2019.sparsity --store {kept} --json"))) == 14
    assert "14 of 14 runs are done" in output(capsys, f"status frankle2019.sparsity {SMOKE} --store {kept}")
    (next(kept.glob("[0-9a-f]*/metrics.csv"))).write_text("?")
    assert call(f"store verify --store {kept}") == 2
    assert "1 of 15 records are damaged" in capsys.readouterr().err


def test_two_runs_are_compared(study, capsys, folder):
    runs = json.loads(output(capsys, "runs --json"))
    a, b = (run["run"] for run in runs if run["mask"] == "dense")
    found = json.loads(output(capsys, f"diff {a} {b} --json"))
    assert [one["field"] for one in found["description"]] == ["seed"]
    assert {one["column"] for one in found["curves"]} == {"val_loss", "val_acc", "test_loss", "test_acc"}
    said = output(capsys, f"diff {a} {b}")
    assert "seed" in said
    assert "masks: the same" in said
    same = output(capsys, f"diff {a} {a} --other runs")
    assert [f"{what}: the same" in same for what in ("description", "curves", "weights", "masks")] == [True] * 4
    assert call(f"diff {a} nothing") == 2
    assert "there is none" in capsys.readouterr().err


def test_completion_knows_verbs_options_and_names(capsys, tmp_path):
    for shell in ("bash", "zsh", "fish", "tcsh"):
        assert "frankle2019.sparsity" in output(capsys, f"completion {shell}")
    (tmp_path / "complete.sh").write_text(output(capsys, "completion bash"))

    def completed(*words):
        place = len(words) - 1
        array = " ".join(shlex.quote(word) for word in words)
        script = f"source complete.sh; COMP_WORDS=({array}); COMP_CWORD={place}; _shtab_tombola; printf '%s\\n' \"${{COMPREPLY[@]}}\""
        return subprocess.run(["bash", "-c", script], capture_output=True, text=True, cwd=tmp_path).stdout.split()

    assert {"run", "store", "diff"} <= set(completed("tombola", ""))
    assert {"size", "prune", "merge", "verify", "pack"} <= set(completed("tombola", "store", ""))
    assert completed("tombola", "run", "frankle2019.spars") == ["frankle2019.sparsity"]
    assert "digits-mlp" in completed("tombola", "run", "--task", "digits-m")
    assert completed("tombola", "run", "--repl") == ["--replicates"]
    assert call("completion csh") == 2
    assert "unknown shell 'csh': did you mean 'tcsh'?" in capsys.readouterr().err


# -- wrong input -----------------------------------------------------------------------------------------------------------

MISTAKES = [
    ("fly", "invalid choice"),
    ("run", "STUDY"),
    ("run frankle2019.sparsity frankle2019.sparsty", "did you mean 'frankle2019.sparsity'"),
    ("run frankle2019.sparsity --taks x", "did you mean --task"),
    ("run frankle2019.sparsity --minutes 3", "argument '--minutes' \\(see `tombola run --help`"),  # of another verb
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
    ("store", "required"),
    *[
        (f"{verb} --store empty", "there is no store 'empty'; name one")
        for verb in ("store size", "store verify", "diff a b", "push a u/r")
    ],
    ("store merge empty", "there is no store 'empty'; name one"),
    ("store pack frankle2019.sparsity --store runs -o no/such/p.zip", "runs is in store|there is no store"),
    ("store merge . --store new", "there are no runs in store '.', so that nothing can be joined"),
    ("log abc --to nothing --store runs", "unknown tool 'nothing': one of tensorboard"),
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


@pytest.mark.slow
def test_mistakes_show_no_traceback_from_a_shell(folder):
    command = [sys.executable, "-m", "tombola", "run", "frankle2019.sparsity", "--set", "learning_rate=-1"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)


@pytest.mark.slow
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
