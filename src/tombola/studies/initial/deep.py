"""Deep narrow sparse networks: are exactly orthogonal values what they need to train?"""

from collections.abc import Iterable, Sequence

from tombola.core.keys import replicate_seed
from tombola.core.task import Count, Task
from tombola.studies import ACC_FINAL, Action, Effect, Evidence, Figure, Results, Row, Run, Share, Study, Values, aside, claim, study
from tombola.studies.transplant.common import COLLAPSED, TRAINED, trained


@study("initial.deep", task="digits-mlp", answers="Do deep sparse networks need orthogonal initial values?")
class Deep(Study):
    """Fully connected networks of many layers of one width, sparse from the start, with several initial values.

    Values of He, as they are and scaled to the kept inputs of each unit, under random masks with as many weights of each layer as those
    that are made of rotations; under these, values of He, and the rotations themselves.
    """

    scales = {"smoke": {"replicates": 2, "depth": 4}, "small": {"replicates": 8}, "paper": {"replicates": 12, "depth": 40}}
    columns = TRAINED
    arms = {
        "he": "He, random mask",
        "fan_in": "He by kept inputs, random mask",
        "he_rotated": "He by kept inputs, mask of rotations",
        "givens": "exactly orthogonal",
    }

    depth: Count = 20
    """How many hidden layers there are."""
    width: Count = 32
    """The units of each hidden layer."""
    density: Share = 0.1
    """The density of each layer, at least 1 / its longer side."""

    @property
    def network(self) -> Task:
        """The task with the deep network."""
        options = {**self.task.model.options, "widths": [self.width] * self.depth}
        return self.task.but(model=self.task.model.but(name="mlp", options=options, initializer="kaiming_normal"))

    def rows(self) -> Iterable[Row]:
        options = {"density": self.density, "stream": "givens"}
        rotated, he = Action(name="givens", options=options), Action(name="fan_in")
        for replicate in range(self.replicates):
            seed = replicate_seed(self.seed, replicate)
            exact = Run(task=self.network, seed=seed, mask=rotated, kept=Action(name="givens", options=options))
            random = Action(name="shuffle", of=(exact.its_mask(),), options={"stream": "mask"})
            for arm, mask, kept in (("he", random, None), ("fan_in", random, he), ("he_rotated", rotated, he)):
                yield Row(arm, replicate, 1, exact.but(mask=mask, kept=kept))
            yield Row("givens", replicate, 1, exact)

    def measure(self, row: Row, results: Results) -> Values:
        return trained(row.run, results)

    def figures(self) -> Sequence[Figure]:
        return [Figure("deep", "Deep sparse networks", (ACC_FINAL, COLLAPSED))]

    @claim(
        "INIT-C8",
        "IDEAS I4; Esguerra Nowak et al. 2024",
        "In networks of 20 layers and more, at a tenth of the weights, exactly orthogonal initial values are better than those of He.",
        about=lambda study: (
            "" if study.depth >= 20 and study.density <= 0.1 else "the claim is about 20 layers or more, and a density of 10 % or less"
        ),
        note="It is judged by test accuracy at the end. A second control is shown beside it: He's values, scaled to the inputs that "
        "are kept, under the same masks.",
    )
    def orthogonal_is_better(self, table: Evidence) -> Iterable[Effect]:
        yield table.above("givens", "he", ACC_FINAL, [1])
        yield aside(table.above("givens", "he_rotated", ACC_FINAL, [1]))
        yield aside(table.above("fan_in", "he", ACC_FINAL, [1]))
