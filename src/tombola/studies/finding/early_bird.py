"""When have masks settled? The distance of early-bird tickets, as it is and relative to chance."""

from collections.abc import Iterable, Sequence
from typing import Annotated

from pydantic import Field

from tombola.core import masks
from tombola.pruning.early_bird import LOOK_BACK, THRESHOLD, distance, magnitude_mask
from tombola.studies import Details, Effect, Evidence, Figure, Panel, Results, Row, Run, Values, claim, dense_run, study
from tombola.studies.finding.common import looks
from tombola.studies.moving.common import AtDensities

FOUND = Panel("found", "settled after (% of training)", 100)
TO_FINAL = Panel("to_final", "distance of the settled mask to the final one (of chance)")


@study("finding.early_bird", task="digits-mlp", answers="When have the masks of a training settled, and what does the distance say of it?")
class EarlyBird(AtDensities):
    """The first look at which masks have settled by the plain distance, the share of weights that differ, and by that over chance."""

    scales = {"smoke": {"replicates": 2, "densities": (0.1,)}}
    columns = ("kept", "prunable", "found", "never", "to_final")
    arms = {"plain": "share of weights that differ", "relative": "the same over chance"}
    densities: tuple[float, ...] = (0.5, 0.2, 0.1, 0.05, 0.02)
    threshold: Annotated[float, Field(gt=0)] = THRESHOLD
    """The distance between masks below which they have settled."""
    look_back: Annotated[int, Field(ge=1)] = LOOK_BACK
    """The number of earlier masks to which the distance must be below the threshold."""

    def rows(self) -> Iterable[Row]:
        """One dense run a replicate, seen at each density by both distances."""
        for replicate in range(self.replicates):
            for arm in self.arms:
                for level in range(1, len(self.densities) + 1):
                    yield Row(arm, replicate, level, dense_run(self, replicate))

    def keep(self, rows: Sequence[Row]) -> dict[Run, tuple[str, ...]]:
        return {row.run: tuple(looks(self)) for row in rows}

    def measure(self, row: Row, results: Results) -> Values:
        """The look that was found, as a share of training; at the last look where there is none."""
        found, end = self._masks(row, results), results[row.run].end
        of_level = [masks.density(one) for one in found]
        chance = 2 * of_level[0] * (1 - of_level[0]) if row.arm == "plain" else 1.0

        def near(one: int, other: int) -> bool:
            return distance(found[one], found[other]) * chance < self.threshold

        backs = range(1, self.look_back + 1)
        at = next((place for place in range(self.look_back, len(found)) if all(near(place, place - back) for back in backs)), len(found))
        step, last = self._steps(results, end), min(at, len(found) - 1)
        return {
            "density": self.densities[row.level - 1],
            "kept": masks.kept(found[-1]),
            "prunable": masks.size(found[-1]),
            "found": step[last] / end,
            "never": float(at == len(found)),
            "to_final": distance(found[last], found[-1]),
        }

    def _masks(self, row: Row, results: Results) -> list[masks.Mask]:
        paths, weights = results.network_info(self.task).prunable, results[row.run].weights
        density = self.densities[row.level - 1]
        return [magnitude_mask(weights(str(step)), paths, density, row.run.seed, self.scope) for step in looks(self)]

    def _steps(self, results: Results, end: int) -> list[int]:
        per_epoch = results.network_info(self.task).steps_per_epoch
        return [step.iterations(per_epoch, end) for step in looks(self)]

    def details(self, results: Results) -> Details:
        """Both distances between neighbouring looks."""
        rows = []
        for row in (one for one in self.rows() if one.arm == "plain"):
            found, steps = self._masks(row, results), self._steps(results, results[row.run].end)
            p = masks.density(found[0])
            where = results.where(row, density=self.densities[row.level - 1])
            for before, after, x in zip(found, found[1:], steps[1:], strict=False):
                value = distance(before, after)
                rows += [{**where, "arm": "relative", "x": x, "value": value}, {**where, "x": x, "value": value * 2 * p * (1 - p)}]
        return {"distances": rows}

    def figures(self) -> Sequence[Figure]:
        panel = Panel("value", "distance between neighbouring looks", threshold=self.threshold)
        levels = tuple(dict.fromkeys((1, len(self.densities))))
        lines = Figure("distances", "Masks on the way", (panel,), kind="profile", detail="distances", levels=levels, x_label="iteration")
        return lines, Figure("settled", "When masks have settled", (FOUND, TO_FINAL))

    @claim(
        "FIND-C4",
        "after You et al. 2020",
        "Of sparse masks the plain distance says that they have settled before they have: relative to chance they settle later, and are "
        "then nearer to the final mask.",
        note="It is judged at 10 % density and less. Later means by more than one look, nearer by 0.05 or more of the distance "
        "between random masks.",
    )
    def chance(self, table: Evidence) -> Iterable[Effect]:
        small = table.levels(0, 0.1001)
        plain, relative = (table.of(FOUND, arm, small) for arm in ("plain", "relative"))
        yield table.effect("later, relative to chance", "% of training", relative - plain, least=2.5)
        plain, relative = (table.of(TO_FINAL, arm, small) for arm in ("plain", "relative"))
        yield table.effect("nearer to the final mask", "of chance", plain - relative, least=0.05)
