"""Masks that are searched: searchers on problems with a known answer, populations against a plain loop, searches that go on."""

import sys

import numpy as np
import pytest
from toys import own_test_set

import tombola as tb
from tombola.core.errors import TombolaError
from tombola.core.keys import replicate_seed
from tombola.core.task import Supermask
from tombola.data.dataset import load
from tombola.data.split import split
from tombola.engine import measuring
from tombola.engine.progress import Progress
from tombola.evaluation import population
from tombola.models import supermask as learnt
from tombola.models.build import build
from tombola.procedures.measurement import Measurement
from tombola.pruning.evolution import Strategy
from tombola.pruning.searchers import Space, searchers
from tombola.store.store import Store
from tombola.training.cohort import setup

OWN = ["random", "flips", "genetic", "pbil"]
STRATEGIES = ["snes", "sep_cma_es"]
TASK = tb.task("digits-20-mlp", steps="20it")


def searcher(name, space, **options):
    if name in STRATEGIES:
        pytest.importorskip("evosax")
    return searchers.call(name, space, **options)


def searched(name, target, evaluations=3000, **space):
    """The fewest bits that differ from a target, of all masks that were asked about."""
    method, random = searcher(name, Space((len(target) // 2, len(target) - len(target) // 2), **space)), np.random.default_rng(0)
    state, best = method.first(random), len(target)
    while evaluations > 0:
        state, masks = method.ask(state, random)
        told = (masks != target).sum(axis=1).astype(float)
        state, best, evaluations = method.tell(state, masks, told, random), min(best, told.min()), evaluations - len(masks)
    return best


# -- searchers ----------------------------------------------------------------------------------------------------------


def test_every_searcher_finds_a_hidden_mask_that_chance_does_not():
    target = np.random.default_rng(5).random(60) < 0.5
    found = {name: searched(name, target) for name in OWN}
    assert found["random"] > 12
    assert max(found[name] for name in found if name != "random") <= 7, found


@pytest.mark.parametrize("name", [*OWN, "snes"])
def test_every_searcher_keeps_counts_gives_the_same_bits_again_and_goes_on_from_its_arrays(name):
    space = Space((30, 11, 1), density=0.3, fixed=True)
    assert space.counts == [9, 3, 1]
    method, told = searcher(name, space), lambda masks: masks[:, :5].sum(axis=1).astype(float)
    runs = []
    for again in (0, 1):
        state = method.first(np.random.default_rng(1))
        for generation in range(4):
            random = np.random.default_rng(10 + generation)
            state, masks = method.ask(state, random)
            state = method.tell(state, masks, told(masks), random)
            assert [set(masks[:, leaf].sum(axis=1)) for leaf in space.leaves] == [{9}, {3}, {1}]
            if again:  # through bytes, as a checkpoint goes
                state = {key: np.frombuffer(value.tobytes(), value.dtype).reshape(value.shape) for key, value in state.items()}
        runs.append(masks)
    assert masks.dtype == bool
    assert np.array_equal(*runs)


@pytest.mark.parametrize("name", [*OWN, "sep_cma_es"])
def test_masks_begin_with_the_density_or_around_the_seed(name):
    seed = np.random.default_rng(2).random(2000) < 0.2
    for space, share, agree in ((Space((2000,), density=0.2), 0.2, 0.68), (Space((2000,), density=0.5, seed=seed), None, 0.9)):
        method = searcher(name, space)
        state, masks = method.ask(method.first(np.random.default_rng(0)), np.random.default_rng(1))
        first = masks if name != "genetic" else masks[:100]
        assert share is None or abs(first.mean() - share) < 0.04 or name in STRATEGIES
        assert abs((first == seed).mean() - agree) < 0.06 or name in STRATEGIES or (name == "flips" and share is None)
        if name in STRATEGIES:
            assert (method.centre(state) == (seed if share is None else False)).all()
    if name in ("flips", "genetic"):
        assert (masks[0] == seed).all()


def test_one_plus_one_takes_a_child_that_is_no_worse_and_flips_one_bit_at_least():
    method, random = searcher("flips", Space((50,), density=0.5), rate=0.01), np.random.default_rng(0)
    state, (parent, child) = method.ask(method.first(random), random)
    assert (parent == state["best"]).all()
    assert (parent != child).sum() == 1
    for told, stays in (([1.0, 1.0], child), ([1.0, 0.9], child), ([0.9, 1.0], parent)):
        assert (method.tell(state, np.stack([parent, child]), np.array(told), random)["best"] == stays).all()
    often = searcher("flips", Space((50,)), rate=20)
    assert (np.subtract(*map(np.int8, often.ask(often.first(random), random)[1])) != 0).sum() > 8


def test_the_genetic_algorithm_keeps_elites_breaks_ties_by_weights_and_has_the_shares_it_is_given():
    space, random = Space((6, 4)), np.random.default_rng(0)
    method = searcher("genetic", space, population=10, parents=0.2, recombination=0.5, mutation=0.3, migration=0.1)
    state = method.first(random)
    _, masks = method.ask(state, random)
    assert len(masks) == 19
    assert (masks[:10] == state["masks"]).all()
    elite = state["masks"][:2]
    for child in masks[10:15]:  # each bit of one parent or the other
        assert ((child == elite[0]) | (child == elite[1])).all()
    assert sorted(min((mutant != one).sum() for one in elite) for mutant in masks[15:18]) == [1, 1, 1]
    told = np.array([3.0, *[1.0] * 9, *[2.0] * 9])
    kept = method.tell(state, masks, told, random)["masks"]
    assert (kept[:9].sum(axis=1) == np.sort(masks[1:10].sum(axis=1))).all()
    assert kept[9].sum() == masks[10:].sum(axis=1).min()


def test_layer_wise_crossover_cuts_each_leaf_once():
    space = Space((7, 5))
    method = searcher("genetic", space, population=4, parents=0.5, recombination=1, mutation=0, migration=0, crossover="layers")
    state = {"masks": np.array([[True] * 12, [False] * 12, [True] * 12, [True] * 12])}
    children = np.concatenate([method.ask(state, np.random.default_rng(seed))[1][4:] for seed in range(20)])
    assert all((np.diff(child[leaf].astype(int)) != 0).sum() <= 1 for child in children for leaf in space.leaves)
    assert any((np.diff(child.astype(int)) != 0).sum() == 3 for child in children)


def test_pbil_moves_its_probabilities_by_the_formula():
    space = Space((4,), density=0.25)
    method = searcher("pbil", space, population=4, best=2, rate=0.5, least=0.1, mutation=0.2)
    masks = np.array([[1, 1, 0, 0], [0, 0, 0, 1], [1, 0, 0, 0], [1, 1, 1, 1]], bool)
    state = {"p": np.array([0.2, 0.9, 0.1, 0.5])}
    moved = method.tell(state, masks, np.array([1.0, 5.0, 2.0, 3.0]), None)["p"]  # the best: rows 0 and 2, mean (1, .5, 0, 0)
    np.testing.assert_allclose(moved, [0.8 * 0.6 + 0.05, 0.8 * 0.7 + 0.05, 0.1, 0.8 * 0.25 + 0.05])
    assert method.centre({"p": np.array([0.2, 0.9, 0.6, 0.5])}).tolist() == [False, True, True, False]


@pytest.mark.slow
def test_an_evolution_strategy_minimises_a_parabola_from_its_mean():
    pytest.importorskip("evosax")
    for name in ("SNES", "Sep_CMA_ES"):
        goal, es, random = np.array([1.0, -2.0, 0.5]), Strategy(name, np.zeros(3), 20, 0.5), np.random.default_rng(0)
        state = es.first(random)
        assert (es.centre(state) == 0).all()
        assert np.allclose(es.std(state), 0.5)
        for _ in range(60):
            state, x = es.ask(state, random)
            state = es.tell(state, x, ((x - goal) ** 2 @ [1, 100, 1]), random)
        assert abs(es.centre(state) - goal).max() < 0.05
        assert es.std(state)[1] < es.std(state)[[0, 2]].min()  # the steep direction is searched more narrowly


def test_without_evosax_one_line_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "evosax", None)
    with pytest.raises(TombolaError, match=r"need the package evosax; install it: pip install 'tombola\[search\]'"):
        searchers.call("snes", Space((41,)))


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("nothing", {}, "unknown searcher 'nothing': one of flips, genetic, pbil, random"),
        ("flips", {"rate": 0}, "flips: rate = 0; write a number of bits above 0 and up to 10"),
        ("genetic", {"mutation": 2}, r"genetic: mutation = 2; write a share of the population, from 0 to 1"),
        ("genetic", {"crossover": "x"}, "unknown crossover 'x': one of layers, uniform"),
        ("genetic", {"parents": 0}, "a generation needs 2 parents and 1 child"),
        ("genetic", {"bits": 11}, "bits = 11, but a mask has 10; write fewer"),
        ("pbil", {"best": 100}, "pbil: best = 100 of a population of 100; write fewer"),
        ("pbil", {"least": 0.5}, r"least = 0.5; they lie in"),
        ("snes", {"std": 0}, "SNES: std = 0; write a number above 0"),
        ("random", {"population": 0}, "population = 0, but a whole number is needed, 1 or more"),
    ],
)
def test_what_a_searcher_cannot_do_is_one_line(name, options, message):
    with pytest.raises(TombolaError, match=message):
        searcher(name, Space((6, 4)), **options)


