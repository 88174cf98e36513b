"""The way from a PyTorch module to a graph, by ``torch.export``."""

import inspect
import io
import operator
import re
import warnings
from collections.abc import Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from typing import Any

import numpy as np

from tombola.core.data_info import DataInfo
from tombola.core.errors import TombolaError
from tombola.core.loading import summary
from tombola.models.pytorch.graph import FLATTEN, Call, Graph, Ref, live

_VIEWS = ("aten.view", "aten.reshape", "aten._unsafe_view", "aten.flatten")
_NOWHERE = ("device", "layout", "pin_memory", "memory_format", "non_blocking")
"""Arguments that say where and how torch holds an array."""
_NUMPY = {"float64": "float32", "int64": "int32"}


def exported(module: Any, data: DataInfo, name: str) -> tuple[Graph, Graph, bool]:
    """(graph in training, in evaluation, whether examples of three axes are moved to torch's (channels, height, width)).

    Images (height, width, channels) reach the module as (channels, height, width); where it refuses them so, they are left as they are.
    """
    _check_forward(module, name)
    if len(data.shape) == 3:
        try:
            return _graph(module, data, name, True, True), _graph(module, data, name, False, True), True
        except TombolaError as error:
            first = error
        try:
            return _graph(module, data, name, True, False), _graph(module, data, name, False, False), False
        except TombolaError:
            raise first from None
    return _graph(module, data, name, True, False), _graph(module, data, name, False, False), False


def _check_forward(module: Any, name: str) -> None:
    parameters = list(inspect.signature(module.forward).parameters.values())
    places = [one for one in parameters if one.kind in (one.POSITIONAL_ONLY, one.POSITIONAL_OR_KEYWORD, one.VAR_POSITIONAL)]
    needed = [one.name for one in parameters if one.default is one.empty and one.kind not in (one.VAR_POSITIONAL, one.VAR_KEYWORD)]
    if not places or len(needed) > 1:
        raise TombolaError(
            f"{name}: forward takes {', '.join(needed) or 'nothing'}, but a network is given the inputs of a batch alone; "
            "write a module around it that takes one tensor"
        )


def _graph(module: Any, data: DataInfo, name: str, train: bool, images: bool) -> Graph:
    import torch

    module.train(train)
    batch = torch.export.Dim("batch", min=2)
    shape = (data.shape[2], *data.shape[:2]) if images else data.shape
    example = torch.zeros((3, *shape), dtype=torch.int64 if data.dtype == "int32" else torch.float32)
    argument = next(iter(inspect.signature(module.forward).parameters.values()))
    dynamic = {0: batch}
    try:
        with _quiet(), torch.random.fork_rng(devices=[]):
            program = torch.export.export(
                module, (example,), dynamic_shapes=((dynamic,),) if argument.kind is argument.VAR_POSITIONAL else (dynamic,)
            ).run_decompositions({})
    except Exception as error:
        raise TombolaError(_reason(error, name, (3, *shape))) from None
    return _plain(program, module, name)


def _reason(error: Exception, name: str, shape: tuple[int, ...]) -> str:
    text = str(error)
    kind = type(error).__name__
    if "data-dependent" in text or "DataDependent" in kind or "data dependent" in text:
        where = _users_line(error)
        return (
            f"{name} decides by the values of its inputs{where}, and torch.export cannot follow that; use torch.where, or another network"
        )
    if "specialized" in text or "Constraints violated" in text or re.search(r"invalid for input of size .*\*s\d", text):
        return f"{name} works for one size of the batch alone; write x.shape[0], or -1, in the place of that number"
    return f"{name} cannot be exported by torch for examples {shape}: {summary(error)}"


def _users_line(error: Exception) -> str:
    from tombola.core.origins import installed

    found, trace = "", error.__traceback__
    while trace is not None:
        module = trace.tb_frame.f_globals.get("__name__", "")
        if not installed(module) and not trace.tb_frame.f_code.co_name.startswith("<"):
            found = f" in {trace.tb_frame.f_code.co_name}, line {trace.tb_lineno}"
        trace = trace.tb_next
    return found


@contextmanager
def _quiet() -> Any:
    """Torch warns of its own parts, and says at length what it could not export."""
    import logging

    log, level = logging.getLogger("torch"), logging.getLogger("torch").level
    log.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), redirect_stderr(io.StringIO()), redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        log.setLevel(level)


