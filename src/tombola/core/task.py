"""What is learnt, by which network, and how: data + model + objective + recipe = task.

Descriptions only: no array and no JAX here, so that ``--help`` and ``show`` stay light.
"""

import re
from typing import Annotated, Any, ClassVar, Literal, Self, get_args

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from tombola.core.objective import Learnt, find_objective
from tombola.core.parts import augmentations, detectors, initializers, mask_schedules, models, optimizers, plain_options, schedules
from tombola.core.spec import Spec
from tombola.core.step import Step

Count = Annotated[int, Field(gt=0)]
Fraction = Annotated[float, Field(ge=0, le=1)]
Kind = Literal["dense", "conv", "shortcut", "output", "embedding"]
KINDS = get_args(Kind)


Rates = dict[str, Fraction]
"""Kind of layer, or name of a layer or of a block of layers, which go first -> the share of its remaining weights that one round of
pruning takes."""


class Data(Spec):
    """A data set by name and how much of it is used; the split is drawn per replicate from its stream `split`."""

    name: str
    """The name of a registered data set; `tombola list` prints all of them."""
    train: Count | None = None
    """How many training examples are used. None: all that the validation set leaves."""
    validation: Count | None = None
    """How many examples of the training pool are set aside for validation. None: the data set's own number (the papers')."""
    test: Count | None = None
    """How many test examples are used, the first ones. None: all."""
    fresh_test: bool = False
    """Whether each replicate draws a test set of its own, as large as the data set's, from pool and test set together; then intervals over
    replicates also hold the chance of having drawn these test examples. Meant for small data. False: all replicates have the same test
    set."""
    content: str = ""
    """A digest of the data's bytes, where they are not the canonical ones that the name stands for; filled in when a task is read."""
    stratified: bool = False
    """Whether each class has the share of training and validation examples that it has of all, as near as whole examples and nested parts
    allow. For data with classes."""
    label_noise: Fraction = 0.0
    """The share of training labels that are replaced by uniformly drawn ones. Validation and test labels stay as they are."""
    augment: Annotated[str, BeforeValidator(augmentations.described)] = "none"
    """How training batches are augmented: ``none``, or a registered augmentation (`tombola.data.augment`). ``flip_crop`` takes a random
    mirror image, and a crop of it after padding by 4 pixels of the mean colour; ``resized_crop`` a random mirror image, and a random part
    of 8 to 100 % of its area, resized to the whole."""


Precision = Literal["float32", "tf32"]


