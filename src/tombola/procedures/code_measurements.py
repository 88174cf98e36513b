"""Kinds of measurement that look at the code of an autoencoder: how sparse it is, what it is good for, what it gives back."""

import math
import warnings
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from tombola.core.masks import Mask
from tombola.core.numbers import whole
from tombola.core.trees import Tree
from tombola.evaluation.weight_combinations import Part, Scores, WeightCombinations
from tombola.models.network import Network
from tombola.procedures.measurements import Context, Query, facts, measurements

ON = 0.1
"""An activity counts as on where it exceeds this share of its unit's largest: what an l1 term shrinks is not thereby sparse."""
USED = 0.01
"""A weight counts as used where it exceeds this share of the largest of its kernel."""
STILL = 1e-3
"""A unit is dead whose standard deviation over examples is below this share of the largest unit's, or whose activity is 0 throughout."""
ACTIVE = 0.01
"""A latent is active whose posterior mean has a greater variance over examples (Burda et al. 2016)."""
REACH = (-2.0, -1.0, 0.0, 1.0, 2.0)
"""The values at which a traversal puts a latent."""


@measurements.register
def code(
    context: Context, weights: Tree, mask: Mask | None = None, *, probe: int = 1000, pictures: int = 0, traversal: bool = False
) -> Query:
    """The code of an autoencoder (``code``, of a variational one the posterior's mean) over the test examples.

    Args:
        mask: which units it has emptied is said too.
        probe: training examples on which a linear classifier of the code is fitted (logistic regression on standardised codes, C = 1);
            0, or data without classes: none.
        pictures: so many of the first test examples, and what the network makes of them.
        traversal: what the decoder makes of each code unit at -2, -1, 0, 1 and 2, the others at 0.

    Gives: `score`, the objective's headline, and `chance`, that of the best constant answer; each of its measures by name; `active`, the
    mean share of units that are on; `hoyer`, the mean over examples of (sqrt(n) - |a|_1 / |a|_2) / (sqrt(n) - 1), from 0 (all
    equal) to 1 (one unit alone), NaN for a code of zeros, which is left out; `dead`, the share of dead units, and `used`, the number of
    others; `latent_active` (units,) bool; `weights_used`, the share of prunable weights that are, and `weight_hoyer`, of all
    kernels together; `probe_acc`, the share of test examples that the classifier tells, and
    `probe_chance`, that of the most frequent class, NaN if there is no classifier; `emptied` (units,) bool,
    of a mask that keeps nothing of what computes or reads a unit; `originals`, `pictures` (n, *shape); `traversal` (units, 5, *shape).

    Raises:
        TombolaError: for a network that says no `code`; for a traversal, of one without a part `decoder`.
    """
    whole("probe", probe, 0)
    whole("pictures", pictures, 0)
    network = context.network
    networks = WeightCombinations(context.seed, (weights,), train=max(probe, 1), inside=("code",))

    def read(scores: Mapping[Part, Scores]) -> dict[str, np.ndarray]:
        test = scores["test"]
        found: dict[str, Any] = {"score": test.error[0], "chance": facts("test", test)["test_chance"]}
        found |= {name: test.mean(name)[0] for name in test.measures}
        codes = _flat(test.inside["code"][0])
        found |= _of_code(codes) | _of_weights(network, weights) | _probe(scores, probe)
        if mask is not None:
            found["emptied"] = emptied(network, mask, codes.shape[1])
        if pictures:
            found |= {"originals": test.targets[:pictures], "pictures": test.prediction[0][:pictures]}
        if traversal:
            outputs = jax.jit(lambda codes: network.part("decoder", weights, codes))(_traversed(codes.shape[1]))
            shown = np.asarray(test.objective.prediction(outputs))
            found["traversal"] = shown.reshape(codes.shape[1], len(REACH), *network.data.outputs)
        return {name: np.asarray(value) for name, value in found.items()}

    return Query(networks, read, ("train", "test") if probe else ("test",))


def _flat(codes: np.ndarray) -> np.ndarray:
    return codes.reshape(len(codes), -1).astype(np.float64)


