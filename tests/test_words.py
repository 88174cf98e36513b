"""Word vectors: text as tokens, skip-gram against plain loops, steps by rows, what is read off vectors, and what is wrong in one line."""

import gzip
import lzma
import os
from functools import cache, partial
from itertools import combinations
from pathlib import Path

import jax
import numpy as np
import pytest
from scipy import stats
from toys import EACH, TOPICS, toy_text

import tombola as tb
from tombola.core.errors import TombolaError
from tombola.core.masks import density
from tombola.core.task import Data, Model, Recipe, Task
from tombola.data import text
from tombola.data.dataset import load
from tombola.data.fetch import catalogue, fetch
from tombola.data.word_sets import known_pairs, read_analogies, read_pairs
from tombola.evaluation import words as reading
from tombola.evaluation.axes import turned
from tombola.objectives import SkipGram
from tombola.procedures.words import INPUT, OUTPUT, _kept, rounded
from tombola.pruning import selection
from tombola.training.setup import Setup

SHARED = Path(os.environ.get("TOMBOLA_DATA") or Path(__file__).parents[2] / "shared" / "data")
RANDOM = np.random.default_rng(0)


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    return toy_text(tmp_path_factory.mktemp("text"), 12_000)


def toy_task(path, steps="600it", **options):
    """Its programs are compiled once for all lengths of training."""
    recipe = {"batch": 2, "learning_rate": 0.03, "optimizer": "sgd", "evaluate_every": "100it", **options}
    model = Model(name="skip_gram", options={"dimension": 8}, initializer="own")
    task = Task(
        data=tb.from_text(path, length=16), model=model, recipe=Recipe(steps=steps, **recipe), rates={"embedding": 0.3, "output": 0.3}
    )
    return task.but(objective=SkipGram(window=3, noise=8, subsample=0.05), name="toy-words")


@pytest.fixture(scope="module")
def trained(toy):
    return tb.train(toy_task(toy), replicates=2, keep=["0it"])


@partial(jax.jit, static_argnums=0)
def drawn(objective, key, inputs):
    """What the objective makes of a batch."""
    return objective.batch(key, (inputs, inputs), None)


def one_line(raised, *said):
    assert "\n" not in str(raised.value)
    for part in said:
        assert part in str(raised.value)


# -- text ----------------------------------------------------------------------------------------------------------------


def test_tokens_are_words_by_frequency_and_rare_ones_are_not_there(tmp_path, monkeypatch):
    path = tmp_path / "own.txt"
    path.write_text("The cat, the CAT: a dog's 2\n" + "the cat " * 100)
    whole = text._dataset(path, 4, 2, 0.1, None)
    assert whole.words == ("cat", "the")
    assert whole.vocabulary == 2
    both = np.concatenate([whole.inputs, whole.test_inputs])
    assert both.shape == (51, 4)
    assert sorted(map(tuple, both)) == [(1, 0, 1, 0)] * 51
    assert text._dataset(path, 4, 1, 0.1, None).words == ("cat", "the", "2", "a", "dog", "s")
    monkeypatch.setattr(text, "_CHUNK", 7)  # no word is cut where a chunk ends
    chunked = text._dataset(path, 4, 2, 0.1, None)
    np.testing.assert_array_equal(chunked.inputs, whole.inputs)
    assert len(text._dataset(path, 4, 2, 0.1, 27 + 8 * 82).inputs) < len(whole.inputs)