# -- populations --------------------------------------------------------------------------------------------------------


def test_a_population_is_scored_as_a_plain_loop_does_in_blocks_of_any_size(monkeypatch):
    dataset = load(TASK.data)
    network, pool, random = setup(TASK, dataset).network, population.Population(TASK, dataset, 3), np.random.default_rng(0)
    weights, paths = network.init(3), network.prunable
    bits, examples = random.random((5, 1480)) < 0.4, pool.batch(50, "some")
    inputs, labels = dataset.inputs[examples], dataset.targets[examples]

    def loop(row, rescale):
        hidden = inputs
        for path, own in zip(paths, np.split(row, [1280]), strict=True):
            mask = own.reshape(weights[path].shape)
            factor = {"none": 1, "dynamic": mask.size / mask.sum(), "root": (mask.size / mask.sum()) ** 0.5}[rescale]
            hidden = hidden @ (weights[path] * mask * factor)
            hidden = np.maximum(hidden, 0) if path == paths[0] else hidden
        logs = np.log(np.exp(hidden).sum(axis=1)) - hidden[np.arange(len(labels)), labels]
        return logs.mean(), (hidden.argmax(axis=1) != labels).mean()

    for rescale, fitness, column in (("none", "error", 1), ("dynamic", "loss", 0), ("root", "loss", 0)):
        expected = np.array([loop(row, rescale)[column] for row in bits])
        np.testing.assert_allclose(pool.score(weights, bits, paths, examples, fitness, rescale), expected, rtol=1e-5)
    whole = pool.score(weights, bits, paths, examples)
    monkeypatch.setattr(population, "_MOST_BYTES", 1)
    assert np.array_equal(pool.score(weights, bits, paths, examples), whole)
    genes = np.stack([np.concatenate([weights[path].reshape(-1) for path in paths]) * row for row in bits]).astype(np.float32)
    assert np.array_equal(pool.score(weights, genes, paths, examples, kind="weights"), whole)
    genes[2, 7] = np.inf
    assert np.isinf(pool.score(weights, genes, paths, examples, kind="weights")).tolist() == [False, False, True, False, False]


