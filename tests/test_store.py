import contextlib
import hashlib
import json
import os
import random
import re
import shutil
import socket
import subprocess
import sys
import threading
import time
from functools import partial

import numpy as np
import pytest

from tombola.core import masks, trees
from tombola.core.errors import TombolaError
from tombola.core.files import write_atomically
from tombola.core.spec import digest_of
from tombola.engine import checkpoints
from tombola.store import disk
from tombola.store.export import load_ticket
from tombola.store.files import dump_tree, load_tree, save_tree
from tombola.store.store import Damaged, Store
from tombola.training.replica import Checkpoint

FILES = {"spec.json": b"{}", "metrics.csv": b"step,val_loss\n0,2.5\n10,nan\n"}
HOST = socket.gethostname()
ABC, ABD = digest_of({}), digest_of({"a": 1})
TREES = {"weights/10it.safetensors": {"a/kernel": np.arange(6, dtype=np.float32).reshape(2, 3)}}


@pytest.fixture
def store(tmp_path):
    store = Store(tmp_path / "runs")
    store.prepare()
    return store


@pytest.mark.parametrize("kind", ["disk", "memory"])
def test_what_is_put_comes_back(kind, tmp_path):
    store = Store(tmp_path) if kind == "disk" else Store()
    store.prepare()
    assert store.claim(ABC)
    assert ABC not in store
    assert (list(store), store.get(ABC).damaged()) == ([], ["manifest.json"])
    store.put(ABC, FILES, TREES)
    store.release([ABC])
    assert not store.in_progress(ABC)
    record = store.get(ABC)
    assert ABC in store
    assert [found.digest for found in store] == [ABC]
    assert trees.equal(record.weights(10), TREES["weights/10it.safetensors"])
    assert record.steps() == {10}
    np.testing.assert_array_equal(record.metrics()["val_loss"], [2.5, np.nan])
    assert record.damaged() == []
    assert not list(tmp_path.glob(".work/*"))
    store.put(ABC, FILES, {**TREES, "weights/20it.safetensors": TREES["weights/10it.safetensors"]})
    assert store.get(ABC).steps() == {10}  # the same run: what is there stays
    store.put(ABC, FILES, {"weights/20it.safetensors": TREES["weights/10it.safetensors"]}, replace=True)
    assert store.get(ABC).steps() == {20}
    store.measurements.put(ABD, {"spec.json": b'{"a": 1}'}, {"found.safetensors": {"a": np.arange(3)}})
    assert store.measurements.get(ABD).found()["a"].tolist() == [0, 1, 2]
    assert ABD not in store
    store.remove(ABC)
    assert (list(store), record.exists()) == ([], False)


def test_scalars_and_orders_survive(tmp_path):
    tree = {"scalar": np.float32(3.0), "fortran": np.asfortranarray(np.arange(6.0).reshape(2, 3)), "empty": np.zeros((0, 2))}
    save_tree(tmp_path / "t.safetensors", tree)
    back, _ = load_tree(tmp_path / "t.safetensors")
    assert back["scalar"].shape == ()
    np.testing.assert_array_equal(back["fortran"], tree["fortran"])
    assert list(back) == sorted(tree)