@pytest.mark.parametrize("pack", [gzip.compress, lzma.compress])
def test_packed_text_is_read_too_and_named_by_its_content(toy, tmp_path, pack):
    path = tmp_path / f"toy.txt{'.gz' if pack is gzip.compress else '.xz'}"
    path.write_bytes(pack(toy.read_bytes()))
    assert tb.from_text(path).name == tb.from_text(toy).name == tb.from_file(toy).name
    assert tb.from_text(toy, length=16).name != tb.from_text(toy).name
    dataset = load(tb.from_text(path))
    assert dataset.input_dtype == "int32"
    assert len(dataset.words) == dataset.vocabulary == TOPICS * EACH + 3


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "holds no words"),
        (b"a\0b" * 100, "is no text"),
        (b"\xff\xfe" * 100, "is no text"),
        (b"one " * 5000, "at least 2 are needed"),
        (b"one two " * 100, "give a longer one"),
    ],
)
def test_what_is_no_text_is_one_line(tmp_path, content, said):
    (tmp_path / "bad.txt").write_bytes(content)
    with pytest.raises(TombolaError) as raised:
        tb.from_text(tmp_path / "bad.txt")
    one_line(raised, said)


@pytest.mark.skipif(not (SHARED / "text").is_dir(), reason="needs the Wikipedia text")
def test_the_text_of_the_studies_is_what_is_said_of_it():
    dataset = load(Data(name="wikipedia-4m"), SHARED)
    assert len(dataset.inputs) == text.FACTS["wikipedia-4m"]["examples"]
    assert len(dataset.test_inputs) == text.FACTS["wikipedia-4m"]["test"]
    assert dataset.vocabulary == 10_601


def test_a_text_that_is_not_there_is_damaged_or_too_large_is_one_line(toy, tmp_path, monkeypatch):
    with pytest.raises(TombolaError) as raised:
        tb.from_text(tmp_path / "none.txt")
    one_line(raised, "cannot read the text", "No such file")
    (tmp_path / "cut.txt.xz").write_bytes(lzma.compress(toy.read_bytes())[:2000])
    with pytest.raises(TombolaError) as raised:
        tb.from_text(tmp_path / "cut.txt.xz")
    one_line(raised, "cannot read the text")
    with pytest.raises(TombolaError) as raised:
        load(Data(name="wikipedia"), tmp_path)
    one_line(raised, "there is no enwiki2015.norm20m.txt", "--data-dir")
    with pytest.raises(TombolaError) as raised:
        fetch("wikipedia", tmp_path)
    one_line(raised, "cannot be fetched", str(tmp_path / "text"))
    entry = {"examples": 97_341, "test": 5_123, "shape": (32,), "classes": None, "source": "English Wikipedia of 2015, as words"}
    assert {"name": "wikipedia", **entry, "available": False} in catalogue(tmp_path)
    (tmp_path / text.WIKIPEDIA).write_text("another text")
    assert {"name": "wikipedia", **entry, "available": True} in catalogue(tmp_path)
    with pytest.raises(TombolaError) as raised:
        load(Data(name="wikipedia"), tmp_path)
    one_line(raised, "another text", "--data")
    monkeypatch.setattr(text, "memory", lambda: 1000)
    with pytest.raises(TombolaError) as raised:
        tb.from_text(toy)
    one_line(raised, "does not fit into the 0.0 GB")


# -- the objective -------------------------------------------------------------------------------------------------------


def test_the_loss_by_hand():
    outputs = np.array([[[0.5, -1.0, 2.0], [1.0, 0.0, -2.0]], [[3.0, 1.0, 1.0], [0.0, 0.0, 0.0]]], np.float32)
    targets = np.array([[[0, 1, -2.5], [1, 0, -2.5]], [[0, 0, 0], [0, 0, 0]]], np.float32)
    minus_log = lambda z: np.log1p(np.exp(-z))  # noqa: E731
    first = minus_log(-1.0) + minus_log(1.0) + 2.5 * minus_log(-2.0) + 2.5 * minus_log(2.0)
    objective = SkipGram(counts=(1, 1))
    np.testing.assert_allclose(objective.loss(outputs, targets), [first / 2, 0], rtol=1e-6)
    np.testing.assert_allclose(objective.training_loss(outputs, targets, 0.0), [2 * first, 0], rtol=1e-6)
    assert objective.measures(outputs, targets)["nats"][0] == pytest.approx(first / 2)
    p = np.linspace(0.01, 0.99, 9999)
    assert objective.chance(None) == pytest.approx((-np.log(p) - 5 * np.log(1 - p)).min(), abs=1e-6)