def test_batches_are_of_training_examples_by_stream():
    dataset, parts = load(TASK.data), split(load(TASK.data), TASK.data, 3)
    pool = population.Population(TASK, dataset, 3)
    one, again, other = (pool.batch(40, name) for name in ("a", "a", "b"))
    assert len(set(one)) == 40
    assert set(one) <= set(parts.train)
    assert np.array_equal(one, again)
    assert set(one) != set(other)
    assert np.array_equal(pool.batch(10**6, "a"), parts.train)
    assert np.array_equal(pool.validation, parts.validation)


# -- searches -----------------------------------------------------------------------------------------------------------


def look(budget=9000, **options):
    start = tb.train(TASK, replicates=1, seed=4, keep=["0it"], store=(store := Store()))
    of = (start.at("0it").refs[0],)
    said = {"searcher": "genetic", "budget": budget, "batch": 50, "looks": 3, "options": {"population": 20}} | options
    return Measurement(task=start.runs[0].task, seed=replicate_seed(4, 0), name="searched_mask", of=of, options=said), store


def test_a_search_counts_its_passes_chooses_on_validation_and_reports_that_mask():
    found = tb.search(TASK, "genetic", budget=9000, batch=50, looks=3, population=20, replicates=2, seed=4)
    assert found.passes.tolist() == [[3000, 6000, 9000]] * 2  # generations of 20 + 10 masks, 50 examples each
    dataset = load(TASK.data)
    for index in range(2):
        network = build(TASK.model, setup(TASK, dataset).data)
        weights, mask = network.init(replicate_seed(4, index)), {path: leaf[index] for path, leaf in found.mask.items()}
        inside = {path: leaf * mask[path] if path in mask else leaf for path, leaf in weights.items()}
        inputs, targets = own_test_set(TASK, replicate_seed(4, index))
        outputs, _ = network.apply(inside, inputs, train=False)
        assert (np.asarray(outputs).argmax(1) == targets).mean() == pytest.approx(found.accuracy[index, -1])
        assert tb.masks.density(mask) == pytest.approx(found.density[index, -1])
    one = tb.search(TASK, "genetic", budget=9000, batch=50, looks=3, population=20, replicates=1, seed=4)
    assert np.array_equal(one.accuracy[0], found.accuracy[0])


