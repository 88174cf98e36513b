import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tombola as tb
from tombola.core import keys, masks, trees
from tombola.core.errors import TombolaError
from tombola.core.registry import Registry
from tombola.core.spec import Spec
from tombola.core.step import Step
from tombola.core.task import Data, Model, Recipe, Task
from tombola.procedures.actions import mask_actions, value_actions
from tombola.procedures.imp import imp_runs
from tombola.procedures.run import STORED_NAMES, Action, Run
from tombola.pruning.pruning import Pruning

TASK = Task(data=Data(name="digits"), model=Model(name="mlp"), recipe=Recipe(steps="100it", batch=60, learning_rate=1e-3))


# -- steps -----------------------------------------------------------------------------------------------------------


@given(st.integers(0, 10**6), st.integers(0, 10**6), st.integers(1, 10**4))
def test_a_step_is_epochs_and_iterations(epochs, iterations, per_epoch):
    step = Step(f"{epochs}ep{iterations}it")
    assert step.iterations(per_epoch, 10**11) == epochs * per_epoch + iterations
    assert Step(step) == step


@pytest.mark.parametrize("text", ["", "it", "ep", "500", "-1it", "1.5ep", "2it3ep", "1e3it", "500 it", True, -3, 2.0, None])
def test_what_is_no_step_is_an_error(text):
    with pytest.raises(TombolaError, match="500it"):
        Step(text)


@pytest.mark.parametrize("value", [f"{'9' * 100}it", f"{10**9}ep", "9" * 5000 + "it", 10**9, 10**9000], ids=lambda value: "")
def test_a_step_longer_than_any_training_is_one_short_line(value):
    with pytest.raises(TombolaError, match=r"9 digits|500it") as error:
        Step(value)
    assert len(str(error.value)) < 200
    assert Step("0" * 99 + "999999999it") == Step(999_999_999)


def test_a_step_after_the_end_is_an_error():
    assert Step("end").iterations(10, 77) == 77
    with pytest.raises(TombolaError, match="80, after the end of training at 77"):
        Step("8ep").iterations(10, 77)


# -- keys ------------------------------------------------------------------------------------------------------------


def test_streams_are_pinned():
    # Every stored run was trained with these bits.
    assert keys.replicate_seed(0, 0) == 0x7BD56B27A0CD9129
    assert keys.stream(0, "init").tolist() == [1675733377, 2004858799]
    assert keys.generator(0, "split").integers(1 << 30) == 1016729587


def test_neighbouring_seeds_and_streams_share_nothing():
    names = ["init", "data_order", "dropout", "augmentation", "mask", "reinit/1/0", "reinit/1/1", "reinit/11/0"]
    drawn = [tuple(keys.stream(seed, name)) for seed in range(50) for name in names]
    assert len(set(drawn)) == len(drawn)
    assert len({keys.replicate_seed(seed, r) for seed in range(20) for r in range(20)}) == 400


def test_replicates_beyond_all_bounds_are_refused_before_they_are_described():
    with pytest.raises(TombolaError, match="at most 10,000"):
        tb.train(TASK, 10**12)


def test_seed_zero_is_a_seed_like_any_other():
    assert keys.replicate_seed(0, 0) != keys.replicate_seed(0, 1)
    assert keys.generator(0, "split").random() == keys.generator(0, "split").random() != keys.generator(1, "split").random()


# -- specs -----------------------------------------------------------------------------------------------------------


class Circle(Spec):
    size: float


class Square(Spec):
    size: float


class Holder(Spec):
    shape: Circle | Square = Circle(size=1.0)


def test_specs_of_different_kinds_never_collide():
    assert Circle(size=2).digest != Square(size=2).digest
    assert Holder(shape=Circle(size=2)).digest != Holder(shape=Square(size=2)).digest


def test_a_field_added_with_a_default_changes_no_digest():
    class Point(Spec):
        x: float

    old = Point(x=1).digest

    class Point(Spec):
        x: float
        y: float = 0.0

    assert Point(x=1).digest == old
    assert Point(x=1, y=2).digest != old