def test_windows_left_out_words_and_noise_are_as_in_a_plain_loop():
    counts, length = (50, 30, 15, 5), 12
    objective = SkipGram(window=3, noise=6, negatives=4, subsample=0.05, counts=counts)
    key, inputs = jax.random.key(3), RANDOM.integers(4, size=(5, length)).astype(np.int32)
    words, weights = drawn(objective, key, inputs)
    f, below = np.array(counts) / 100, np.cumsum(np.array(counts) ** 0.75) / np.sum(np.array(counts) ** 0.75)
    for row, own in enumerate(jax.random.split(key, 5)):
        own = np.asarray(jax.random.uniform(own, (2 * length + 6,)))
        kept = [i for i in range(length) if own[i] < min(1, np.sqrt(0.05 / f[inputs[row, i]]) + 0.05 / f[inputs[row, i]])]
        expected = np.zeros((length, length + 6))
        for place, i in enumerate(kept):
            window = 1 + int(3 * own[length + i])
            near = [j for other, j in enumerate(kept) if other != place and abs(other - place) <= window]
            expected[i, near] = 1
            expected[i, length:] = -4 / 6 * len(near)
        np.testing.assert_allclose(weights[row], expected, rtol=1e-6)
        np.testing.assert_array_equal(words[row, :length], inputs[row])
        np.testing.assert_array_equal(words[row, length:], [int(np.sum(below <= u)) for u in own[2 * length :]])
    assert (np.asarray(weights) > 0).any()


def test_noise_and_left_out_words_have_the_frequencies_that_are_asked_for():
    counts = np.array([1000, 300, 100, 20])
    objective = SkipGram(noise=200, subsample=0.01, counts=tuple(counts.tolist()))
    inputs = np.tile(np.arange(4, dtype=np.int32), (400, 8))
    words, weights = drawn(objective, jax.random.key(0), inputs)
    found = np.bincount(np.asarray(words)[:, 32:].reshape(-1), minlength=4) / 80_000
    np.testing.assert_allclose(found, counts**0.75 / (counts**0.75).sum(), atol=0.006)
    ratio = 0.01 / (counts / counts.sum())
    left_in = (np.asarray(weights)[:, :, :32] > 0).any(2).reshape(-1, 4).mean(0)
    np.testing.assert_allclose(left_in, np.minimum(1, np.sqrt(ratio) + ratio), atol=0.02)


def test_what_is_evaluated_depends_on_the_example_alone():
    objective = SkipGram(counts=(5, 3, 2), noise=4)
    inputs, examined = RANDOM.integers(3, size=(6, 10)).astype(np.int32), jax.jit(lambda inputs: objective.examined((inputs, None)))
    whole, chosen = examined(inputs), [4, 1, 5, 5, 2, 0]
    for found, expected in zip(examined(inputs[chosen]), whole, strict=True):
        np.testing.assert_array_equal(found, np.asarray(expected)[chosen])
    swapped = examined(inputs[:, ::-1])
    assert (np.asarray(swapped[0])[:, 10:] != np.asarray(whole[0])[:, 10:]).any()


@pytest.mark.parametrize("option", ["window", "noise"])
def test_a_window_of_zero_is_one_line(option):
    with pytest.raises(TombolaError) as raised:
        SkipGram(**{option: 0})
    one_line(raised, option)


def test_counts_that_are_given_are_one_for_each_word(toy):
    dataset = load(tb.from_text(toy, length=16))
    assert SkipGram().fitted(dataset).counts == tuple(np.bincount(dataset.inputs.reshape(-1)).tolist())
    assert SkipGram(counts=range(1, 34)).fitted(dataset).counts == tuple(range(1, 34))
    lacking = tb.from_arrays(np.zeros((4, 6), int), None, np.ones((2, 6), int), None, vocabulary=3)
    assert SkipGram().fitted(load(lacking)).counts == (24, 0, 0)  # words that the pool has not
    with pytest.raises(TombolaError) as raised:
        SkipGram(counts=(3, 2)).fitted(dataset)
    one_line(raised, "2 numbers for 33 words")


