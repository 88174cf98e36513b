"""Packed files: what `tombola export --packed` writes loads bit for bit, without data; and the study that measures their sizes."""

import json
import os
import random
import shlex
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from toys import own_test_set

import tombola as tb
from tombola import cli
from tombola.core import trees
from tombola.core.data_info import DataInfo
from tombola.core.errors import TombolaError
from tombola.core.task import Supermask
from tombola.data import dataset
from tombola.engine.configuring import resolve
from tombola.models.build import build
from tombola.models.nnx_network import NNXNetwork
from tombola.models.supermask import SCORE, chosen, effective, nonzero
from tombola.procedures import compressed
from tombola.store.export import load_ticket
from tombola.store.files import load_tree, save_tree
from tombola.store.store import Store

ONE_EACH = 'densities={"rescaled": [0.5], "signed": [0.5], "edge_popup": [0.2]}'  # each density is a program to compile
SETTINGS = ("steps=40it", "evaluate_every=20it", "mask_steps=40it", ONE_EACH)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("compressed")


@pytest.fixture(scope="module")
def findings(folder):
    """The study, carried out quickly; its runs are those that are exported."""
    return tb.run("zhou2019.compression", "smoke", task="digits-mlp", settings=SETTINGS, store=folder / "runs", quiet=True, replicates=1)


@pytest.fixture(autouse=True)
def _there(folder, monkeypatch):
    monkeypatch.chdir(folder)


def cells(findings, arm):
    return [row for row in findings.study.rows() if row.arm == arm]


def run_of(findings, arm):
    return cells(findings, arm)[-1].run


def exported(run, *options, file="file.safetensors"):
    assert cli.main(["export", run.digest, "-o", file, *options]) == 0
    return load_ticket(file)


def tree_of(file="file.safetensors"):
    return load_tree(Path(file))[0]


def metadata_of(file="file.safetensors"):
    return load_tree(Path(file))[1]


def save(tree, metadata, file="damaged.safetensors"):
    save_tree(Path(file), tree, metadata)


def mutated(content, source):
    """With a byte changed, or a piece cut out, doubled, or put in the place of another."""
    place, other, size = source.randrange(len(content)), source.randrange(len(content)), source.randrange(1, 9)
    piece = content[place : place + size]
    changes = [source.choice(b'0123456789[]{}",-.e').to_bytes(1, "big"), b"", piece + piece, content[other : other + size]]
    return content[:place] + source.choice(changes) + content[place + size :]


def same(one, other):
    return all(
        trees.equal(a, b) and {k: v.shape for k, v in a.items()} == {k: v.shape for k, v in b.items()}
        for a, b in zip(one, other, strict=True)
    )


# -- files ---------------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_every_run_loads_alike_from_both_formats(findings, folder):
    runs = dict.fromkeys(row.run for row in findings.study.rows())
    assert len(runs) > 4
    for run in runs:
        plain = exported(run)
        size = (folder / "file.safetensors").stat().st_size
        assert same(exported(run, "--packed", file="packed.safetensors"), plain)
        if run.mask is not None or run.task.recipe.supermask is not None:
            assert (folder / "packed.safetensors").stat().st_size < size


def test_a_start_and_a_supermask_store_no_value(findings):
    dense = run_of(findings, "dense")
    exported(dense, "--packed", "--step", "0it")
    assert json.loads(metadata_of()["leaves"])["hidden1/kernel"] == {"kept": "initial", "pruned": "zero"}
    assert all(name.endswith(".mask") for name in tree_of())
    for arm in ("rescaled", "edge_popup"):
        exported(run_of(findings, arm), "--packed")
        assert {one["kept"] for one in json.loads(metadata_of()["leaves"]).values() if "kept" in one} == {"kept"}
        assert all(name.endswith((".mask", ".signs")) for name in tree_of())


def test_a_trained_ticket_stores_its_kept_values(findings):
    run = run_of(findings, "ticket")
    weights, mask = exported(run, "--packed")
    tree = tree_of()
    assert {name for name in tree if name.endswith(".kept")} == {f"{path}.kept" for path in mask}
    for path, leaf in mask.items():
        assert tree[f"{path}.kept"].tobytes() == weights[path][leaf].tobytes()


