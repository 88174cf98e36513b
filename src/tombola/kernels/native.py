"""Kernels: handlers of XLA's foreign function interface in C, compiled on first use, for what XLA's CPU back end has no fast way for.

Each is optional. Where there is no C compiler, or what it made fails its trial, the operation is done in plain JAX. Compiled kernels
are kept in the user's cache. What is kept there is used only if nobody else can write to it and if it still is what passed
its trial; otherwise it is compiled anew.
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
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jax
import numpy as np

from tombola.core.files import cache_folder, write_atomically

_HEADER = Path(__file__).with_suffix(".h")
_FLAGS = ("-O3", "-fno-math-errno", "-shared", "-fPIC", "-pthread", "-w")
_TUNED = ("-march=native",)

KERNELS: dict[str, tuple[str, ...]] = {
    "adam": ("adam",),  # else ``optax.scale_by_adam``
    "convolution": ("convolution", "convolution_gradient_of_kernel", "convolution_gradient_of_images"),  # else products with patches
    "rows": ("rows",),  # else ``table[indices]``
    "sparse": ("sparse_product", "sparse_gradient_of_values", "sparse_gradient_of_inputs"),  # else dense products under the mask
}
"""Name of a C file here -> its handlers. The Python file of the same name offers the operation, and its `trial`."""


@cache
def available(kernel: str) -> bool:
    """Whether JAX can call the handlers of a kernel: one that was compiled before, or that a compiler (``CC``, or ``cc``) makes now.

    What is compiled now has to pass the kernel's trial, a small product that is known, before it is kept or used.
    """
    source, handlers = _HEADER.with_name(f"{kernel}.c"), KERNELS[kernel]
    kept = _kept(source)
    if kept is not None and _sound(kept) and register(kept, *handlers):
        return True
    with tempfile.TemporaryDirectory() as folder:
        made = compiled(source, Path(folder))
        if made is None or not register(made, *handlers):
            return False
        with jax.ensure_compile_time_eval():  # a program may be on its way through the tracer
            if not import_module(f"tombola.kernels.{kernel}").trial():
                return False
        if kept is not None:
            with suppress(OSError):  # no cache can be written: compiled again by the next process
                write_atomically(kept, made.read_bytes())
                write_atomically(_seal(kept), hashlib.sha256(made.read_bytes()).hexdigest().encode())
    return True


def register(library: Path, *handlers: str) -> bool:
    """Let JAX call the handlers of a library. Returns False if it cannot be loaded (nothing may run from its folder) or lacks one."""
    try:
        functions = ctypes.CDLL(str(library))
        capsules = {name: jax.ffi.pycapsule(getattr(functions, name)) for name in handlers}
    except (OSError, AttributeError):
        return False
    for name, capsule in capsules.items():
        jax.ffi.register_ffi_target(f"tombola_{name}", capsule, platform="cpu")
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


def compiled(source: Path, folder: Path) -> Path | None:
    """The library of a C file, made in a folder; None where there is no compiler, or where it refuses the file."""
    compiler = shutil.which(os.environ.get("CC") or "cc")
    made = folder / f"{source.stem}.so"
    for flags in ((*_FLAGS, *_TUNED), _FLAGS) if compiler else ():
        command = [str(compiler), *flags, f"-I{jax.ffi.include_dir()}", f"-I{_HEADER.parent}", str(source), "-o", str(made)]
        if subprocess.run(command, capture_output=True).returncode == 0:
            return made
    return None


def _kept(source: Path) -> Path | None:
    """The path at which the library for this source, processor and JAX is kept; None if others could write there."""
    described = (_HEADER.read_text(), source.read_text(), version("jaxlib"), platform.machine(), _processor())
    folder = cache_folder() / "kernels"
    with suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
        if folder.stat().st_uid == os.getuid() and folder.stat().st_mode & 0o022:
            folder.chmod(0o700)
            for path in folder.iterdir():  # others could write here until now
                path.unlink()
    name = f"{source.stem}-{hashlib.sha256(repr(described).encode()).hexdigest()[:16]}.so"
    return folder / name if _own(folder) else None


def _sound(library: Path) -> bool:
    """Whether a kept library is the one that passed its trial: its digest stands beside it, and nobody else could write either."""
    try:
        if not (_own(library) and _own(_seal(library))):
            return False
        return hashlib.sha256(library.read_bytes()).hexdigest() == _seal(library).read_text()
    except (OSError, ValueError):
        return False


def _own(path: Path) -> bool:
    """Whether only this user, or root, can write a file or folder."""
    try:
        found = path.stat()
    except OSError:
        return False
    return found.st_uid in (os.getuid(), 0) and not found.st_mode & 0o022


def _seal(library: Path) -> Path:
    return library.with_suffix(".sha256")


@cache
def _processor() -> str:
    """What tells processors apart, so that machines that share a cache do not share instructions."""
    listed = Path("/proc/cpuinfo")
    lines = listed.read_text().splitlines() if listed.exists() else [platform.processor()]
    return "\n".join(sorted({line for line in lines if line.startswith(("model name", "flags", "Features"))}) or lines[:1])
