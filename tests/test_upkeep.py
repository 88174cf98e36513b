"""A store as a whole: its size, its checksums, two joined, one file; and two runs compared."""

import json
import shutil
import zipfile

import numpy as np
import pytest

from tombola.core import masks, trees
from tombola.core.errors import TombolaError
from tombola.core.spec import digest_of
from tombola.engine import upkeep as engine
from tombola.store import upkeep
from tombola.store.difference import difference
from tombola.store.files import dump_json
from tombola.store.packed import pack
from tombola.store.places import note, study_files
from tombola.store.store import Damaged, Store

MADE = {"command": "x", "date": "x", "device": "x", "seconds": 1.0, "versions": {}, "trained_together": 1}
NETWORK = {
    "shapes": {"a/kernel": [2, 3]},
    "layers": [{"name": "a", "kind": "linear", "paths": ["a/kernel"], "prunable": ["a/kernel"], "block": ""}],
    "trainable": ["a/kernel"],
    "trained": ["a/kernel"],
    "steps_per_epoch": 5,
}
KERNEL = np.array([[3, 4, 0], [0, 0, 0]], np.float32)


def spec_of(seed, name="digits"):
    return {"seed": seed, "task": {"data": {"name": name}, "model": {"name": "mlp"}}}


def packed_at(path, store):
    """The store as one file."""
    pack(path, {name: (store.folder / name).read_bytes for name in store.files.sizes()})


def put(store, seed=1, losses=(2.5, 1.5), steps=(10,), kernel=KERNEL, mask=(True,) * 6, name="digits"):
    """A run of a task, of which everything is known."""
    network = store.put_network(NETWORK)
    files = {
        "spec.json": dump_json(spec_of(seed, name)),
        "metrics.csv": "".join(["step,val_loss\n", *(f"{10 * at},{loss}\n" for at, loss in enumerate(losses))]).encode(),
        "summary.json": dump_json({"density": 1.0, "kept": 6, "prunable": 6, "network": network}),
        "made.json": dump_json(MADE),
    }
    kept = {"mask.safetensors": masks.pack({"a/kernel": np.array(mask).reshape(2, 3)})}
    digest = digest_of(spec_of(seed, name))
    store.put(digest, files, {**kept, **{f"weights/{step}it.safetensors": {"a/kernel": kernel} for step in steps}}, replace=True)
    return digest


@pytest.fixture
def store(tmp_path):
    found = Store(tmp_path / "runs")
    found.prepare()
    return found


def test_sizes_are_those_of_the_files(store):
    put(store), put(store, 2), put(store, 3, name="cifar10", steps=(0, 10))
    store.measurements.put(digest_of({"a": 1}), {"spec.json": b'{"a": 1}'}, {"found.safetensors": {"a": np.arange(3)}})
    (store.folder / ".work" / "abc.checkpoint.safetensors").write_bytes(b"123")
    found = upkeep.kinds(store)
    assert {kind: one.files for kind, one in found.items()} == {
        "in progress": 1,
        "measurements": 3,
        "descriptions of networks": 1,
        "weights": 4,
        "masks": 3,
        "metrics and descriptions": 15,
    }
    assert found["in progress"].bytes == 3
    on_disk = [path.stat().st_size for path in store.folder.rglob("*") if path.is_file()]
    assert sum(one.bytes for one in found.values()) == sum(on_disk)
    tasks = upkeep.tasks(store)
    assert {task: one.files for task, one in tasks.items()} == {"digits/mlp": 2, "cifar10/mlp": 1}
    run = store.folder / digest_of(spec_of(3, "cifar10"))
    assert tasks["cifar10/mlp"].bytes == sum(path.stat().st_size for path in run.rglob("*") if path.is_file())


def test_damage_is_found_wherever_it_is(store):
    sound, broken = put(store), put(store, 2)
    store.given.put(digest_of({"a": 1}), {"spec.json": b'{"a": 1}'}, {"weights/0it.safetensors": {"a": np.arange(3)}})
    assert {kind: files for kind, _, files in upkeep.verify(store)} == {"run": [], "given": [], "network": []}
    (store.folder / broken / "weights" / "10it.safetensors").write_bytes(b"?")
    (store.folder / "given" / digest_of({"a": 1}) / "manifest.json").write_bytes(b"?")
    (network,) = (store.folder / "networks").iterdir()
    network.write_bytes(b"?")
    assert {(kind, name): files for kind, name, files in upkeep.verify(store)} == {
        ("run", sound): [],
        ("run", broken): ["weights/10it.safetensors"],
        ("given", digest_of({"a": 1})): ["manifest.json"],
        ("network", network.stem): [f"networks/{network.name}"],
    }