@pytest.mark.parametrize("name", ["spec.json", "metrics.csv", "weights/10it.safetensors", "manifest.json"])
@pytest.mark.parametrize("how", ["changed", "truncated", "removed"])
def test_a_damaged_file_is_found_and_named(store, name, how):
    store.put(ABC, FILES, TREES)
    path = store.folder / ABC / name
    content = path.read_bytes()
    if how == "removed":
        path.unlink()
    else:
        path.write_bytes(content[: len(content) // 2] if how == "truncated" else content[:-2] + b"?" + content[-1:])
    record = store.get(ABC)
    assert record.damaged() == [name]
    with pytest.raises(Damaged) as error:
        read_everything(record)
    assert error.value.record.digest == ABC
    if name != "manifest.json":
        assert name in str(error.value)


def read_everything(record):
    return record.json("spec"), record.metrics(), record.weights(10)


MADE = {"command": "x", "date": "x", "device": "x", "seconds": 1.0, "versions": {}, "trained_together": 2}
WHOLE = {**FILES, "summary.json": b'{"density": 1.0, "kept": 3, "prunable": 3}', "made.json": json.dumps(MADE).encode()}


@pytest.mark.parametrize(
    ("name", "content"),
    [
        *[
            ("manifest.json", one)
            for one in (b"[]", b"3", b"null", b'{"spec.json": 3}', b"[" * 100_000, b'{"../abc": "0"}', b'{"/etc/hosts": "0"}')
        ],
        *[("summary.json", one) for one in (b"", b"[]", b"{}", b'{"density": "x", "kept": 3, "prunable": 3}')],
        *[("made.json", json.dumps({**MADE, **one}).encode()) for one in ({"seconds": "x"}, {"trained_together": 0}, {"versions": []})],
        *[
            ("metrics.csv", one)
            for one in (b"", b"step,val_loss\n", b"a,b\n1,2\n", b"step,val_loss\n1\n2,3,4\n", b"step,val_loss\n1,x\n", b"\xff")
        ],
        *[("weights/10it.safetensors", one) for one in (b"", b"\xff" * 99)],
        *[("mask.safetensors", one) for one in (b"", dump_tree({"a": np.zeros(1, np.uint8)}))],
    ],
)
def test_files_that_fit_their_checksum_but_make_no_sense_are_damaged(name, content, store):
    mask = {"mask.safetensors": masks.pack({"a": np.ones(9, bool)})}
    store.put(
        ABC,
        {**WHOLE, **({name: content} if name != "manifest.json" else {})},
        {path: one for path, one in (TREES | mask).items() if path != name},
    )
    if name == "manifest.json":
        (store.folder / ABC / name).write_bytes(content)
    record = store.get(ABC)
    with pytest.raises(Damaged, match=re.escape(name)) as error:
        (read_everything(record), record.json("summary"), record.json("made"), record.mask({"a": (9,)}))
    assert "\n" not in str(error.value)


def test_another_records_folder_is_not_taken_for_it(store):
    spec = b'{"a": 1}'
    store.put(ABC, WHOLE, TREES)
    store.put(ABD, {**WHOLE, "spec.json": spec}, TREES)
    assert store.get(ABC).damaged() == store.get(ABD).damaged() == []
    shutil.rmtree(store.folder / ABC)
    shutil.copytree(store.folder / ABD, store.folder / ABC)
    assert store.get(ABC).damaged() == ["spec.json"]
    with pytest.raises(Damaged, match=f"{ABC}/spec.json is damaged"):
        store.get(ABC).metrics()


def test_what_others_leave_in_a_store_is_not_ours(store):
    store.put(ABC, WHOLE, TREES)
    for name in (
        "._x",
        f"._{ABC}/manifest.json",
        f"{ABC}/weights/._10it.safetensors",
        f"{ABC}/weights/20it.safetensors",
        f"{ABC}/.DS_Store",
    ):
        write_atomically(store.folder / name, b"stray")
    record = store.get(ABC)
    assert (record.steps(), record.damaged(), [one.digest for one in store]) == ({10}, [], [ABC])


def test_what_killed_processes_left_is_swept_and_what_others_write_is_not(store, monkeypatch):
    now = time.time
    monkeypatch.setattr(time, "time", lambda: now() + 1e6)  # this machine's clock is not asked
    dead, alive, far, old = (
        f".{name}~{host}~{pid}~{'0' * 8}"
        for name, host, pid in (
            ("dead", HOST, 999_999_999),
            ("alive", HOST, os.getppid()),
            ("far", "elsewhere", 1),
            ("old", "elsewhere", 1),
        )
    )
    for folder in (store.folder, store.folder / ".work", store.folder / "networks", store.folder / "probes" / ".work"):
        for name in (dead, alive, far, old, ".hidden", "plain"):
            (folder / name).mkdir(parents=True)
            (folder / name / "part").touch()
        os.utime(folder / old, (0, 0))
    store.prepare()
    for folder in (store.folder, store.folder / ".work", store.folder / "networks", store.folder / "probes" / ".work"):
        assert [name for name in (dead, alive, far, old, ".hidden", "plain") if (folder / name).exists()] == [
            alive,
            far,
            ".hidden",
            "plain",
        ]


def test_the_next_write_of_a_file_sweeps_its_drafts(tmp_path):
    code = "import os, sys; from tombola.core import files as f; os.replace = lambda *_: os._exit(9); "
    code += "f.write_atomically(f.Path(sys.argv[1]), b'x')"
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "page.html")], check=False)
    (draft,) = tmp_path.iterdir()
    assert draft.name.startswith(".page.html~")
    write_atomically(tmp_path / "other", b"x")
    assert draft.exists()
    write_atomically(tmp_path / "page.html", b"x")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["other", "page.html"]