def canonical(module: Any) -> dict[str, str]:
    """Name of each parameter and buffer -> the first name under which the module holds the same tensor."""
    first: dict[int, str] = {}
    both = [*module.named_parameters(remove_duplicate=False), *module.named_buffers(remove_duplicate=False)]
    return {name: first.setdefault(id(tensor), name) for name, tensor in both}


def _plain(program: Any, module: Any, name: str) -> Graph:
    from torch.export.graph_signature import InputKind, OutputKind

    signature = program.graph_signature
    inputs = {spec.arg.name: spec for spec in signature.input_specs if hasattr(spec.arg, "name")}
    of_kind = lambda kind: {key: str(spec.target) for key, spec in inputs.items() if spec.kind is kind}  # noqa: E731
    outputs = [spec for spec in signature.output_specs if spec.kind is OutputKind.USER_OUTPUT]
    if len(outputs) != 1 or not hasattr(outputs[0].arg, "name"):
        raise TombolaError(
            f"{name} returns {len(outputs)} tensors, but a network returns one, its outputs; write a module around it that picks that one"
        )
    constants, first = of_kind(InputKind.CONSTANT_TENSOR), canonical(module)
    changed = {str(spec.target): Ref(spec.arg.name) for spec in signature.output_specs if spec.kind is OutputKind.BUFFER_MUTATION}
    changed = {buffer: ref for buffer, ref in changed.items() if not buffer.endswith("num_batches_tracked")}
    shapes = {node.name: found for node in program.graph.nodes if (found := _shape(node.meta.get("val"))) is not None}
    calls = [_call(node, shapes) for node in program.graph.nodes if node.op == "call_function"]
    result = Ref(outputs[0].arg.name)
    return Graph(
        calls=live(calls, [result, *changed.values()]),
        input=next(key for key, spec in inputs.items() if spec.kind is InputKind.USER_INPUT),
        result=result,
        parameters={key: first[own] for key, own in of_kind(InputKind.PARAMETER).items()},
        buffers={key: first[own] for key, own in of_kind(InputKind.BUFFER).items()},
        constants={key: as_numpy(program.constants[target]) for key, target in constants.items()},
        changed=changed,
        shapes=shapes,
    )


def _shape(value: Any) -> tuple[int | None, ...] | None:
    value = value[0] if isinstance(value, list | tuple) and value else value
    return tuple(size if isinstance(size, int) else None for size in value.shape) if hasattr(value, "shape") else None


def _call(node: Any, shapes: Mapping[str, tuple[int | None, ...]]) -> Call:
    target = str(node.target) if not callable(node.target) or hasattr(node.target, "_schema") else _function(node.target)
    args = tuple(map(_argument, node.args))
    kwargs = {key: _argument(one) for key, one in node.kwargs.items() if key not in _NOWHERE}
    call = Call(node.name, target, args, kwargs)
    if call.operation in _VIEWS and isinstance(args[0], Ref):
        before, after = shapes.get(args[0].name, ()), shapes.get(node.name, ())
        if len(before) > 2 and len(after) == 2 and before[0] is after[0] is None and after[1] is not None:
            return Call(node.name, FLATTEN, args[:1], {})
    return call


def _function(target: Any) -> str:
    module = "operator" if getattr(operator, getattr(target, "__name__", ""), None) is target else target.__module__
    return f"{module}.{target.__name__}"


def _argument(given: Any) -> Any:
    import torch

    if isinstance(given, torch.fx.Node):
        return Ref(given.name)
    if isinstance(given, list | tuple):
        return type(given)(map(_argument, given)) if type(given) in (list, tuple) else tuple(map(_argument, given))
    if isinstance(given, torch.dtype):
        named = str(given).removeprefix("torch.")
        return np.dtype(_NUMPY.get(named, named)) if named != "bfloat16" else "bfloat16"
    return None if isinstance(given, torch.device | torch.layout | torch.memory_format) else given


def as_numpy(tensor: Any) -> np.ndarray:
    """A tensor of torch; 64-bit ones in 32 bits, as JAX computes."""
    array = np.array(tensor.detach().cpu().numpy())
    return array.astype(_NUMPY.get(array.dtype.name, array.dtype.name))
