"""Kernels: handlers of XLA's foreign function interface in C, compiled on first use, for what XLA's CPU back end has no fast way for.

Each is optional. Where there is no C compiler, the operation beside it in `KERNELS` is done in plain JAX.
"""

import ctypes
import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jax
import numpy as np

from tombola.core.files import cache_folder, write_atomically

_HEADER = Path(__file__).with_suffix(".h")
_FLAGS = ("-O3", "-fno-math-errno", "-shared", "-fPIC", "-w")
_TUNED = ("-march=native",)
KERNELS: dict[str, tuple[str, ...]] = {
    "adam": ("adam",),  # else ``optax.scale_by_adam``
    "convolution": ("convolution", "convolution_gradient_of_kernel", "convolution_gradient_of_images"),  # else products with patches
    "rows": ("rows",),  # else ``table[indices]``
    "sparse": ("sparse_product", "sparse_gradient_of_values", "sparse_gradient_of_inputs"),  # else dense products under the mask
}
"""Name of a C file here -> its handlers; each is an operation that the Python file of the same name offers."""


@cache
def available(kernel: str) -> bool:
    """Whether JAX can call the handlers of a kernel: one that was compiled before, or that a compiler (``CC``, or ``cc``) makes now."""
    return registered(_HEADER.with_name(f"{kernel}.c"), *KERNELS[kernel])


@cache
def registered(source: Path, *handlers: str) -> bool:
    """Whether JAX can call the handlers of a C file."""
    library = _compiled(source)
    if library is None:
        return False
    functions = ctypes.CDLL(str(library))
    for name in handlers:
        jax.ffi.register_ffi_target(f"tombola_{name}", jax.ffi.pycapsule(getattr(functions, name)), platform="cpu")
    return True


def call(handler: str, results: Any, *operands: Any, aliases: Mapping[int, int] | None = None, numbers: Sequence[int] = ()) -> Any:
    """What a registered handler makes of its operands.

    Args:
        results: a shape and dtype as ``jax.ShapeDtypeStruct``, or a sequence of them.
        aliases: operand -> result that is written in its place.
        numbers: integers that are fixed when the program is compiled.
    """
    fixed = {"numbers": np.array(numbers, np.int64)} if numbers else {}
    function = jax.ffi.ffi_call(f"tombola_{handler}", results, input_output_aliases=dict(aliases or {}), vmap_method="sequential")
    return function(*operands, **fixed)


def _compiled(source: Path) -> Path | None:
    """The library for this processor and this JAX; None if it cannot be made."""
    compiler = shutil.which(os.environ.get("CC") or "cc")
    described = "\n".join((_HEADER.read_text(), source.read_text(), version("jaxlib"), platform.machine(), _processor()))
    target = cache_folder() / "kernels" / f"{source.stem}-{hashlib.sha256(described.encode()).hexdigest()[:16]}.so"
    if target.exists():
        return target
    if compiler is None:
        return None
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder) / "made.so"
        for flags in ((*_FLAGS, *_TUNED), _FLAGS):
            command = [compiler, *flags, f"-I{jax.ffi.include_dir()}", f"-I{_HEADER.parent}", str(source), "-o", str(made)]
            if subprocess.run(command, capture_output=True).returncode == 0:
                with suppress(OSError):  # no cache can be written
                    write_atomically(target, made.read_bytes())
                    return target
    return None


@cache
def _processor() -> str:
    """What tells processors apart, so that machines that share a cache do not share instructions."""
    listed = Path("/proc/cpuinfo")
    lines = listed.read_text().splitlines() if listed.exists() else [platform.processor()]
    return "\n".join(sorted({line for line in lines if line.startswith(("model name", "flags", "Features"))}) or lines[:1])
