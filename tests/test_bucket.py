"""A store in an object store: claims by conditional writes, the manifest last. On one in memory; `docs/store.md` says what to know."""

import re
import shlex
import sys

import numpy as np
import pytest

from tombola import cli
from tombola.core.errors import TombolaError
from tombola.engine import checkpoints
from tombola.store import bucket
from tombola.store.bucket import Bucket
from tombola.store.store import Store
from tombola.training.replica import Checkpoint

FILES = {"spec.json": b"{}", "manifest.json": b"{}", "weights/1it.safetensors": b"w"}


@pytest.fixture
def objects():
    pytest.importorskip("obstore")
    from obstore.store import MemoryStore

    return MemoryStore()


def tag(objects):
    import obstore

    return obstore.head(objects, ".work/abc.claim")


@pytest.fixture
def two(objects):
    """One store, as two processes have it."""
    return Bucket("s3://lab/runs", objects), Bucket("s3://lab/runs", objects)


def test_rooms_and_records_are_told_apart(two):
    one, other = two
    one.prepare()
    assert (one.sizes(), one.records(), one.names()) == ({}, [], [])
    one.put("abc", FILES, False)
    one.room("probes").put("def", FILES, False)
    assert other.records() == ["abc"]
    assert other.room("probes").records() == ["def"]
    assert sorted(other.names()) == ["abc", "probes"]
    assert sorted(other.names("abc")) == ["manifest.json", "spec.json", "weights"]
    assert other.sizes() == {f"{where}/{name}": len(FILES[name]) for where in ("abc", "probes/def") for name in FILES}
    assert (other.has("abc/spec.json"), other.has("abc/other"), other.has("abc")) == (True, False, False)
    with pytest.raises(FileNotFoundError, match="s3://lab/runs/abc/other"):
        other.read("abc/other")
    other.put("abc", {**FILES, "spec.json": b"other"}, False)  # what is there stays
    assert one.read("abc/spec.json") == b"{}"
    other.put("abc", {"spec.json": b"other", "manifest.json": b"{}"}, True)
    assert (one.read("abc/spec.json"), sorted(one.names("abc"))) == (b"other", ["manifest.json", "spec.json"])
    other.remove("abc")
    assert one.records() == one.names("abc") == []


def test_the_manifest_is_written_last_and_goes_first(two, monkeypatch):
    one, other = two
    seen, put, delete = [], Bucket._put, Bucket._delete
    monkeypatch.setattr(Bucket, "_put", lambda self, name, *rest, **how: (put(self, name, *rest, **how), seen.append(other.records()))[0])
    one.put("abc", FILES, False)
    assert seen == [[], [], ["abc"]]
    monkeypatch.setattr(Bucket, "_delete", lambda self, names: (delete(self, names), seen.append(other.records()))[0])
    del seen[:]
    one.remove("abc")
    assert seen == [[], []]


def test_who_takes_over_goes_on_from_the_checkpoint(two):
    one, other = (Store(files=files) for files in two)
    assert checkpoints.load(other, "abc") is None
    checkpoints.save(one, "abc", Checkpoint(30, (np.arange(3),), ((0.0, 2.5),), {10: {"a": np.ones(2)}}))
    assert other.files.work() == (set(), {"abc"})
    assert other.in_progress("abc")
    found = checkpoints.load(other, "abc")
    assert (found.iteration, found.rows, found.state[0].tolist()) == (30, ((0.0, 2.5),), [0, 1, 2])
    checkpoints.remove(other, "abc")
    assert not one.in_progress("abc")


def test_of_two_that_claim_one_has_it_until_it_is_given_back(two):
    one, other = two
    assert one.claim("abc")
    assert (one.claim("abc"), other.claim("abc"), other.claimed("abc"), other.work().claimed) == (True, False, True, {"abc"})
    holder = one._holder.rpartition(":")[0]
    assert other.holders(["abc", "def"]) == {"abc": holder}
    assert other.holders(["abc"], closely=False) == {"abc": ""}
    other.release(["abc"])  # it is not its own
    assert one.claimed("abc")
    one.release(["abc"])
    assert (other.claimed("abc"), other.claim("abc"), one.claim("abc")) == (False, True, False)


def test_a_claim_that_is_not_renewed_is_taken_over_by_one(two, objects, monkeypatch):
    one, other = two
    third = Bucket("s3://lab/runs", objects)
    assert one.claim("abc")
    before = tag(objects)
    monkeypatch.setattr(bucket, "STALE_SECONDS", 0.0)
    head = third._head
    monkeypatch.setattr(third, "_head", lambda name: before if name.endswith("abc.claim") else head(name))  # it looked before the other
    assert other.claim("abc")
    assert not third.claim("abc")
    monkeypatch.setattr(bucket, "STALE_SECONDS", 300.0)
    one.renew(["abc"])  # who was suspended for long has lost it
    one.release(["abc"])
    assert other.claimed("abc")
    other.renew(["abc"])
    assert other.claim("abc")
    other.release(["abc"])
    assert not one.claimed("abc")


def test_who_renews_is_not_taken_over_by_who_looked_before(two, objects, monkeypatch):
    one, other = two
    assert one.claim("abc")
    before = tag(objects)
    one.renew(["abc"])
    assert tag(objects)["e_tag"] != before["e_tag"]
    monkeypatch.setattr(bucket, "STALE_SECONDS", 0.0)
    head = other._head
    monkeypatch.setattr(other, "_head", lambda name: before if name.endswith("abc.claim") else head(name))
    assert not other.claim("abc")


def test_two_writes_of_a_claim_differ_in_content(two, objects):
    one, _ = two  # services that tell objects by their content would take them for one
    one.claim("abc")
    first = one.read(".work/abc.claim")
    one.renew(["abc"])
    assert one.read(".work/abc.claim") != first


def test_a_service_without_conditional_writes_is_refused(two, tmp_path, monkeypatch):
    one, _ = two
    put = Bucket._put
    monkeypatch.setattr(Bucket, "_put", lambda self, name, content, **how: put(self, name, content))  # takes any write
    with pytest.raises(TombolaError, match="knows no conditional writes"):
        one.prepare()
    assert one.sizes() == {}
    monkeypatch.undo()
    with pytest.raises(TombolaError, match=r"store 'file://.*' cannot be used"):
        Store(f"file://{tmp_path}").prepare()


@pytest.mark.parametrize(
    ("verb", "words"),
    [
        ("runs --store nothing://lab/runs", "store 'nothing://lab/runs': .*; write s3://BUCKET/FOLDER"),
        ("status frankle2019.sparsity --scale smoke --store s3:///", "store 's3:.*write s3://BUCKET/FOLDER"),
    ],
)
def test_a_wrong_address_is_one_line(verb, words, capsys, objects):
    assert cli.main(shlex.split(verb)) == 2
    err = capsys.readouterr().err
    assert re.search(words, err), err
    assert err.count("\n") == 1


def test_without_the_extra_it_is_one_line(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "obstore", None)
    assert cli.main(shlex.split("runs --store s3://lab/runs")) == 2
    assert "pip install 'tombola[s3]'" in capsys.readouterr().err
