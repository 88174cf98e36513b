"""Every criterion against a formula that is written down here a second time (Zhou et al. 2019, section 2)."""

import jax.numpy as jnp
import numpy as np
import pytest
from toys import tiny

import tombola as tb
from tombola.core.data_info import DataInfo
from tombola.core.errors import TombolaError
from tombola.core.keys import replicate_seed
from tombola.core.task import Model, Recipe
from tombola.engine.execute import Engine
from tombola.engine.graph import graph
from tombola.engine.progress import Progress
from tombola.engine.reading import load_tree as stored
from tombola.models.build import build
from tombola.models.tasks import task as named_task
from tombola.procedures.actions import Context, mask_actions
from tombola.procedures.imp import imp_runs
from tombola.pruning import selection
from tombola.pruning.criteria import criteria, scores, slope_of
from tombola.pruning.structured import prune_units
from tombola.store.store import Store

SIZE = 200
SHAPE = (20, 10)


def ranks(values):
    """The share that is smaller, by sorting a list."""
    ordered = sorted(values)
    return np.array([ordered.index(value) / len(ordered) for value in values])


FORMULAS = {
    "large_final": lambda i, f: np.sqrt(f**2),
    "small_final": lambda i, f: -np.sqrt(f**2),
    "large_init": lambda i, f: np.sqrt(i**2),
    "small_init": lambda i, f: -np.sqrt(i**2),
    "large_init_large_final": lambda i, f: np.array([min(pair) for pair in zip(ranks(i**2), ranks(f**2), strict=True)]),
    "small_init_small_final": lambda i, f: np.array([-max(pair) for pair in zip(ranks(i**2), ranks(f**2), strict=True)]),
    "magnitude_increase": lambda i, f: np.sqrt(f**2) - np.sqrt(i**2),
    "movement": lambda i, f: np.sqrt((f - i) ** 2),
    "large_final_same_sign": lambda i, f: np.array([max(0, a * b / abs(a)) for a, b in zip(i, f, strict=True)]),
    "large_final_diff_sign": lambda i, f: np.array([max(0, -a * b / abs(a)) for a, b in zip(i, f, strict=True)]),
}
PLAIN = [name for name in FORMULAS if not name.endswith("_sign")]
BY_SIGN = [f"{name}_{kind}_sign" for name in PLAIN if name != "large_final" for kind in ("same", "diff")]


def pair(seed=0, scale=1.0):
    """Initial and final values, correlated as those of a training, and partly of another sign."""
    random = np.random.default_rng(seed)
    initial = random.normal(size=SIZE)
    return (scale * initial).astype(np.float32), (scale * (initial + random.normal(size=SIZE))).astype(np.float32)


def top(values, count):
    return set(np.argsort(np.asarray(values).reshape(-1), kind="stable")[len(np.ravel(values)) - count :].tolist())


def test_the_table_is_whole():
    own = {name for name in criteria if criteria.code_digest(name) == ""}  # other tests of the process may have registered theirs
    assert own == {*FORMULAS, *BY_SIGN, "random", "snip", "optimal_brain_damage", "optimal_brain_surgeon", "activity"}
    assert len({criteria[name].__doc__ for name in own}) == len({criteria[name].__qualname__ for name in own}) == len(own)


