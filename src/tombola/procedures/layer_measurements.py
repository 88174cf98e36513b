"""Kinds of measurement that ask which layers matter: layers put back to earlier values, drawn anew, or shaken."""

from collections.abc import Mapping, Sequence
from typing import get_args

import numpy as np

from tombola.core.errors import TombolaError, unknown
from tombola.core.keys import generator
from tombola.core.trees import Tree
from tombola.evaluation.similarity import cosine, distance
from tombola.evaluation.weight_combinations import Part, Scores, WeightCombinations
from tombola.models.groups import Unit, groups
from tombola.models.layer import Layer
from tombola.models.network import Network
from tombola.procedures.measurement import NORMALISATIONS, Normalisation, check_options
from tombola.procedures.measurements import Context, Query, facts, measurements


@measurements.register
def reset(
    context: Context,
    final: Tree,
    mask: Tree,
    *checkpoints: Tree,
    unit: Unit = "layer",
    sets: Sequence[Sequence[str]] | None = None,
    draws: int = 0,
    batch_norm: Normalisation = "reset",
    part: Part = "test",
    train: int | None = None,
) -> Query:
    """The trained network with some of its layers put back: theta_T^(d) <- theta_tau^(d), or a fresh draw. Nothing is trained.

    Args:
        mask: of the trained network; a pruned weight stays as it is in `final`.
        checkpoints: C networks theta_tau.
        unit: what is put back together: `layer`, `block`, `stage`.
        sets: names of units, each set put back at once; None: each unit by itself.
        draws: D fresh draws, each layer's from its own initialiser with its own key, stream ``rerandomise/0``, ``.../1``, ...
        batch_norm: `reset`, `keep` or `recompute`.
        part: on which errors are reported, beside the validation set, on which choices are made.
        train: training examples to evaluate on; None: all.

    Gives, for G sets and the columns C checkpoints, then D draws: `error`, `loss` (G, C + D), on `part`;
    `validation_error` (G, C + D); `class_error` (G, C + D, classes) where there are any, NaN for one without examples; `own_error`,
    `own_loss`, `own_validation_error`, `own_class_error` (classes,), of the trained network; `rms`, the 2-norm of what
    moved over sqrt(size), `max`, its largest magnitude, and `cosine` (G, C + D), over the set's trainable leaves; `chance`,
    the error of the best constant answer; `examples`. The error is the objective's headline.

    Source: Zhang, Bengio & Singer 2019, section 3.
    """
    check_options(batch_norm, train, NORMALISATIONS)
    if part not in get_args(Part):
        raise unknown("part of the data", part, get_args(Part))
    if draws < 0 or not (draws or checkpoints):
        raise TombolaError(f"{len(checkpoints)} checkpoints and {draws} draws: name at least one thing that layers are reset to")
    network, chosen = context.network, _sets(context.network, unit, sets)
    drawn = [network.init(context.seed, f"rerandomise/{draw}") for draw in range(draws)]
    others = [_kept(network, final, mask, other, batch_norm) for other in (*checkpoints, *drawn)]
    place = {layer.name: index for index, layer in enumerate(network.layers)}
    shares = np.zeros((len(chosen), len(others), 1 + len(others), len(network.layers)), np.float32)
    shares[:, :, 0] = 1
    for row, layers in enumerate(chosen):
        for column in range(len(others)):
            shares[row, column, :, [place[layer.name] for layer in layers]] = np.eye(1 + len(others))[1 + column]
    whole = np.zeros((1, 1 + len(others), len(network.layers)), np.float32)
    whole[:, 0] = 1
    flat = np.concatenate([shares.reshape(-1, *whole.shape[1:]), whole])
    recompute = (np.arange(len(flat)) < len(flat) - 1) & (batch_norm == "recompute")
    shape = (len(chosen), len(others))
    moved = _moved(network, chosen, final, others)

    def read(scores: Mapping[Part, Scores]) -> dict[str, np.ndarray]:
        found, judged = dict(moved), scores[part]
        columns = {
            "error": judged.error,
            "loss": judged.loss,
            **({"class_error": judged.by_class} if judged.classes else {}),
            "validation_error": scores["validation"].error,
        }
        for name, values in columns.items():
            found[name] = values[:-1].reshape(*shape, *values.shape[1:])
            found[f"own_{name}"] = values[-1]
        said = facts(part, judged)
        return {**found, "chance": said[f"{part}_chance"], "examples": said[f"{part}_examples"]}

    parts: tuple[Part, ...] = tuple(dict.fromkeys(("validation", part)))
    return Query(WeightCombinations(context.seed, (final, *others), flat, recompute, train), read, parts)


def _sets(network: Network, unit: Unit, sets: Sequence[Sequence[str]] | None) -> list[list[Layer]]:
    """The layers of each set."""
    named = groups(network.layers, unit)
    for name in [name for one in sets or () for name in one]:
        if name not in named:
            raise unknown(unit, name, named)
    if sets is not None and not (sets and all(sets)):
        raise TombolaError("sets: there is none, or one is empty; name the layers of each")
    return [[layer for name in one for layer in named[name]] for one in ([[name] for name in named] if sets is None else sets)]