def _of_code(codes: np.ndarray) -> dict[str, Any]:
    """What is measured of codes (n, units): how sparse they are, and which of their units are in use."""
    if not np.isfinite(codes).all():
        return {**dict.fromkeys(("active", "hoyer", "dead", "used"), np.nan), "latent_active": np.zeros(codes.shape[1], bool)}
    size, spread = np.abs(codes), codes.std(axis=0)
    most = size.max(axis=0)
    dead = (spread <= STILL * spread.max()) | (most == 0)
    return {
        "active": ((size > ON * most) & (most > 0)).mean(),
        "hoyer": np.nanmean(hoyer(size)) if (size.sum(axis=1) > 0).any() else np.nan,
        "dead": dead.mean(),
        "used": (~dead).sum(),
        "latent_active": spread**2 > ACTIVE,
    }


def hoyer(values: np.ndarray) -> np.ndarray:
    """(n,) Hoyer sparsity of each row (n, m): (sqrt(m) - l1 / l2) / (sqrt(m) - 1); NaN for a row of zeros (Hoyer 2004, section 3.1)."""
    first, second = np.abs(values).sum(axis=1), np.sqrt((values**2).sum(axis=1))
    root = math.sqrt(values.shape[1])
    ratio = np.divide(first, second, out=np.full(len(values), np.nan), where=second > 0)
    return np.ones(len(values)) if values.shape[1] == 1 else (root - ratio) / (root - 1)


def _of_weights(network: Network, weights: Tree) -> dict[str, Any]:
    kernels = [np.abs(weights[path]).reshape(-1).astype(np.float64) for path in network.prunable]
    used = sum(np.count_nonzero(kernel > USED * kernel.max()) for kernel in kernels)
    everything = np.concatenate(kernels)
    return {"weights_used": used / everything.size, "weight_hoyer": hoyer(everything[None])[0]}


def _probe(scores: Mapping[Part, Scores], examples: int) -> dict[str, float]:
    labels, nothing = scores["test"].labels, {"probe_acc": math.nan, "probe_chance": math.nan}
    if not examples or labels is None:
        return nothing
    from sklearn.linear_model import LogisticRegression

    train, test = (_flat(scores[part].inside["code"][0]) for part in ("train", "test"))
    known = scores["train"].labels
    if not (np.isfinite(train).all() and np.isfinite(test).all()) or known is None or len(np.unique(known)) < 2:
        return nothing
    mean, std = train.mean(axis=0), train.std(axis=0)
    std[std == 0] = 1.0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it would go on converging
        fitted = LogisticRegression(max_iter=200).fit((train - mean) / std, known)
    told = fitted.predict((test - mean) / std)
    return {"probe_acc": float((told == labels).mean()), "probe_chance": float((np.bincount(known).argmax() == labels).mean())}


def emptied(network: Network, mask: Mask, units: int) -> np.ndarray:
    """(units,) bool: code units of which a mask keeps no incoming weight, or no weight that reads them.

    The kernel that computes them is that of the layer `code` or `mean` of block `encoder`, or else its last; that which reads them is the
    first of block `decoder` with so many inputs. Where one of them has another number of units, it empties none.
    """
    found = np.zeros(units, bool)
    encoder, decoder = ([one for one in network.layers if one.block == block and one.prunable] for block in ("encoder", "decoder"))
    named = [one for one in encoder if one.name.rpartition("/")[2] in ("code", "mean")]
    for path in [path for one in (named or encoder)[-1:] for path in one.prunable]:
        if mask[path].shape[-1] == units:
            found |= ~mask[path].reshape(-1, units).any(axis=0)
    for path in [path for one in decoder for path in one.prunable if mask[path].shape[-2] == units][:1]:
        found |= ~mask[path].any(axis=-1)
    return found


def _traversed(units: int) -> Any:
    """(units * 5, units): each unit in turn at each place, the others at 0."""
    return (jnp.eye(units)[:, None, :] * jnp.array(REACH)[None, :, None]).reshape(-1, units)
