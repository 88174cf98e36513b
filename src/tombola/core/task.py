"""What is learnt, by which network, and how: data + model + objective + recipe = task.

Descriptions only: no array and no JAX here, so that ``--help`` and ``show`` stay light.
"""

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
    """Of a registered data set (`tombola list`)."""
    train: Count | None = None
    """Training examples; None: all that the validation set leaves."""
    validation: Count | None = None
    """Validation examples, taken from the training pool; None: the data set's own number (the papers')."""
    test: Count | None = None
    """The first n test examples; None: all."""
    fresh_test: bool = False
    """Each replicate draws a test set of its own, from pool and test set together and as large as the test set is, so that intervals
    over replicates hold what a sample of test examples leaves open. For small data; False: the same test set for all."""
    content: str = ""
    """Digest of the data's bytes, where they are not the canonical ones that the name stands for; found where a task is taken up."""
    stratified: bool = False
    """Each class has the share of training and validation examples that it has of all, as near as whole examples and nested parts allow.
    Of data with classes."""
    label_noise: Fraction = 0.0
    """Share of training labels replaced by uniformly drawn ones, by key. Validation and test stay clean."""
    augment: Annotated[str, BeforeValidator(augmentations.described)] = "none"
    """On the training batches only: ``none``, or a registered augmentation (`tombola.data.augment`). ``flip_crop``: random
    mirror image and a crop after padding by 4 pixels of 0, which is the mean colour, as images are standardised before;
    ``resized_crop``: random mirror image and a random part of 8 to 100 % of the area, resized to the whole."""


Precision = Literal["float32", "tf32"]