@pytest.mark.parametrize("options", [(), ("--packed",)])
@pytest.mark.parametrize("arm", ["rescaled", "edge_popup"])
def test_a_supermask_is_exported_as_the_plain_network_that_it_makes(findings, folder, arm, options):
    run = run_of(findings, arm)
    weights, mask = exported(run, *options)
    assert not [path for path in weights if path.endswith(SCORE)]
    record = Store(folder / "runs").find(run.digest)
    tree = record.weights(max(record.steps()))
    spec = run.task.recipe.supermask
    assert isinstance(spec, Supermask)
    assert same((weights, mask), (effective(spec, tree, chosen(spec, tree)), nonzero(chosen(spec, tree))))


def test_a_loaded_supermask_classifies_as_the_run_did(findings, folder):
    run = run_of(findings, "rescaled")
    weights, _ = exported(run, "--packed")
    data = dataset.load(run.task.data)
    network = build(run.task.model, DataInfo.of_classes(data.shape, data.classes))
    inputs, targets = own_test_set(run.task, run.seed)
    outputs, _ = network.apply(weights, inputs, train=False)
    acc = float((np.asarray(outputs).argmax(-1) == targets).mean())
    assert acc == pytest.approx(Store(folder / "runs").find(run.digest).metrics()["test_acc"][-1], abs=1e-6)


def test_loading_needs_no_data_set(findings, monkeypatch):
    plain = exported(run_of(findings, "ticket"))
    exported(run_of(findings, "ticket"), "--packed")

    def none(*_):
        raise AssertionError("data were asked for")

    monkeypatch.setattr(dataset, "load", none)
    assert same(tb.load_ticket("file.safetensors"), plain)


# -- what is said --------------------------------------------------------------------------------------------------------


def test_sizes_are_those_of_the_file(findings, folder, capsys):
    run = run_of(findings, "ticket")
    assert cli.main(["export", run.digest, "--packed", "--json", "-o", "file.safetensors"]) == 0
    found = json.loads(capsys.readouterr().out)
    size, tree = found["bytes"], tree_of()
    weights, mask = load_ticket("file.safetensors")
    assert size["file"] == (folder / "file.safetensors").stat().st_size
    assert size["dense"] == 4 * sum(leaf.size for leaf in weights.values())
    assert size["mask"] + size["signs"] + size["values"] == sum(leaf.nbytes for leaf in tree.values())
    assert found["stored_values"] == size["values"] // 4
    prunable = sum(leaf.size for leaf in mask.values())
    assert found["bits_per_weight"]["mask"] == pytest.approx(8 * size["mask"] / prunable)
    share = np.array([leaf.mean() for leaf in mask.values()])
    bits = -(share * np.log2(share) + (1 - share) * np.log2(1 - share)) @ [leaf.size for leaf in mask.values()]
    assert found["bits_per_weight"]["entropy"] == pytest.approx(bits / prunable)
    assert cli.main(["export", run.digest, "--packed", "-o", "file.safetensors"]) == 0
    said = capsys.readouterr().out
    for number in (size["dense"], size["file"], size["mask"], found["stored_values"]):
        assert f"{number:,}" in said
    assert f"{found['bits_per_weight']['mask']:.3f} bits a weight" in said


def test_packed_and_compact_are_two_forms(findings, capsys):
    command = f"export {run_of(findings, 'ticket').digest} --packed --compact -o other.safetensors"
    with pytest.raises(SystemExit) as stop:
        cli.main(shlex.split(command))
    assert stop.value.code == 2
    error = capsys.readouterr().err.strip()
    assert "--compact" in error
    assert "--packed" in error
    assert len(error.splitlines()) == 1


# -- what is damaged -----------------------------------------------------------------------------------------------------


def test_another_draw_is_refused(findings, monkeypatch):
    exported(run_of(findings, "rescaled"), "--packed")
    init = NNXNetwork.init_tensor
    monkeypatch.setattr(
        NNXNetwork, "init_tensor", lambda self, path, seed, stream: np.nextafter(init(self, path, seed, stream), np.float32(9))
    )
    with pytest.raises(TombolaError, match="SHA-256") as error:
        load_ticket("file.safetensors")
    assert "\n" not in str(error.value)


