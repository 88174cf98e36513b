"""The provenance of a number: command, versions, device."""

import os
import platform
import shlex
import sys
import time
from functools import cache
from importlib.metadata import version
from typing import Any

from tombola import __version__


@cache
def versions() -> dict[str, str]:
    """Python and the packages that results depend on."""
    packages = ("jax", "flax", "optax", "numpy")
    return {"tombola": __version__, "python": platform.python_version(), **{name: version(name) for name in packages}}


def made(seconds: float, compiling: float, **others: int) -> dict[str, Any]:
    """What made a record: the content of its made.json. `seconds` are wall time, `compiling` those of them that a later call is spared."""
    date = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    spent = {"seconds": round(seconds, 3), "compiling": round(compiling, 3)}
    return {"command": command(), "device": device(), "versions": versions(), "date": date, **spent, **others}


def device() -> str:
    """The processor as a person would name it, with what JAX makes of it."""
    import jax

    devices = jax.devices()
    kind = devices[0].device_kind if devices[0].platform != "cpu" else processor()
    return f"{kind}, {len(devices)} {devices[0].platform.upper()} device{'s' if len(devices) > 1 else ''}"


def processor() -> str:
    """Name, family and model where Linux tells them: vendors give one name to different processors."""
    try:
        with open("/proc/cpuinfo") as file:
            said = {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in file)}
    except OSError:
        said = {}
    numbers = [f"{name.removeprefix('cpu ')} {said[name]}" for name in ("cpu family", "model") if name in said]
    return ", ".join([said.get("model name") or platform.processor() or platform.machine(), *numbers])


def command() -> str:
    """The command line of this process, as one would type it."""
    program, *arguments = sys.argv or [""]
    arguments = [os.fsencode(one).decode("utf-8", "replace") for one in arguments]  # bytes that the locale cannot show
    name = "tombola" if program.endswith(("/tombola", "__main__.py", "tombola.exe")) else program
    return shlex.join([name, *arguments]) if name else "python"