def _kept(network: Network, final: Tree, mask: Tree, other: Tree, batch_norm: Normalisation) -> Tree:
    """What layers are reset to: `other`, but pruned weights, and with `keep` normalisation, as they are in `final`."""
    found = {path: np.where(mask[path], leaf, final[path]) if path in mask else leaf for path, leaf in other.items()}
    if batch_norm == "keep":
        found |= {path: final[path] for layer in network.layers for path in layer.paths if not _own(layer, path)}
    return found


def _own(layer: Layer, path: str) -> bool:
    """Whether a leaf is of the layer's own module, and not of a normalisation that follows it."""
    kernel = layer.prunable[0]
    return path == kernel or (kernel != layer.name and path.rpartition("/")[0] == kernel.rpartition("/")[0])


def _moved(network: Network, chosen: list[list[Layer]], final: Tree, others: list[Tree]) -> dict[str, np.ndarray]:
    found = {name: np.zeros((len(chosen), len(others))) for name in ("rms", "max", "cosine")}
    for row, layers in enumerate(chosen):
        leaves = [path for layer in layers for path in layer.paths if path in network.trainable]
        size = sum(final[path].size for path in leaves)
        for column, other in enumerate(others):
            found["rms"][row, column] = distance(final, other, leaves) / np.sqrt(size)
            found["max"][row, column] = max(float(np.abs(final[path] - other[path]).max()) for path in leaves)
            found["cosine"][row, column] = cosine(final, other, leaves)
    return found


@measurements.register
def valley(
    context: Context,
    final: Tree,
    mask: Tree,
    initial: Tree,
    *,
    unit: Unit = "layer",
    places: int = 6,
    noises: Sequence[float] = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0),
    draws: int = 5,
    batch_norm: Normalisation = "keep",
    train: int | None = None,
) -> Query:
    """How wide the valley is along a layer's way: theta^(d) = (1 - a) theta_0^(d) + a theta_T^(d) + sigma u, the rest theta_T.

    Args:
        mask: a pruned weight is neither moved nor shaken.
        places: evenly spaced a from 0 to 1.
        noises: standard deviations sigma of the Gaussian u, in the weights' own unit.
        draws: D draws of u, from the stream ``valley/0/PATH``, ..., over which errors are averaged.
        batch_norm: `reset`: affine parameters and statistics go the way as well (statistics are not shaken); `keep`: they
            stay as trained; `recompute`: as `reset`, all statistics computed anew.
        train: training examples to evaluate on; None: all.

    Gives: `a` (A,), `sigma` (N,); `error` (G, A, N), mean training error over draws; `own_error`; `distance` (G,), the
    2-norm from theta_0^(d) to theta_T^(d) over the trainable leaves that move; `chance`.

    Source: Chatterji, Neyshabur & Sedghi 2020, definition 3.1.
    """
    check_options(batch_norm, train, NORMALISATIONS)
    if places < 2 or draws < 1 or not noises or not min(noises) > 0:
        raise TombolaError(f"places = {places}, draws = {draws}, noises = {list(noises)}: at least 2 places, 1 draw, and noises above 0")
    network, chosen = context.network, _sets(context.network, unit, None)
    start = _kept(network, final, mask, initial, batch_norm)
    shaken = [
        path
        for layer in network.layers
        for path in layer.paths
        if path in network.trainable and (batch_norm != "keep" or _own(layer, path))
    ]
    clouds = [_cloud(network, mask, context.seed, shaken, draw) for draw in range(draws)]
    a, sigma = np.linspace(0, 1, places), np.array(noises, float)
    place = {layer.name: index for index, layer in enumerate(network.layers)}
    shares = np.zeros((len(chosen), len(a), len(sigma), draws, 2 + draws, len(network.layers)), np.float32)
    shares[..., 0, :] = 1
    for row, layers in enumerate(chosen):
        for index in (place[layer.name] for layer in layers):
            shares[row, ..., 0, index] = a[:, None, None]
            shares[row, ..., 1, index] = 1 - a[:, None, None]
            shares[row, ..., 2:, index] = sigma[:, None, None] * np.eye(draws)
    whole = np.eye(2 + draws, dtype=np.float32)[:1, :, None].repeat(len(network.layers), axis=2)
    flat = np.concatenate([shares.reshape(-1, *shares.shape[-2:]), whole])
    recompute = (np.arange(len(flat)) < len(flat) - 1) & (batch_norm == "recompute")
    moved = [distance(final, start, [path for layer in layers for path in layer.paths if path in network.trainable]) for layers in chosen]

    def read(scores: Mapping[Part, Scores]) -> dict[str, np.ndarray]:
        errors = scores["train"].error
        return {
            "a": a,
            "sigma": sigma,
            "error": errors[:-1].reshape(shares.shape[:4]).mean(axis=3),
            "own_error": errors[-1],
            "distance": np.array(moved),
            "chance": facts("train", scores["train"])["train_chance"],
        }

    return Query(WeightCombinations(context.seed, (final, start, *clouds), flat, recompute, train), read, ("train",))


def _cloud(network: Network, mask: Tree, seed: int, shaken: Sequence[str], draw: int) -> Tree:
    """Standard normal on the leaves that are shaken, where they are kept; 0 elsewhere."""
    found = {path: np.zeros(shape.shape, np.float32) for path, shape in network.shapes.items()}
    for path in shaken:
        drawn = np.asarray(generator(seed, f"valley/{draw}/{path}").standard_normal(found[path].shape, np.float32))
        found[path] = np.where(mask[path], drawn, 0).astype(np.float32) if path in mask else drawn
    return found
