"""What is learnt: an objective is a typed description on the task, and the small object that its loss and measures are methods of."""

import inspect
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Annotated, Any, ClassVar, Literal, NamedTuple

from pydantic import BeforeValidator

from tombola.core.data_info import DataInfo
from tombola.core.errors import TombolaError
from tombola.core.identity import code_digest
from tombola.core.parts import objectives
from tombola.core.spec import Spec


class Measure(NamedTuple):
    """How a measure is called and shown."""

    title: str
    """In words: "error", "mean squared error"."""
    unit: str = ""
    """What figures and tables show it in: "%", or "" for the unit of the data."""
    factor: float = 1.0
    """From the measure to that unit: 100 for per cent."""
    complement: tuple[str, str] | None = None
    """(column, title) of 1 - measure, where curves hold that in its place: ("acc", "accuracy")."""

    @property
    def difference(self) -> str:
        """Unit of the difference of two values."""
        return "pp" if self.unit == "%" else self.unit

    @property
    def in_curves(self) -> str:
        """What its column in curves is called in words."""
        return self.complement[1] if self.complement else self.title


class Seen(NamedTuple):
    """What `loss`, `training_loss` and `measures` are given in the place of outputs, where an objective `reads` more than these."""

    outputs: Any
    """(B, ...), of the network."""
    inside: Mapping[str, Any]
    """Name -> (B, ...): what the network says on the way."""
    weights: Mapping[str, Any]
    """Path -> kernel, of those that can be pruned."""


WEIGHTS = "weights"
"""What an objective reads that needs the weights."""


class Objective(Spec):
    """What is learnt. Subclass it, or one that is there, and register the class: its fields are its options, typed.

    A subclass says in `measured` what its `measures` are called; the first is the *headline*, by which networks are compared: barriers,
    tables and figures show it. Arrays are JAX's in `batch`, `loss` and `measures`, NumPy's elsewhere; B counts examples.
    """

    targets: ClassVar[Literal["classes", "values", "inputs"]] = "values"
    """What targets are: classes, integers from 0; values, float32 of any shape; or the inputs themselves."""
    measured: ClassVar[Mapping[str, Measure]] = {}
    """Name of each measure, the headline first -> how it is shown. A name is a column: letters, digits and `_`."""
    name: ClassVar[str] = ""
    """Under which it is registered."""

    def batch(self, key: Any, examples: tuple[Any, Any], predict: Callable[[Any], Any]) -> tuple[Any, Any]:
        """(inputs, targets) of a batch to train on, made from those of the data set (after augmentation): noise, crops, an attack.

        Args:
            key: JAX's, another for each iteration; its stream counts as augmentation among the streams of SGD noise.
            predict: inputs (B, ...) -> outputs of the network as it is, by which gradients may be taken.
        """
        return examples

    def examined(self, examples: tuple[Any, Any]) -> tuple[Any, Any]:
        """(inputs, targets) of examples to evaluate, made from those of the data set as `batch` makes those to train on, but always the
        same ones: what is drawn depends on the examples alone.
        """
        return examples

    def loss(self, outputs: Any, targets: Any) -> Any:
        """(B,) loss of each example. Its mean is minimised; on the validation set it decides the early stop."""
        raise NotImplementedError

    def training_loss(self, outputs: Any, targets: Any, smoothing: float) -> Any:
        """(B,) what training minimises the mean of, where that is not `loss`. `smoothing`: the recipe's, 0 unless `smooths`."""
        return self.loss(outputs, targets)

    def measures(self, outputs: Any, targets: Any) -> Mapping[str, Any]:
        """Name -> (B,) of each example, as `measured` says; a network's is the mean. Lower is better."""
        raise NotImplementedError

    def prediction(self, outputs: Any) -> Any:
        """(B, ...) what a network says of each example: its outputs."""
        return outputs

    def disagreement(self, first: Any, second: Any) -> float:
        """How far the predictions of two networks, (n, ...) each, lie apart, in the unit of the headline."""
        raise NotImplementedError

    def chance(self, targets: Any) -> float:
        """The headline of the best constant answer to targets (n, ...)."""
        raise NotImplementedError

    def info(self, dataset: Any) -> DataInfo:
        """What a network is made for. Raises if the data set has no targets of the kind that is needed."""
        there = "classes" if dataset.classes is not None else "inputs" if dataset.targets is None else "values"
        if self.targets not in (there, "inputs"):
            what = "the data set has no targets" if there == "inputs" else f"the targets of the data set are {there}"
            fit = {"classes": "classification", "values": "regression", "inputs": "reconstruction"}[there]
            own = f"; or, where y is your own, from_arrays(..., targets={self.targets!r}), or that beside y in the .npz, says what it holds"
            may_be = {"values": "classes", "classes": "values"}.get(there) == self.targets and _whole(dataset)
            raise TombolaError(
                f"objective {self.name!r} learns {self.targets}, but {what}; choose another, such as objective={fit}{own if may_be else ''}"
            )
        outputs = {"classes": (dataset.classes,), "inputs": dataset.shape}.get(self.targets) or dataset.targets.shape[1:]
        return DataInfo(
            dataset.shape, outputs, dataset.input_dtype, dataset.classes if self.targets == "classes" else None, dataset.vocabulary
        )

    def fitted(self, dataset: Any) -> "Objective":
        """The objective with what it takes from the data filled in: weights of classes, say."""
        return self

    @property
    def reads(self) -> tuple[str, ...]:
        """What it needs beside the outputs: names of what networks say on the way (``tb.sow("code", code)`` in a module), and
        `WEIGHTS`. If it needs something, its methods but for `prediction` are given a `Seen` in the place of outputs.
        """
        return ()

    @property
    def smooths(self) -> bool:
        """Whether `Recipe.label_smoothing` means something to it."""
        return False

    @property
    def changes_batches(self) -> bool:
        """Whether it has a `batch` of its own."""
        return type(self).batch is not Objective.batch

    @property
    def gradients(self) -> int:
        """How many gradients of a batch a step takes, by which its time is estimated: that of the loss, and any that make the batch."""
        return 1

    @property
    def by_class(self) -> bool:
        """Whether a network's loss and measures are means over classes of the means over their examples; else over all examples."""
        return False

    @property
    def first_measure(self) -> Measure:
        """The first measure, of a mean over examples."""
        return next(iter(self.measured.values()))

    @property
    def headline(self) -> Measure:
        """How the first measure is shown."""
        if not self.by_class:
            return self.first_measure
        title, complement = self.first_measure.title, self.first_measure.complement
        return self.first_measure._replace(
            title=f"balanced {title}", complement=complement and (complement[0], f"balanced {complement[1]}")
        )

    @property
    def columns(self) -> tuple[str, ...]:
        """What curves call the loss and each measure, after ``val_``, ``test_``, ``train_`` or ``es_test_``; the headline's is second."""
        return ("loss", *(shown.complement[0] if shown.complement else name for name, shown in self.measured.items()))

    def headline_of(self, column: Any) -> Any:
        """The headline, lower is better, from its column in curves or summaries."""
        return 1 - column if self.headline.complement else column

    def in_words(self, value: float) -> str:
        """A value of the headline in words: "error 12.50 %"."""
        shown = self.headline
        return f"{shown.title} {shown.factor * value:.2f} {shown.unit}" if shown.unit else f"{shown.title} {shown.factor * value:.4g}"

    def counted_in(self, chance: Any) -> Any:
        """What differences of the headline are counted in: 1 where it is a share; else that of the best constant answer."""
        return 1.0 if self.headline.unit == "%" else chance

    @property
    def better_is(self) -> int:
        """1 where the headline's column is the better the higher, -1 where the lower."""
        return 1 if self.headline.complement else -1

    @cached_property
    def _canonical(self) -> dict[str, Any]:
        own = {} if type(self).__module__.startswith("tombola.") else {"source": code_digest(type(self), f"objective {self.name!r}")}
        return {**Spec._canonical.func(self), **own}  # type: ignore[attr-defined]


