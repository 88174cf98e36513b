"""What pruned weights may be held at: zero, their initial values, or what they moved towards (mask-0 actions, section 4)."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal, get_args

import numpy as np

from tombola.studies import Action, Effect, Evidence, Figure, Panel, Results, Row, Run, Values, aside, claim, pruned_mask, study
from tombola.studies.tickets import ACC_ES, RUN_METRICS, Several, run_metrics, tickets
from tombola.studies.zhou2019.common import Masked, accuracy

Treatment = Literal["zero", "freeze", "v1", "v2", "random", "away"]
TREATMENTS: tuple[Treatment, ...] = get_args(Treatment)
CONTROLS = ("random", "away")
FAR = 2
"""Far more often is more than so many times as often: ours, the paper names no number."""


def _not_convolutional(study: Masked) -> str:
    if "conv" in study.task.rates and study.task.model.name != "mlp":
        return ""
    return "the sentence is about convolutional networks; on small fully connected ones the reverse was found"


@study("zhou2019.mask0", task="mnist1d-mlp", answers="Is zero the right value for pruned weights, and why: is masking training?")
class Mask0(Masked):
    """Chains of tickets by what their pruned weights are held at, and two controls.

    Each of zero, freeze, V1 and V2 prunes by the weights that it ended with itself. V1 looks at where weights ended in the
    run before: a pruned weight that is held at 0 has moved towards 0, one that is held at w_k has not moved, so both stay
    as they are. The controls are not chains, in which that would not hold: each is the network of V1 at its level, under
    the same mask, with other pruned values: 0 where V1 holds w_k and w_k where it holds 0 (`away`), or 0 at as many places,
    drawn anew at each level (`random`).
    """

    columns = (*RUN_METRICS, "moved_kept", "moved_pruned")
    """`moved_...`: of the weights that trained in the run before, the share with |w_f| < |w_k|, among those that the round kept,
    and among those that it pruned; of controls that of V1."""
    arms = {
        "zero": "zero",
        "freeze": "frozen at W_k",
        "v1": "zero if moved towards 0, else W_k (V1)",
        "v2": "V1, kept likewise (V2)",
        "random": "as many zero at random",
        "away": "zero if moved away from 0",
    }

    treatments: Several[Treatment] = TREATMENTS
    """What pruned weights are held at."""

    def chains(self, replicate: int) -> Mapping[str, Sequence[Run]]:
        dense = tickets(self, replicate, levels=0)[0]
        found: dict[str, Sequence[Run]] = {arm: self._chain(dense, "v1" if arm in CONTROLS else arm) for arm in self.treatments}
        for arm in set(found) & set(CONTROLS):
            found[arm] = [dense, *(run.but(pruned=_control(run, arm, level)) for level, run in enumerate(found[arm][1:], 1))]
        return found

    def _chain(self, dense: Run, arm: str) -> list[Run]:
        pruning, weights = self.pruning, dense.at(self.pruning.rewind)
        back = Action(name="rewind", of=(weights,))
        chain = [dense]
        for _ in range(self.levels):
            last = chain[-1]
            zeroed = Action(name="zero_moved", of=(weights, last.at(pruning.prune_at)))
            pruned = {"zero": None, "freeze": back, "v1": zeroed, "v2": zeroed}[arm]
            mask = pruned_mask(pruning, dense, last)
            chain.append(dense.but(mask=mask, kept=zeroed if arm == "v2" else back, pruned=pruned, begin=pruning.rewind))
        return chain

    def measure(self, row: Row, results: Results) -> Values:
        """The metrics of a run, and how many of the weights that trained before it moved towards 0."""
        found: Values = run_metrics(row, results)
        if row.run.mask is None:
            return found
        last = row.run.mask.of[1].run
        initial = results[Run(task=row.run.task, seed=row.run.seed)].weights(self.pruning.rewind)
        final, before, now = results[last].weights(self.pruning.prune_at), results[last].weights("mask"), results[row.run].weights("mask")
        towards = {path: abs(final[path]) < abs(initial[path]) for path in now}
        groups = {"moved_kept": now, "moved_pruned": {path: before[path] & ~now[path] for path in now}}
        for name, group in groups.items():
            chosen = np.concatenate([towards[path][group[path]] for path in now])
            found[name] = float(chosen.mean()) if chosen.size else np.nan
        return found

    def figures(self) -> Sequence[Figure]:
        chains = tuple(arm for arm in self.treatments if arm not in CONTROLS)
        controls = tuple(arm for arm in self.treatments if arm in CONTROLS)
        beside = ("v1", *controls) if controls else ()
        shares = (Panel("moved_pruned", "pruned: moved towards 0 (%)", 100), Panel("moved_kept", "kept: moved towards 0 (%)", 100))
        whose = "Of the weights that trained in the run before, those that the round pruned are compared with those that it kept."
        found = (
            accuracy("treatments", "Tickets by what their pruned weights are held at", chains),
            accuracy("controls", "V1 and its masks with other pruned values", beside, "All networks have the masks of V1."),
            Figure("moved", "Share of weights that moved towards 0", shares, arms=chains, caption=whose),
        )
        return [figure for figure in found if figure.arms]

    # -- claims ------------------------------------------------------------------------------------------------------

    @claim(
        "ZHOU-C3",
        "section 4",
        "Holding pruned weights at their initial values is worse than holding them at zero.",
        about=_not_convolutional,
        note="It is judged at 22 % density and less.",
    )
    def zero_beats_frozen(self, table: Evidence) -> Iterable[Effect]:
        yield table.above("zero", "freeze", ACC_ES, table.levels(0, 0.22))

    @claim(
        "ZHOU-C4",
        "section 4",
        "At high sparsity zeroing only those pruned weights that moved towards 0 (V1) is no worse than zeroing all; starting kept weights "
        "that moved towards 0 at zero too (V2) is better still.",
        note="It is judged at 6 % density and less.",
    )
    def masking_is_training(self, table: Evidence) -> Iterable[Effect]:
        at = table.levels(0, 0.06)
        yield table.within("v1", "zero", ACC_ES, at)
        yield table.above("v2", "v1", ACC_ES, at)
        yield aside(table.above("v2", "zero", ACC_ES, at))
        for control in CONTROLS:
            yield aside(table.above("v1", control, ACC_ES, at), "control")

    @claim(
        "ZHOU-C5",
        "section 4",
        "Pruned weights have moved towards 0 far more often than kept ones.",
        note=f"Judged in the first round, as in the paper; up to there all treatments are the same. Far more is more than {FAR} times as "
        "often: the paper names no number. It is partly circular: weights are pruned because they end small.",
    )
    def pruned_weights_shrank(self, table: Evidence) -> Iterable[Effect]:
        arm = next((arm for arm in TREATMENTS if arm in set(table.table.arm)), "zero")
        pruned, kept = (100 * table.of(metric, arm) for metric in ("moved_pruned", "moved_kept"))
        for first, levels in ((True, [1]), (False, [level for level in pruned.columns if level > 1])):
            one, other = pruned[[level for level in levels if level in pruned]], kept[[level for level in levels if level in kept]]
            name = f"pruned weights that moved towards 0, above {FAR} times the share of kept ones{table.said(one.columns)}"
            note = f"{one.mean().mean():.1f} % and {other.mean().mean():.1f} %" if one.size else ""
            yield table.effect(name, "pp", one - FAR * other, note=note, judged=first)


def _control(run: Run, arm: str, level: int) -> Action:
    """What the weights that V1 prunes are held at instead."""
    assert run.pruned is not None
    drawn = {"stream": f"zeroed/{level}"} if arm == "random" else {}
    return run.pruned.but(options={"moved": arm, **drawn})
