"""How far a study is, and what of it is stored with earlier code."""

from pathlib import Path

from tombola.engine.adopting import adopt, earlier
from tombola.engine.reading import done
from tombola.engine.study import followed
from tombola.store.store import Store
from tombola.studies.base import Study


def study_status(study: Study, store: Store, data_dir: Path | None = None) -> dict[str, int]:
    """Runs of a study, as far as its results call for them: in all, done, in progress (a checkpoint or a live claim), missing;
    and its measurements, in all and missing.
    """
    found, _ = followed(study, store, data_dir)
    finished = {digest for digest in found.runs if done(found.graph, digest, store, data_dir)}
    unseen = sum(not record.exists() for record in found.measurements.values())
    busy = sum(digest not in finished and store.in_progress(digest) for digest in found.runs)
    there = earlier(found.graph, found.measurements, store)
    runs = {"runs": len(found.runs), "done": len(finished), "in progress": busy, "missing": len(found.runs) - len(finished) - busy}
    counts = {**runs, "measurements": len(found.measurements), "measurements missing": unseen}
    return {**counts, "under earlier code": len(there)} if there else counts


def adopt_earlier(study: Study, store: Store, data_dir: Path | None = None) -> int:
    """Have the study find results that are stored with earlier code of the user's parts; returns how many those were."""
    count = 0
    while True:
        found, _ = followed(study, store, data_dir)
        there = earlier(found.graph, found.measurements, store)
        if not there:
            return count
        adopt(there)
        count += len(there)