def test_a_required_field_is_part_of_the_digest_whatever_its_value():
    assert json.loads(json.dumps(Circle(size=0.0).canonical())) == {"spec": "Circle", "size": 0.0}


def test_digests_of_runs_are_pinned():
    # A change here orphans every stored run: it needs a new FORMAT and a line in the changelog.
    chain = imp_runs(TASK.but(rates={"dense": 0.2, "output": 0.1}), seed=7, levels=2)
    assert [run.digest for run in chain] == PINNED


PINNED = ["047660b7f2cdf77c", "54c248f3e9d89271", "ab801b6c58819798"]


def test_labels_do_not_make_another_run():
    named = TASK.but(name="other", rates={"dense": 0.5}, scope="global")
    assert Run(task=named, seed=1) == Run(task=TASK, seed=1)
    assert Run(task=TASK, seed=1) != Run(task=TASK, seed=2)
    own = named.but(model=Model(name="Net@0123456789abcdef"), data=Data(name="my-data-0123456789ab"))
    assert (own.name, named.but(recipe=TASK.recipe.but(batch=9)).name, own.but(name="mine").name) == ("my-data-Net", "other", "mine")


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"batch": 0}, "batch = 0, but it must be greater than 0"),
        ({"learning_rate": "fast"}, "learning_rate = 'fast'"),
        ({"colour": 1}, "no field 'colour'"),
        ({"steps": "long"}, "500it"),
    ],
)
def test_bad_values_are_one_line(values, words):
    with pytest.raises(TombolaError, match=r"^[^\n]+$") as error:
        Recipe(**{"steps": "10it", "batch": 1, "learning_rate": 0.1, **values})
    assert words in str(error.value)


RECIPE = Recipe(steps="9it", batch=8, learning_rate=0.5)


@pytest.mark.parametrize("kind", [np.int8, np.int64, np.uint16])
def test_integers_of_numpy_are_integers(kind):
    assert RECIPE.but(batch=kind(8), steps=kind(9)).digest == RECIPE.digest
    assert RECIPE.but(milestones=[kind(3)]).digest == RECIPE.but(milestones=["3it"]).digest
    assert Run(task=TASK, seed=kind(3)).digest == Run(task=TASK, seed=3).digest
    assert Action(name="x", options={"a": [kind(3)]}).digest == Action(name="x", options={"a": [3]}).digest


@pytest.mark.parametrize("kind", [np.float16, np.float32, np.float64])
def test_floats_of_numpy_are_floats(kind):
    assert RECIPE.but(learning_rate=kind(0.5)).digest == RECIPE.digest
    assert RECIPE.but(optimizer_options={"b1": kind(0.5)}).digest == RECIPE.but(optimizer_options={"b1": 0.5}).digest


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        *[({"batch": one}, "batch = .* must be a whole number") for one in (8.0, np.float32(8), True, np.True_, "8", np.inf)],
        *[({"learning_rate": one}, "learning_rate = .* must be a valid number") for one in (True, "0.5", 1j)],
        *[({"weight_decay": one}, "weight_decay = .* must be a finite number") for one in (np.inf, np.nan)],
        ({"learning_rate": 10**400}, r"learning_rate = 10+ \.\.\., but"),
        ({"learning_rate": 10**9000}, "learning_rate = a number of thousands of digits"),
        ({"optimizer_options": {"b1": np.arange(3)}}, "array.* is ndarray, which no description holds"),
    ],
)
def test_what_is_no_number_is_refused_in_one_short_line(fields, words):
    with pytest.raises(TombolaError, match=words) as error:
        RECIPE.but(**fields).canonical()
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 200


def test_but_validates_again():
    with pytest.raises(TombolaError, match="label_noise"):
        TASK.data.but(label_noise=1.5)


