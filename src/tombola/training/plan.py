"""The plan: on which devices replicas train, how many at once, and whether steps run inside a compiled loop.

Chosen here and nowhere else, from measurement (benchmarks/NOTES.md):

* On a CPU each core is a device with one thread, and each trains one replica at a time: replicas that share a
  core through vmap evict each other's weights from its cache.
* Dense networks run whole chunks of steps in a compiled loop. XLA's CPU back end lowers a convolution inside a
  loop to a naive one, about 100 times slower, so convolutional networks are stepped from Python there.
* Their gradients are computed from patches there, which is 1.2 (ResNet-20) to 2 times (Conv-2) as fast as XLA's own way.
* On a GPU launches dominate: all replicas are vmapped, and every chunk is one loop on the device.
* A data set that is on disk (ImageNet) is streamed: the host gathers each batch, so steps are called from Python, and
  each device trains one replica at a time, since images of that kind fill it.
"""

from dataclasses import dataclass

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from tombola.models.convolution import Algorithm

_MOST_DENSE, _MOST_CONVOLUTIONAL = 512, 16
"""Replicas that share a GPU through vmap at most, so that a wave's weights and activations fit its memory."""


@dataclass(frozen=True)
class Plan:
    """How a cohort is laid out. `wave` = devices * per_device replicas train at a time."""

    mesh: Mesh
    per_device: int
    loop: bool
    """Steps in a compiled loop (True), or one call a step (False)."""
    evaluation_batch: int
    """Examples a replica evaluates at once."""
    streamed: bool = False
    """Inputs come from the host, each replica's batch by itself (True), or lie on the devices whole (False)."""
    algorithm: Algorithm = "direct"
    """How convolutions are computed."""
    packs: bool = False
    """Whether replicas with few weights left train packed networks (`tombola.training.packing`)."""

    @property
    def wave(self) -> int:
        """Replicas that train at a time."""
        return self.mesh.size * self.per_device

    @property
    def stacked(self) -> NamedSharding:
        """Leaves (wave, ...), the leading axis over the devices."""
        return NamedSharding(self.mesh, PartitionSpec("replica"))

    @property
    def shared(self) -> NamedSharding:
        """The same array on every device."""
        return NamedSharding(self.mesh, PartitionSpec())


def plan(replicas: int, convolutional: bool, streamed: bool = False) -> Plan:
    """The plan for a cohort of `replicas` on this machine's default devices."""
    devices = jax.devices()
    used = devices[: min(len(devices), replicas)]
    mesh = Mesh(np.array(used), ("replica",))
    on_cpu = devices[0].platform == "cpu"
    algorithm: Algorithm = "patch_gradients" if on_cpu else "direct"
    if streamed:
        return Plan(mesh, 1, loop=False, evaluation_batch=500, streamed=True, algorithm=algorithm, packs=on_cpu)
    if on_cpu:
        return Plan(mesh, 1, loop=not convolutional, evaluation_batch=500 if convolutional else 5000, algorithm=algorithm, packs=True)
    at_once = min(-(-replicas // len(used)), _MOST_CONVOLUTIONAL if convolutional else _MOST_DENSE)
    return Plan(mesh, at_once, loop=True, evaluation_batch=500 if convolutional else 5000)
