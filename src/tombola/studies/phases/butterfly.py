"""How small a difference suffices, and until when, for two networks with the same noise to part."""

from collections.abc import Iterable, Iterator, Mapping, Sequence

from tombola.studies import Action, Effect, Evidence, Figure, Positive, Row, Run, Several, Step, claim, study
from tombola.studies.frankle2020.common import NOT_TRAVELLED, SMOKE, Instability, Paths, dense_run, from_step, steps_of

MATCHED = "_matched"
ONE, OTHER = "one", "other"
HALF = 0.5
"""What matching has to take of a barrier to be said to remove it."""


@study(
    "phases.butterfly",
    task="digits-noise-mlp",
    answers="How small a change of the weights, and how late, sends two networks with the same noise to places with a barrier between?",
)
class Butterfly(Paths):
    """Barriers between a network and its copy that was moved at step k; all noise afterwards is the same. Units matched, or not.

    Both begin at k with an empty state of the optimiser, as children do.
    """

    paper = ""
    scales = {"smoke": {**SMOKE, "k": ("0it", "50it"), "sizes": (0.1,)}, "small": {"replicates": 6, "points": 11}}
    columns = NOT_TRAVELLED

    sizes: Several[Positive] = (0.001, 0.01, 0.1, 1.0)
    """Sizes of the noise on all weights, in standard deviations of their initialiser. In another arm a single weight is moved by one of
    these."""
    k: tuple[Step, ...] = ()
    """The steps at which the copy is moved. If none is named, they are those of `frankle2020.instability`."""

    @property
    def steps(self) -> tuple[Step, ...]:
        """The steps k, each once, from the first to the last."""
        return steps_of(self.k, self.task, Instability.shares)

    @property
    def arms(self) -> Mapping[str, str]:
        plain = {ONE: "one weight", **{f"{size:g}": f"noise of {size:g} sigma" for size in self.sizes}, OTHER: "other initialisation"}
        return plain | {f"{arm}{MATCHED}": f"{label}, units matched" for arm, label in plain.items()}

    def rows(self) -> Iterable[Row]:
        for replicate in range(self.replicates):
            dense = dense_run(self, replicate)
            for level, k in enumerate(self.steps):
                plain = from_step(dense, k)
                for arm, kept in self._moves(dense, k):
                    for name, more in ((arm, {}), (f"{arm}{MATCHED}", {"matched": True})):
                        path = self.path_between(plain, plain.but(kept=kept), dense, **more)
                        yield Row(name, replicate, level, plain, measurement=path)

    def _moves(self, dense: Run, k: Step) -> Iterator[tuple[str, Action]]:
        where, stream = (dense.at(k),), "perturb"
        yield ONE, Action(name="perturb", of=where, options={"size": 1.0, "which": "one", "stream": stream})
        for size in self.sizes:
            yield f"{size:g}", Action(name="perturb", of=where, options={"size": size, "stream": stream})
        if k == "0it":
            yield OTHER, Action(name="reinit", options={"stream": "reinit/butterfly"})

    def figures(self) -> Sequence[Figure]:
        plain = [arm for arm in self.arms if not arm.endswith(MATCHED)]
        return tuple(
            Figure(name, title, (self.barrier,), x="step", arms=tuple(arms), caption=self.evaluated)
            for name, title, arms in (
                ("moved", "Barrier to a copy that was moved at step k", plain),
                ("matched", "The same with units matched", [f"{arm}{MATCHED}" for arm in plain]),
            )
        )

    @claim(
        "PHASE-C6",
        "Altintas et al. 2025",
        "One changed weight at the initialisation suffices for a barrier; matching units does not remove it, but removes that between "
        "networks of different initialisations.",
        note="To remove is to take more than half of it away.",
    )
    def one_weight_suffices(self, table: Evidence) -> Iterable[Effect]:
        lacks = "" if self.steps[0] == "0it" else "k = 0 was not run"
        yield self.is_stable(table, ONE, [0], expected=False, lacks=lacks)
        for arm, removed in ((ONE, False), (OTHER, True)):
            before, after = (table.of(self.barrier, one, [0]) for one in (arm, f"{arm}{MATCHED}"))
            none = "" if before.to_numpy().size and before.to_numpy().mean() >= 100 * self.stable else "no barrier that could be removed"
            left = after - HALF * before
            name = f"{table.called(arm)}: matching takes {'more' if removed else 'less'} than half of the barrier"
            yield table.effect(name, "pp", -left if removed else left, lacks=lacks or none)