def test_what_is_no_text_is_not_learnt_from(toy):
    with pytest.raises(TombolaError) as raised:
        tb.train(tb.task("digits-mlp").but(objective="skip_gram"), replicates=1)
    one_line(raised, "learns from text", "tb.from_text")
    task = toy_task(toy)
    with pytest.raises(TombolaError) as raised:
        tb.train(tb.task("digits-mlp").but(model=task.model), replicates=1)
    one_line(raised, "words of a text are needed")


# -- training ------------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_training_is_a_plain_loop_with_summed_updates(toy):
    """Rows that a batch names twice are moved twice: against a loop in NumPy, over what the objective drew."""
    task = toy_task(toy, "3it")
    run = tb.train(task, replicates=1, keep=["0it"], seed=5)
    from tombola.core import keys
    from tombola.data.order import epoch_order
    from tombola.data.split import split

    dataset, seed = load(task.data), run.seeds[0]
    objective = task.objective.fitted(dataset)
    order = epoch_order(seed, "data_order", 0, split(dataset, task.data, seed).train)
    u, v = (np.asarray(run.at("0it")[path][0], np.float64) for path in (INPUT, OUTPUT))
    assert not v.any()
    assert 0 < abs(u).max() <= 0.5 / 8
    for t in range(3):
        examples = dataset.inputs[order[2 * t : 2 * t + 2]]
        key = jax.random.fold_in(jax.random.wrap_key_data(keys.stream(seed, "batch")), t)
        words, weights = (np.asarray(one) for one in drawn(objective, key, examples))
        du, dv, rate = np.zeros_like(u), np.zeros_like(v), 0.03
        for b, i, j in zip(*np.nonzero(weights), strict=True):
            center, other, weight = words[b, i], words[b, j], weights[b, i, j]
            score = u[center] @ v[other]
            slope = weight * -1 / (1 + np.exp(score)) if weight > 0 else -weight / (1 + np.exp(-score))
            du[center] += slope * v[other]
            dv[other] += slope * u[center]
        u, v = u - rate * du, v - rate * dv
    np.testing.assert_allclose(run.final[INPUT][0], u, atol=2e-6)
    np.testing.assert_allclose(run.final[OUTPUT][0], v, atol=2e-6)
    assert abs(run.final[OUTPUT]).max() > 0.01


def test_a_step_by_rows_is_a_step_of_the_whole_tables_and_holds_what_is_pruned(toy, monkeypatch):
    task = toy_task(toy, "20it")
    mask = {path: RANDOM.random((1, 33, 8)) < 0.5 for path in (INPUT, OUTPUT)}
    start = {path: RANDOM.standard_normal((1, 33, 8)).astype(np.float32) for path in (INPUT, OUTPUT)}
    start[INPUT][:, :, 0] = -0.0
    by_rows = tb.train(task, replicates=1, start=start, mask=mask)
    for path, kept in mask.items():
        held = np.where(kept, 0, start[path]).tobytes(), np.where(kept, 0, by_rows.final[path]).tobytes()
        assert held[0] == held[1]
        assert (by_rows.final[path] != start[path])[kept].mean() > 0.9
    monkeypatch.setattr(Setup, "by_rows", property(lambda setup: False))
    from tombola.training.program import _compile

    _compile.cache_clear()
    whole = tb.train(task, replicates=1, start=start, mask=mask)
    _compile.cache_clear()
    for path in mask:
        np.testing.assert_allclose(whole.final[path], by_rows.final[path], atol=1e-5)