def _ordered(names: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(sorted(names))


class Model(Spec):
    """A network by name; `tb.model` makes it of a class, ``path.py:Class`` or ``package.module:Class``."""

    forgotten: ClassVar[frozenset[str]] = frozenset({"source"})

    name: Annotated[str, BeforeValidator(models.described)]
    """A user's own as ``name@digest``, by its code: an edited network is another network."""
    options: Annotated[dict[str, Any], AfterValidator(plain_options)] = {}
    """What else the network takes, such as ``{"widths": [300, 100]}`` of `mlp`."""
    initializer: Annotated[str, BeforeValidator(initializers.described)] = "glorot_normal"
    """How kernels are drawn (biases are 0, normalisation is the identity); ``own``: as the module itself draws them."""
    gain: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1.0
    """Factor on every kernel's initial values: the initialiser's standard deviation times this."""
    without: Annotated[tuple[str, ...], AfterValidator(_ordered)] = ()
    """Layers or blocks (names of `Network.layers`, or of their blocks) that are taken out: the identity stands in their
    place. All other tensors keep their initial values, with `own` too: a module draws them before. Sorted, as `frozen`."""


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
    """The share of a layer's weights that is kept: of `bernoulli` and `relaxed` (in expectation) and `signed` at the start of
    training, of `edge_popup` and `gates` all along."""
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
    """Of a registered mask schedule."""
    options: Annotated[dict[str, Any], AfterValidator(plain_options)] = {}
    """What else the schedule takes, such as ``{"final": 0.1}`` of `gradual`."""


class Detect(Spec):
    """A detector of the stable phase, asked at stops of training (`tombola.training.detectors`)."""

    name: Annotated[str, BeforeValidator(detectors.described)]
    """Of a registered detector."""
    options: Annotated[dict[str, Any], AfterValidator(plain_options)] = {}
    """What else the detector takes."""
    level: Annotated[float, Field(allow_inf_nan=False)] | None = None
    """The stable phase has begun at the first stop where the detector's signal is beyond it; None: the detector's own level."""
    beside: tuple[Annotated[str, BeforeValidator(detectors.described)], ...] = ()
    """Other detectors whose signals are recorded too, with their own options; they decide nothing."""
    at: tuple[Step, ...] = ()
    """The stops; none named: 1/512 of training, 1/256, ... 1/2 of it."""
    then: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1.0
    """Factor on the learning rate from there on."""


Detecting = Annotated[Detect, BeforeValidator(lambda given: Detect(name=given) if isinstance(given, str) else given)]
"""A field that takes a detector by its name too."""


class Recipe(Spec):
    """How a run trains."""

    steps: Step
    """Length T of training, counted from iteration 0 also where a run begins later."""
    batch: Count
    """Training examples in a step."""
    learning_rate: Annotated[float, Field(gt=0, allow_inf_nan=False)]
    """Of the optimiser, at the top of its schedule."""
    optimizer: Annotated[str, BeforeValidator(optimizers.described)] = "adam"
    """A registered optimiser (`tombola.training.optimizers`): sgd, momentum, nesterov, adam, adamw, or a user's own."""
    optimizer_options: dict[str, Any] = {}
    """What else the optimiser takes, such as ``{"b1": 0.8}`` of `adam`."""
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    """Of `momentum` and `nesterov`; the other optimisers have none."""
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    """Coefficient of an L2 term in the gradient, on every leaf that is not frozen; decoupled in `adamw`."""
    schedule: Annotated[str, BeforeValidator(schedules.described)] = "constant"
    """A registered schedule of the learning rate (`tombola.training.schedules`): constant, stepped, cosine, or a user's own."""
    schedule_options: dict[str, Any] = {}
    """What else the schedule takes."""
    milestones: tuple[Step, ...] = ()
    """Steps at which a `stepped` learning rate is multiplied by `decay`."""
    decay: Annotated[float, Field(gt=0, le=1)] = 0.1
    """Factor of a `stepped` learning rate at each milestone."""
    warmup: Step = Step("0it")
    """Length k of a linear rise of the learning rate: iteration t has (t + 1) / k of it, so the first has 1 / k, not 0."""
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Share of each target that is spread evenly over all classes, in training; of the objective `classification` alone."""
    precision: Precision = "float32"
    """Of matrix products and convolutions, forward and backward. ``tf32``: their operands are rounded to 10 bits of mantissa
    (to nearest, ties to even), sums stay in float32; it is what the matrix units of a GPU multiply several times as fast.
    On a CPU it is the same arithmetic at no gain. All else is float32 in both."""
    frozen: Annotated[tuple[str, ...], AfterValidator(_ordered)] = ()
    """Layers, or blocks of them (names of `Network.layers`, or their `block`), that do not train: their kernels, biases
    and affine parameters of normalisation keep the values they start from, bit for bit; running statistics of batch
    norm go on following the data. Sorted: their order says nothing."""
    supermask: Supermask | None = None
    """If given, a mask over the weights is learnt, and the weights, biases and affine parameters stay at their start (but for `gates`)."""
    mask_schedule: MaskSchedule | None = None
    """If given, the mask moves: what is taken becomes 0 and stays so, and its optimiser's state with it."""
    detect: Detecting | None = None
    """If given, a detector says when the stable phase begins; alone it changes no weight, and nothing of what else is measured."""
    evaluate_every: Step = Step("100it")
    """Spacing of the evaluations on validation data; iteration 0 and the last are always evaluated."""
    test_every: Step | None = None
    """Spacing of the evaluations on test data; None: as `evaluate_every`. The iteration of minimum validation
    loss and the last one are always tested, exactly."""

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
    """What is learnt from."""
    model: Model
    """Which network learns."""
    recipe: Recipe
    """How it is trained."""
    objective: Learnt = Field(default_factory=lambda: find_objective("classification")())
    """What is learnt: a registered objective, by its name or as a table of its name and options."""
    name: str = "custom"
    """How the task is called in tables; it changes no run."""
    rates: Rates = {"dense": 0.2, "conv": 0.2, "output": 0.1, "shortcut": 0.0, "embedding": 0.2}
    """The share of its remaining weights that one round of pruning takes from a layer, by its kind or its name."""
    scope: Literal["layer", "global", "row", "column"] = "layer"
    """Whether a round takes its share from each layer, from all of them together, or from each row or column of a layer's kernel."""

    @model_validator(mode="after")
    def _smoothing_is_of_classes(self) -> Self:
        if self.recipe.label_smoothing and not self.objective.smooths:
            raise ValueError(
                f"label_smoothing is of the objective 'classification', and the task's is {self.objective.name!r}; set it to 0"
            )
        return self
