"""The verb `audit`: one question, one command, one page."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from tombola.commands.printing import print_paths, printed
from tombola.core.errors import TombolaError
from tombola.store.store import Store

if TYPE_CHECKING:
    from tombola.core.task import Task
    from tombola.engine.audit import Plan

_RECIPE = "frankle2019.sparsity"
"""The study whose task lends its recipe where none is named."""


def audit(
    store: Path, data_dir: Path | None, json: bool, output: Path | None, minutes: float, seed: int, task: str | None, **given: Any
) -> None:
    """Tickets, stability, layers and supermask of a network, at a size that fits the time."""
    import sys
    import time

    from tombola.core import interrupts
    from tombola.engine import audit as audits
    from tombola.engine.answers import answer, not_judged
    from tombola.engine.bringing import bring
    from tombola.engine.configuring import resolve
    from tombola.engine.resolved import resolved
    from tombola.report.files import safe_names, writable
    from tombola.report.page import write
    from tombola.studies.catalogue import studies as registry

    ends, over = time.monotonic() + 60 * minutes, f"{minutes:g} minutes were over before"
    if not 0 < minutes <= 60 * 24 * 7:
        raise TombolaError(f"--minutes {minutes:g}: give more than 0, and a week at the most (10,080)")
    if not any((task, given["model"], given["data"])):
        raise TombolaError("nothing to audit: give --model net.py:Net, --data my.npz or --task NAME (`tombola list` names tasks)")
    model, data = bring(given)
    base = resolve(_RECIPE, task=task, model=model, data=data, data_dir=data_dir).task
    folder = output or Path("audit") / safe_names([base.name])[0]
    writable(folder)
    kept = Store(store)
    try:
        with interrupts.until(ends):
            found = audits.planned(base, 60 * minutes, ends, seed, kept, data_dir)
    except interrupts.OutOfTime:
        raise TombolaError(f"{over} it was known how fast the network trains here; give more") from None
    _, steps = resolved(found.studies[0].task, data_dir)
    notes = _sized(found, base, task or registry[_RECIPE].default_task, steps, ends - time.monotonic())
    for line in notes:
        print(line, file=sys.stderr, flush=True)
    parts: list[audits.Part] = []
    written: list[Path] = []

    def show(done: list[audits.Part]) -> None:
        parts[:] = reversed(done)
        if shown := [part.findings for part in parts if part.findings]:
            answers, lacking = [answer(part) for part in parts], not_judged(parts)
            written[:] = write(shown, folder, answers=answers, notes=[*notes, *lacking], title=f"Audit of {base.name}")

    audits.carry_out(found.studies, kept, data_dir, ends, show)
    if not written:
        raise TombolaError(f"{over} anything could be shown; the same command goes on where this one stopped")
    answers, lacking = [answer(part) for part in parts], not_judged(parts)
    if json:
        size = {**found.size._asdict(), "steps": steps}
        said = {"audit": base.name, "answers": dict(answers), "size": size, "notes": [*notes, *lacking]}
        return printed(said | {"files": [str(path) for path in written]})
    for title, text in answers:
        print(f"{title}: {text}")
    for line in lacking:
        print(line)
    if any(part.lacks for part in parts):
        print("the time was over before all was done; the same command goes on where this one stopped")
    print_paths(written[:1])


def _sized(found: "Plan", base: "Task", recipe: str, steps: int, left: float) -> list[str]:
    """What is audited, at which size, and what is known of it beforehand."""
    from tombola.engine.answers import expected
    from tombola.engine.progress import duration

    size, share = found.size, f", {found.size.share:g} of the recipe's own" if found.size.share < 1 else ""
    notes = [f"Network {base.model.name}, data {base.data.name}, trained by the recipe of {recipe}."]
    if found.pace is None:
        notes.append("This goes on with what was begun, at the size that was chosen then.")
    else:
        notes.append(f"A step of a network takes {1000 * found.pace.step:.2g} ms here; all of it takes about {duration(found.seconds)}.")
        if found.seconds > left:
            notes.append(f"That is more than the {duration(left)} that are left: the same command goes on with what is not reached.")
    notes.append(f"Size: {size.replicates} replicates, {size.levels} rounds of pruning, {steps:,} steps{share}.")
    return [*notes, *filter(None, [expected(size.replicates)])]