def test_steps_are_by_rows_exactly_where_nothing_else_moves(toy):
    from tombola.engine.resolved import resolved

    task = toy_task(toy)
    rows = {
        "sgd": task.recipe,
        "adam": task.recipe.but(optimizer="adam"),
        "decay": task.recipe.but(weight_decay=0.1),
        "momentum": task.recipe.but(optimizer="momentum"),
    }
    assert {name: resolved(task.but(recipe=recipe), None)[0].by_rows for name, recipe in rows.items()} == {
        "sgd": True, "adam": False, "decay": False, "momentum": False,
    }  # fmt: skip
    assert not resolved(tb.task("digits-mlp", optimizer="sgd"), None)[0].by_rows


@pytest.mark.slow
def test_words_of_a_topic_come_to_lie_together(trained):
    assert trained.metrics["val_loss"][:, 0] == pytest.approx(6 * np.log(2), abs=1e-3)
    assert (trained.metrics["val_loss"][:, -1] < SkipGram().chance(None) - 0.1).all()
    for replica in range(2):
        found = tb.words(trained, replica)
        for topic in range(TOPICS):
            near = [word for word, _ in found.nearest(f"topic{topic}a", 4)]
            assert {word[:6] for word in near} == {f"topic{topic}"}
    assert (tb.words(trained, 0).vectors != tb.words(trained, 1).vectors).all()


def test_a_learning_rate_falls_in_a_line(toy):
    with pytest.raises(TombolaError) as raised:
        tb.train(toy_task(toy, schedule="linear", schedule_options={"end": 2.0}), replicates=1)
    one_line(raised, "end = 2.0")
    from tombola.core.step import Timeline
    from tombola.training.schedules import learning_rate

    recipe = Recipe(steps="10it", batch=1, learning_rate=1.0, schedule="linear", schedule_options={"end": 0.2})
    rates = [float(learning_rate(recipe, Timeline(10, 5))(0.5, t)) for t in (0, 5, 10)]
    np.testing.assert_allclose(rates, [0.5, 0.3, 0.1], rtol=1e-6)


# -- pruning -------------------------------------------------------------------------------------------------------------


def test_rows_and_columns_each_lose_their_share_by_hand():
    scores = {"a": np.array([[3.0, 1.0, 2.0, 9.0], [5.0, 8.0, 7.0, 6.0], [0.5, 0.1, 0.2, 0.3]])}
    kept = {"a": np.array([[1, 1, 1, 1], [1, 1, 1, 1], [1, 1, 0, 0]], bool)}
    rows = selection.prune(scores, kept, {"a": 0.5}, "row")
    np.testing.assert_array_equal(rows["a"], [[1, 0, 0, 1], [0, 1, 1, 0], [1, 0, 0, 0]])
    columns = selection.prune(scores, kept, {"a": 0.34}, "column")
    np.testing.assert_array_equal(columns["a"], [[1, 1, 0, 1], [1, 1, 1, 0], [0, 0, 0, 0]])
    whole = {"a": np.ones((3, 4), bool)}
    np.testing.assert_array_equal(selection.prune(scores, whole, {"a": 0.25}, "row", selection.ties_of(1))["a"].sum(1), [3, 3, 3])
    same = {"a": np.zeros((200, 4))}
    drawn = selection.prune(same, {"a": np.ones((200, 4), bool)}, {"a": 0.25}, "row", selection.ties_of(1))["a"]
    assert (drawn.sum(1) == 3).all()
    assert (drawn.mean(0) < 0.9).all()  # no column goes because of its place


@pytest.mark.parametrize(("scope", "axis"), [("row", 2), ("column", 1)])
def test_a_ticket_of_words_is_pruned_by_row_or_by_column(toy, scope, axis):
    levels = tb.imp(toy_task(toy, "10it"), levels=1, fraction=0.5, scope=scope, replicates=1)
    for leaf in levels[1].mask.values():
        per_line = leaf.sum(axis=axis)
        assert (per_line == leaf.shape[axis] - round(0.5 * leaf.shape[axis])).all()
    assert density({path: leaf[0] for path, leaf in levels[1].mask.items()}) == pytest.approx(0.5, abs=0.02)


