"""Barriers on paths, likeness of networks, effects of one number a replicate, the order of steps."""

from itertools import product

import numpy as np
import pandas as pd
import pytest

from tombola.core.errors import TombolaError
from tombola.core.step import Step
from tombola.evaluation.barrier import FORMS, barrier, check_ends, places
from tombola.evaluation.paired import densities, effect
from tombola.evaluation.similarity import cosine, disagreement, distance
from tombola.evaluation.verdict import Verdict
from tombola.objectives import Classification

# -- barriers ------------------------------------------------------------------------------------------------------------

A = np.array([0.0, 0.25, 0.5, 0.75, 1.0])
CURVES = {
    "hill": ([0.1, 0.2, 0.5, 0.6, 0.3], {"maximum": 0.4, "midpoint": 0.3, "linear": 0.35}),
    "rise": ([0.0, 0.1, 0.2, 0.3, 0.4], {"maximum": 0.2, "midpoint": 0.0, "linear": 0.0}),
    "fall": ([0.4, 0.3, 0.2, 0.1, 0.0], {"maximum": 0.2, "midpoint": 0.0, "linear": 0.0}),
    "valley": ([0.3, 0.2, 0.1, 0.2, 0.3], {"maximum": 0.0, "midpoint": -0.2, "linear": 0.0}),
}


@pytest.mark.parametrize(("curve", "form"), list(product(CURVES, FORMS)))
def test_a_barrier_by_hand(curve, form):
    error, expected = CURVES[curve]
    assert barrier(np.array(error), A, form) == pytest.approx(expected[form], abs=1e-12)


def test_a_barrier_is_the_rise_to_the_maximum_unless_told_otherwise():
    assert barrier(np.array(CURVES["hill"][0]), A) == pytest.approx(0.4)


@pytest.mark.parametrize("form", FORMS)
def test_barriers_of_many_paths_are_those_of_each(form):
    a, errors = places(8), np.random.default_rng(0).uniform(size=(2, 3, 9))
    found = barrier(errors, a, form)
    assert found.shape == (2, 3)
    for place in product(range(2), range(3)):
        path = list(errors[place])
        line = [share * path[-1] + (1 - share) * path[0] for share in a]
        above_line = max(point - low for point, low in zip(path, line, strict=True))
        mean = (path[0] + path[-1]) / 2
        expected = {"maximum": max(path) - mean, "midpoint": path[list(a).index(0.5)] - mean, "linear": above_line}
        assert found[place] == pytest.approx(expected[form])


@pytest.mark.parametrize("points", [2, 3, 4, 30])
def test_a_path_is_evaluated_at_even_points_and_the_middle(points):
    found = places(points)
    assert set(found) == {place / (points - 1) for place in range(points)} | {0.5} or points == 30
    assert len(found) == points + (points % 2 == 0)
    assert (found[0], found[-1], 0.5 in found, (np.diff(found) > 0).all()) == (0, 1, True, True)


def test_mistakes_about_barriers_are_one_line():
    for call, words in (
        (lambda: barrier(np.zeros(5), A, "maximal"), "unknown form of barrier 'maximal': did you mean 'maximum'"),
        (lambda: places(1), "points = 1, but"),
    ):
        with pytest.raises(TombolaError, match=words) as error:
            call()
        assert "\n" not in str(error.value)


def test_an_end_is_as_its_training_recorded_but_for_rounding():
    check_ends(np.array([0.1, 0.2]), [0.1 + 2.4 / 100, 0.2 - 2.4 / 100], 100, Classification())
    check_ends(np.array([0.1, 0.2]), [0.1009, 0.2], 100_000, Classification())
    for found, recorded, examples in (
        ([0.1, 0.2], [0.1, 0.226], 100),
        ([0.1, 0.2], [0.1011, 0.2], 100_000),
        ([0.1, np.nan], [0.1, 0.2], 9),
    ):
        with pytest.raises(TombolaError, match="but its training recorded") as error:
            check_ends(np.array(found), recorded, examples, Classification())
        assert "\n" not in str(error.value)


# -- likeness, effects, steps ----------------------------------------------------------------------------------------------


def test_likeness_by_hand():
    a = {"x": np.array([3.0, 0.0]), "y": np.array([[4.0]]), "other": np.array([9.0])}
    b = {"x": np.array([0.0, 0.0]), "y": np.array([[8.0]]), "other": np.array([0.0])}
    assert distance(a, b, ["x", "y"]) == 5
    assert cosine(a, b, iter(["x", "y"])) == pytest.approx(32 / (5 * 8))
    assert np.isnan(cosine(a, b, ["x"]))
    assert disagreement(np.array([1, 2, 3, 4]), np.array([1, 2, 3, 0])) == 0.25


def test_squares_too_small_for_single_precision_count():
    a = np.full(10_000, 1e-25, np.float32)
    assert distance({"x": a}, {"x": 0 * a}, ["x"]) == pytest.approx(1e-23, rel=1e-6, abs=0)
    assert cosine({"x": a}, {"x": -a}, ["x"]) == pytest.approx(-1)


def test_an_effect_of_one_number_a_replicate():
    found = effect("sooner", "steps", [1.0, 2.0, 3.0], least=0.5, note="by hand", judged=False)
    assert (found.name, found.unit, found.mean, found.n, found.p) == ("sooner", "steps", 2.0, 3, 2 / 8)
    assert (found.low + found.high, found.per_level) == (pytest.approx(4), ())
    assert (found.least, found.note, found.judged) == (0.5, "by hand", False)
    none = effect("sooner", "steps", [])
    assert (none.n, none.p, none.low, none.high) == (0, 1.0, -np.inf, np.inf)
    assert Verdict("X", "s", "p", (none,)).verdict == "not judged"


def test_levels_may_be_told_by_steps():
    table = pd.DataFrame({"level": [0, 0, 1, 1], "density": [1.0, 1.0, 1.0, 1.0], "step": [0, 0, 500, 500]})
    values = pd.DataFrame({0: [1.0, 3.0], 1: [2.0, 2.0]})
    found = effect("x", "pp", values, places=densities(table, "step"), along="step")
    assert ([place for place, *_ in found.per_level], found.along) == ([0, 500], "step")
    assert densities(table) == {0: 1, 1: 1}


def test_steps_are_ordered_by_epochs_then_iterations():
    in_order = ["0it", "7it", "100it", "1ep", "1ep50it", "2ep", "10ep", "end"]
    assert sorted(map(Step, in_order[::-1]), key=lambda step: step.order) == in_order