def _ordered(names: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(sorted(names))


class Model(Spec):
    """A network by name; `tb.model` makes it of a class, ``path.py:Class`` or ``package.module:Class``."""

    forgotten: ClassVar[frozenset[str]] = frozenset({"source"})

    name: Annotated[str, BeforeValidator(models.described)]
    """The name of a registered network. One of your own is ``name@digest``, after its code: an edited network is another network."""
    options: Annotated[dict[str, Any], AfterValidator(plain_options)] = {}
    """Further arguments of the network, such as ``{"widths": [300, 100]}`` of `mlp`."""
    initializer: Annotated[str, BeforeValidator(initializers.described)] = "glorot_normal"
    """How kernels are drawn (biases start at 0, and normalisation as the identity). ``own``: as the module itself draws them."""
    gain: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1.0
    """A factor on every kernel's initial values, and so on the standard deviation of its initialiser."""
    without: Annotated[tuple[str, ...], AfterValidator(_ordered)] = ()
    """The names of layers or blocks that are taken out of the network: the identity stands in their place, and all other tensors keep their
    initial values. Sorted, because their order says nothing."""


Rescale = Literal["none", "dynamic", "root"]
Untrained = Literal["init", "constant"]
"""What weights under a searched or learnt mask are: as they start, or signed constants."""


class Supermask(Spec):
    """A mask that is learnt in the place of the weights (Zhou et al. 2019, section 5)."""

    forgotten: ClassVar[frozenset[str]] = frozenset({"gradient"})

    method: Literal["bernoulli", "edge_popup", "signed", "relaxed", "gates"] = "bernoulli"
    """How scores become a mask: drawn with probability sigmoid(score); the largest of a layer (Ramanujan et al. 2020);
    with a sign of its own where they exceed a threshold (after Koster et al. 2022); as `bernoulli`, but trained as gates
    between 0 and 1 (the Concrete distribution); or the largest of a layer, while weights and all else train beside the scores,
    so that gates open and close on the fly (after Sanh et al. 2020)."""
    density: Annotated[float, Field(gt=0, lt=1)] = 0.5
    """The share of a layer's weights that is kept: with `bernoulli` and `relaxed` (in expectation) and with `signed` at the start of
    training, with `edge_popup` and `gates` throughout."""
    rescale: Rescale = "none"
    """Factor r on a layer's kept weights: size / kept (`dynamic`, Zhou et al. 2019), its root, or none. The gradient passes through r,
    too, also where r never changes, as with `edge_popup`; Ramanujan et al. 2020 have a constant there."""

    def canonical(self) -> dict[str, Any]:
        """Rescaled signed masks have another identity since the gradient of their rescaling was mended: they train to other masks."""
        mended = self.method == "signed" and self.rescale != "none"
        return super().canonical() | ({"gradient": "sign"} if mended else {})


class MaskSchedule(Spec):
    """A mask that moves during training: a registered schedule (`tombola.training.mask_schedules`) and its options."""

    name: Annotated[str, BeforeValidator(mask_schedules.described)]
    """The name of a registered mask schedule."""
    options: Annotated[dict[str, Any], AfterValidator(plain_options)] = {}
    """Further arguments of the schedule, such as ``{"final": 0.1}`` of `gradual`."""


class Detect(Spec):
    """A detector of the stable phase, asked at stops of training (`tombola.training.detectors`)."""

    name: Annotated[str, BeforeValidator(detectors.described)]
    """The name of a registered detector."""
    options: Annotated[dict[str, Any], AfterValidator(plain_options)] = {}
    """Further arguments of the detector."""
    level: Annotated[float, Field(allow_inf_nan=False)] | None = None
    """The level of the signal: the stable phase has begun at the first stop where the signal is beyond it. None: the detector's own."""
    beside: tuple[Annotated[str, BeforeValidator(detectors.described)], ...] = ()
    """Other detectors, whose signals are recorded too. They decide nothing."""
    at: tuple[Step, ...] = ()
    """The stops at which the detector looks. If none is named, they are 1/512, 1/256, ..., 1/2 of training."""
    then: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1.0
    """A factor on the learning rate from the detected step on."""


def _by_name(kind: type[Spec], field: str = "name") -> BeforeValidator:
    """What has a field take what else would be an option of it alone: a name, or a function."""
    return BeforeValidator(lambda given: kind(**{field: given}) if isinstance(given, str) or callable(given) else given)


Detecting = Annotated[Detect, _by_name(Detect)]
"""A field that takes a detector by its name, or itself, too."""


class Recipe(Spec):
    """How a run trains."""

    steps: Step
    """The length T of training. It is counted from iteration 0, also where a run begins later."""
    batch: Count
    """How many training examples each step sees."""
    learning_rate: Annotated[float, Field(gt=0, allow_inf_nan=False)]
    """The learning rate of the optimiser; where a schedule changes it, the highest."""
    optimizer: Annotated[str, BeforeValidator(optimizers.described)] = "adam"
    """A registered optimiser (`tombola.training.optimizers`)."""
    optimizer_options: dict[str, Any] = {}
    """Further arguments of the optimiser, such as ``{"b1": 0.8}`` of `adam`."""
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    """The momentum of the optimisers `momentum` and `nesterov`; the others have none."""
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    """The coefficient of an L2 term in the gradient, on every leaf that is not frozen. In `adamw` it is decoupled from the gradient."""
    schedule: Annotated[str, BeforeValidator(schedules.described)] = "constant"
    """A registered schedule of the learning rate (`tombola.training.schedules`)."""
    schedule_options: dict[str, Any] = {}
    """Further arguments of the schedule."""
    milestones: tuple[Step, ...] = ()
    """The steps at which a `stepped` learning rate is multiplied by `decay`."""
    decay: Annotated[float, Field(gt=0, le=1)] = 0.1
    """The factor on a `stepped` learning rate at each milestone."""
    warmup: Step = Step("0it")
    """The length k of a linear rise of the learning rate: iteration t has (t + 1) / k of it, so that the first has 1 / k, and not 0."""
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """The share of each target that is spread evenly over all classes during training. Only the objective `classification` has it."""
    precision: Precision = "float32"
    """The precision of matrix products and convolutions, forward and backward; all else is float32. With ``tf32`` their operands are
    rounded to 10 bits of mantissa (to nearest, ties to even), and sums stay in float32: a GPU multiplies such numbers several times as
    fast. On a CPU it is the same arithmetic, and no faster."""
    frozen: Annotated[tuple[str, ...], AfterValidator(_ordered)] = ()
    """The names of layers or blocks that do not train: their kernels, biases and affine parameters of normalisation keep the values they
    start from, bit for bit, while running statistics of batch norm go on following the data. Sorted, because their order says nothing."""
    supermask: Annotated[Supermask, _by_name(Supermask, "method")] | None = None
    """If given, a mask over the weights is learnt, and weights, biases and affine parameters stay at their start (except with `gates`)."""
    mask_schedule: Annotated[MaskSchedule, _by_name(MaskSchedule)] | None = None
    """If given, the mask moves during training: a weight that it takes becomes 0 and stays 0, and so does the optimiser's state of it."""
    detect: Detecting | None = None
    """If given, a detector says when the stable phase of training begins. Unless it has a factor `then`, it changes no weight."""
    evaluate_every: Step = Step("100it")
    """The distance between evaluations on validation data. Iteration 0 and the last one are always evaluated."""
    test_every: Step | None = None
    """The distance between evaluations on test data. None: that of `evaluate_every`. The iteration of minimum validation loss and the last
    one are always tested."""

    def tested(self) -> Self:
        """The same, tested at each evaluation where `test_every` would leave no test before the end, as of a training that was cut."""
        if self.test_every is None:
            return self
        (whole, length), (epochs, spacing) = self.steps.order, self.test_every.order
        none = 2 * epochs > whole if not (length or spacing) else 2 * spacing > length and not (whole or epochs)
        return self.but(test_every=None) if none else self


class Task(Spec):
    """Data, model, objective and recipe. How it is called and pruned by default are labels: runs of equal content are equal."""

    labels: ClassVar[frozenset[str]] = frozenset({"name", "rates", "scope"})

    data: Data
    """The data set, and how much of it is used."""
    model: Model
    """The network."""
    recipe: Recipe
    """How the network is trained."""
    objective: Learnt = Field(default_factory=lambda: find_objective("classification")())
    """What is learnt: a registered objective, by its name or as a table of its name and options."""
    name: str = ""
    """How the task is called in tables; it changes no run. Not given: by its data and its network, also after these are changed:
    ``digits-mlp``, or ``my-Net`` of ``my.npz`` and ``net.py:Net``."""
    rates: Rates = {"dense": 0.2, "conv": 0.2, "output": 0.1, "shortcut": 0.0, "embedding": 0.2}
    """The share of its remaining weights that one round of pruning takes from a layer, by its kind or its name."""
    scope: Literal["layer", "global", "row", "column"] = "layer"
    """Whether a round takes its share from each layer, from all of them together, or from each row or column of a layer's kernel."""

    @model_validator(mode="after")
    def _is_called(self) -> Self:
        if not self.name:
            own = (re.sub(r"-[0-9a-f]{12}$", "", self.data.name), self.model.name.partition("@")[0])  # without digests of content and code
            object.__setattr__(self, "name", "-".join(own))
        return self

    def but(self, **changes: Any) -> Self:
        """A copy with some fields changed, validated again; one with other data, or another network, has lost its name."""
        found = super().but(**changes)
        others = (found.data.name, found.model.name) != (self.data.name, self.model.name)
        return super().but(**changes, name="") if others and "name" not in changes else found

    @model_validator(mode="after")
    def _smoothing_is_of_classes(self) -> Self:
        if self.recipe.label_smoothing and not self.objective.smooths:
            raise ValueError(
                f"label_smoothing is of the objective 'classification', and the task's is {self.objective.name!r}; set it to 0"
            )
        return self