@pytest.mark.parametrize("criterion", ["large_init", "large_final_same_sign", "small_init", "snip"])
def test_criteria_that_say_nothing_of_weights_that_start_from_zero_are_refused(toy, criterion):
    at = {"prune_at": "0it"} if criterion == "snip" else {}
    with pytest.raises(TombolaError) as raised:
        tb.imp(toy_task(toy, "10it"), levels=1, criterion=criterion, replicates=1, **at)
    one_line(raised, criterion, "start from 0")


def test_contexts_may_start_elsewhere_than_at_zero(toy):
    from tombola.engine.resolved import resolved

    task = toy_task(toy)
    network = resolved(task.but(model=task.model.but(options={"dimension": 8, "output_scale": 2.0})), None)[0].network
    start = network.init(3)
    assert 0.9 * 0.5 / 8 < abs(start[INPUT]).max() <= 0.5 / 8
    assert 0.9 / 8 < abs(start[OUTPUT]).max() <= 1 / 8
    assert (network.init(4)[OUTPUT] != start[OUTPUT]).all()


def test_whole_dimensions_go_from_both_tables(trained):
    action = tb.Action(name="prune_dimensions", of=(trained.runs[0].at("end"), trained.runs[0].its_mask()), options={"rate": 0.5})
    pruned = tb.train(trained.task.but(recipe=trained.task.recipe.but(steps="5it")), replicates=1, mask=action)
    size = np.linalg.norm(trained.final[INPUT][0], axis=0) * np.linalg.norm(trained.final[OUTPUT][0], axis=0)
    left = size >= np.sort(size)[4]
    for leaf in pruned.mask.values():
        np.testing.assert_array_equal(leaf[0], np.broadcast_to(left, (33, 8)))


# -- what is read off vectors --------------------------------------------------------------------------------------------


@cache
def some_vectors(n=40, d=6):
    return np.random.default_rng(2).standard_normal((n, d)).astype(np.float32)


def plain_cosine(a, b):
    return float(a @ b / np.sqrt((a @ a) * (b @ b)))


def test_rank_correlations_are_scipys():
    vectors, places = some_vectors(), RANDOM.integers(40, size=(30, 2))
    scores = RANDOM.integers(5, size=30).astype(float)  # with ties
    expected = stats.spearmanr([plain_cosine(vectors[a], vectors[b]) for a, b in places], scores).statistic
    assert reading.spearman(vectors, places, scores) == pytest.approx(expected)
    emptied = vectors * (np.arange(40) > 3)[:, None]
    assert np.isfinite(reading.spearman(emptied, places, scores))
    assert reading.cosines(emptied, np.array([[0, 9], [0, 1]])).tolist() == [0, 0]


def test_neighbours_overlap_and_analogies_are_those_of_a_plain_loop():
    vectors = some_vectors()
    for word, found in zip([3, 17], reading.neighbours(vectors, np.array([3, 17]), 5), strict=True):
        near = sorted((other for other in range(40) if other != word), key=lambda other: -plain_cosine(vectors[word], vectors[other]))
        assert found.tolist() == near[:5]
    assert reading.overlap(np.array([[1, 2], [3, 4]]), np.array([[2, 5], [4, 3]])) == 0.75
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    right, questions = 0, RANDOM.permuted(np.tile(np.arange(40), (50, 1)), axis=1)[:, :4]
    for index, (a, b, c, d) in enumerate(questions):
        target = unit[b] - unit[a] + unit[c]
        best = max((word for word in range(40) if word not in (a, b, c)), key=lambda word: plain_cosine(target, unit[word]))
        questions[index, 3] = best if index % 2 else d
        right += best == questions[index, 3]
    assert reading.analogies(vectors, questions, at_once=7) == right / 50 >= 0.5


