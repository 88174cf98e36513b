"""Sparse storage: products, and training at the cost of what a mask keeps."""

import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from tombola.api.imp import imp
from tombola.api.train import train
from tombola.core import keys, trees
from tombola.core.data_info import DataInfo
from tombola.core.errors import TombolaError
from tombola.core.task import Data, Model, Recipe, Task
from tombola.data.dataset import load
from tombola.engine import execute
from tombola.engine.graph import graph
from tombola.kernels import sparse
from tombola.models.nnx_network import NNXNetwork
from tombola.models.sparse_storage import sparse_network, to_dense, to_sparse
from tombola.procedures.imp import imp_runs
from tombola.store.store import Store
from tombola.training import replica_batch, sparse_storage
from tombola.training.cohort import setup, train_cohort
from tombola.training.mask_schedules import MaskUpdates
from tombola.training.moving_masks import MovingMasks
from tombola.training.program import State
from tombola.training.replica import Replica

pytestmark = pytest.mark.skipif(not sparse.available(), reason="needs a C compiler")
RANDOM = np.random.default_rng(7)


def drawn(*shape):
    return RANDOM.standard_normal(shape).astype(np.float32)


def packed_matrix(matrix, bands=1):
    """values, rows and starts of a matrix's entries that are not 0."""
    rows, columns, starts = sparse.places(matrix != 0, bands)
    return matrix[rows, columns], rows, starts


# -- products ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("batch", [1, 16, 60, 64, 65, 130])
@pytest.mark.parametrize(
    ("inputs", "outputs", "density"), [(70, 33, 0.1), (5, 1, 0.5), (64, 16, 0.0), (17, 40, 1.0), (300, 20, 0.2), (300, 20, 0.05)]
)
def test_a_sparse_product_and_its_gradients_are_the_dense_ones(batch, inputs, outputs, density):
    matrix = np.where(RANDOM.random((inputs, outputs)) < density, drawn(inputs, outputs), np.float32(0))
    matrix[:, -1] = 0  # a column without any weight
    bands = sparse.bands(inputs, outputs, np.count_nonzero(matrix))
    (values, rows, starts), x, weight = packed_matrix(matrix, bands), drawn(batch, inputs), drawn(batch, outputs)
    padded = [np.pad(one, (0, 3), constant_values=1) for one in (values, rows)]

    def sparsely(x, values):
        return jnp.sum(weight * sparse.product(x, values, jnp.asarray(padded[1]), jnp.asarray(starts), outputs))

    def densely(x, matrix):
        return jnp.sum(weight * (x @ matrix))

    of_x, of_values = jax.jit(jax.grad(sparsely, argnums=(0, 1)))(x, padded[0])
    wanted_x, of_matrix = jax.grad(densely, argnums=(0, 1))(x, matrix)
    np.testing.assert_allclose(sparse.product(x, *padded, starts, outputs), x @ matrix, rtol=0, atol=1e-4)
    np.testing.assert_allclose(of_x, wanted_x, rtol=0, atol=1e-4)
    at = sparse.places(matrix != 0, bands)[:2]
    np.testing.assert_allclose(of_values[: values.size], np.asarray(of_matrix)[at], rtol=0, atol=1e-4)
    assert not np.any(of_values[values.size :])