@pytest.mark.parametrize("to", [np.asarray, jnp.asarray])
@pytest.mark.parametrize("name", FORMULAS)
def test_criteria_are_their_formulas(name, to):
    initial, final = pair()
    found = np.asarray(scores(name, to(initial.reshape(SHAPE)), to(final.reshape(SHAPE))))
    assert found.shape == SHAPE
    np.testing.assert_allclose(found.reshape(-1), FORMULAS[name](initial.astype(float), final.astype(float)), rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("to", [np.asarray, jnp.asarray])
@pytest.mark.parametrize("name", BY_SIGN)
def test_by_sign_the_wanted_come_first_and_both_groups_go_by_the_criterion(name, to):
    initial, final = pair()
    found = np.asarray(scores(name, to(initial.reshape(SHAPE)), to(final.reshape(SHAPE)))).reshape(-1)
    plain, wanted = FORMULAS[name[: -len("_same_sign")]](initial, final), (initial > 0) == (final > 0)
    wanted = wanted if name.endswith("_same_sign") else ~wanted
    assert 20 < wanted.sum() < SIZE - 20
    np.testing.assert_allclose(found[wanted], plain[wanted], rtol=1e-6)
    for ranked in (wanted, ~wanted):
        assert (np.argsort(found[ranked], kind="stable") == np.argsort(plain[ranked], kind="stable")).all()
    assert found[~wanted].max() < found[wanted].min()
    assert np.isfinite(found).all()


@pytest.mark.parametrize("name", BY_SIGN)
def test_by_sign_no_layer_keeps_an_unwanted_weight_while_another_has_wanted_ones(name):
    leaves = {"a": pair(1, 0.01), "b": pair(2, 1000.0)}
    found = {path: scores(name, *leaf) for path, leaf in leaves.items()}
    same = {path: np.sign(initial) == np.sign(final) for path, (initial, final) in leaves.items()}
    wanted = same if name.endswith("_same_sign") else {path: ~leaf for path, leaf in same.items()}
    count = sum(int(leaf.sum()) for leaf in wanted.values())
    dense = selection.dense(dict.fromkeys(leaves, (SIZE,)))
    mask = selection.prune(found, dense, dict.fromkeys(leaves, 1 - count / (2 * SIZE)), "global")
    assert all((mask[path] == wanted[path]).all() for path in leaves)


def slope(name, values):
    """What a criterion may have as a third argument: of gradients of examples, those of one."""
    return values[None] if slope_of(name) == "examples" else values


@pytest.mark.parametrize("name", list(criteria))
def test_scores_are_finite(name):
    initial, final = pair()
    assert np.isfinite(np.asarray(scores(name, initial, final, gradient=slope(name, initial)))).all()


@pytest.mark.parametrize("name", ["large_init_large_final", "small_init_small_final"])
def test_ranks_are_those_among_what_is_left(name):
    initial, final = pair()
    before = np.random.default_rng(3).random(SIZE) < 0.3
    final[~before] = 0  # as pruned weights end
    found = scores(name, initial, final, before)[before]
    alone = FORMULAS[name](initial[before], final[before])
    assert (np.argsort(found, kind="stable") == np.argsort(alone, kind="stable")).all()
    over_all = scores(name, initial, final)[before]
    assert (np.argsort(over_all, kind="stable") != np.argsort(alone, kind="stable")).any()


@pytest.mark.parametrize("name", ["large_init_large_final", "small_init_small_final"])
def test_rounds_rank_what_is_left(name):
    task = named_task("digits-mlp", "smoke").but(recipe=Recipe(steps="20it", batch=60, learning_rate=0.01, evaluate_every="10it"))
    dense, once, twice = tb.imp(task, levels=2, fraction=0.5, criterion=name, replicates=1)
    network = build(task.model, DataInfo.of_classes((64,), 10))
    for path in once.mask:
        before = once.mask[path][0]
        alone = FORMULAS[name](dense.initial[path][0][before], once.final[path][0][before])
        expected = np.zeros_like(before)
        places = np.argwhere(before)[np.argsort(alone, kind="stable")[before.sum() - twice.mask[path][0].sum() :]]
        expected[tuple(places.T)] = True
        assert (twice.mask[path][0] != expected).sum() <= 2  # of two equal ranks the other may be kept
    by_hand = tb.prune(tb.score(once, name), 0.5, mask=once.mask, quiet=True)
    assert all((leaf == twice.mask[path]).all() for path, leaf in by_hand.items())
    arguments = [{path: leaf[0] for path, leaf in tree.items()} for tree in (dense.initial, once.final, once.mask)]
    rates = dict.fromkeys(task.rates, 0.5)
    context = Context(network, replicate_seed(0, 0))
    found = mask_actions.call("prune", context, *arguments, rates=rates, criterion=name, ties="random")
    assert all((leaf == twice.mask[path][0]).all() for path, leaf in found.items())


@pytest.mark.parametrize("name", [name for name in criteria if "init_" not in name])
def test_other_scores_do_not_depend_on_what_is_left(name):
    initial, final = pair()
    before = np.arange(SIZE) % 3 > 0
    found = [np.asarray(scores(name, initial, final, kept, gradient=slope(name, initial))) for kept in (before, None)]
    assert (found[0] == found[1]).all()


@pytest.mark.parametrize("count", [1, 17, 60, 150])
def test_of_both_large_each_magnitude_binds_equally_often(count):
    initial, final = pair()
    kept = top(criteria["large_init_large_final"](initial, final), count)
    rank_i, rank_f = (np.round(SIZE * ranks(abs(values))) for values in (initial, final))
    r = min(min(rank_i[k], rank_f[k]) for k in kept)
    above = {k for k in range(SIZE) if rank_i[k] >= r and rank_f[k] >= r}
    assert kept <= above
    assert len(above) - count <= 1  # the last rank may be held by two: one by each magnitude
    assert sum(rank_i < r) == sum(rank_f < r) == r


@pytest.mark.parametrize("count", [1, 17, 60, 150])
def test_of_both_small_each_magnitude_binds_equally_often(count):
    initial, final = pair()
    kept = top(criteria["small_init_small_final"](initial, final), count)
    rank_i, rank_f = (np.round(SIZE * ranks(abs(values))) for values in (initial, final))
    r = max(max(rank_i[k], rank_f[k]) for k in kept)
    below = {k for k in range(SIZE) if rank_i[k] <= r and rank_f[k] <= r}
    assert kept <= below
    assert len(below) - count <= 1


@pytest.mark.parametrize(("one", "other"), [("large_final", "small_final"), ("large_init", "small_init")])
def test_opposite_criteria_keep_complementary_halves(one, other):
    mine, its = (top(criteria[name](*pair()), SIZE // 2) for name in (one, other))
    assert mine | its == set(range(SIZE))


@pytest.mark.parametrize("name", PLAIN)
def test_same_and_different_signs_are_complementary(name):
    initial, final = pair()
    same = int(((initial > 0) == (final > 0)).sum())
    mine = top(criteria[f"{name}_same_sign"](initial, final), same)
    assert mine | top(criteria[f"{name}_diff_sign"](initial, final), SIZE - same) == set(range(SIZE))


def test_a_zero_is_of_the_same_sign_as_a_zero_alone():
    initial, final = np.float32([0, 0, 1, -1]), np.float32([0, 1, 0, -0.0])
    assert np.asarray(criteria["movement_same_sign"](initial, final)).argmax() == 0
    assert np.asarray(criteria["movement_diff_sign"](initial, final)).argmin() == 0


def test_units_cannot_be_ranked_by_sign():
    network = build(Model(name="mlp", options={"widths": [8, 6]}), DataInfo.of_classes((64,), 10))
    weights = network.init(0)
    found = {path: scores("movement_same_sign", weights[path], -weights[path]) for path in network.prunable}
    dense = selection.dense({path: network.shapes[path].shape for path in network.prunable})
    with pytest.raises(TombolaError, match="must not be negative"):
        prune_units(found, dense, dict.fromkeys(network.prunable, 0.5), network.units)


# -- random --------------------------------------------------------------------------------------------------------------


def draw(seed, path="hidden1/kernel", widths=(100, 100, 100)):
    network = build(Model(name="mlp", options={"widths": list(widths)}), DataInfo.of_classes((64,), 10))
    return network.init(seed)[path]


def test_random_scores_are_uniform():
    found = criteria["random"](draw(0), draw(0)).reshape(-1)
    assert found.min() >= 0
    assert found.max() < 1
    expected = found.size / 20
    squares = (np.histogram(found, 20, (0, 1))[0] - expected) ** 2 / expected
    assert squares.sum() < 50  # chi-squared with 19 degrees of freedom: 1 in 10,000


def test_random_scores_are_those_of_the_initial_values_whatever_became_of_them():
    initial = draw(0)
    found = criteria["random"](initial, initial)
    assert (found == criteria["random"](initial, -3 * initial)).all()
    for alike in (jnp.asarray(initial), np.asfortranarray(initial), initial.astype(np.float64)):
        assert (found == criteria["random"](alike, initial)).all()


def test_random_scores_differ_by_leaf_and_replicate_and_have_nothing_to_do_with_the_values():
    initial = {name: draw(*of) for name, of in {"a": (0, "hidden2/kernel"), "b": (0, "hidden3/kernel"), "c": (1, "hidden2/kernel")}.items()}
    drawn = {name: criteria["random"](leaf, leaf).reshape(-1) for name, leaf in initial.items()}
    columns = [*drawn.values(), initial["a"].reshape(-1), abs(initial["a"]).reshape(-1)]
    apart = abs(np.corrcoef(columns))[:3][np.triu(np.ones((3, len(columns)), bool), 1)]
    assert apart.max() < 4.5 / np.sqrt(columns[0].size)
    assert (drawn["a"][:100] != criteria["random"](initial["a"].reshape(-1)[:100], None)).all()


TASK = tiny()


def test_chains_prune_by_the_criterion_and_random_ones_as_if_at_once(tmp_path):
    names = ["random", "movement_diff_sign"]
    chains = {name: imp_runs(TASK, 1, 3, rates={"dense": 0.4, "output": 0.2}, criterion=name) for name in names}
    runs = [run for chain in chains.values() for run in chain]
    store = Store(tmp_path)
    Engine(graph(runs, {run.digest: ["0it", "end"] for run in runs}), store, progress=Progress(quiet=True)).execute()
    initial = stored(runs[0], "0it", store, None)
    for name, chain in chains.items():
        found = [stored(run, "mask", store, None) for run in chain]
        for before, after, run in zip(found, found[1:], chain, strict=False):
            final = stored(run, "end", store, None)
            for path, leaf in after.items():
                ranked = np.where(before[path], np.asarray(criteria[name](initial[path], final[path])), -np.inf)
                assert set(np.flatnonzero(leaf)) == top(ranked, leaf.sum())
                assert leaf.sum() == before[path].sum() - round((0.2 if path == "output/kernel" else 0.4) * before[path].sum())
    for path, leaf in stored(chains["random"][-1], "mask", store, None).items():
        assert set(np.flatnonzero(leaf)) == top(criteria["random"](initial[path], initial[path]), leaf.sum())