def test_axes_are_rotations_of_the_same_whitened_vectors():
    random = np.random.default_rng(0)
    sources = random.laplace(size=(3000, 4))
    vectors = sources @ random.standard_normal((4, 4)) + 2
    found = {basis: turned(vectors, basis, 1) for basis in ("own", "rotated", "pca", "ica")}
    for one in found.values():
        np.testing.assert_allclose(one.vectors.T @ one.vectors / 3000, np.eye(4), atol=1e-9)
        np.testing.assert_allclose(one.vectors @ one.back + one.mean, vectors, atol=1e-9)
        np.testing.assert_allclose(one.vectors @ one.vectors[0], found["own"].vectors @ found["own"].vectors[0], atol=1e-8)
    correlations = abs(np.corrcoef(found["ica"].vectors.T, sources.T)[:4, 4:])
    assert (correlations.max(0) > 0.95).all()  # the independent sources are found
    of_axes = {basis: reading.kurtosis(one.vectors).mean() for basis, one in found.items()}
    assert max(of_axes, key=of_axes.get) == "ica"
    np.testing.assert_allclose(reading.kurtosis(vectors), stats.kurtosis(vectors, axis=0))
    directions = found["pca"].back
    expected = np.linalg.eigh(np.cov(vectors.T))[1][:, ::-1]
    assert (abs((directions / np.linalg.norm(directions, axis=1, keepdims=True)) @ expected).diagonal() > 0.999).all()


def test_an_intruder_stands_out_on_an_axis_that_means_something():
    space = np.zeros((60, 2))
    space[:5] = [[10, 0], [11, 0], [10, 1], [11, 1], [10.5, 0.5]]  # one family at the top of the first axis
    space[5:11, 1] = 20  # another at the top of the second
    space[11:, 0] = np.linspace(1, 2, 49)
    top = space[:5]
    inside = np.mean([np.linalg.norm(a - b) for a, b in combinations(top, 2)])
    outside = np.mean([np.linalg.norm(a - np.array([0, 20])) for a in top])
    found = reading.dist_ratio(reading.oriented(space), space, np.random.default_rng(0))
    assert found[0] == pytest.approx(outside / inside)
    np.testing.assert_array_equal(reading.oriented(-space), reading.oriented(space))


def test_only_the_largest_components_are_kept_and_bits_round():
    vectors = np.array([[1.0, -3.0, 2.0], [0.0, 0.6, -0.25]])
    np.testing.assert_array_equal(_kept(vectors, 2 / 3, "row"), [[0, -3, 2], [0, 0.6, -0.25]])
    np.testing.assert_array_equal(_kept(vectors, 0.5, "layer"), [[1, -3, 2], [0, 0, 0]])
    assert _kept(vectors, 1, "layer") is vectors
    np.testing.assert_allclose(rounded(vectors, 3), [[1, -3, 2], [0, 0.6, -0.2]])
    np.testing.assert_allclose(rounded(vectors, 8), vectors, atol=3 / 127 / 2 + 1e-9)


def test_word_sets_are_read_and_a_bad_line_is_named(tmp_path):
    (tmp_path / "pairs.txt").write_text("# words\nCat\tdog\t7.5\n\ncat mouse 2\ncat unicorn 1\n")
    found = read_pairs(tmp_path / "pairs.txt")
    assert found == (("cat", "dog", 7.5), ("cat", "mouse", 2.0), ("cat", "unicorn", 1.0))
    known = known_pairs(found, ("dog", "cat", "mouse"))
    assert (known.places.tolist(), known.scores.tolist(), known.share) == ([[1, 0], [1, 2]], [7.5, 2.0], 2 / 3)
    (tmp_path / "four.txt").write_text(": heading\nAthens Greece Rome Italy\n")
    assert read_analogies(tmp_path / "four.txt") == (("athens", "greece", "rome", "italy"),)
    for read, bad in ((read_pairs, "cat dog\n"), (read_pairs, "cat dog x\n"), (read_analogies, "a b c\n")):
        (tmp_path / "bad.txt").write_text(bad)
        with pytest.raises(TombolaError) as raised:
            read(tmp_path / "bad.txt")
        one_line(raised, "line 1")


