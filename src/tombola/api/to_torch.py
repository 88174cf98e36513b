"""`tombola.to_torch`: a ticket in a module of PyTorch's."""

from pathlib import Path
from typing import Any

from tombola.api.trajectory import Trajectory
from tombola.core.data_info import DataInfo
from tombola.core.errors import TombolaError
from tombola.core.step import Step
from tombola.core.trees import replica
from tombola.data.dataset import load


def to_torch(ticket: Trajectory | Path | str, module: Any, *, step: Step | str = "end", replicate: int = 0) -> Any:
    """The module with a ticket's weights, under its masks as ``torch.nn.utils.prune.custom_from_mask`` sets them.

    In evaluation it gives the outputs that the ticket gives here, to rounding, for inputs in torch's order of axes.

    Args:
        ticket: a trajectory on a PyTorch module, or a file of ``tombola export --torch``.
        module: one of the same class and options; it is changed, and given back.
        step, replicate: which weights of a trajectory.

    Raises:
        TombolaError: if the ticket is of another module, was found on none of PyTorch's, or holds pruned weights that are not 0.
    """
    from tombola.models.pytorch.state import load_state, read_state, state_of

    if not isinstance(ticket, Trajectory):
        return load_state(module, read_state(Path(ticket)), str(ticket))
    task, data = ticket.task, load(ticket.task.data, ticket.data_dir)
    if task.recipe.supermask is not None:
        raise TombolaError("the weights of a supermask are not those that compute; give the file of `tombola export --torch`")
    if not 0 <= replicate < len(ticket.runs):
        raise TombolaError(f"replicate = {replicate}, but the ticket has {len(ticket.runs)}, which count from 0")
    weights, mask = replica(ticket.at(step), replicate), replica(ticket.mask_at(step), replicate)
    state, whole = state_of(task.model, DataInfo(data.shape, (), data.input_dtype), weights, mask, 0)
    if whole:
        raise TombolaError(f"{', '.join(whole)} holds pruned weights that are not 0, which torch.nn.utils.prune cannot say; export the run")
    return load_state(module, state, "the ticket")