def test_a_search_that_is_stopped_goes_on_and_ends_as_one_that_ran_through(tmp_path, monkeypatch):
    whole = tb.search(TASK, "pbil", budget=9000, batch=50, looks=3, population=20, best=4, seed=4)
    advance, calls = Progress.advance, []

    def stop(self, steps):
        calls.append(steps)
        if len(calls) == 5:
            raise KeyboardInterrupt
        advance(self, steps)

    monkeypatch.setattr(Progress, "advance", stop)
    loads = []
    monkeypatch.setattr(
        measuring.checkpoints, "load_state", lambda *a, own=measuring.checkpoints.load_state: loads.append(own(*a)) or loads[-1]
    )
    asked = {"budget": 9000, "batch": 50, "looks": 3, "population": 20, "best": 4, "seed": 4, "store": tmp_path}
    with pytest.raises(KeyboardInterrupt):
        tb.search(TASK, "pbil", **asked)
    (left,) = tmp_path.rglob("*.checkpoint.safetensors")
    again = tb.search(TASK, "pbil", **asked)
    assert loads[0] is None
    assert loads[1]["kept/generation"] == 4
    for name in ("accuracy", "density", "passes"):
        assert np.array_equal(getattr(again, name), getattr(whole, name))
    assert all(np.array_equal(again.mask[path], whole.mask[path]) for path in whole.mask)
    assert not left.exists()


def test_a_damaged_checkpoint_begins_anew(tmp_path):
    store, said = Store(tmp_path), []
    path = tmp_path / store.files.checkpoint("abc")
    store.files.write(store.files.checkpoint("abc"), b"x" * 40)
    assert measuring.checkpoints.load_state(store, "abc", said.append) is None
    assert said == [f"{path} is damaged; its measurement begins anew"]
    assert not path.exists()