@pytest.mark.slow
def test_words_with_their_vectors(trained, tmp_path):
    found = tb.words(trained, 1)
    assert len(found) == 33
    assert "topic0a" in found
    a, b = found["topic0a"], found["topic1b"]
    assert found.similarity("topic0a", "topic1b") == pytest.approx(plain_cosine(a, b), abs=1e-6)
    assert found.analogy("topic0a", "topic0b", "topic1c", 40)[0][0] not in ("topic0a", "topic0b", "topic1c")
    assert len(found.analogy("topic0a", "topic0b", "topic1c", 40)) == 30
    np.testing.assert_array_equal(tb.words(trained, 0, step="0it", table="output").vectors, 0)
    (tmp_path / "pairs.txt").write_text("topic0a topic0b 9\ntopic0a topic3c 1\ntopic2a topic2c 8\ntopic1a none 8\n")
    rho, share = found.correlation(tmp_path / "pairs.txt")
    assert rho > 0.4
    assert share == 0.75
    found.save(tmp_path / "vectors.txt")
    first, *lines = (tmp_path / "vectors.txt").read_text().splitlines()
    assert first == "33 8"
    read = np.array([line.split()[1:] for line in lines], np.float32)
    np.testing.assert_array_equal(read, found.vectors)
    assert [line.split()[0] for line in lines] == list(found.words)


def test_what_is_wrong_with_words_is_one_line(trained, tmp_path):
    found = tb.words(trained)
    (tmp_path / "file").write_text("")
    for wrong, said in (
        (lambda: found["topic9"], "topic9"),
        (lambda: found.nearest("topic0a", 0), "count = 0"),
        (lambda: tb.words(trained, 2), "replica = 2"),
        (lambda: tb.words(trained, table="both"), "both"),
        (lambda: tb.words(tb.train(tb.task("digits-mlp", steps="2it"), replicates=1)), "no word vectors"),
        (lambda: found.save(tmp_path / "file" / "x.txt"), "cannot write"),
    ):
        with pytest.raises(TombolaError) as raised:
            wrong()
        one_line(raised, said)


def test_evaluators_are_gensims(trained, tmp_path):
    models = pytest.importorskip("gensim.models")
    found = tb.words(trained)
    found.save(tmp_path / "vectors.txt")
    vectors = models.KeyedVectors.load_word2vec_format(str(tmp_path / "vectors.txt"))
    np.testing.assert_array_equal(vectors["topic0a"], found["topic0a"])
    chosen = [word for word in found.words if word.startswith("topic")]
    random = np.random.default_rng(0)
    rows = [(*random.choice(chosen, 2, replace=False), random.integers(10)) for _ in range(40)]
    (tmp_path / "pairs.txt").write_text("\n".join("\t".join(map(str, row)) for row in rows))
    assert found.correlation(tmp_path / "pairs.txt")[0] == pytest.approx(
        vectors.evaluate_word_pairs(str(tmp_path / "pairs.txt"))[1][0], abs=1e-5
    )
    assert [word for word, _ in found.nearest("topic3b", 8)] == [word for word, _ in vectors.most_similar("topic3b", topn=8)]
    questions = [tuple(random.choice(chosen, 4, replace=False)) for _ in range(30)]
    questions += [(a, b, c, found.analogy(a, b, c)[0][0]) for a, b, c, _ in questions[:10]]
    (tmp_path / "four.txt").write_text(": all\n" + "\n".join(" ".join(four) for four in questions))
    place = {word: index for index, word in enumerate(found.words)}
    asked = np.array([[place[word] for word in four] for four in questions])
    score, _ = vectors.evaluate_word_analogies(str(tmp_path / "four.txt"))
    assert reading.analogies(found.vectors, asked) == pytest.approx(score)