# -- registries ------------------------------------------------------------------------------------------------------


def test_an_unknown_name_suggests_the_nearest():
    registry = Registry("criterion")
    registry.add("large_final", len)
    with pytest.raises(TombolaError, match=r"unknown criterion 'large_fnal': did you mean 'large_final'\?"):
        registry["large_fnal"]


def test_a_taken_name_is_refused_but_a_reload_is_not():
    registry = Registry("criterion")
    registry.add("one", len)
    registry.add("one", len)
    with pytest.raises(TombolaError, match="registered already"):
        registry.add("one", max)


# -- masks and trees -------------------------------------------------------------------------------------------------


@given(st.lists(st.integers(0, 7), min_size=1, max_size=3), st.integers(0, 2**32 - 1))
def test_packed_masks_come_back(shape, seed):
    mask = {"a": np.random.default_rng(seed).random(shape) < 0.5, "b": np.ones((3,), bool)}
    packed = masks.pack(mask)
    assert packed["a"].nbytes == -(-mask["a"].size // 8)
    assert trees.equal(masks.unpack(packed, {path: leaf.shape for path, leaf in mask.items()}), mask)


def test_density_counts_prunable_weights_only():
    mask = {"a": np.array([True, False, False, False]), "b": np.array([True, True])}
    assert (masks.kept(mask), masks.size(mask), masks.density(mask)) == (3, 6, 0.5)


@pytest.mark.parametrize(
    ("mask", "words"),
    [
        ({"a": np.ones(3)}, "bool"),
        ({"a": np.ones(2, bool)}, "shape"),
        ({}, "missing"),
        ({"a": np.ones(3, bool), "bias": np.ones(3, bool)}, "not prunable"),
    ],
)
def test_masks_that_do_not_fit_are_errors(mask, words):
    with pytest.raises(TombolaError, match=words):
        masks.check(mask, {"a": (3,)})


def test_equality_is_bitwise():
    assert trees.equal({"a": np.array([np.nan])}, {"a": np.array([np.nan])})
    assert not trees.equal({"a": np.array([0.0])}, {"a": np.array([-0.0])})
    assert not trees.equal({"a": np.zeros(1)}, {"b": np.zeros(1)})


def test_actions_go_by_the_names_of_the_field_and_are_stored_under_those_they_had():
    old, new = Action(name="constant", options={"keep_sign": True}), Action(name="signed_constant", options={"keep_sign": True})
    assert (old, old.name) == (new, "signed_constant")
    assert new.canonical() == {"spec": "Action", "name": "constant", "options": {"keep_sign": True}}
    assert all(today in mask_actions or today in value_actions for today in STORED_NAMES)


def test_an_error_of_no_single_field_names_none():
    with pytest.raises(TombolaError, match=r"^Pruning: norm 'l1' ranks whole units"):
        Pruning(norm="l1")


def test_fields_follow_and_explain_themselves():
    import pydoc

    from tombola.core.task import Recipe
    from tombola.models.tasks import task
    from tombola.procedures.imp import imp_runs

    cut = {steps: task("mnist1d-mlp", steps=steps).recipe.test_every for steps in ("800it", "1000it")}
    assert cut == {"800it": None, "1000it": "500it"}  # the task's own is 500it
    assert task("mnist1d-mlp", steps="800it", test_every="700it").recipe.test_every == "700it"
    _, first, second = imp_runs(task("mnist1d-mlp"), 0, 2, densities=[0.5, 0.2])
    assert first.mask.options["rates"]["dense"] == pytest.approx(0.5)
    assert second.mask.options["rates"]["output"] == pytest.approx(0.6)  # 0.5 -> 0.2
    shown = pydoc.plain(pydoc.render_doc(Recipe))
    assert "learning_rate: The learning rate of the optimiser" in shown
    assert "model_dump" not in shown
    with pytest.raises(TombolaError, match="did you mean 'learning_rate'"):
        task("mnist1d-mlp", lr=1)
