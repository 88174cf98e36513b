"""Other people's tools: trackers, live and after the fact, and the Hub."""

import json
import shlex
import struct
import sys
from types import SimpleNamespace

import numpy as np
import pytest

import tombola as tb
from tombola import cli
from tombola.core.errors import TombolaError
from tombola.store import hub
from tombola.store.export import load_ticket
from tombola.store.store import Store
from tombola.store.tracking import log_record, run_name

TASK = tb.task("digits-mlp", steps="40it", evaluate_every="20it", test_every="40it")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Two replicates in a store, and what was said while they trained."""
    said = []
    folder = tmp_path_factory.mktemp("tools")
    dense = tb.train(TASK, replicates=2, keep=["20it"], store=folder / "runs", on_stop=said.append)  # in two calls
    return SimpleNamespace(dense=dense, said=said, store=Store(folder / "runs"), folder=folder)


class FakeModule:
    """wandb's interface, which trackio has too."""

    def __init__(self, name):
        self.__name__, self.runs = name, []

    def init(self, **given):
        run = SimpleNamespace(given=given, logged=[], finished=False, summary={})
        run.log = lambda metrics, step: run.logged.append((step, metrics))
        run.finish = lambda: setattr(run, "finished", True)
        self.runs.append(run)
        return run


def test_stops_are_heard_once_with_the_metrics_that_are_stored(trained):
    metrics = trained.dense.metrics
    assert metrics["step"].tolist() == [0, 20, 40]
    for replicate, run in enumerate(trained.dense.runs):
        own = [stop for stop in trained.said if stop.replicate == replicate]
        assert {stop.run for stop in own} == {run}
        assert [stop.step for stop in own] == [0, 20, 40]
        for name in ("val_loss", "val_acc", "test_acc"):
            np.testing.assert_array_equal([stop.metrics[name] for stop in own], metrics[name][replicate])
    assert len(trained.said) == 6
    again = []
    tb.train(TASK, replicates=2, store=trained.store, on_stop=again.append)
    assert again == []  # nothing is trained


def test_ancestors_that_are_trained_on_the_way_are_not_heard_of(trained):
    said, parent = [], trained.dense.runs[0]
    dense = (parent.at("0it"), parent.at("end"))
    prune = tb.Action(
        name="prune", of=(*dense, parent.its_mask()), options={"criterion": "large_final", "rates": {"dense": 0.5, "output": 0.5}}
    )
    ticket = tb.train(TASK, mask=prune, on_stop=said.append)  # in a store of its own, in which the parent is missing
    assert parent.digest in ticket.store
    assert [(stop.run, stop.step) for stop in said] == [(ticket.runs[0], step) for step in (0, 20, 40)]


@pytest.mark.parametrize("name", ["wandb", "trackio"])
def test_a_stored_run_is_logged_with_its_curves_and_description(name, trained, monkeypatch):
    module = FakeModule(name)
    monkeypatch.setitem(sys.modules, name, module)
    record = trained.store.get(trained.dense.runs[1].digest)
    log_record(record, name, "mine", "a/b", {"arm": "ticket"})
    (run,) = module.runs
    assert (run.given["project"], run.given["name"], run.finished) == ("mine", "a/b", True)
    assert run.given["config"]["spec"] == record.json("spec")
    assert (run.given["config"]["run"], run.given["config"]["arm"]) == (record.digest, "ticket")
    assert [step for step, _ in run.logged] == [0, 20, 40]
    metrics = record.metrics()
    assert [one["val_loss"] for _, one in run.logged] == metrics["val_loss"].tolist()
    tested = [step for step, one in run.logged if "test_acc" in one]  # NaN, where the test set was not evaluated, is left out
    assert tested == metrics["step"][~np.isnan(metrics["test_acc"])].tolist()
    assert tested != [0, 20, 40]
    assert run.summary["es_test_acc"] == record.json("summary")["es_test_acc"]


def test_live_each_replicate_is_a_run(trained, monkeypatch):
    module = FakeModule("trackio")
    monkeypatch.setitem(sys.modules, "trackio", module)
    with tb.tracker("trackio", project="live", note="x") as tracker:
        for stop in trained.said:
            tracker(stop)
    assert [run.given["name"].rsplit("-", 1)[0] for run in module.runs] == ["digits-mlp/replicate-0", "digits-mlp/replicate-1"]
    assert [run.given["config"]["note"] for run in module.runs] == ["x", "x"]
    assert [[step for step, _ in run.logged] for run in module.runs] == [[0, 20, 40]] * 2
    assert all(run.finished for run in module.runs)


def events(path):
    """The payloads of a TFRecord file."""
    content, place, found = path.read_bytes(), 0, []
    while place < len(content):
        (length,) = struct.unpack_from("<Q", content, place)
        found.append(content[place + 12 : place + 12 + length])
        place += 16 + length
    return found


def test_tensorboard_files_hold_what_was_measured(trained, tmp_path):
    event_pb2 = pytest.importorskip("tensorboardX.proto.event_pb2")
    record = trained.store.get(trained.dense.runs[0].digest)
    log_record(record, "tensorboard", str(tmp_path), "a/b", {})
    (file,) = (tmp_path / "a" / "b").iterdir()
    curve = {}
    for payload in events(file):
        event = event_pb2.Event.FromString(payload)
        for value in event.summary.value:
            if value.tag == "val_loss":
                curve[event.step] = value.simple_value
    metrics = record.metrics()
    assert curve == dict(zip(metrics["step"], metrics["val_loss"].astype(np.float32), strict=True))
    with pytest.raises(TombolaError, match="holds this run already"):
        log_record(record, "tensorboard", str(tmp_path), "a/b", {})


