"""Every kind of part that can be registered: the one list of them. What registers Tombola's own is imported when it is needed."""

import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from tombola.core.errors import TombolaError
from tombola.core.identity import sources
from tombola.core.registry import Registry

studies: Registry = Registry("study", "tombola.studies.catalogue", by_name=True)
tasks: Registry = Registry(
    "task", *(f"tombola.models.{name}" for name in ("tasks", "tasks_16", "small_tasks", "tasks_autoencoders", "tasks_words")), by_name=True
)
"""Name -> function of the scale -> `Task`."""
models: Registry = Registry("model", *(f"tombola.models.{name}" for name in ("mlp", "conv", "vgg", "resnet", "autoencoder", "words")))
"""Name -> factory ``(shape, classes, *, rngs, **options) -> nnx.Module``, where `shape` is one example's."""
torch_rules: Registry = Registry(
    "torch rule", *(f"tombola.models.pytorch.rules_{name}" for name in ("arrays", "images", "norms", "random", "sequences"))
)
"""Operation of PyTorch's, such as ``aten.relu`` -> function of arrays with torch's axes (`tombola.models.pytorch.rules`)."""
initializers: Registry = Registry("initializer", "tombola.models.initializers")
"""Name -> ``(key, shape) -> array``."""
objectives: Registry = Registry("objective", "tombola.objectives", by_name=True)
"""Name -> class derived from `tombola.objectives.Objective`, whose instances say their code themselves."""
augmentations: Registry = Registry("augmentation", "tombola.data.augment")
"""Name -> function of a key and a batch (B, *shape) -> (B, *shape)."""
schedules: Registry = Registry("schedule", "tombola.training.schedules")
"""Name -> function of the `Recipe` and the `Timeline` -> factor of the learning rate as a function of the iteration."""
mask_schedules: Registry = Registry("mask schedule", "tombola.training.mask_schedules", "tombola.training.growth")
"""Name -> function of the `Timeline` and of the kinds of layers -> `tombola.training.mask_schedules.MaskUpdates`."""
detectors: Registry = Registry("detector", "tombola.training.detectors", "tombola.training.curvature")
"""Name -> function of the `Timeline` -> `tombola.training.detectors.Detector`."""
optimizers: Registry = Registry("optimizer", "tombola.training.optimizers")
"""Name -> function of the `Recipe` -> ``optax.GradientTransformation``."""
criteria: Registry = Registry("criterion", "tombola.pruning.criteria")
"""Name -> ``(initial, final) -> scores``."""
searchers: Registry = Registry("searcher", "tombola.pruning.searchers", "tombola.pruning.evolution")
"""Name -> function of a `tombola.pruning.searchers.Space` -> `Searcher`: how masks are found without gradients."""
mask_actions: Registry = Registry(
    "mask action", *(f"tombola.procedures.{name}" for name in ("actions", "start_masks", "early_bird", "transplants", "words"))
)
value_actions: Registry = Registry(
    "value action", *(f"tombola.procedures.{name}" for name in ("actions", "start_values", "early_bird", "brain_surgery"))
)
measurements: Registry = Registry("measurement", "tombola.engine.measuring")
datasets: Registry = Registry("data set", by_name=True)
"""Name -> loader, a function of the folder of data files."""

options: Registry = Registry("option")
"""What a user gives to a model as an option and is no plain value: a function, an array, a class."""


def registries() -> dict[str, Registry]:
    """What is registered, by what it is called in the plural."""
    return {name.replace("_", " "): one for name, one in globals().items() if isinstance(one, Registry)}


def users_code(canonical: Mapping[str, Any], *others: Any) -> str:
    """The texts that hold the code of those of the user's parts that a description names, and of others."""
    text = json.dumps(canonical)
    named = [part for one in registries().values() for name, part in one.handed_over.items() if f'"{name}"' in text]
    return "\n\n".join(dict.fromkeys(text for part in [*named, *others] for text in sources(part)))


class Reads:
    """A description that notes which of its fields a part asks for: one that is set and never asked for has no effect."""

    def __init__(self, of: Any) -> None:
        self._of, self._read = of, set[str]()

    def __getattr__(self, name: str) -> Any:
        self._read.add(name)
        return getattr(self._of, name)

    def refuse_unread(self, part: str, *fields: str) -> None:
        """Raise if one of some fields is not at its default, and was not read."""
        for name in fields:
            default, given = type(self._of).model_fields[name].default, getattr(self._of, name)
            if given != default and name not in self._read:
                raise TombolaError(f"{name} = {given!r}, but {part} does not use it; leave it at {default!r}, or choose another")


def plain_options(given: Any) -> Any:
    """Options as JSON values: a dtype by its name, and what is no plain value as a part of the user's, ``{"@part": "name@digest"}``."""
    if isinstance(given, np.generic):
        given = given.item()
    if given is None or isinstance(given, str | bool | int | float):
        return given
    if isinstance(given, Mapping):
        return {str(name): plain_options(one) for name, one in given.items()}
    if isinstance(given, list | tuple):
        return type(given)(map(plain_options, given))
    if isinstance(given, type) and issubclass(given, np.generic):
        given = np.dtype(given)
    dtype = getattr(given, "dtype", None) if isinstance(given, type) else given  # jnp.float32 is a class that has one
    return {"@dtype": dtype.name} if isinstance(dtype, np.dtype) else {"@part": options.described(given)}


def given_options(plain: Any) -> Any:
    """The values of which `plain_options` made JSON."""
    if isinstance(plain, Mapping):
        if plain.keys() == {"@dtype"}:
            return np.dtype(plain["@dtype"])
        return options[plain["@part"]] if plain.keys() == {"@part"} else {name: given_options(one) for name, one in plain.items()}
    return type(plain)(map(given_options, plain)) if isinstance(plain, list | tuple) else plain
