"""Do claims move when products are in TF32? ``python benchmarks/precision.py [-o FILE.json] [--scale S] [--task T] [STUDY ...]``.

Each study is carried out twice, from the same seeds, in a store of its own, and its verdicts are laid side by side. On a CPU
TF32 is computed in float32 from rounded operands: the same arithmetic, so that the answer needs no GPU. Leaves with 3 if a
verdict moved.
"""

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

PRECISIONS = ("float32", "tf32")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("studies", metavar="STUDY", nargs="*", default=["frankle2019.sparsity"])
    parser.add_argument("-o", "--output", metavar="FILE.json", type=Path, help="also write every verdict as JSON")
    parser.add_argument("--scale", default="small")
    parser.add_argument("--task", default="mnist1d-mlp")
    parser.add_argument("--replicates", type=int)
    given = parser.parse_args()
    found = {name: {precision: claims(name, precision, given) for precision in PRECISIONS} for name in given.studies}
    moved = []
    for name, by_precision in found.items():
        for claim, (verdict, effect) in by_precision["float32"].items():
            other, its = by_precision["tf32"][claim]
            moved += [claim] if other != verdict else []
            print(f"{name:<22} {claim:<10} {verdict:<15} {effect:>9.3g}   TF32: {other:<15} {its:>9.3g}")
    print(f"moved: {', '.join(moved) or 'none'}")
    if given.output:
        given.output.write_text(json.dumps({"scale": given.scale, "task": given.task, "studies": found, "moved": moved}, indent=1) + "\n")
    return 3 if moved else 0


def claims(name: str, precision: str, given: argparse.Namespace) -> dict[str, tuple[str, float]]:
    """Claim -> its verdict, and the mean of its first judged effect."""
    from tombola.engine.configuring import resolve
    from tombola.engine.study import run_study
    from tombola.store.store import Store

    options: dict[str, Any] = {"scale": given.scale, "task": given.task, "settings": [f"precision={precision}"]}
    study = resolve(name, **options, **({"replicates": given.replicates} if given.replicates else {}))
    with tempfile.TemporaryDirectory() as folder:
        judged = run_study(study, Store(Path(folder)), quiet=True).verdicts
    return {one.id: (one.verdict, next((effect.mean for effect in one.effects if effect.judged), float("nan"))) for one in judged}


if __name__ == "__main__":
    sys.exit(main())
