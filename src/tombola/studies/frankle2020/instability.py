"""The step from which on a network is stable to SGD noise, and what else changes there (sections 3 and 4, appendix)."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from tombola.evaluation.barrier import STABLE
from tombola.evaluation.paired import densities
from tombola.evaluation.statistics import rank_correlation
from tombola.studies import Effect, Evidence, Figure, Frame, Known, aside, claim, study
from tombola.studies.frankle2020.beside import Beside
from tombola.studies.frankle2020.common import ACCURACY, COSINE, DISAGREEMENT, OF_INITIAL, network
from tombola.studies.frankle2020.trends import worst

EARLY = {"ResNet-20": 0.03, "VGG-16": 0.015, "ResNet-50": 0.2}
"""The paper's larger networks, and the share of training by which they are stable."""
ONSETS = {"resnet20-cifar10": 2000, "vgg16-cifar10": 1000}
"""Task -> the iteration from which on the paper finds it stable."""
BY_DATA = "The step k is the one from which the mean over replicates is stable, so that it is chosen by the same data."
APART = 0.25
"""How much more of one quantity than of another is left where they do not track each other, as a share: ours, not the paper's."""


@study("frankle2020.instability", task="digits-noise-mlp", answers="From which step of training on does SGD noise no longer matter?")
class Stability(Beside):
    """Barrier, distance, cosine and disagreement between children of W_k against k: of dense networks, and of tickets of one density."""

    def figures(self) -> Sequence[Figure]:
        title = "Instability against the step k at which the copies are made"
        said = (
            "Two children are compared by the 2-norm and the cosine of their trainable weights that the mask keeps, and by how often they "
            "disagree, each with its own statistics of batch norm. W_0 is the initialisation."
        )
        found = tuple(Known(STABLE, "stable from here on", k) for name, k in ONSETS.items() if name == self.task.name)
        return (
            self.against_k("instability", title, replace(self.barrier, paper=found), ACCURACY),
            self.against_k("similarity", "What else the children have in common", OF_INITIAL, COSINE, DISAGREEMENT, caption=said),
        )

    @claim("LMC-C1", "section 4, figure 2", "LeNet is stable to SGD noise at initialisation; the larger networks are not.")
    def at_initialisation(self, table: Evidence) -> Iterable[Effect]:
        found, late = network(self.task), "" if table.table.step.min() == 0 else "k = 0 was not run"
        lenet, large = "" if found == "LeNet" else "this is not LeNet", "" if found in EARLY else "this is none of the larger networks"
        yield self.is_stable(table, "dense", [0], lacks=late or lenet, note="the first half, about LeNet")
        yield self.is_stable(table, "dense", [0], False, lacks=late or large, note="the second half, about larger networks")

    @claim(
        "LMC-C2",
        "section 4, figure 3",
        "The larger networks become stable early in training: ResNet-20 after 3 % of it, VGG-16 after 1.5 %, ResNet-50 after 20 %.",
        about=lambda study: "" if network(study.task) in EARLY else "the claim is about ResNet-20, VGG-16 and ResNet-50, at standard rates",
        note="Twice the paper's share is allowed, as the steps k that are tried lie apart by as much.",
    )
    def stable_early(self, table: Evidence) -> Iterable[Effect]:
        share = EARLY.get(network(self.task), 0.03)
        levels = [level for level, of in densities(table.table, "share").items() if 0 < of <= 2 * share]
        yield self.is_stable(table, "dense", levels[-1:], lacks=self.never_unstable(table, "dense"))

    @claim("LMC-C3", "section 4, figure 3", "Instability falls monotonically as k grows.")
    def falls(self, table: Evidence) -> Iterable[Effect]:
        values = table.of(self.barrier, "dense")
        lacks = self.never_unstable(table, "dense") or ("" if values.shape[1] >= 3 else "three steps k at least tell a trend")
        line = 100 * self.stable
        note = "at least what counts as a barrier"
        falls = values.iloc[:, :1].sub(values.iloc[:, -1:].mean(axis=1), axis=0)
        yield table.effect("instability at the first k, less that at the last", "pp", falls, least=line, lacks=lacks, note=note)
        rise = worst(line - values.diff(axis=1).iloc[:, 1:])
        name = f"instability less than {line:g} pp higher than at the k before, where it rises most{table.said(rise.columns)}"
        yield table.effect(name, "pp", rise, lacks=lacks, note="monotone, but for less than counts as a barrier")
        rho = [-rank_correlation(values.columns, row) for row in values.to_numpy()]
        yield aside(table.effect("-rank correlation of instability with k", "rho", rho))

    @claim(
        "LMC-C5",
        "section 4 and appendix",
        "Where a network becomes stable it is still far from where training ends, and children that are stable end far from each other: "
        "25 to 45 % of the way from W_0 apart.",
        note=f"{BY_DATA} Far from the end means more than half of the way from W_0, which is our threshold.",
    )
    def stable_though_apart(self, table: Evidence) -> Iterable[Effect]:
        lacks, levels = self.onset(table, "dense")
        ahead = 100 * table.of("since_start", "dense", levels[:1]) / table.of("since_initial", "dense", levels[:1])
        apart = table.of(OF_INITIAL, "dense", levels)
        name = "way from W_k to the end, in % of the way from W_0"
        yield table.effect(name + table.said(levels[:1]), "%", ahead, least=50.0, lacks=lacks)
        name = "2-norm between stable children, in % of the way from W_0"
        note = "mean over all stable k"
        yield table.effect(name + table.said(levels), "%", apart, least=25.0, lacks=lacks, note=note)
        yield aside(table.effect("the same, below 45 % by", "%", 45 - apart))

    @claim(
        "LMC-C6",
        "appendix",
        "The 2-norm between children does not track instability; how often they disagree tracks it for tickets only.",
        note="Compared is what is left at the first stable k, as shares of the values at k = 0; to track is to differ by less than "
        f"{APART:g}. {BY_DATA}",
    )
    def what_tracks_instability(self, table: Evidence) -> Iterable[Effect]:
        for arm, metric, tracks in (
            ("dense", "distance", False),
            ("ticket", "distance", False),
            ("dense", "disagreement", False),
            ("ticket", "disagreement", True),
        ):
            lacks, levels = self.onset(table, arm)
            left, unstable = (self._left(table, one, arm, levels[:1]) for one in (metric, "instability"))
            values = APART - (left - unstable).abs() if tracks else left - unstable - APART
            side = (
                f"as much left as of instability, within {APART:g}" if tracks else f"more left than of instability, by {APART:g} and more"
            )
            called = "2-norm" if metric == "distance" else metric
            yield table.effect(f"{table.called(arm)}: {called}: {side}{table.said(levels[:1])}", "share left", values, lacks=lacks)

    def _left(self, table: Evidence, metric: str, arm: str, at: Sequence[int]) -> Frame:
        """A metric as a share of its mean at the first k, by replicate and level."""
        values = table.of(metric, arm)
        return values[list(at)] / values.iloc[:, 0].mean() if values.shape[1] else values
