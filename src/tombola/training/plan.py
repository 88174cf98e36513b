"""The plan: on which devices replicas train, how many at once, and whether steps run inside a compiled loop.

Chosen here and nowhere else, from measurement (benchmarks/NOTES.md):

* On a CPU each core is a device with one thread, and each trains one replica at a time: replicas that share a
  core through vmap evict each other's weights from its cache.
* Dense networks run many steps, and the evaluations on their way, in a compiled loop. XLA's CPU back end lowers a convolution inside a
  loop to a naive one, about 100 times slower, so convolutional networks are stepped from Python there.
* Convolutions are done in C there, or without a compiler their gradients by products with patches: 1.4 and 1.2 times as fast
  as XLA's own way for ResNet-20, 2 times for Conv-2. Adam and the rows of a batch are done in C too.
* On a GPU launches dominate: all replicas are vmapped, and many steps are one loop on the device.
* Where a GPU would be left over, replicas of a convolutional network split their batches over several: gradients,
  statistics of batch norm and draws are those of the whole batch, so results are those of one device up to rounding.
  Each share has `_LEAST_SHARE` images or more, as below that the devices wait for each other's sums.
  On a CPU a batch is never split: a result is bitwise the same whoever shares its cohort. (Of a dense network also on any
  number of cores; XLA's convolutions with few channels sum in an order that depends on its number of threads.)
* A data set that is on disk (ImageNet) is streamed: the host gathers each batch, so steps are called from Python, and
  each device trains one replica at a time, since images of that kind fill it.
"""

from dataclasses import dataclass

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from tombola.kernels.convolution import Algorithm, available
from tombola.kernels.device import cores

_MOST_DENSE, _MOST_CONVOLUTIONAL = 512, 16
"""Replicas that share a GPU through vmap at most, so that the weights of all and activations fit its memory."""

_LEAST_SHARE = 64
"""Images of a batch that a device has at least, where several share it. An estimate: not measured on GPUs yet."""


@dataclass(frozen=True)
class Plan:
    """How a cohort is laid out."""

    mesh: Mesh
    """Axis `replica`; then, if batches are split, axis `batch`."""
    per_device: int
    """Replicas that share a device."""
    loop: bool
    """Steps in a compiled loop (True), or one call a step (False)."""
    evaluation_batch: int
    """Examples a replica evaluates at once."""
    streamed: bool = False
    """Inputs come from the host, each replica's batch by itself (True), or lie on the devices whole (False)."""
    algorithm: Algorithm = "direct"
    """How convolutions are computed."""
    threads: int = 1
    """The number of threads that share a replica's convolutions, where they are done in C."""
    native: bool = False
    """Whether what XLA does slowly on a CPU is done in C, where there is a compiler (`tombola.kernels.native`): Adam, the rows of
    a batch, and the sparse products of replicas with few weights left (`tombola.training.sparse_storage`)."""

    @property
    def capacity(self) -> int:
        """Replicas that train at a time: rows of the mesh * per_device."""
        return self.mesh.shape["replica"] * self.per_device

    @property
    def shares(self) -> int:
        """Devices that share a replica's batch."""
        return self.mesh.shape.get("batch", 1)

    @property
    def stacked(self) -> NamedSharding:
        """The sharding of leaves (replicas, ...): the leading axis over the devices."""
        return NamedSharding(self.mesh, PartitionSpec("replica"))

    def batches(self, size: int) -> NamedSharding:
        """The sharding of leaves (replicas, size, ...): each replica's batch over the devices that share it, if they divide it."""
        return self.stacked if size % self.shares else NamedSharding(self.mesh, PartitionSpec(*self.mesh.axis_names))

    @property
    def shared(self) -> NamedSharding:
        """The same array on every device."""
        return NamedSharding(self.mesh, PartitionSpec())


def plan(replicas: int, convolutional: bool, streamed: bool = False, batch: int = 1) -> Plan:
    """The plan for a cohort of `replicas`, each trained on `batch` examples a step, on this machine's default devices."""
    devices = jax.devices()
    cpu = devices[0].platform == "cpu"
    rows = min(len(devices), replicas)
    shares = 1 if cpu or not convolutional else _shares(batch, len(devices) // rows)
    mesh = Mesh(np.array(devices[:rows]), ("replica",))
    if shares > 1:
        mesh = Mesh(np.array(devices[: rows * shares]).reshape(rows, shares), ("replica", "batch"))
    at_evaluation = 5000 if not (convolutional or streamed) else -(-500 // shares) * shares
    if streamed or cpu:
        algorithm: Algorithm = "direct" if not cpu else "native" if convolutional and available() else "patch_gradients"
        threads = cores() // rows if algorithm == "native" else 1
        return Plan(mesh, 1, not (convolutional or streamed), at_evaluation, streamed, algorithm, threads, native=cpu)
    at_once = min(-(-replicas // rows), _MOST_CONVOLUTIONAL if convolutional else _MOST_DENSE)
    return Plan(mesh, at_once, loop=True, evaluation_batch=at_evaluation)


def _shares(batch: int, devices: int) -> int:
    """The most devices, of those there are for one replica, that split a batch evenly into shares that are worth it."""
    return max(count for count in range(1, devices + 1) if count == 1 or (batch % count == 0 and batch >= count * _LEAST_SHARE))