def test_two_stores_become_one(store, tmp_path):
    other = Store(tmp_path / "other")
    other.prepare()
    put(store, 1, steps=(10,)), put(other, 1, steps=(0, 10))  # the other kept more of the same run
    put(store, 2), put(other, 2)
    put(other, 3)
    mine = put(store, 4, losses=(2.5, 1.5))
    put(other, 4, losses=(2.5, 1.25), steps=(0, 10), kernel=KERNEL + 1)  # made on another processor
    broken, mended = put(other, 5), put(store, 6)
    put(other, 6)
    (other.folder / broken / "metrics.csv").write_bytes(b"?")
    (store.folder / mended / "metrics.csv").write_bytes(b"?")
    other.measurements.put(digest_of({"a": 1}), {"spec.json": b'{"a": 1}'}, {"found.safetensors": {"a": np.arange(3)}})
    note(other, "frankle2019.sparsity", "digits-mlp", "abc", [], 'study = "frankle2019.sparsity"')
    for _ in range(2):
        became = {(kind, digest): word for kind, digest, word in upkeep.merge(store, other)}
        words = [became["run", digest_of(spec_of(seed))] for seed in (1, 2, 3, 4, 5, 6)]
        if not _:
            assert words == ["more", "same", "new", "differs", "damaged", "new"]
            assert became["measurement", digest_of({"a": 1})] == "new"
    assert words == ["same", "same", "same", "differs", "damaged", "same"]
    assert study_files(store) == {"abc": 'study = "frankle2019.sparsity"'}
    assert store.get(digest_of(spec_of(1))).steps() == {0, 10}
    assert store.get(mine).steps() == {10}
    assert store.get(mine).metrics()["val_loss"].tolist() == [2.5, 1.5]
    assert {record.digest for record in store} == {digest_of(spec_of(seed)) for seed in (1, 2, 3, 4, 6)}
    assert all(not files for *_, files in upkeep.verify(store))
    assert store.get(digest_of(spec_of(3))).network() == NETWORK


def test_a_packed_store_is_read_in_place_and_not_written(store, tmp_path):
    digest = put(store)
    store.measurements.put(digest_of({"a": 1}), {"spec.json": b'{"a": 1}'}, {"found.safetensors": {"a": np.arange(3)}})
    for name in ("one.zip", "two.zip"):
        packed_at(tmp_path / name, store)
    assert (tmp_path / "one.zip").read_bytes() == (tmp_path / "two.zip").read_bytes()
    packed = Store(tmp_path / "one.zip")
    assert [record.digest for record in packed] == [digest]
    assert packed.files.sizes() == store.files.sizes()
    record = packed.get(digest)
    assert trees.equal(record.weights(10), {"a/kernel": KERNEL})
    assert (record.network(), record.steps(), record.damaged()) == (NETWORK, {10}, [])
    assert packed.measurements.get(digest_of({"a": 1})).found()["a"].tolist() == [0, 1, 2]
    assert (digest in packed, packed.in_progress(digest)) == (True, False)
    for use in (packed.prepare, lambda: packed.claim(digest), lambda: packed.remove(digest), lambda: put(packed, 2)):
        with pytest.raises(TombolaError, match=r"only read; `tombola store merge .*one.zip --store DIR`"):
            use()


def test_damage_in_a_packed_store_is_named(store, tmp_path):
    digest = put(store)
    packed_at(tmp_path / "p.zip", store)
    content = (tmp_path / "p.zip").read_bytes()
    place = content.index(np.float32(3).tobytes())
    (tmp_path / "p.zip").write_bytes(content[:place] + b"?" + content[place + 1 :])
    packed = Store(tmp_path / "p.zip")
    assert packed.get(digest).damaged() == ["weights/10it.safetensors"]
    with pytest.raises(Damaged):
        packed.get(digest).weights(10)


def test_what_is_no_archive_is_no_store(tmp_path):
    (tmp_path / "file").write_bytes(b"PK nothing")
    with pytest.raises(TombolaError, match="is a file, but a folder is needed"):
        Store(tmp_path / "file")


