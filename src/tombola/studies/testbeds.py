"""What is known of a task before its data are read: how many test examples there are, what difference they can tell, and which network
of the papers it is.
"""

from typing import Any

import numpy as np

from tombola.core.task import Task

_TEN_THOUSAND = ("mnist", "fashion-mnist", "cifar10", "cifar10-16", "cifar100", "cifar100-16")
TEST_EXAMPLES = {
    **dict.fromkeys(_TEN_THOUSAND, 10_000),
    "imagenet": 50_000,
    "mnist1d": 1_000,
    "digits": 300,
    "moons": 500,
    "circles": 500,
    "breast_cancer": 114,
    "wine": 44,
    "wikipedia-parts": 491,
}
CLASSES = {
    **dict.fromkeys(TEST_EXAMPLES, 10),
    "imagenet": 1000,
    "cifar100": 100,
    "cifar100-16": 100,
    "moons": 2,
    "circles": 2,
    "breast_cancer": 2,
    "wine": 3,
}
CHANCE = {**{name: 1 / classes for name, classes in CLASSES.items()}, "breast_cancer": 357 / 569, "wine": 71 / 178}
"""The share of the largest class."""
NEAR_CHANCE = 0.1
"""A network that went less than this share of the way from chance to no error has learnt next to nothing."""


def _given(task: Task) -> Any:
    """A data set of a user's own, if this process was given it; None where names alone are known."""
    from tombola.data.dataset import given

    return None if task.data.name in TEST_EXAMPLES else given(task.data.name)


def test_examples(task: Task) -> int | None:
    """Test examples of a task's data: of those that are known without their files, and of those that this process was given."""
    own = _given(task)
    whole = TEST_EXAMPLES.get(task.data.name) if own is None else len(own.test_inputs)
    return min(whole, task.data.test or whole) if whole else task.data.test


def chance(task: Task) -> float | None:
    """Accuracy in per cent of the best constant answer, of data as `test_examples` knows them."""
    own = _given(task)
    if own is not None and own.classes is not None:
        return 100 * float(np.bincount(own.test_targets).max()) / len(own.test_targets)
    found = CHANCE.get(task.data.name)
    return None if found is None else 100 * found


def resolution(task: Task) -> float:
    """One test example in percentage points: smaller differences of accuracy are none. 0 where it is not known."""
    found = test_examples(task)
    return 100 / found if found else 0.0


def margin(task: Task, given: float | None = None) -> float:
    """What counts as no difference of accuracy, in percentage points: what is given; else 0.2 with 10,000 test examples, and 1 with
    fewer.
    """
    return given if given is not None else 0.2 if (test_examples(task) or 0) >= 10_000 else 1.0


def network_of(task: Task) -> str:
    """Which network of Frankle & Carbin 2019 and Zhou et al. 2019 a task is, on the data of these papers: "fc", "conv2", "conv4" or
    "conv6"; "" if none.
    """
    name, options = task.model.name, task.model.options
    if task.data.name == "mnist" and name == "mlp" and list(options.get("widths", (300, 100))) == [300, 100]:
        return "fc"
    return name if task.data.name == "cifar10" and name in ("conv2", "conv4", "conv6") and not options else ""


def near_chance(accuracy: float, task: Task) -> bool:
    """Whether an accuracy in per cent is less than a tenth of the way from chance to no error; False where chance is not known."""
    least = chance(task)
    return least is not None and accuracy < least + NEAR_CHANCE * (100 - least)
