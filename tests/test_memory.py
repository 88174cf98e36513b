"""What the allocator is told: to keep freed memory, and from when on to give it back."""

import os
import subprocess
import sys

import pytest

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="settings of the GNU C library"),
    pytest.mark.usefixtures("optimized"),
]


def printed(code, **environment):
    there = {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")}
    done = subprocess.run([sys.executable, "-c", code], env=there | environment, capture_output=True, text=True, check=True)
    return int(done.stdout)


FAULTS = """
import resource
from tombola.kernels.device import prepare

prepare()
size = 2**26
faults = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_minflt
b"1" * size
before = faults()
b"1" * size
print(faults() - before)
"""


@pytest.mark.slow
@pytest.mark.parametrize(("own", "few"), [({}, True), ({"MALLOC_TRIM_THRESHOLD_": "131072"}, False)], ids=["ours", "the user's"])
def test_freed_memory_is_kept_unless_the_user_has_settings_of_their_own(own, few):
    assert (printed(FAULTS, **own) < 1000) == few  # 16,384 pages of 4 KiB


KEPT = """
import os
import jax.numpy as jnp
jnp.arange(3).sum().block_until_ready()
from tombola.kernels.device import prepare

prepare()
folder = os.environ["TOMBOLA_CACHE"] + "/xla"
before = set(os.listdir(folder)) if os.path.exists(folder) else set()
jnp.arange(5).sum().block_until_ready()
print(len(set(os.listdir(folder)) - before))
"""


@pytest.mark.slow
def test_programs_are_kept_on_disk_also_where_jax_was_running_before(tmp_path):
    assert printed(KEPT, TOMBOLA_CACHE=str(tmp_path)) > 0


HOLE = """
from pathlib import Path
from tombola.kernels import device

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096

device.prepare()
device.MOST_FREED = {most}
hole, behind = b"1" * 2**27, b"1" * 2**21
del hole
before = resident()
device.give_back()
print(before - resident())
"""


@pytest.mark.slow
@pytest.mark.parametrize(("most", "given_back"), [(2**26, True), (2**28, False)])
def test_much_freed_memory_between_arrays_is_given_back(most, given_back):
    assert (printed(HOLE.format(most=most)) > 2**26) == given_back


ARENAS = """
import ctypes, tempfile, threading
from pathlib import Path
from tombola.kernels.device import prepare

prepare(large={large})
threads = [threading.Thread(target=lambda: b"1" * 5000) for _ in range(3)]
for thread in threads:
    thread.start()
    thread.join()
library = ctypes.CDLL(None)
library.fopen.restype = ctypes.c_void_p
library.malloc_info.argtypes, library.fclose.argtypes = (ctypes.c_int, ctypes.c_void_p), (ctypes.c_void_p,)
with tempfile.TemporaryDirectory() as folder:
    path = Path(folder, "info")
    file = library.fopen(str(path).encode(), b"w")
    library.malloc_info(0, file)
    library.fclose(file)
    print(path.read_text().count("<heap nr="))
"""


@pytest.mark.slow
@pytest.mark.parametrize("large", [True, False])
def test_only_small_networks_have_an_arena_for_each_thread(large):
    assert (printed(ARENAS.format(large=large)) == 1) == large


FIRST = """
import hashlib
import tombola as tb
from tombola.data.dataset import load
from tombola.training.cohort import setup

task = tb.task("digits-mlp", scale="smoke")
weights = setup(task, load(task.data)).network.init(0)
print(int(hashlib.sha256(b"".join(leaf.tobytes() for leaf in weights.values())).hexdigest(), 16))
"""


@pytest.mark.slow
@pytest.mark.parametrize("setting", ["JAX_THREEFRY_PARTITIONABLE=0", "JAX_NUMPY_DTYPE_PROMOTION=strict", "JAX_DEFAULT_PRNG_IMPL=rbg"])
def test_settings_of_the_environment_change_no_weight(setting, plainly_drawn):
    name, _, value = setting.partition("=")
    assert printed(FIRST, **{name: value}) == plainly_drawn


@pytest.fixture(scope="module")
def plainly_drawn():
    return printed(FIRST)
