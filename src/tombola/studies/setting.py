"""Another setting of a task: changes to its recipe and to the scale of its initial weights; or another text."""

from collections.abc import Mapping
from typing import Any

from pydantic import Field, model_validator

from tombola.core.spec import Spec
from tombola.core.task import Task


class Setting(Spec):
    """Changes to a task: fields of its recipe, and a factor on its initial weights."""

    recipe: dict[str, Any] = {}
    gain: float = Field(default=1.0, gt=0, allow_inf_nan=False)

    def of(self, task: Task) -> Task:
        """The task so changed."""
        return task.but(recipe=task.recipe.but(**self.recipe), model=task.model.but(gain=task.model.gain * self.gain))

    def label(self, task: Task) -> str:
        """The setting in words, such as: adam, rate 0.0012, batch 30, init x 2."""
        recipe = self.of(task).recipe
        others = [f"{name} {value}" for name, value in self.recipe.items() if name not in ("optimizer", "learning_rate")]
        gain = [f"init x {self.gain:g}"] if self.gain != 1 else []
        return ", ".join([recipe.optimizer, f"rate {recipe.learning_rate:g}", *others, *gain])


def on_own_text(**cut: int) -> Any:
    """What puts a study whose field `text` names a file to the words of that, `cut` as `tombola.from_text` says."""

    def changed(cls: type, given: Any) -> Any:
        if isinstance(given, Mapping) and given.get("text") and isinstance(given.get("task"), Task):
            from tombola.data.text import from_text

            return {**given, "task": given["task"].but(data=from_text(given["text"], **cut))}
        return given

    return model_validator(mode="before")(changed)
