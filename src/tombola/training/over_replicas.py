"""Functions of one replica, lifted to a batch of them: vmapped over those that share a device, sharded over the devices."""

from collections.abc import Callable
from enum import Enum
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import PartitionSpec

from tombola.training.plan import Plan


class Axis(Enum):
    """Whether an argument, or a part of one, has an entry for each replica, or is the same for all."""

    REPLICA = 0
    SHARED = None


def over_replicas(function: Callable[..., Any], axes: tuple[Any, ...], plan: Plan, donate: tuple[int, ...] = ()) -> Callable[..., Any]:
    """Lift a function of one replica to a batch of replicas. `axes`: the `Axis` of each argument, or of each of its parts.

    The mesh's axis `batch`, if there is one, is left to XLA: to the function its batch is whole.
    """
    spec = PartitionSpec("replica")
    specs = jax.tree.map(lambda axis: spec if axis is Axis.REPLICA else PartitionSpec(), axes)

    def own(axis: Axis, part: Any) -> Any:
        return jax.tree.map(lambda leaf: leaf[0], part) if axis is Axis.REPLICA else part

    def on_one_device(*values: Any) -> Any:
        if plan.per_device > 1:
            return jax.vmap(function, in_axes=jax.tree.map(lambda axis: axis.value, axes))(*values)
        # One replica a device: not even a batch axis of 1, which would turn products into batched ones.
        return jax.tree.map(lambda leaf: jnp.asarray(leaf)[None], function(*jax.tree.map(own, axes, values)))

    sharded = jax.shard_map(on_one_device, mesh=plan.mesh, in_specs=specs, out_specs=spec, axis_names={"replica"}, check_vma=False)
    # Named, as XLA might else leave weights split over the devices that share a batch.
    return jax.jit(sharded, donate_argnums=donate, out_shardings=plan.stacked)