def _whole(dataset: Any) -> bool:
    """Whether targets are whole numbers, one for each example, that may be meant as classes or as values."""
    if dataset.classes is not None:
        return all(name.removeprefix("-").isdigit() for name in dataset.class_names)
    return dataset.targets.shape[1:] in ((), (1,)) and bool((dataset.targets % 1 == 0).all())


def register(part: Any) -> Any:
    """Register a class of objectives: ``@register``, or ``@register("name")``. Raises unless it is one, with measures."""
    if isinstance(part, str):
        return lambda kind: _register(part, kind)
    return _register(getattr(part, "__name__", str(part)), part)


def _register(name: str, kind: type[Objective]) -> type[Objective]:
    if not (inspect.isclass(kind) and issubclass(kind, Objective)):
        raise TombolaError(f"objective {name!r} must be a class derived from tombola.objectives.Objective, or from one that is there")
    if not kind.measured:
        raise TombolaError(f'objective {name!r} says no `measured`: write measured = {{"mse": Measure("mean squared error")}}, say')
    if wrong := [one for one in kind.measured if not one.isidentifier() or one == "loss"]:
        raise TombolaError(
            f"objective {name!r}: a measure is called {wrong[0]!r}; its name is a column: letters, digits and _, and not loss"
        )
    kind.name = kind.stored_name = name
    objectives.add(name, kind)
    return kind


def find_objective(name: str) -> type[Objective]:
    """A registered class."""
    return objectives[name]


def read_objective(given: Any) -> Any:
    """An objective by its name, by its class, or as a mapping of its canonical form."""
    if isinstance(given, str):
        return find_objective(given)()
    if isinstance(given, Mapping):
        options = dict(given)
        source, kind = options.pop("source", ""), find_objective(options.pop("spec", options.pop("name", "classification")))
        if source and source != code_digest(kind):
            raise TombolaError(f"objective {kind.name!r} is not the one that this was described with; load that, or describe it anew")
        return kind(**options)
    given = given() if inspect.isclass(given) and issubclass(given, Objective) else given
    if isinstance(given, Objective) and "name" not in vars(type(given)):
        raise TombolaError(f"objective {type(given).__name__!r} is not registered; write @tb.objectives.register above its class")
    return given


Learnt = Annotated[Objective, BeforeValidator(read_objective)]
"""A field that takes an objective, its name, or a mapping of its name and options."""
