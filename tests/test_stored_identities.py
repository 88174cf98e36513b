"""Runs that earlier versions stored stay found: the digests of all studies' runs and measurements are those that they were."""

import hashlib
import json
from pathlib import Path

import pytest

from tombola.engine.configuring import resolve
from tombola.engine.study import study_graph, study_measurements
from tombola.studies.catalogue import studies

KEPT = json.loads((Path(__file__).parent / "stored_identities.json").read_text())


def identities(name):
    study = resolve(name, scale="smoke")
    digests = sorted([*study_graph(study).runs, *(one.digest for one in study_measurements(study))])
    return hashlib.sha256(" ".join(digests).encode()).hexdigest()[:16]


@pytest.mark.parametrize("name", sorted(KEPT))
def test_runs_and_measurements_of_a_study_are_called_as_ever(name):
    assert identities(name) == KEPT[name], f"{name}: its stored runs would not be found any more"


def test_every_study_is_kept():
    own = {name for name in studies if not name.startswith("test")}
    assert own >= KEPT.keys()