DAMAGE = ["[]", "{}", "3", "-1", "null", "{", '[["a"]]', '{"hidden1/kernel": []}', '{"kept": {"name": "nope"}}', '{"kept": {"nope": 1}}']


@pytest.mark.parametrize("key", ["model", "data", "shape", "classes", "seed", "actions", "factors", "leaves", "sha256"])
def test_a_damaged_description_is_one_line(findings, key):
    plain = exported(run_of(findings, "rescaled"))
    exported(run_of(findings, "rescaled"), "--packed")
    tree, metadata = tree_of(), metadata_of()
    if key in ("shape", "classes"):  # as versions wrote it that knew classification alone
        metadata |= {"shape": "[64]", "classes": "10"}
        del metadata["data"]
    less = {name: value for name, value in metadata.items() if name != key}
    for one in (less, *({**metadata, key: value} for value in DAMAGE if value != metadata[key])):
        save(tree, one)
        with pytest.raises(TombolaError) as error:
            load_ticket("damaged.safetensors")
        assert "\n" not in str(error.value)
        assert "damaged.safetensors" in str(error.value)
    save(tree, metadata)
    assert same(load_ticket("damaged.safetensors"), plain)


@pytest.mark.parametrize("arm", ["ticket", "rescaled"])
@pytest.mark.parametrize("change", ["less", "flip", "cut", "float"])
def test_a_damaged_tensor_is_one_line(findings, arm, change):
    exported(run_of(findings, arm), "--packed")
    tree, metadata = tree_of(), metadata_of()
    for name, leaf in tree.items():
        flipped = np.frombuffer(bytes([leaf.tobytes()[0] ^ 1]) + leaf.tobytes()[1:], leaf.dtype)
        other = {"less": None, "flip": flipped, "cut": leaf[:-1].copy(), "float": leaf.astype(np.float64) + 0.5}[change]
        if change == "float" and leaf.dtype == np.uint8:
            other = leaf.astype(np.float64) + 1
        save({one: value for one, value in {**tree, name: other}.items() if value is not None}, metadata)
        with pytest.raises(TombolaError) as error:
            load_ticket("damaged.safetensors")
        assert "\n" not in str(error.value)


@pytest.mark.parametrize("form", ["tombola ticket 2", "tombola packed ticket 2", "something else", None])
def test_a_file_of_no_format_of_ours_is_refused(findings, form):
    exported(run_of(findings, "ticket"), "--packed")
    metadata = {**metadata_of(), "format": form}
    save(tree_of(), {key: value for key, value in metadata.items() if value is not None})
    with pytest.raises(TombolaError, match="tombola export") as error:
        load_ticket("damaged.safetensors")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("count", [30, pytest.param(800, marks=pytest.mark.slow)])
def test_a_forged_file_is_refused_in_one_line_or_loads_to_the_same(findings, count):
    plain = exported(run_of(findings, "rescaled"))
    exported(run_of(findings, "rescaled"), "--packed")
    tree, metadata, source, said = tree_of(), metadata_of(), random.Random(1), []
    for _ in range(count):  # with a seal that fits
        text, place = dict(metadata), source.random()
        key, name = source.choice(["model", "data", "seed", "actions", "factors", "leaves"]), source.choice([*tree])
        text[key] = mutated(metadata[key].encode(), source).decode(errors="replace") if place < 0.7 else metadata[key]
        leaf = tree[name] if place < 0.7 else np.frombuffer(mutated(tree[name].tobytes(), source)[: tree[name].nbytes], np.uint8)
        save({**tree, name: leaf}, text)
        try:
            found = load_ticket("damaged.safetensors")
        except TombolaError as error:
            said.append(str(error))
        else:
            assert same(found, plain)
    assert said
    assert not any("\n" in text for text in said)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"widths": [10**5, 10**5]}, "values do not come from [0-9,]+ bytes"),
        ({"widths": [10**9]}, "description of its network is damaged"),
        ({"widths": [1] * 10_000}, "description of its network is damaged"),
        ({"depth": 10**5}, "description of its network is damaged"),
    ],
)
def test_a_small_file_that_names_a_huge_network_is_refused_at_once(findings, options, words):
    exported(run_of(findings, "rescaled"), "--packed")
    metadata = metadata_of()
    save(tree_of(), {**metadata, "model": json.dumps({**json.loads(metadata["model"]), "options": options})})
    began = time.monotonic()
    with pytest.raises(TombolaError, match=words):
        load_ticket("damaged.safetensors")
    assert time.monotonic() - began < 20