@pytest.mark.slow
def test_every_option_of_a_search_changes_what_comes_out():
    plain = tb.search(TASK, "flips", budget=3000, batch=50, looks=1, seed=1)
    changed = {
        "batch": 60, "density": 0.2, "fixed": True, "price": 5.0, "values": "constant", "rescale": "root", "fitness": "loss", "rate": 50,
    }  # fmt: skip
    masks = {}
    for name, value in changed.items():
        extra = {"fitness": "loss"} if name == "rescale" else {}
        found = tb.search(TASK, "flips", **({"budget": 3000, "batch": 50, "looks": 1, "seed": 1} | extra | {name: value}))
        masks[name] = np.concatenate([leaf.reshape(-1) for leaf in found.mask.values()])
        assert not np.array_equal(masks[name], np.concatenate([leaf.reshape(-1) for leaf in plain.mask.values()])), name
    assert not np.array_equal(masks["rescale"], masks["fitness"])
    assert masks["density"].mean() < 0.25
    assert masks["fixed"][:1280].sum() == 640
    assert masks["fixed"].sum() == 740
    given = tb.search(TASK, "flips", budget=200, batch=50, looks=1, seed=1, mask={p: np.zeros_like(m) for p, m in plain.mask.items()})
    assert tb.masks.density(given.mask) < 0.01


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"fitness": "x"}, "unknown fitness 'x': one of error, loss"),
        ({"rescale": "x"}, "unknown rescale 'x'"),
        ({"values": "x"}, "unknown kind of values 'x': one of constant, init"),
        ({"budget": 0}, "budget = 0, but a whole number is needed, 1 or more"),
        ({"density": 1.0}, "density = 1.0, price = 0.0; a density lies between 0 and 1"),
        ({"price": -1.0}, "price = -1.0; a density lies between 0 and 1, and a price is 0 or more"),
        ({"looks": 0}, "looks = 0, but a whole number is needed, 1 or more"),
    ],
)
def test_what_a_search_cannot_do_is_one_line(options, message):
    with pytest.raises(TombolaError, match=message):
        tb.search(TASK, "flips", **{"budget": 100, **options})


def test_a_searcher_of_ones_own_that_fails_is_named():
    for made, words in (
        (lambda space: 3, r"must return tb.Searcher\(first, ask, tell\), not int"),
        (lambda space: tb.Searcher(lambda random: {}, lambda state, random: state["a"], None), "fails: KeyError: 'a'"),
        (lambda space: 1 / 0, r"fails: ZeroDivisionError: division by zero; it is called with \(space\)"),
    ):
        with pytest.raises(TombolaError, match=f"^searcher '<lambda>' {words}$"):
            tb.search(TASK, made, budget=100)


# -- relaxed gates ------------------------------------------------------------------------------------------------------


def test_relaxed_gates_are_the_concrete_distribution_and_are_evaluated_as_bernoulli_masks():
    import jax
    import jax.numpy as jnp

    spec, key = Supermask(method="relaxed"), jax.random.key(0)
    scores = jnp.repeat(jnp.array([-1.0, 0.0, 2.0]), 20_000)
    gates = np.asarray(learnt.straight_through(spec, scores, key))
    assert 0 <= gates.min() < 0.01
    assert 0.99 < gates.max() <= 1
    np.testing.assert_allclose((gates > 0.5).reshape(3, -1).mean(axis=1), 1 / (1 + np.exp([1.0, 0.0, -2.0])), atol=0.02)
    slope = np.asarray(jax.grad(lambda s: learnt.straight_through(spec, s, key).sum())(scores))
    np.testing.assert_allclose(slope, gates * (1 - gates) * 1.5, rtol=1e-4, atol=1e-6)  # of sigmoid((s + z) / T), T = 2/3
    hard = learnt.straight_through(spec, jnp.array([-0.1, 0.1]))
    assert hard.tolist() == [0, 1]
    tree = {"a": np.ones(2, np.float32), "a.score": np.array([-0.1, 0.1], np.float32)}
    assert learnt.chosen(spec, tree)["a"].tolist() == [0, 1]
    assert {tuple(learnt.sampled(spec, tree, seed, "s")["a"]) for seed in range(20)} == {(0, 0), (0, 1), (1, 0), (1, 1)}
