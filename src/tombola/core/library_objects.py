"""What arrays, tensors and modules of NumPy, JAX and PyTorch hold, as far as it tells one from another. None of them is imported for it."""

import hashlib
import sys
from typing import Any


def array_of(thing: Any) -> Any:
    """An array or a dtype in words; an array of objects as it is; None for anything else."""
    numpy, jax, torch = (sys.modules.get(name) for name in ("numpy", "jax", "torch"))
    if numpy is None or (jax is not None and isinstance(thing, jax.core.Tracer)):
        return None
    kind = "array"
    if torch is not None and isinstance(thing, torch.Tensor):
        kind = f"{type(thing).__name__} {thing.dtype} {tuple(thing.shape)}"
        thing = thing.detach().cpu().reshape(-1).contiguous().view(torch.uint8).numpy()
    if jax is not None and isinstance(thing, jax.Array):
        kind = f"jax array {getattr(thing, 'weak_type', False)}"
        thing = numpy.asarray(jax.random.key_data(thing) if jax.dtypes.issubdtype(thing.dtype, jax.dtypes.prng_key) else thing)
    if isinstance(thing, numpy.dtype):
        return "dtype", str(thing)
    if not isinstance(thing, numpy.ndarray | numpy.generic):
        return None
    if thing.dtype.hasobject:
        return numpy.asarray(thing)
    return kind, str(thing.dtype), thing.shape, hashlib.sha256(numpy.ascontiguousarray(thing).tobytes()).hexdigest()


def module_of(thing: Any) -> dict[str, Any] | None:
    """What a module of PyTorch holds, whether it is in training or not; None for anything else."""
    torch = sys.modules.get("torch")
    if torch is None or not isinstance(thing, torch.nn.Module):
        return None
    counted = ("_parameters", "_buffers", "_modules", "_forward_hooks", "_forward_pre_hooks")
    others = {*vars(torch.nn.Module()), "_flat_weights", "_flat_weight_refs"} - {*counted}
    return {name: value for name, value in vars(thing).items() if name not in others}
