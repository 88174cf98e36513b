"""Masks carried over with their units matched: is it the symmetry of units alone that keeps a mask from fitting another network?"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any

from pydantic import Field

from tombola.evaluation import similarity
from tombola.evaluation.barrier import barrier
from tombola.studies import Action, Effect, Evidence, Figure, Measurement, Panel, Results, Run, Step, Task, aside, claim
from tombola.studies.base import Row, Scale, Values, study
from tombola.studies.tickets import ACC_FINAL, Each, Several
from tombola.studies.transplant.common import COLLAPSED, NOTE, TRAINED, Transplants, initialised, masked, trained

MEASURED: tuple[str, ...] = (*TRAINED, "overlap", "barrier")
BARRIER = Panel("barrier", "barrier between the dense networks, training error (pp)", 100)
OVERLAP = Panel("overlap", "overlap with the own mask beyond chance (%)", 100)


@study("transplant.matched", task="digits-mlp", answers="Do masks fit another network once units are matched, at which k and width?")
class Matched(Transplants):
    """The mask of one network on another as it is, and with the units of the two dense networks matched by weights or activations.

    Tickets are rewound to several steps k, in networks of several sizes. Each network takes the mask of the next one in a ring.
    Activations are those of training examples. Without matching and with it, the barrier between the dense networks is shown, too.
    """

    scales = {
        "smoke": {"replicates": 2, "levels": 1, "compared": (1,), "shares": (0.0, 0.05)},
        "small": {"replicates": 6, "levels": 12, "compared": (12,)},
        "paper": {"replicates": 8, "levels": 14, "compared": (12, 14)},
    }
    columns = MEASURED
    arms = {"own": "own mask", "naive": "another's mask", "weights": "matched by weights", "activations": "matched by activations"}

    shares: Annotated[Each[Annotated[float, Field(ge=0, lt=1)]], Field(min_length=2)] = (0.0, 0.01, 0.05, 0.25)
    """The steps k that tickets are rewound to, as shares of training. The first and the last are judged."""
    sizes: Several[dict[str, Any]] = ({},)
    """Options of the model for each size, from narrow to wide, such as {"widths": [200, 100]}; {} is the task's own size."""

    @classmethod
    def at(cls, scale: Scale, task: Task) -> Mapping[str, Any]:
        widths = task.model.options.get("widths") if task.model.name == "mlp" and scale != "smoke" else None
        sizes = {"sizes": ({}, *({"widths": [factor * width for width in widths]} for factor in (2, 4)))} if widths else {}
        return {**sizes, **super().at(scale, task)}

    @property
    def variants(self) -> Mapping[str, str]:
        sizes = ["-".join(map(str, one["widths"])) if "widths" in one else str(one) if one else "" for one in self.sizes]
        steps = [f"k = {self._k(share)}" for share in self.shares]
        return {f"{i}/{j}": ", ".join(filter(None, (size, step))) for i, size in enumerate(sizes) for j, step in enumerate(steps)}

    def _k(self, share: float) -> Step:
        return self.task.recipe.steps.times(share) if share else Step("0it")

    def rows(self) -> Iterable[Row]:
        for place, options in enumerate(self.sizes):
            task = self.task.but(model=self.task.model.but(options={**self.task.model.options, **options}))
            dense = [initialised(self, index, task=task) for index in range(self.replicates)]
            for at, share in enumerate(self.shares):
                chains = [self.chain(index, task=task, rewind=self._k(share)) for index in range(self.replicates)]
                for index, chain in enumerate(chains):
                    other = (index + 1) % self.replicates
                    yield from self._of(index, f"{place}/{at}", chain, chains[other], dense[index], dense[other])

    def _of(self, index: int, variant: str, chain: Sequence[Run], others: Sequence[Run], dense: Run, other: Run) -> Iterable[Row]:
        for arm, matched in (("naive", False), ("weights", "weights"), ("activations", "activations")):
            options = {"points": 11, "matched": matched}
            ends = (dense.at("end"), other.at("end"))
            path = Measurement(task=dense.task, seed=dense.seed, name="path", of=ends, options=options)
            yield Row(arm, index, 0, dense, variant=variant, measurement=path)
        for level in self.within(self.compared):
            mask, ends = others[level].its_mask(), (other.at("end"), dense.at("end"))
            found: dict[str, Any] = {"own": chain[level].its_mask(), "naive": mask}
            found |= {by: Action(name="matched", of=(mask, *ends), options={"by": by}) for by in ("weights", "activations")}
            for arm, one in found.items():
                yield Row(arm, index, level, masked(chain[level], one, f"{arm}/{level}/{index}"), variant=variant)

    def measure(self, row: Row, results: Results) -> Values:
        found = trained(row.run, results)
        if row.measurement is not None:
            path = results.of(row)
            return {**found, "barrier": float(barrier(path["train_error"], path["a"]))}
        own = self.chain(row.replicate, task=row.run.task, rewind=row.run.begin)[row.level]
        first, second = (results[run].weights("mask") for run in (own, row.run))
        return {**found, "overlap": similarity.overlap(first, second)}

    def figures(self) -> Sequence[Figure]:
        said = "Level 0 is the dense network, to whose units those of the other network are matched."
        last = (max(self.within(self.compared)),)
        return [
            Figure("matched", "Masks on another network", (ACC_FINAL, OVERLAP, COLLAPSED), levels=last),
            Figure("barrier", "Before and after matching", (BARRIER,), levels=(0,), arms=("naive", "weights", "activations"), caption=said),
        ]

    @claim(
        "TRANS-C4",
        "IDEAS I9; Adnan et al. 2025",
        "With units matched by activations a mask fits another network better than as it is, for tickets rewound to k > 0; hardly for "
        "k = 0; and the wider the network the more.",
        note=f"{NOTE} The k above 0 is the last step. Hardly means by less than the margin. Wider compares the last size with the first.",
    )
    def matching_helps_late_and_wide(self, table: Evidence) -> Iterable[Effect]:
        at, last = sorted(level for level in table.table.level.unique() if level), len(self.shares) - 1
        late, first, wide = (table.only(variant=one) for one in (f"0/{last}", "0/0", f"{len(self.sizes) - 1}/{last}"))
        yield late.above("activations", "naive", ACC_FINAL, at)
        yield first.within("naive", "activations", ACC_FINAL, at)
        gains = [one.of(ACC_FINAL, "activations", at) - one.of(ACC_FINAL, "naive", at) for one in (wide, late)]
        lacks = "" if len(self.sizes) > 1 else "one size was run"
        yield table.effect("gain by matching, last size above first", "pp", gains[0] - gains[1], least=table.resolution, lacks=lacks)
        yield aside(late.above("own", "activations", ACC_FINAL, at))
        yield aside(late.above("weights", "naive", ACC_FINAL, at))