def test_what_would_be_refused_when_it_is_read_is_not_written(findings, folder, monkeypatch, capsys):
    monkeypatch.setattr("tombola.store.compressed.MOST_VALUES", 100)
    monkeypatch.setattr("tombola.store.compressed.MOST_PER_BYTE", 0.01)
    assert cli.main(["export", run_of(findings, "rescaled").digest, "--packed", "-o", "large.safetensors"]) == 2
    assert "export the run without --packed" in capsys.readouterr().err
    assert not (folder / "large.safetensors").exists()


def test_a_pipe_is_no_file(folder):
    os.mkfifo("pipe")
    with pytest.raises(TombolaError, match="pipe is no file"):
        load_ticket("pipe")


# -- the study -----------------------------------------------------------------------------------------------------------


def test_the_study_rebuilds_what_it_packs(findings):
    table = findings.table
    assert (table.rebuilt == 1).all()
    alone = table.arm.isin(("untrained", "rescaled", "signed", "edge_popup"))
    assert (table.stored_values[alone] == 0).all()
    assert (table.stored_values[~alone] > 0).all()
    assert (table.bytes[alone] < table.dense_bytes[alone] / 15).all()
    np.testing.assert_allclose(table.bits_per_weight, 32 * table.bytes / table.dense_bytes)


def test_a_network_that_comes_back_otherwise_counts_as_not_rebuilt(findings, monkeypatch):
    good = compressed.decompress

    def bad(network, one):
        weights, mask = good(network, one)
        path = network.prunable[0]
        return {**weights, path: weights[path] * np.float32(-1)}, mask

    monkeypatch.setattr(compressed, "decompress", bad)
    again = tb.run("zhou2019.compression", "smoke", task="digits-mlp", settings=SETTINGS, store="runs", quiet=True, replicates=1)
    assert (again.table.rebuilt == 0).all()


def table(rebuilt=1.0, stored=0, replicates=8):
    rows = []
    for replicate in range(replicates):
        common = {
            "replicate": replicate,
            "level": 0,
            "density": 1.0,
            "variant": "",
            "dense_bytes": 64_000,
            "acc_final": 0.9,
            "val_acc": 0.9,
        }
        rows.append({**common, "arm": "dense", "bytes": 64_008, "rebuilt": 1.0, "stored_values": 16_000})
        rows += [
            {**common, "arm": arm, "bytes": 1000, "rebuilt": 1.0, "stored_values": 0} for arm in ("untrained", "rescaled", "edge_popup")
        ]
        rows += [{**common, "arm": "signed", "bytes": 2000, "rebuilt": rebuilt, "stored_values": stored}]
    return pd.DataFrame(rows)


def verdict(rows):
    return resolve("zhou2019.compression", task="digits-mlp").judge(rows)[0]


def test_the_claim_is_judged_on_networks_of_seed_and_mask():
    whole = verdict(table())
    assert (whole.verdict, whole.reasons) == ("not judged", ("all 32 networks are rebuilt: checked of each, not estimated",))
    assert verdict(table(rebuilt=0.0)).verdict == "not replicated"
    assert verdict(table(stored=5)).verdict == "not replicated"


def test_the_ratio_of_bytes_is_shown_and_decides_nothing():
    shown = [effect for effect in verdict(table()).effects if "bytes" in effect.name]
    assert shown
    assert not any(effect.judged for effect in shown)
    assert {round(2**effect.mean) for effect in shown} == {64, 32}