def test_weights_are_stored_in_bands_by_column():
    kept = RANDOM.random((2 * sparse.BAND + 5, 7)) < 0.3
    assert (sparse.bands(*kept.shape, kept.size // 11), sparse.bands(*kept.shape, kept.size // 13)) == (3, 1)
    rows, columns, starts = sparse.places(kept, 3)
    assert starts.size == 3 * 7 + 1
    assert starts[-1] == np.count_nonzero(kept)
    assert list(zip(rows // sparse.BAND, columns, rows, strict=True)) == sorted(zip(rows // sparse.BAND, columns, rows, strict=True))
    for index in range(3 * 7):
        here = slice(*starts[index : index + 2])
        assert set(columns[here]) <= {index % 7}
        assert set(rows[here] // sparse.BAND) <= {index // 7}
    again = np.zeros_like(kept)
    again[rows, columns] = True
    assert np.array_equal(again, kept)


def test_a_sparse_product_takes_any_leading_axes():
    matrix = np.where(RANDOM.random((6, 5)) < 0.4, drawn(6, 5), np.float32(0))
    x = drawn(2, 3, 6)
    np.testing.assert_allclose(sparse.product(x, *packed_matrix(matrix), 5), x @ matrix, rtol=0, atol=1e-5)


WITHOUT_COMPILER = "from tombola.kernels.sparse import available; print(available())"


@pytest.mark.slow
@pytest.mark.parametrize(("compiler", "there"), [("no-such-compiler", "False"), ("false", "False"), ("cc", "True")])
def test_without_a_compiler_there_are_no_sparse_products(tmp_path, monkeypatch, compiler, there):
    monkeypatch.setenv("CC", compiler)
    monkeypatch.setenv("TOMBOLA_CACHE", str(tmp_path))
    assert subprocess.run([sys.executable, "-c", WITHOUT_COMPILER], capture_output=True, text=True, check=True).stdout.strip() == there
    # What was compiled once is used again.
    monkeypatch.setenv("CC", "no-such-compiler")
    assert subprocess.run([sys.executable, "-c", WITHOUT_COMPILER], capture_output=True, text=True, check=True).stdout.strip() == there


@pytest.mark.slow
def test_a_cache_that_cannot_be_written_is_no_error(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("TOMBOLA_CACHE", str(tmp_path / "file"))  # compiled by each process, then
    assert subprocess.run([sys.executable, "-c", WITHOUT_COMPILER], capture_output=True, text=True, check=True).stdout.strip() == "True"


# -- networks ----------------------------------------------------------------------------------------------------------


class Mixed(nnx.Module):
    """A convolution, batch norm, two linear layers, one of them in a list, and dropout."""

    def __init__(self, shape, classes, *, rngs):
        self.conv = nnx.Conv(shape[-1], 4, (3, 3), rngs=rngs)
        self.norm = nnx.BatchNorm(4, rngs=rngs)
        self.hidden = nnx.List([nnx.Linear(4 * shape[0] * shape[1], 20, rngs=rngs)])
        self.drop = nnx.Dropout(0.3, rngs=rngs)
        self.output = nnx.Linear(20, classes, use_bias=False, rngs=rngs)

    def __call__(self, images):
        hidden = self.drop(jax.nn.relu(self.norm(self.conv(images)))).reshape(images.shape[0], -1)
        return self.output(jax.nn.relu(self.hidden[0](hidden)))


@pytest.mark.slow
def test_a_network_in_sparse_storage_gives_the_same_outputs_and_gradients():
    network = NNXNetwork(lambda key: Mixed((8, 8, 3), 10, rngs=nnx.Rngs(key)), DataInfo.of_classes((8, 8, 3), 10))
    assert network.linear == {"hidden/0/kernel", "output/kernel"}
    mask = {path: RANDOM.random(network.shapes[path].shape) < 0.2 for path in network.prunable}
    start = {path: leaf * mask[path] if path in mask else leaf for path, leaf in network.init(3).items()}
    sizes = (("hidden/0/kernel", 2048), ("output/kernel", 64))
    small, (weights, _) = sparse_network(network, sizes), to_sparse(start, mask, sizes)
    assert {path: leaf.shape for path, leaf in weights.items()} == {path: one.shape for path, one in small.shapes.items()}
    assert trees.equal(to_dense(weights, start), start)
    x, key = drawn(12, 8, 8, 3), jax.random.key(5)

    def loss(trained, tree, network):
        logits, changed = network.apply({**tree, **trained}, x, train=True, dropout_key=key)
        return jnp.sum(jnp.sin(logits)), (logits, changed)

    found = {}
    for name, (net, tree) in {"plain": (network, start), "sparse": (small, weights)}.items():
        trained = {path: tree[path] for path in net.trainable}
        gradients, (logits, changed) = jax.grad(loss, has_aux=True)(trained, tree, net)
        gradients = {**tree, **gradients}
        dense = gradients if name == "plain" else to_dense(gradients, {p: np.zeros_like(v) for p, v in start.items()})
        found[name] = logits, changed, dense
    (logits, changed, gradients), (wanted, its, dense) = found["sparse"], found["plain"]
    np.testing.assert_allclose(logits, wanted, rtol=0, atol=1e-4)
    assert set(changed) == set(its)
    for path in network.shapes:
        expected = dense[path] * mask[path] if path in network.linear else dense[path]
        np.testing.assert_allclose(gradients[path], expected, rtol=0, atol=1e-3, err_msg=path)
    evaluated = [net.apply(tree, x, train=False)[0] for net, tree in ((network, start), (small, weights))]
    np.testing.assert_allclose(*evaluated, rtol=0, atol=1e-4)
    measured = [net.statistics(tree, x) for net, tree in ((network, start), (small, weights))]
    assert all(np.array_equal(measured[0][path], measured[1][path]) for path in network.running)
    assert np.array_equal(small.init_tensor("conv/kernel", 3, "init"), network.init(3)["conv/kernel"])
    with pytest.raises(TombolaError, match="sparse storage"):
        small.init(3)


def test_other_types_and_products_of_a_user_s_own_are_left_alone():
    class Own(nnx.Module):
        def __init__(self, shape, classes, *, rngs):
            self.half = nnx.Linear(shape[0], 8, dtype=jnp.bfloat16, rngs=rngs)
            self.own = nnx.Linear(8, 8, dot_general=lambda *given, **options: jax.lax.dot_general(*given, **options), rngs=rngs)
            self.output = nnx.Linear(8, classes, dtype=jnp.float32, rngs=rngs)

        def __call__(self, inputs):
            return self.output(self.own(self.half(inputs)))

    assert NNXNetwork(lambda key: Own((6,), 10, rngs=nnx.Rngs(key)), DataInfo.of_classes((6,), 10)).linear == {"output/kernel"}


# -- training ----------------------------------------------------------------------------------------------------------


def digits(**recipe):
    common = {"steps": "40it", "batch": 60, "learning_rate": 1e-2, "evaluate_every": "10it"}
    model = Model(name="mlp", options={"widths": [40, 20]})
    return Task(data=Data(name="digits"), model=model, recipe=Recipe(**(common | recipe)))


def sparse_masks(task, count, densities):
    found = setup(task, load(task.data)).network
    starts = trees.stack([found.init(keys.replicate_seed(1, index)) for index in range(count)])
    keep = np.resize(densities, count)[:, None, None]
    return starts, {path: RANDOM.random(starts[path].shape) < keep for path in found.prunable}


@pytest.fixture
def always(monkeypatch):
    monkeypatch.setattr(sparse_storage, "WORTHWHILE", 0.0)
    monkeypatch.setattr(sparse_storage, "SMALLEST", 1)


def never(monkeypatch):
    monkeypatch.setattr(sparse_storage, "SPARSE", -1.0)


RECIPES = {
    "adam": {},
    "momentum and weight decay": {"optimizer": "momentum", "learning_rate": 0.05, "weight_decay": 1e-3},
    "frozen": {"frozen": ["hidden1"]},
    "label smoothing": {"optimizer": "sgd", "learning_rate": 0.1, "label_smoothing": 0.1},
}


@pytest.mark.slow
@pytest.mark.parametrize("recipe", RECIPES.values(), ids=list(RECIPES))
def test_training_in_sparse_storage_is_training_under_the_mask(monkeypatch, always, recipe):
    task = digits(**recipe)
    start, mask = sparse_masks(task, 2, [0.2, 0.1])
    start = {path: leaf * mask[path] if path in mask else leaf for path, leaf in start.items()}
    programs = watched(monkeypatch)
    run = train(task, start=start, mask=mask, keep=["10it"])
    assert all(programs)
    assert programs
    never(monkeypatch)
    programs.clear()
    dense = train(task, start=start, mask=mask, keep=["10it"])
    assert not any(programs)
    for step in (0, 10, 40):
        for path, leaf in dense.snapshots[step].items():
            np.testing.assert_allclose(run.snapshots[step][path], leaf, rtol=0, atol=2e-3, err_msg=path)
    np.testing.assert_allclose(run.metrics["val_loss"], dense.metrics["val_loss"], rtol=0, atol=2e-3)
    assert run.summary["es_step"].tolist() == dense.summary["es_step"].tolist()


def watched(monkeypatch):
    """The kernels in sparse storage of every program that is asked for."""
    seen, compile_program = [], replica_batch.compile_program

    def watch(found, layout):
        seen.append(found.sparse)
        return compile_program(found, layout)

    monkeypatch.setattr(replica_batch, "compile_program", watch)
    return seen


def test_where_the_mask_is_0_a_weight_in_sparse_storage_keeps_its_start_bit_for_bit(always, monkeypatch):
    task = digits(weight_decay=1e-2, optimizer="momentum")
    start, mask = sparse_masks(task, 2, [0.1])
    held = RANDOM.random(start["hidden1/kernel"].shape) < 0.1  # frozen at a value that is not 0, or pruned to either 0
    start["hidden1/kernel"] = np.where(mask["hidden1/kernel"] | held, start["hidden1/kernel"], np.float32(-0.0))
    programs = watched(monkeypatch)
    run = train(task, start=start, mask=mask)
    assert "hidden1/kernel" in dict(programs[0])
    for path, leaf in mask.items():
        was, now = start[path][~leaf], run.final[path][~leaf]
        assert was.tobytes() == now.tobytes()
        assert not np.any(run.final[path][leaf] == start[path][leaf])


def members(task, densities, **fields):
    start, mask = sparse_masks(task, len(densities), np.array(densities))
    seeds = [keys.replicate_seed(1, index) for index in range(len(densities))]
    starts = {path: leaf * mask[path] if path in mask else leaf for path, leaf in start.items()}
    return [Replica(seed, trees.replica(starts, i), trees.replica(mask, i), **fields) for i, seed in enumerate(seeds)]


def outcomes(task, some, **options):
    return dict(train_cohort(task, load(task.data), some, **options))


def same(one, other):
    assert np.array_equal(np.array(one.rows), np.array(other.rows), equal_nan=True)
    assert one.summary == other.summary
    assert one.snapshots.keys() == other.snapshots.keys()
    assert all(trees.equal(one.snapshots[step], other.snapshots[step]) for step in one.snapshots)


MOVING = {name: {"mask_schedule": {"name": name, "options": {"every": "8it"}}} for name in ("rigl", "set")}


@pytest.mark.slow
@pytest.mark.parametrize("schedule", MOVING)
@pytest.mark.parametrize("recipe", [{}, RECIPES["momentum and weight decay"], RECIPES["frozen"]], ids=["adam", "momentum", "frozen"])
def test_a_mask_moves_in_sparse_storage_as_it_does_out_of_it(monkeypatch, always, schedule, recipe):
    """Bit for bit where nothing is rounded otherwise: the mask after the first update, and all that it has 0."""
    task = digits(**MOVING[schedule], **recipe)
    some = members(task, [0.2, 0.1], keep=frozenset({8, 16, 40}))
    programs = watched(monkeypatch)
    monkeypatch.setattr(sparse_storage, "SMALLEST", 500)
    sparse = outcomes(task, some)
    assert dict(programs[0]).keys() == some[0].mask.keys() - {"output/kernel"}
    never(monkeypatch)
    for index, dense in outcomes(task, some).items():
        one = sparse[index]
        assert one.masks.keys() == dense.masks.keys() == {8, 16, 40}
        assert trees.equal(one.masks[8], dense.masks[8])
        assert not trees.equal(one.masks[8], some[index].mask)
        for step in one.masks:
            for path, kept in one.masks[step].items():
                assert np.count_nonzero(kept) == np.count_nonzero(some[index].mask[path])
                assert not one.snapshots[step][path][~kept].any()
        for path, leaf in dense.snapshots[8].items():
            np.testing.assert_allclose(one.snapshots[8][path], leaf, rtol=0, atol=1e-4, err_msg=path)
        np.testing.assert_allclose(np.array(one.rows), np.array(dense.rows), rtol=0, atol=0.15)


def test_what_is_held_of_a_weight_moves_with_it(always):
    """The optimiser's state: 0 where a connection has just grown, also where one was dropped, and with any other the one that it had."""
    (member,) = members(digits(), [0.2])
    found = setup(digits(**MOVING["set"]), load(Data(name="digits")))
    sizes = sparse_storage.sparse_sizes(found, 40, member.start, member.mask)
    start, mask = to_sparse(member.start, member.mask, sizes)
    held = ({path: 2 * start[path] for path in member.mask},)
    state = State(trees.stack([start]), jax.tree.map(lambda leaf: leaf[None], held), trees.stack([mask]), {}, np.array([0.5]), 0)
    moving = MovingMasks(found, sparse_storage.mask_updates(found), sizes, [member], state, lambda tree: tree)
    stay = {path: kept & (RANDOM.random(kept.shape) < 0.7) for path, kept in member.mask.items()}
    grown = {path: (kept | np.roll(kept, 1)) & (RANDOM.random(kept.shape) < 0.1) for path, kept in member.mask.items()}  # some at once
    new = {path: stay[path] | grown[path] for path in stay}
    weights, (moments,), kept = moving._stored(start, held, mask, stay, new)
    whole = {path: np.where(stay[path], member.start[path], 0) for path in new}
    for tree, times in ((weights, 1), ({**weights, **moments}, 2)):
        dense = to_dense(tree, {path: np.zeros_like(leaf) for path, leaf in member.start.items()})
        assert all(np.array_equal(dense[path], times * whole[path]) for path in new)
    assert {path: int(leaf.sum()) for path, leaf in kept.items()} == {path: int(leaf.sum()) for path, leaf in new.items()}
    assert np.isinf(moving.move(None, state, None, {}, 16).best_loss).all()  # the best network so far had another mask


def test_a_moving_mask_is_stored_sparsely_where_it_leaves_nothing_but_0(always, monkeypatch):
    """What it leaves out becomes 0; what a constant mask holds at another value is stored with the rest. Others may have more weights."""
    (member,) = members(digits(), [0.2])
    held = {path: np.where(RANDOM.random(leaf.shape) < 0.05, np.float32(1), leaf) for path, leaf in member.start.items()}
    for recipe, of_held in (({}, True), (MOVING["set"], False)):
        found = setup(digits(**recipe), load(Data(name="digits")))
        assert sparse_storage.sparse_sizes(found, 40, member.start, member.mask)
        assert bool(sparse_storage.sparse_sizes(found, 40, held, member.mask)) == of_held
    for other in (MaskUpdates(lambda *given: given, {8}), MaskUpdates(lambda *given: given, {8}, choose=lambda *given: given)):
        monkeypatch.setattr(sparse_storage, "mask_updates", lambda found, other=other: other)
        assert not sparse_storage.sparse_sizes(found, 40, member.start, member.mask)


# -- what is compared bit for bit is compiled as it is for users: from here to the end of the file -----------------------


@pytest.mark.slow
@pytest.mark.usefixtures("optimized")
@pytest.mark.parametrize("recipe", [{}, *MOVING.values()], ids=["constant", *MOVING])
def test_a_result_in_sparse_storage_does_not_depend_on_who_shares_the_cohort(always, recipe):
    task = digits(**recipe)
    some = members(task, [0.2, 0.9, 0.02, 0.2, 0.05], keep=frozenset({0, 40}))
    together = outcomes(task, some)
    assert sorted(together) == [0, 1, 2, 3, 4]
    for index, member in enumerate(some):
        same(outcomes(task, [member])[0], together[index])


@pytest.mark.slow
@pytest.mark.usefixtures("optimized")
@pytest.mark.parametrize("recipe", [{}, *MOVING.values()], ids=["constant", *MOVING])
def test_a_resumed_run_in_sparse_storage_is_bitwise_the_uninterrupted_one(always, monkeypatch, recipe):
    task = digits(**recipe)
    monkeypatch.setattr(replica_batch, "CHECKPOINT_SECONDS", -1.0)
    some, saved = members(task, [0.2, 0.05], keep=frozenset({5, 40})), []
    whole = outcomes(task, some, on_checkpoint=lambda index, point: saved.append((index, point)))
    for index, point in saved:
        one = some[index]
        resumed = Replica(one.seed, one.start, one.mask, keep=one.keep, resume=point)
        same(outcomes(task, [resumed])[0], whole[index])


@pytest.mark.usefixtures("optimized")
def test_only_what_saves_time_is_stored_sparsely(monkeypatch):
    task = digits()
    start, mask = (trees.replica(tree, 0) for tree in sparse_masks(task, 1, [0.2]))
    start = {path: leaf * mask[path] if path in mask else leaf for path, leaf in start.items()}
    found = setup(task, load(task.data))
    assert sparse_storage.sparse_sizes(found, 40, start, mask) == ()  # too short
    assert sparse_storage.sparse_sizes(found, 10_000_000, start, mask) == ()  # too small
    monkeypatch.setattr(sparse_storage, "SMALLEST", 1)
    assert not sparse_storage.may_be_sparse(found, 40)
    assert sparse_storage.may_be_sparse(found, 10_000_000)
    sizes = dict(sparse_storage.sparse_sizes(found, 10_000_000, start, mask))
    assert sizes.keys() == set(mask)
    for path, room in sizes.items():
        count = np.count_nonzero(mask[path])
        assert count <= room < 2 * count
        assert room.bit_count() == 1
    mask["hidden1/kernel"] = mask["hidden1/kernel"] | (RANDOM.random(mask["hidden1/kernel"].shape) < 0.7)
    assert dict(sparse_storage.sparse_sizes(found, 10_000_000, start, mask)).keys() == set(mask) - {"hidden1/kernel"}
    monkeypatch.setattr(sparse_storage, "available", lambda: False)
    assert sparse_storage.sparse_sizes(found, 10_000_000, start, mask) == ()


@pytest.mark.slow
@pytest.mark.usefixtures("optimized")
def test_a_study_trains_waves_of_equal_rooms_and_gives_what_imp_gives(always, monkeypatch, tmp_path):
    task = digits(steps="20it")
    rates = {"dense": 0.6, "output": 0.3}
    chains = [imp_runs(task, keys.replicate_seed(0, index), levels=3, rates=rates) for index in range(3)]
    waves, train_cohort = [], execute.train_cohort

    def watch(task, dataset, some, *rest):
        found = setup(task, dataset)
        waves.append({sparse_storage.sparse_sizes(found, 20, one.start, one.mask) for one in some})
        return train_cohort(task, dataset, some, *rest)

    monkeypatch.setattr(execute, "train_cohort", watch)
    engine = execute.Engine(graph([run for chain in chains for run in chain], {}), Store(tmp_path / "runs"))
    records = engine.execute()
    assert all(len(sizes) == 1 for sizes in waves)
    assert len({size for sizes in waves for size in sizes}) > 1
    levels = imp(task.but(rates={**task.rates, **rates}), 3, replicates=3)
    for level, trajectory in enumerate(levels):
        for index, chain in enumerate(chains):
            metrics = records[chain[level].digest].metrics()
            assert np.array_equal(metrics["val_loss"], trajectory.metrics["val_loss"][index])
