"""A compressed network as one safetensors file: what of it does not follow from the seed, and how the rest is drawn again.

Tensors are the arrays of `tombola.procedures.compressed.Compressed`. The metadata say `model` (canonical JSON) and `data` (a
`DataInfo`), from which the network is built without a data set; `seed`; `actions`, `factors` and `leaves` (JSON); and `sha256`, of
what must come out: drawn on another machine, or by another version of JAX, values could differ in a bit.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from pydantic import TypeAdapter

from tombola.core.data_info import DataInfo
from tombola.core.errors import TombolaError
from tombola.core.masks import Mask
from tombola.core.task import Model
from tombola.core.trees import Tree
from tombola.procedures.compressed import Compressed, Origin, decompress
from tombola.procedures.run import Action

T = TypeVar("T")

FORMAT = "tombola packed ticket 1"
MOST_TEXT, MOST_UNITS = 2**16, 10**6
"""Characters of the description of a network, which takes a few hundred; and the largest number in it."""
MOST_VALUES, MOST_PER_BYTE = 2 * 10**8, 64
"""A file describes a network of at most so many values, or of so many for each of its bytes: a few bytes may name any size."""


def described(compressed: Compressed, model: Model, data: DataInfo, sha256: str) -> dict[str, str]:
    """The metadata from which `rebuilt` makes the network again; those of the run may be added."""
    import jax

    used = {source for sources in compressed.leaves.values() for source in sources.values()}
    actions = {
        name: {"name": one.canonical()["name"], "options": one.options}
        for name, one in compressed.origin.candidates().items()
        if name in used
    }
    return {
        "format": FORMAT,
        "mask": "<path>.mask is coded as tombola.surgery.bitmask.encode_mask says",
        "model": json.dumps(model.canonical()),
        "data": json.dumps(asdict(data)),
        "seed": str(compressed.origin.seed),
        "actions": json.dumps(actions),
        "factors": json.dumps({path: factor for path, factor in compressed.origin.factors.items() if factor != 1}),
        "leaves": json.dumps(compressed.leaves),
        "sha256": sha256,
        "jax": jax.__version__,
    }


def rebuilt(arrays: Tree, metadata: Mapping[str, str], path: Path) -> tuple[Tree, Mask]:
    """(weights, mask) of a file that holds them, bit for bit.

    Raises:
        TombolaError: if the file is damaged, or its network cannot be built or drawn here as it was.
    """
    from tombola.models.build import build

    try:
        if len(metadata["model"]) > MOST_TEXT:
            raise ValueError("a description of no network")
        model = Model.of_canonical(json.loads(metadata["model"]))
        given = _typed(dict[str, Action], metadata["actions"])
        factors = _typed(dict[str, float], metadata["factors"])
        origin = Origin(int(metadata["seed"]), given.get("kept"), given.get("pruned"), factors)
        compressed = Compressed(origin, arrays, _typed(dict[str, dict[str, str]], metadata["leaves"]))
        data = _data(metadata)
        expected, version = metadata["sha256"], metadata["jax"]
        _check_numbers(model.options, len(compressed.leaves))
    except (KeyError, ValueError, TypeError, AttributeError, RecursionError, OverflowError):
        raise TombolaError(f"{path}: the description of its network is damaged; export the run again") from None
    try:
        network = build(model, data)
        if wrong := too_small(network, arrays):
            raise TombolaError(f"{wrong}; the file is damaged, or was made to do harm")
        weights, mask = decompress(network, compressed)
    except TombolaError as error:
        raise TombolaError(f"{path} cannot be rebuilt: {error}") from None
    if digest(weights, mask) != expected:
        raise TombolaError(
            f"{path}: what was rebuilt has another SHA-256; the file is damaged, or this machine draws other values from its seed than "
            f"the one that wrote it with JAX {version}: export there without --packed"
        )
    return weights, mask


def too_small(network: Any, arrays: Tree) -> str:
    """Why no file with these arrays is read as that of a network: it would be too small; "" if it is not."""
    values, size = sum(one.size for one in network.shapes.values()), sum(leaf.nbytes for leaf in arrays.values())
    return f"{values:,} values do not come from {size:,} bytes" if values > max(MOST_VALUES, MOST_PER_BYTE * size) else ""


def _check_numbers(options: Any, leaves: int) -> None:
    """Raise for options that ask for more layers than the file has leaves, or for units without end: what it would take to build such a
    network is not known before.
    """
    if isinstance(options, dict):
        for one in options.values():
            _check_numbers(one, leaves)
        if options.get("depth", 0) > leaves:
            raise ValueError("too many layers")
    elif isinstance(options, list | tuple):
        if len(options) > leaves:
            raise ValueError("too many layers")
        for one in options:
            _check_numbers(one, leaves)
    elif isinstance(options, int | float) and not abs(options) <= MOST_UNITS:
        raise ValueError("too many units")


def said(exported: Mapping[str, Any]) -> list[str]:
    """Lines on how large an exported file is, and what of its network is drawn from the seed."""
    size, bits, leaves = exported["bytes"], exported["bits_per_weight"], exported["leaves"]
    drawn = sum("stored" not in sources.values() for sources in leaves.values())
    signs = f", signs {size['signs']:,}" if size["signs"] else ""
    rest = size["file"] - size["mask"] - size["signs"] - size["values"]
    return [
        f"{size['dense']:,} bytes as float32 -> {size['file']:,}: mask {size['mask']:,}{signs}, values {size['values']:,}, "
        f"description {rest:,}",
        f"mask: {bits['mask']:.3f} bits a weight; its entropy is {bits['entropy']:.3f}",
        f"from the seed: {drawn} of {len(leaves)} tensors; {exported['stored_values']:,} values are stored",
    ]


def digest(weights: Tree, mask: Mask) -> str:
    """SHA-256 of all values and of the mask, in the order of their paths."""
    found = hashlib.sha256()
    for tree in (weights, mask):
        for path in sorted(tree):
            leaf = np.asarray(tree[path])
            found.update(f"{path} {leaf.dtype} {leaf.shape}\n".encode() + leaf.tobytes())
    return found.hexdigest()


def _data(metadata: Mapping[str, str]) -> DataInfo:
    if "data" in metadata:
        return _typed(DataInfo, metadata["data"])
    # Files of versions that knew classification alone.
    return DataInfo.of_classes(_typed(tuple[int, ...], metadata["shape"]), int(metadata["classes"]))


def _typed(kind: type[T], text: str) -> T:
    """JSON of the metadata as what it has to be."""
    return TypeAdapter(kind).validate_json(text)
