"""The verb `audit`: one question, one command, one page."""

from pathlib import Path
from typing import Any

from tombola.commands.printing import print_paths, printed
from tombola.core.errors import TombolaError
from tombola.store.store import Store


def audit(store: Path, data_dir: Path | None, json: bool, output: Path, minutes: float, seed: int, task: str | None, **given: Any) -> None:
    """Tickets, stability, layers and supermask of a network, at a size that fits the time."""
    import sys
    import time

    from tombola.engine import audit as audits
    from tombola.engine.answers import answer, expected, not_judged
    from tombola.engine.bringing import bring
    from tombola.engine.configuring import resolve
    from tombola.engine.progress import duration
    from tombola.engine.resolved import resolved
    from tombola.report.files import writable
    from tombola.report.page import write

    began, seconds = time.monotonic(), 60 * minutes
    if not 0 < minutes <= 60 * 24 * 7:
        raise TombolaError(f"--minutes {minutes:g}: give more than 0, and a week at the most (10,080)")
    if not any((task, given["model"], given["data"])):
        raise TombolaError("nothing to audit: give --model net.py:Net, --data my.npz or --task NAME (`tombola list` names tasks)")
    model, data = bring(given)
    base = resolve("frankle2019.sparsity", task=task, model=model, data=data, data_dir=data_dir).task
    writable(output)
    kept = Store(store)
    size = audits.size_before(base, seconds, seed, kept)
    if size is None:
        found = audits.plan(base, seconds, seed, data_dir)
        audits.remember(found.size, base, seconds, seed, kept)
        size, studies = found.size, found.studies
        notes = [f"A step of a network takes {1000 * found.pace.step:.2g} ms here; all of it takes about {duration(found.seconds)}."]
        late = "That is more than the time that is given: the same command goes on with what is not reached."
        notes += [late] * (found.seconds > seconds)
    else:
        studies = audits.studies_at(base, size, seed, data_dir)
        notes = ["This goes on with what was begun, at the size that was chosen then."]
    _, steps = resolved(studies[0].task, data_dir)
    share = f", {size.share:g} of the task's own" if size.share < 1 else ""
    notes.append(f"Size: {size.replicates} replicates, {size.levels} rounds of pruning, {steps:,} steps{share}.")
    notes += filter(None, [expected(size.replicates)])
    for line in notes:
        print(line, file=sys.stderr, flush=True)
    parts = audits.carry_out(studies, kept, data_dir, began + seconds - audits.report_time(seconds) - time.monotonic())
    answers = [answer(part) for part in reversed(parts)]
    lacking = not_judged(parts)
    shown = [part.findings for part in reversed(parts) if part.findings]
    if not shown:
        raise TombolaError(f"{minutes:g} minutes were over before anything could be shown; the same command goes on where this one stopped")
    written = write(shown, output, answers=answers, notes=[*notes, *lacking])
    if json:
        shape = {"size": {**size._asdict(), "steps": steps}, "notes": [*notes, *lacking]}
        return printed({"answers": dict(answers), **shape, "files": [str(path) for path in written]})
    for title, said in answers:
        print(f"{title}: {said}")
    for line in lacking:
        print(line)
    if any(part.lacks for part in parts):
        print("the time was over before all was done; the same command goes on where this one stopped")
    print_paths(written[:1])
