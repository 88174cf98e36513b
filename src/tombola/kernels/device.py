"""JAX on this machine, made ready once, before it first touches a device."""

import ctypes
import os
import sys
from typing import Any

from tombola.core.files import cache_folder

_ONE_THREAD = "--xla_cpu_multi_thread_eigen=false"
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_MAX, _ARENA_MAX = -1, -2, -4, -8
"""Numbers that the GNU C library's ``malloc.h`` gives these options."""
_HUGE_PAGES, _PAGE = 14, 2**21
"""MADV_HUGEPAGE of Linux, and the size of such a page."""
_PAD = 2**25
"""Bytes by which an arena grows, and which it keeps: half of what a thread's own may hold."""
MOST_FREED = 2**30
"""Bytes of freed arrays that are kept for others: a step of two ResNet-20 frees 0.6 of it."""
PINNED = {"jax_default_matmul_precision": "float32", "jax_threefry_partitionable": True, "jax_numpy_dtype_promotion": "standard"}
"""Settings of JAX that change which numbers come out, whatever the environment says: a description has one result. A GPU would
multiply in TF32, or worse, unasked (`Recipe.precision` asks), and another layout of the random bits draws other weights."""
CORES = "TOMBOLA_CORES"
"""Variable that says how many cores a process has for itself, where several share a machine."""
_library: Any = ctypes.CDLL(None) if sys.platform == "linux" else None
_prepared = _keeps = False


def cores() -> int:
    """Processor cores this process may use: those of the machine, or what is left to it of them, by `CORES` or by Slurm."""
    there = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min([there, *(int(os.environ[name]) for name in (CORES, "SLURM_CPUS_ON_NODE") if os.environ.get(name, "").isdecimal())]))


def _keep_memory(arenas: int) -> None:
    """Let the allocator of the GNU C library keep what is freed for the next call of a program.

    By default it hands large arrays back to the system and gets them anew page by page, which was a third of a step of a
    convolutional network (benchmarks/NOTES.md). An allocator with settings of the user's own is left alone.
    """
    if any(name.startswith("MALLOC_") for name in os.environ) or "glibc.malloc" in os.environ.get("GLIBC_TUNABLES", ""):
        return
    global _keeps
    _keeps = hasattr(_library, "mallopt")
    if _keeps:
        for option, value in ((_ARENA_MAX, arenas), (_MMAP_MAX, 0), (_TRIM_THRESHOLD, -1), (_TOP_PAD, _PAD)):
            _library.mallopt(option, value)
        _use_large_pages()


def give_back() -> None:
    """Hand memory back to the system where freed arrays have left more than `MOST_FREED` between those that are in use."""
    if _keeps and (memory := allocated()) and memory.fordblks - memory.keepcost > MOST_FREED:
        _library.malloc_trim.argtypes = (ctypes.c_size_t,)
        _library.malloc_trim(sys.maxsize)  # what lies behind the last array stays


def allocated() -> "_Memory | None":
    """What the GNU C library says of its allocator; None where there is another, or one before 2.33."""
    if not hasattr(_library, "mallinfo2"):
        return None
    _library.mallinfo2.restype = _Memory
    return _library.mallinfo2()


class _Memory(ctypes.Structure):
    """The memory of all arrays and of what lies between them, as ``mallinfo2`` of the GNU C library tells it."""

    _fields_ = [
        (name, ctypes.c_size_t)
        for name in ("arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "uordblks", "fordblks", "keepcost")
    ]


def _use_large_pages() -> None:
    """Let the heap grow in pages of 2 MiB: where it will grow is asked for and given back at once, which takes no memory."""
    _library.malloc.argtypes, _library.malloc.restype = (ctypes.c_size_t,), ctypes.c_void_p
    _library.madvise.argtypes, _library.free.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int), (ctypes.c_void_p,)
    size = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2
    if heap := _library.malloc(size):
        page = -heap % _PAGE
        _library.madvise(heap + page, size - page, _HUGE_PAGES)
        _library.free(heap)


def prepare(large: bool = True) -> None:
    """Make each CPU core a JAX device with one thread, pin what changes numbers, keep freed memory, and compiled programs on disk.

    Devices can be set up only before JAX has touched one; afterwards, Tombola works with the devices there are. A
    device count or cache folder of the user's own (XLA_FLAGS, JAX_COMPILATION_CACHE_DIR) is left alone. `PINNED` holds always.

    Args:
        large: whether programs may need arrays of more than 64 MiB, which only the main arena of the allocator can keep; it
            is the only one then. Else threads have arenas of their own, so that small networks do not wait for each other.
            The first call decides.
    """
    global _prepared
    if not _prepared:
        _keep_memory(1 if large else 4 * cores())
    import jax

    for name, value in PINNED.items():
        if getattr(jax.config, name) != value:
            jax.config.update(name, value)
    if _prepared:
        return
    _prepared = True
    if getattr(jax.config, "jax_compilation_cache_dir", None) is None:
        from jax.experimental.compilation_cache import compilation_cache

        jax.config.update("jax_compilation_cache_dir", str(cache_folder() / "xla"))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
        compilation_cache.reset_cache()  # else what has compiled before, without a folder, would go without for ever
    flags = os.environ.get("XLA_FLAGS", "")
    if "xla_force_host_platform_device_count" not in flags:
        try:
            jax.config.update("jax_num_cpu_devices", cores())
        except RuntimeError:  # JAX is running already
            return
    if "xla_cpu_multi_thread_eigen" not in flags:
        os.environ["XLA_FLAGS"] = f"{flags} {_ONE_THREAD}".strip()
