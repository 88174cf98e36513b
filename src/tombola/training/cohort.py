"""Train a cohort: replicas of one task that differ in seed, start, mask, noise and learning rate."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import lru_cache

from tombola.core.backend import give_back, prepare
from tombola.core.errors import TombolaError
from tombola.core.task import Task
from tombola.data.dataset import Dataset, sizes
from tombola.models.packed import Sizes, pack, unpack
from tombola.training.convolutions import fastest
from tombola.training.frozen import trained_paths
from tombola.training.geometry import Geometry
from tombola.training.inputs import inputs_of
from tombola.training.member import Checkpoint, Member, Outcome
from tombola.training.packing import packed_sizes
from tombola.training.plan import Plan, plan
from tombola.training.program import compile_program
from tombola.training.wave import Arrays, Wave


def geometry(task: Task, dataset: Dataset) -> Geometry:
    """What the task's programs are compiled for. Raises if a batch is larger than the training set, or if layers cannot be frozen."""
    # Before JAX touches a device, which building the network does: what it looks like is not known yet, only its name.
    prepare(large=len(dataset.shape) == 3 and task.model.name != "mlp")
    train, _ = sizes(dataset, task.data)
    if task.recipe.batch > train:
        raise TombolaError(f"batch = {task.recipe.batch}, but there are only {train} training examples; choose a smaller batch")
    pixels = None if dataset.mean is None or dataset.std is None else (tuple(dataset.mean.tolist()), tuple(dataset.std.tolist()))
    found = Geometry(task.model, task.recipe, dataset.shape, dataset.classes, train, task.data.augment, pixels)
    trained_paths(found.network, task.recipe.frozen)  # raises
    return found


def total_iterations(task: Task, geometry: Geometry) -> int:
    """T, the length of the task's training. Raises for schedules that do not fit in it."""
    recipe, per_epoch = task.recipe, geometry.steps_per_epoch
    if (total := recipe.steps.iterations(per_epoch)) == 0:
        raise TombolaError(f"steps = {str(recipe.steps)!r}: write how long to train, for example '5000it' or '20ep'")
    for name, steps in (("warmup", (recipe.warmup,)), ("milestones", recipe.milestones)):
        for step in steps:
            if step.iterations(per_epoch) > total:
                raise TombolaError(f"{name} {str(step)!r} lies after the end of training at iteration {total}; choose an earlier step")
    for name in ("evaluate_every", "test_every"):
        step = getattr(recipe, name)
        if step is not None and step.iterations(per_epoch) == 0:
            raise TombolaError(f"{name} = {str(step)!r}, but the spacing of evaluations is at least 1it")
    return total


def check_keep(wanted: Iterable[int], begin: int) -> None:
    """Raise if weights are wanted of an iteration before the run begins."""
    if early := [step for step in wanted if step < begin]:
        raise TombolaError(f"weights of iteration {min(early)} are wanted, but the run begins at iteration {begin}; ask for that or later")


def train_cohort(
    task: Task,
    dataset: Dataset,
    members: Sequence[Member],
    on_checkpoint: Callable[[int, Checkpoint], None] | None = None,
    on_progress: Callable[[int], None] = lambda steps: None,
    layout: Plan | None = None,
    until: int | None = None,
) -> Iterator[tuple[int, Outcome]]:
    """Train each member to the end, or to iteration `until`, wave by wave; yields (index of the member, outcome) as waves finish.

    On a CPU a member's result is bitwise the same whoever shares its cohort. Those with few weights left train packed
    networks there (`tombola.training.packing`), which is no part of what a member is or leaves.

    Args:
        members: they resume at one iteration, or begin at one. Where the plan lets several share a device they may begin
            at different ones: those that begin later wait.
        on_checkpoint: called with (index, checkpoint) at most every `CHECKPOINT_SECONDS`, between calls.
        on_progress: called with the number of replica-steps just trained.
        layout: the plan; made for this cohort if not given.
        until: training stops after this iteration, bitwise where the whole run would be.
    """
    found = geometry(task, dataset)
    end = total_iterations(task, found) if until is None else until
    layout = fastest(found, layout or plan(len(members), found.network.convolutional, dataset.on_disk, task.recipe.batch))
    arrays = _on_devices(dataset, layout)
    for packed, indices in _by_sizes(task, found, layout, members).items():
        program = compile_program(found._replace(packed=packed), layout)
        for first in range(0, len(indices), layout.wave):
            wave = indices[first : first + layout.wave]
            checkpoint = None if on_checkpoint is None else lambda i, point, wave=wave: on_checkpoint(wave[i], point)
            there = [_packed(members[index], packed) for index in wave]
            outcomes = Wave(task, end, found, layout, program, arrays, there).train(checkpoint, on_progress)
            give_back()
            for index, outcome in zip(wave, outcomes, strict=True):
                start = members[index].start
                yield index, replace(outcome, snapshots={step: unpack(tree, start) for step, tree in outcome.snapshots.items()})


def _by_sizes(task: Task, found: Geometry, layout: Plan, members: Sequence[Member]) -> dict[Sizes, list[int]]:
    groups: dict[Sizes, list[int]] = {}
    for index, member in enumerate(members):
        steps = total_iterations(task, found) - member.begin
        groups.setdefault(packed_sizes(found, steps, member.start, member.mask) if layout.native else (), []).append(index)
    return groups


def _packed(member: Member, sizes: Sizes) -> Member:
    start, mask = pack(member.start, member.mask, sizes)
    return replace(member, start=start, mask=mask)


@lru_cache(maxsize=2)
def _on_devices(dataset: Dataset, layout: Plan) -> Arrays:
    return Arrays(dataset, inputs_of(dataset.inputs, layout), inputs_of(dataset.test_inputs, layout))
