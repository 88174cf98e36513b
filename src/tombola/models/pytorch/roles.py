"""What the tensors are for that no layer of NNX holds: kernels of products, or parameters beside them."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import replace

from tombola.models.pytorch.graph import Graph
from tombola.models.pytorch.tensors import Leaf, Tensor

_THROUGH = ("chunk", "split", "split_with_sizes", "slice", "select", "unbind", "narrow", "operator.getitem")
_PRODUCTS = (
    *("matmul", "mm", "bmm", "mv", "addmm", "baddbmm", "einsum", "embedding", "linear", "lstm", "gru", "rnn_tanh", "rnn_relu"),
    *("conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d"),
)


def role(graph: Graph, tensor: Tensor) -> Tensor:
    """The tensor as what it is used for: a `kernel`, in our orientation, or as it was."""
    rank = len(tensor.shape)
    product = _product(graph, tensor.name) if rank >= 2 and tensor.role == "parameter" else None
    if product is None:
        return tensor
    pixels = tuple(range(2, rank))
    if product in ("linear", "lstm", "gru", "rnn_tanh", "rnn_relu") and rank == 2:
        return replace(tensor, role="kernel", axes=(1, 0))
    if product in ("conv1d", "conv2d", "conv3d"):
        return replace(tensor, role="kernel", axes=(*pixels, 1, 0))
    return replace(tensor, role="kernel", axes=(*pixels, 0, 1) if product.startswith("conv_transpose") else ())


def _product(graph: Graph, name: str) -> str | None:
    """The first product with examples that a parameter, a part of it, or what is computed of it takes part in; a transposed one as
    ``matmul``.
    """
    found = {key: False for key, own in graph.parameters.items() if own == name}  # name here -> whether its axes were moved
    size = math.prod(graph.shapes[next(iter(found))]) if found else 0  # type: ignore[arg-type]  # no batch in it
    for call in graph.calls:
        moved = [found[ref.name] for ref in call.refs() if ref.name in found]
        operation = call.operation.removeprefix("aten.")
        if not moved:
            continue
        if call.name in graph.of_examples:
            if operation in _PRODUCTS:
                return "matmul" if any(moved) and operation == "linear" else operation
        elif operation in _THROUGH or math.prod(one or 0 for one in graph.shapes.get(call.name, (0,))) == size:
            found[call.name] = any(moved) or operation in ("transpose", "t", "permute")
    return None


def kinds(leaves: Mapping[str, Leaf], others: Iterable[Tensor], graph: Graph) -> dict[str, str]:
    """Shortcuts by the name that PyTorch's networks give them, and convolutions whose kernels no layer of NNX holds."""
    layers = [path for path, leaf in leaves.items() if "kernel" in leaf.tensors]
    found = {path: "shortcut" for path in layers if "downsample" in path.split("/")}
    kernels = [one for one in others if one.role == "kernel"]
    products = {one.path: _product(graph, one.name) or "" for one in kernels}
    found |= {path: "conv" for path, product in products.items() if product.startswith("conv")}
    return found | {path: "embedding" for path, product in products.items() if product == "embedding"}