def test_what_is_no_tool_or_not_installed_is_one_line(monkeypatch):
    with pytest.raises(TombolaError, match="unknown tool 'mlflow': one of tensorboard, trackio, wandb"):
        tb.tracker("mlflow")
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(TombolaError, match=r"pip install 'tombola\[wandb\]'"):
        tb.tracker("wandb")


def test_names_of_runs_are_those_of_folders():
    assert run_name("a b", "../x", "", "rate 0.5, sign") == "a-b/x/-/rate-0.5,-sign"


def call(text):
    return cli.main(shlex.split(text))


def test_runs_are_logged_from_the_command_line(trained, capsys, monkeypatch):
    module = FakeModule("trackio")
    monkeypatch.setitem(sys.modules, "trackio", module)
    digests = [run.digest for run in trained.dense.runs]
    assert call(f"log {digests[0]} {digests[1]} --to trackio --project p --store {trained.store.folder}") == 0
    assert [(run.given["name"], run.given["project"]) for run in module.runs] == [(digest, "p") for digest in digests]
    assert "2 runs are in trackio, project p" in capsys.readouterr().out
    assert call(f"log frankle2019.sparsity --scale smoke --to trackio --store {trained.store.folder}") == 2
    assert "no run of frankle2019.sparsity is in store" in capsys.readouterr().err
    assert call(f"log {digests[0]} --to mlflow --store {trained.store.folder}") == 2
    assert "unknown tool 'mlflow'" in capsys.readouterr().err


class FakeClient:
    """Of the Hub: keeps what it is sent."""

    endpoint = "https://hub.example"
    sent: dict = {}
    refuses = ""

    def create_repo(self, repository, private, exist_ok):
        if self.refuses:
            raise RuntimeError(self.refuses)
        self.sent.update(repository=repository, private=private, exist_ok=exist_ok)

    def upload_folder(self, repo_id, folder_path, commit_message):
        from pathlib import Path

        self.sent.update(repo_id=repo_id, files={path.name: path.read_bytes() for path in Path(folder_path).iterdir()})


@pytest.fixture
def client(monkeypatch):
    client = type("Client", (FakeClient,), {"sent": {}})
    monkeypatch.setitem(sys.modules, "huggingface_hub", SimpleNamespace(HfApi=client))
    return client


@pytest.mark.parametrize("packed", [False, True])
def test_a_pushed_ticket_loads_and_its_card_says_what_it_is(packed, trained, client, tmp_path):
    digest = trained.dense.runs[0].digest
    place = hub.push(trained.store, digest[:8], "me/ticket", hub.Options(packed=packed), private=True)
    assert place == "https://hub.example/me/ticket"
    sent = client.sent
    assert (sent["repository"], sent["repo_id"], sent["private"], sent["exist_ok"]) == ("me/ticket", "me/ticket", True, True)
    assert {*sent["files"]} == {"README.md", "ticket.safetensors", "spec.json", "metrics.csv", "summary.json", "made.json"}
    assert (b"tombola packed ticket" in sent["files"]["ticket.safetensors"]) == packed
    (tmp_path / "t.safetensors").write_bytes(sent["files"]["ticket.safetensors"])
    weights, mask = load_ticket(tmp_path / "t.safetensors")
    record = trained.store.get(digest)
    for path, leaf in record.weights(40).items():
        np.testing.assert_array_equal(weights[path], leaf)
    assert all(leaf.all() for leaf in mask.values())
    card = sent["files"]["README.md"].decode()
    _, front, body = card.split("---\n", 2)
    assert "library_name: tombola" in front
    accuracy = json.loads(sent["files"]["summary.json"])["es_test_acc"]
    for words in ('hf_hub_download("me/ticket", "ticket.safetensors")', f"| es_test_acc | {accuracy:.4g} |", digest, "after iteration 40"):
        assert words in body, words


def test_what_the_hub_refuses_is_one_line(trained, client, capsys, monkeypatch, tmp_path):
    digest, store = trained.dense.runs[0].digest, trained.store.folder
    client.refuses = "401 Client Error\nmore"
    for repository, words in (("me/ticket", "401 Client Error; log in with"), ("ticket", "write user/name"), ("a/b/c", "write user/name")):
        assert call(f"push {digest} {repository} --store {store}") == 2
        err = capsys.readouterr().err
        assert words in err
        assert err.count("\n") == 1
    assert call(f"push {digest} me/ticket --store {store} --step 30it") == 2
    assert "0it, 20it, 40it, not of" in capsys.readouterr().err
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    assert call(f"push {digest} me/ticket --store {store}") == 2
    assert "pip install 'tombola[hub]'" in capsys.readouterr().err
    assert call(f"push {digest} me/ticket --store {store} -o {tmp_path / 'card'}") == 0  # nothing is sent: no client is needed
    assert (tmp_path / "card" / "README.md").read_text().startswith("---\nlibrary_name")
