"""The verb `claims`: the ledger."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import Any

from tombola.commands.configured import carried_out, resolved
from tombola.commands.printing import columns, printed
from tombola.core.errors import TombolaError
from tombola.report.ledger import Entry, entry, judged_again, overall
from tombola.store.store import Damaged, Store
from tombola.studies.base import Study
from tombola.studies.catalogue import studies as registry

NOT_RUN, NO_FIT = "not run", "does not fit"


def claims(studies: Sequence[str], store: Path, data_dir: Path | None, json: bool, output: Path | None, **options: Any) -> None:
    """The ledger: claims of studies, with their verdicts where the store has the runs, or of reports' tables.

    Without a study and without options it is that of all studies that were carried out with the store, as they were configured, and
    of all others as by default.
    """
    from tombola.core.loading import load_files
    from tombola.report.page import ledger_page

    load_files(options["load"])
    kept = Store(store)
    configured = any(value for name, value in options.items() if name != "load")
    lines = [] if studies or configured else list(_carried_out(kept, data_dir))
    there = {line.study for line in lines}
    refused: list[TombolaError] = []
    names = studies or [name for name in registry if name not in there]
    for name in names:
        if Path(name).is_dir():
            lines += judged_again(Path(name))
            continue
        if "/" in name and not name.endswith(".toml"):
            raise TombolaError(f"{name!r} is neither a study nor a folder; give the folder that `tombola run STUDY -o DIR` wrote")
        try:
            study = resolved(name, options, data_dir)
            begun = studies or configured or any(row.run.digest in kept for row in islice(study.rows(), 1))  # to plan all runs takes time
            lines += _judged(study, kept, data_dir, configured) if begun else _unjudged(name, study.task.name, NOT_RUN, "")
        except TombolaError as error:
            if name not in registry:
                raise
            refused.append(error)
            lines += _unjudged(name, options["task"] or "-", NO_FIT, str(error))
    if len(refused) == len(names) and not there:
        raise refused[0]  # a mistake in the options, or the only study that was asked for
    files = [ledger_page(lines, output / "claims.html")] if output else []
    if json:
        return printed({"claims": [asdict(line) for line in lines], "overall": overall(lines), "files": [str(path) for path in files]})
    head = ["claim", "verdict", "parts hold", "n", "study", "testbed", "reason, or the sentence"]
    rows = [[one.claim, one.state, one.parts, str(one.n or "-"), one.study, one.testbed, one.reason or one.sentence] for one in lines]
    columns([head, *rows])
    several = {claim: said for claim, said in overall(lines).items() if sum(line.claim == claim for line in lines) > 1}
    if several:
        print("\nover testbeds")
        columns([[claim, said] for claim, said in several.items()])
    if any(line.state == NOT_RUN for line in lines):
        print("\n`not run` is said of this configuration; give the --scale, --task, --set ... that you ran a study with")
    for path in files:
        print(path)


def _carried_out(store: Store, data_dir: Path | None) -> Iterator[Entry]:
    """The lines of the studies that were carried out with a store."""
    for _, options, study in carried_out(store, data_dir):
        try:
            if isinstance(study, TombolaError):
                raise study
            yield from _judged(study, store, data_dir)
        except TombolaError as error:
            if options.get("study") in registry:
                yield from _unjudged(options["study"], str(options.get("task", "-")), NOT_RUN, str(error))


def _judged(study: Study, store: Store, data_dir: Path | None, fits: bool = False) -> list[Entry]:
    """The lines of a study. Raises if it cannot be what its configuration says; `fits`: also if its runs cannot be trained so."""
    from tombola.engine.study import Lacking, findings, study_graph

    try:
        return [entry(verdict, study.name, study.task.name) for verdict in findings(study, store, data_dir).verdicts]
    except Damaged as damage:
        state, why = "damaged", str(damage)
    except Lacking as lack:
        if fits and lack.nothing_there:
            from tombola.engine.checking import check

            check(study_graph(study), data_dir)
        state, why = NOT_RUN, "" if lack.nothing_there else f"{lack.lacking} missing"
    return [Entry(claim.id, study.name, study.task.name, state, "-", 0, why, claim.sentence) for claim in study.claims]


def _unjudged(name: str, testbed: str, state: str, why: str) -> list[Entry]:
    """The lines of a study that cannot be configured so."""
    return [Entry(claim.id, name, testbed, state, "-", 0, why, claim.sentence) for claim in registry[name].claims_of_class()]
