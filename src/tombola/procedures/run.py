"""A run as a description: task, seed, mask, start and noise. Its parents are other runs, so a table of runs is a graph.

The start is said as `kept` and `pruned` values; each value and each mask is an *action*: a registered function
of the run's own streams and of its parents' weights or masks (`tombola.procedures.actions`).
"""

from collections.abc import Callable, Iterator
from typing import Annotated, Any

from pydantic import AfterValidator, Field, field_validator

from tombola.core.parts import mask_actions, value_actions
from tombola.core.registry import Registry
from tombola.core.spec import Spec
from tombola.core.step import Step
from tombola.core.task import Task


class Given(Spec):
    """Weights or a mask that were given as arrays: where a chain of parents ends, as it does at an initialisation."""

    content: str
    """SHA-256 of all values."""
    shapes: dict[str, tuple[int, ...]]
    """The shape of every leaf."""

    def ref(self, what: str = "0it") -> "RunRef":
        """The reference to it as a parent of a run or of a measurement; `what` is ``"mask"`` for a mask."""
        return RunRef(run=self, what=what)


class RunRef(Spec):
    """Weights of a run at a step, or its mask (`what` = ``"mask"``); or what was given in the place of a run."""

    run: "Run | Given"
    what: str

    def canonical(self) -> dict[str, Any]:
        """A parent is told by its digest, so that a chain's description does not grow with its length."""
        return {"spec": "Source", "run": self.run.digest, "what": self.what}

    def __hash__(self) -> int:
        return hash((self.run.digest, self.what))


STORED_NAMES = {"signed_constant": "constant", "random_signs": "resign", "zero_moved": "zeroed", "parent_mask": "same"}
"""Action -> what it is called in stored runs, which it still may be given as."""


class Action(Spec):
    """A registered action, what it is given, and its options."""

    name: str
    """The name of a registered action, such as `prune` or `reinit`."""
    of: tuple[RunRef, ...] = ()
    """The steps of other runs whose weights or masks it works on."""
    options: dict[str, Any] = {}
    """Further arguments of the action."""

    @field_validator("name")
    @classmethod
    def _by_its_name_today(cls, name: str) -> str:
        return next((today for today, stored in STORED_NAMES.items() if stored == name), name)

    def canonical(self) -> dict[str, Any]:
        """The canonical form, under the name that stored runs have."""
        return super().canonical() | {"name": STORED_NAMES.get(self.name, self.name)}


def _of(actions: Registry) -> Callable[[Action], Action]:
    """An action as descriptions name it."""

    def described(action: Action) -> Action:
        name = actions.described(action.name)
        return action if name == action.name else action.but(name=name)

    return described


class Run(Spec):
    """(task, seed, mask, start, noise): everything that a trajectory is a function of.

    What is to be kept of it (`keep` in the engine) is not part of it: the same run with another snapshot is the
    same run.
    """

    task: Task
    seed: int = Field(ge=0, lt=2**64)
    mask: Annotated[Action, AfterValidator(_of(mask_actions))] | None = None
    """The mask action; None: everything is kept."""
    kept: Annotated[Action, AfterValidator(_of(value_actions))] | None = None
    """What kept weights, and all that is not prunable, start from; None: the run's initial weights."""
    pruned: Annotated[Action, AfterValidator(_of(value_actions))] | None = None
    """What pruned weights are held at; None: zero."""
    begin: Step = Step("0it")
    until: Step = Step("end")
    """Training stops after this step, with schedule and data order as on the way to the end of the recipe."""
    noise: dict[str, str] = {}

    def parents(self) -> Iterator[RunRef]:
        """What this run is made from, each once, in order."""
        actions = (action for action in (self.mask, self.kept, self.pruned) if action is not None)
        yield from dict.fromkeys(source for action in actions for source in action.of)

    def at(self, step: "Step | str") -> RunRef:
        """The weights of this run at a step, as a parent of another."""
        return RunRef(run=self, what=Step(step))

    def its_mask(self) -> RunRef:
        """The mask of this run, as a parent of another."""
        return RunRef(run=self, what="mask")