def test_differences_of_two_runs_are_those_worked_out_by_hand(store):
    a = put(store, 1, losses=(2.5, 1.5, "nan"), steps=(0, 10), mask=(True, True, True, False, False, False))
    other = np.array([[8, 6, 0], [0, 0, 0]], np.float32)
    b = put(store, 2, losses=(2.5, 1.0, "nan"), steps=(10, 20), kernel=other, mask=(True, True, False, True, False, False))
    found = difference(store.get(a), store.get(b))
    assert found["runs"] == [a, b]
    assert found["description"] == [{"field": "seed", "a": 1, "b": 2}]
    assert found["curves"] == [
        {"column": "val_loss", "evaluations": 3, "differ": 1, "first": 10, "largest": 0.5, "at": 10, "a": None, "b": None}
    ]
    (weights,) = found[
        "weights"
    ]  # of the one step that both kept: |(3, 4) - (8, 6)| = sqrt 29, |(3, 4)| = 5, |(8, 6)| = 10, (3, 4) (8, 6) = 48
    assert (weights["step"], weights["leaf"], weights["values"], weights["differ"], weights["largest"]) == (10, "a/kernel", 6, 2, 5)
    assert weights["relative"] == pytest.approx(29**0.5 / 5)
    assert weights["cosine"] == pytest.approx(48 / 50)
    assert found["masks"] == [{"leaf": "a/kernel", "a": 3, "b": 3, "both": 2, "overlap": 0.5}]
    same = difference(store.get(a), store.get(a))
    assert same["description"] == []
    assert {one["differ"] for one in same["curves"] + same["weights"]} == {0}
    json.dumps(found, allow_nan=False)


def test_leaves_of_other_shapes_are_named(store):
    a, b = put(store, 1), put(store, 2, kernel=KERNEL.T)
    found = difference(store.get(a), store.get(b))
    assert (found["weights"], found["leaves"]) == ([], ["a/kernel"])


def test_what_nobody_needs_goes_and_the_rest_stays(store):
    needed, other = put(store, 1, steps=(0, 10, 20)), put(store, 2)
    for kind, digest in (("measurements", "1"), ("given", "2")):
        getattr(store, kind).put(digest_of({kind: digest}), {"spec.json": json.dumps({kind: digest}).encode()}, {"x.safetensors": KERNELS})
    stray = store.folder / ".work" / f"{other}.checkpoint.safetensors"
    own = store.folder / ".work" / f"{needed}.checkpoint.safetensors"
    stray.write_bytes(b"12345"), own.write_bytes(b"1")
    lonely = store.put_network({**NETWORK, "steps_per_epoch": 6})
    needs = engine.Needed({needed: {10}}, set(), {digest_of({"given": "2"})})
    what = engine.superfluous(store, needs)
    assert [*what.records] == [("run", other), ("measurement", digest_of({"measurements": "1"}))]
    assert {digest: [*files] for digest, files in what.weights.items()} == {needed: ["weights/0it.safetensors", "weights/20it.safetensors"]}
    assert {*what.files} == {f"networks/{lonely}.json", f".work/{other}.checkpoint.safetensors"}
    before = sum(store.files.sizes().values())
    manifest = store.folder / needed / "manifest.json"
    size = manifest.stat().st_size
    assert engine.prune(store, what) == []
    assert before - sum(store.files.sizes().values()) == what.bytes + size - manifest.stat().st_size
    assert ([record.digest for record in store], store.get(needed).steps()) == ([needed], {10})
    assert (own.exists(), stray.exists()) == (True, False)
    assert len(list(store.given)) == 1
    assert all(not files for *_, files in upkeep.verify(store))
    assert engine.superfluous(store, needs).bytes == 0


KERNELS = {"a/kernel": KERNEL}


def test_what_a_process_works_on_is_not_taken_away(store):
    other = put(store, 2)
    what = engine.superfluous(store, engine.Needed({}, set(), set()))
    assert store.claim(other)
    with pytest.raises(TombolaError, match=f"{other} is being computed for a study that was not named"):
        engine.prune(store, what)
    assert other in store


def test_a_damaged_run_keeps_its_weights(store):
    digest = put(store, 1, steps=(0, 10))
    (store.folder / digest / "metrics.csv").write_bytes(b"?")
    assert engine.prune(store, engine.superfluous(store, engine.Needed({digest: {10}}, set(), set()))) == [digest]
    assert (store.folder / digest / "weights" / "0it.safetensors").exists()


def test_an_archive_has_what_anybody_can_unpack(store, tmp_path):
    put(store)
    packed_at(tmp_path / "p.zip", store)
    zipfile.ZipFile(tmp_path / "p.zip").extractall(tmp_path / "again")
    assert [record.damaged() for record in Store(tmp_path / "again")] == [[]]
    shutil.rmtree(tmp_path / "again")