def test_a_write_that_dies_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "f"
    write_atomically(path, b"old")
    monkeypatch.setattr(os, "replace", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old"


def test_a_second_put_of_the_same_run_is_harmless(store):
    store.put(ABC, FILES, TREES)
    store.put(ABC, FILES, TREES)
    assert store.get(ABC).damaged() == []


def test_find_takes_a_unique_beginning(store):
    store.put("abc", FILES, TREES)
    store.put("abd", FILES, TREES)
    assert store.find("abc").digest == "abc"
    for text, words in (("ab", "several"), ("x", "there is none"), ("", "several")):
        with pytest.raises(TombolaError, match=words):
            store.find(text)


def test_a_store_that_cannot_be_written_is_one_line(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(TombolaError, match="--store DIR"):
        Store(tmp_path / "file").prepare()


# -- claims of two processes -------------------------------------------------------------------------------------------


def test_a_claim_keeps_others_off_until_it_is_released(store):
    other = Store(store.folder)
    assert store.claim("abc")
    assert not other.claim("abc")
    assert store.in_progress("abc")
    store.release(["abc"])
    assert other.claim("abc")


def test_the_claim_of_a_dead_process_is_taken_over(store):
    code = "import sys; from tombola.store.store import Store; assert Store(sys.argv[1]).claim('abc')"
    subprocess.run([sys.executable, "-c", code, str(store.folder)], check=True)
    assert (store.folder / ".work" / "abc.claim").exists()
    assert store.claim("abc")


def test_a_claim_of_another_host_is_taken_over_when_it_is_stale(store, monkeypatch):
    path = store.folder / ".work" / "abc.claim"
    write_atomically(path, b"elsewhere:1:x")
    assert not store.claim("abc")
    old = time.time() - disk.STALE_SECONDS - 1
    os.utime(path, (old, old))
    store.renew(["abc"])
    assert not store.claim("abc")
    os.utime(path, (old, old))
    assert store.claim("abc")


def test_of_many_that_claim_one_wins(store):
    stores = [Store(store.folder) for _ in range(8)]
    for digest in map(str, range(20)):
        won = []
        threads = [threading.Thread(target=lambda s=s, d=digest, w=won: w.append(s.claim(d))) for s in stores]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sum(won) == 1


def test_who_saw_a_dead_claim_does_not_take_away_the_living_one_in_its_place(store, monkeypatch):
    late, quick = Store(store.folder), Store(store.folder)
    claim = store.folder / ".work" / "abc.claim"
    write_atomically(claim, b"elsewhere:1:x")
    os.utime(claim, (0, 0))
    assert quick.claim("abc")
    look, looks = late.files._state, []
    monkeypatch.setattr(late.files, "_state", lambda path: looks.append(path) or (look(path) if len(looks) > 1 else "dead"))
    assert not late.claim("abc")
    assert len(looks) == 2
    late.release(["abc"])  # it is not its own
    assert store.in_progress("abc")
    assert quick.claim("abc")


def test_a_dead_claim_is_taken_over_by_one_of_many(store):
    for digest in map(str, range(60)):
        claim = store.folder / ".work" / f"{digest}.claim"
        write_atomically(claim, b"elsewhere:1:x")
        os.utime(claim, (0, 0))
        won = []
        threads = [
            threading.Thread(target=lambda s=s, d=digest, w=won: w.append(s.claim(d))) for s in [Store(store.folder) for _ in range(6)]
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sum(won) == 1


@pytest.mark.parametrize("content", [b"", b"hello", b"\xff\xfe", b"a:b:c", b"{host}:-1:x", b"{host}:" + b"9" * 30 + b":x", None])
def test_what_is_no_claim_is_taken_over(content, store):
    claim = store.folder / ".work" / "abc.claim"
    if content is None:
        (claim / "sub").mkdir(parents=True)
    else:
        write_atomically(claim, content.replace(b"{host}", socket.gethostname().encode()))
    os.utime(claim, (0, 0))
    assert not store.in_progress("abc")
    assert store.claim("abc")
    assert not Store(store.folder).claim("abc")


def test_a_claim_dated_in_the_future_counts_from_now_on(store):
    claim = store.folder / ".work" / "abc.claim"
    write_atomically(claim, b"elsewhere:1:x")
    year = time.time() + 3e7
    os.utime(claim, (year, year))
    assert not store.claim("abc")
    aged(claim)
    assert store.claim("abc")


def aged(claim):
    """As if nobody had renewed it for a little too long since its date."""
    then = claim.stat().st_mtime - disk.STALE_SECONDS - 1
    os.utime(claim, (then, then))


@pytest.mark.parametrize("wrong", [-1e6, 1e6])
def test_this_machines_clock_is_not_asked_for_a_claims_age(wrong, store, monkeypatch):
    claim, now = store.folder / ".work" / "abc.claim", time.time
    write_atomically(claim, b"elsewhere:1:x")
    monkeypatch.setattr(time, "time", lambda: now() + wrong)
    assert not store.claim("abc")
    aged(claim)
    assert store.claim("abc")


# -- who is at what ----------------------------------------------------------------------------------------------------


def held(store, closely=True):
    return store.files.holders(store.files.work().claimed, closely)


def test_one_listing_shows_what_is_in_progress(store):
    assert store.files.work() == (set(), set())
    assert store.claim("abc")
    store.files.write(store.files.checkpoint("abd"), b"")
    work = store.files.work()
    assert work == ({"abc"}, {"abd"})
    assert held(store) == {"abc": f"{HOST}:{os.getpid()}"}
    store.release(["abc"])
    assert held(store) == {}


def test_who_is_at_a_run_is_read_once_and_its_age_looked_at_once_a_minute(store, monkeypatch):
    claim, now, reads = store.folder / ".work" / "abc.claim", [0.0], []
    write_atomically(claim, b"elsewhere:7:x")
    original = store.files._reads
    monkeypatch.setattr(store.files, "_reads", lambda path: reads.append(path) or original(path))
    monkeypatch.setattr(disk.time, "monotonic", lambda: now[0])
    assert held(store, closely=False) == {"abc": ""}
    assert reads == []
    assert held(store) == {"abc": "elsewhere:7"}
    aged(claim)
    assert held(store) == {"abc": "elsewhere:7"}
    assert len(reads) == 1
    now[0] = 61.0
    assert held(store) == held(store, closely=False) == {}
    assert len(reads) == 2
    assert Store(store.folder).claim("abc")
    assert not store.claim("abc")  # who thought it free learns that it is not
    assert held(store, closely=False) == {"abc": ""}


def test_a_process_of_this_machine_that_ended_holds_nothing(store):
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    write_atomically(store.folder / ".work" / "abc.claim", f"{HOST}:{ended.pid}:x".encode())
    write_atomically(store.folder / ".work" / "abd.claim", b"elsewhere:1:x")
    assert held(store) == {"abd": "elsewhere:1"}


# -- checkpoints and tickets -------------------------------------------------------------------------------------------


def test_a_checkpoint_comes_back_bitwise(store):
    point = Checkpoint(
        30,
        (np.float32(np.nan), np.arange(3, dtype=np.int32), np.ones((2, 2), np.float32)),
        ((0.0, 2.5, 0.1, np.nan, np.nan), (10.0, 1 / 3, 0.2, 0.3, 0.4)),
        {10: {"hidden1/kernel": np.ones((2, 2), np.float32)}},
    )
    checkpoints.save(store, "abc", point)
    back = checkpoints.load(store, "abc")
    assert checkpoints.iteration(store, "abc", pytest.fail) == back.iteration == 30
    assert [leaf.tobytes() for leaf in back.state] == [np.asarray(leaf).tobytes() for leaf in point.state]
    assert np.array_equal(back.rows, point.rows, equal_nan=True)
    assert trees.equal(back.snapshots[10], point.snapshots[10])


def test_a_checkpoint_that_is_missing_damaged_or_of_other_versions_is_none(store, monkeypatch):
    assert checkpoints.load(store, "abc") is checkpoints.iteration(store, "abc", pytest.fail) is None
    checkpoints.save(store, "abc", Checkpoint(1, (np.zeros(2),), ((0.0,) * 5,), {}))
    monkeypatch.setattr(checkpoints, "_versions", lambda: "jax-0")
    assert checkpoints.load(store, "abc") is checkpoints.iteration(store, "abc", pytest.fail) is None
    monkeypatch.undo()


def mutated(content, random):
    """The content with one kind of damage: a bit, a byte, a piece that is cut out, doubled, or swapped with another."""
    place, size = random.randrange(len(content)), random.randrange(1, 40)
    other = random.randrange(len(content))
    piece = content[place : place + size]
    return random.choice(
        [
            content[:place] + bytes([content[place] ^ 1 << random.randrange(8)]) + content[place + 1 :],
            content[:place] + random.randbytes(1) + content[place + 1 :],
            content[:place],
            content[:place] + content[place + size :],
            content[:place] + piece + content[place:],
            content[:other] + piece + content[other + len(piece) :],
        ]
    )


MUTATIONS = [100, pytest.param(2000, marks=pytest.mark.slow)]


@pytest.mark.parametrize("count", MUTATIONS)
def test_a_damaged_checkpoint_is_named_and_taken_away_or_makes_no_difference(store, count):
    path, source = store.folder / store.files.checkpoint("abc"), random.Random(5)
    point = Checkpoint(7, (np.arange(6.0, dtype=np.float32), np.int32(3)), ((0.0, 1.0, 0.5, np.nan, np.nan),), {7: {"a": np.ones(3)}})
    checkpoints.save(store, "abc", point)
    whole, refused = path.read_bytes(), 0
    for _ in range(count):
        path.write_bytes(mutated(whole, source))
        said = []
        found = checkpoints.iteration(store, "abc", said.append)
        if said:
            refused += 1
            assert found is None
            assert str(path) in said[0]
            assert not path.exists()
        elif found is not None:
            back = checkpoints.load(store, "abc")
            assert (found, [leaf.tobytes() for leaf in back.state]) == (7, [leaf.tobytes() for leaf in map(np.asarray, point.state)])
    assert refused > 2 / 3 * count


@pytest.mark.slow
@pytest.mark.parametrize("count", MUTATIONS)
def test_a_damaged_kept_kernel_is_not_used(tmp_path, count):
    from tombola.kernels import native

    library, source = tmp_path / "rows-0.so", random.Random(7)
    library.write_bytes(bytes(range(256)) * 4)
    seal = native._seal(library)
    seal.write_text(hashlib.sha256(library.read_bytes()).hexdigest())
    assert native._sound(library)
    for path in (library, seal):
        whole = path.read_bytes()
        for _ in range(count // 2):
            path.write_bytes(mutated(whole, source))
            assert native._sound(library) == (path.read_bytes() == whole)
        path.write_bytes(whole)


@pytest.mark.slow
@pytest.mark.parametrize("count", MUTATIONS)
def test_a_damaged_description_of_a_network_is_as_none(tmp_path, count):
    store, source, described = Store(tmp_path), random.Random(8), {"layers": [["hidden1", 600]], "inputs": {"shape": [8, 8]}}
    store.prepare()
    summary = {"density": 1.0, "kept": 3, "prunable": 3, "network": store.put_network(described)}
    store.put(ABC, {**WHOLE, "summary.json": json.dumps(summary).encode()}, TREES)
    assert store.get(ABC).network() == described
    (path,) = (tmp_path / "networks").iterdir()
    whole = path.read_bytes()
    for _ in range(count):
        path.write_bytes(mutated(whole, source))
        assert store.get(ABC).network() == (described if path.read_bytes() == whole else None)


@pytest.mark.slow
@pytest.mark.parametrize("count", MUTATIONS)
def test_a_damaged_ticket_is_refused_or_makes_no_difference(tmp_path, count):
    path, source = tmp_path / "t.safetensors", random.Random(6)
    weights = {"a/kernel": np.arange(6, dtype=np.float32).reshape(2, 3), "a/bias": np.ones(3, np.float32)}
    save_tree(path, {**weights, "a/kernel.mask": np.packbits(np.array([[True, False, True], [False, True, True]]))}, {"run": "abc"})
    (wanted, mask), whole, refused = load_ticket(path), path.read_bytes(), 0
    for _ in range(count):
        path.write_bytes(mutated(whole, source))
        try:
            found, kept = load_ticket(path)
        except TombolaError:
            refused += 1
        else:
            assert trees.equal(found, wanted)
            assert trees.equal(kept, mask)
    assert refused > 2 / 3 * count


@pytest.mark.slow
@pytest.mark.parametrize("count", MUTATIONS)
def test_a_forged_ticket_loads_or_is_refused_in_one_line(tmp_path, count):
    path, source = tmp_path / "t.safetensors", random.Random(7)
    tree, said = {"a/kernel": np.arange(6, dtype=np.float32).reshape(2, 3), "a/kernel.mask": np.uint8([255])}, []
    for _ in range(count):  # with a seal that fits
        name = source.choice([*tree])
        forged = {**tree, mutated(name.encode(), source).decode(errors="replace"): tree[name]}
        forged[name] = source.choice(
            [forged[name][:1], forged[name].astype(source.choice(["f8", "i4", "u1", "?"])), forged[name].reshape(-1)]
        )
        save_tree(path, forged, {"format": mutated(b"tombola ticket 1", source).decode(errors="replace")} if source.random() < 0.2 else {})
        try:
            weights, mask = load_ticket(path)
        except TombolaError as error:
            said.append(str(error))
        else:
            assert all(leaf.shape == weights[name].shape for name, leaf in mask.items())
    assert said
    assert not any("\n" in text for text in said)


@pytest.mark.parametrize("count", MUTATIONS)
def test_what_is_stored_under_a_checksum_that_fits_is_read_or_named(count):
    source, store = random.Random(8), Store()
    shapes = {"a": (9,)}
    files = {
        **WHOLE,
        "mask.safetensors": dump_tree(masks.pack({"a": np.ones(9, bool)})),
        **{name: dump_tree(one) for name, one in TREES.items()},
    }
    for _ in range(count):
        name = source.choice([*files])
        store.put(ABC, {**files, name: mutated(files[name], source)}, {}, replace=True)
        record = store.get(ABC)
        for read in (
            *(partial(record.json, part) for part in ("spec", "summary", "made")),
            record.metrics,
            record.contents,
        ):
            with contextlib.suppress(Damaged):
                read()
        with contextlib.suppress(Damaged):
            assert record.mask(shapes)["a"].shape == (9,)
        with contextlib.suppress(Damaged):
            assert all(leaf.dtype.kind in "fiub" for leaf in record.weights(10).values())


@pytest.mark.slow
@pytest.mark.parametrize("count", MUTATIONS)
def test_whatever_a_claim_holds_it_is_one_or_is_taken_over(count, store):
    source, claim = random.Random(9), store.folder / ".work" / "abc.claim"
    whole = f"{HOST}:{os.getpid()}:0123abcd".encode()
    for _ in range(count):
        write_atomically(claim, mutated(whole, source))
        os.utime(claim, (0, 0))
        assert not store.in_progress("abc")
        assert store.claim("abc")
        store.release(["abc"])


def test_a_ticket_file_holds_weights_and_packed_mask(tmp_path):
    mask = np.array([[True, False, True], [False, True, True]])
    weights = {"a/kernel": np.arange(6, dtype=np.float32).reshape(2, 3), "a/bias": np.ones(3, np.float32)}
    save_tree(tmp_path / "t.safetensors", {**weights, "a/kernel.mask": np.packbits(mask)})
    found, masks = load_ticket(tmp_path / "t.safetensors")
    assert trees.equal(found, weights)
    np.testing.assert_array_equal(masks["a/kernel"], mask)
    assert json.dumps(sorted(found)) == '["a/bias", "a/kernel"]'
