"""Results that are kept: made, and told on the pages and in the ledger.

    python docs/kept.py run docs/results/STUDY/TASK ... --store DIR [--data-dir DIR]
    python docs/kept.py draw [docs/results/STUDY/TASK ...]
    python docs/kept.py tell

`run` carries out the `next.toml` of each folder, which is committed before, or its `study.toml` again, and keeps table, verdicts and
pictures there, with their captions. `draw` draws again those pictures of a folder, or of all, whose numbers the table has. `tell` writes
`ledger.md`, and what stands on the pages between `<!-- kept: STUDY -->` and `<!-- end -->`: so no number is copied by hand.
"""

import argparse
import io
import json
import re
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

from tombola import cli
from tombola.evaluation.verdict import Effect, Verdict
from tombola.report import figures, ledger, text
from tombola.report.files import write_file
from tombola.report.table import claims_as_json
from tombola.store.files import dump_json
from tombola.studies.base import Findings, Study
from tombola.studies.catalogue import studies
from tombola.studies.wording import Wording

RESULTS = Path(__file__).parent / "results"
BLOCK = re.compile(r"(<!-- kept: (\S+) -->\n).*?(<!-- end -->)", re.DOTALL)


def run(folder: Path, store: Path, data_dir: str | None) -> None:
    """Carry out a folder's study, and keep of its report what is committed."""
    planned = folder / "next.toml"
    described = planned if planned.exists() else folder / "study.toml"
    with tempfile.TemporaryDirectory() as made:
        extra = ["--data-dir", data_dir] if data_dir else []
        if cli.main(["run", str(described), "--store", str(store), "-o", made, *extra]):
            raise SystemExit(f"{folder}: not carried out")
        keep(next(Path(made).rglob("table.csv")).parent, folder)
    planned.unlink(missing_ok=True)


def keep(report: Path, folder: Path) -> None:
    """Copy what is kept of a report."""
    for old in (*folder.glob("*.png"), *folder.glob("*.txt")):
        old.unlink()
    for name in ("table.csv", "study.toml", "claims.json"):
        write_file(folder / name, (report / name).read_bytes())
    for picture in report.glob("*.png"):
        keep_picture(picture.read_bytes(), picture.with_suffix(".txt").read_bytes(), folder / picture.name)


def keep_picture(picture: bytes, caption: bytes, path: Path) -> None:
    """A picture without the colours that nobody sees, a third of its size, and its caption beside it."""
    from PIL import Image

    image, packed = Image.open(io.BytesIO(picture)).convert("RGB"), io.BytesIO()
    image.quantize(256, dither=Image.Dither.NONE).save(packed, "PNG", optimize=True)
    write_file(path, packed.getvalue())
    write_file(path.with_suffix(".txt"), caption)


def draw_again(folder: Path) -> None:
    """Draw the figures of a kept table anew whose numbers it has all; those of curves and of details need the runs."""
    table = ledger.read_table(folder / "table.csv")
    study = ledger.configured(folder / "table.csv", table)
    words = Wording(study.task, study.learns)
    found = Findings(study, words.columns(study.columns), tuple(words.figures(study.figures())), table, table, [], {})
    for figure in found.figures:
        path = folder / f"{figure.name}.png"
        if not path.exists() or figure.kind not in ("density", "scatter") or {panel.metric for panel in figure.panels} - set(table):
            continue
        files = figures.files(figures.draw(figure, found), figure.name)
        keep_picture(files[path.name], files[f"{figure.name}.txt"], path)


def folders() -> list[Path]:
    """Of all that is kept."""
    return sorted(path.parent for path in RESULTS.rglob("table.csv"))


@cache
def judged(folder: Path) -> tuple[Study, list[Verdict]]:
    """A kept study as it was configured, and its claims by the rules of today."""
    table = ledger.read_table(folder / "table.csv")
    study = ledger.configured(folder / "table.csv", table)
    return study, study.judge(table)


def told(name: str) -> str:
    """What a page says of a study: the parts of its claims on each testbed, and its figures."""
    own = [folder for folder in folders() if folder.parent.name == name]
    verdicts = {folder.name: {one.id: one for one in judged(folder)[1]} for folder in own}
    claims = dict.fromkeys(claim for of_task in verdicts.values() for claim in of_task)
    lines = [f"| claim, and its parts | {' | '.join(f'`{task}`' for task in verdicts)} |", "|---|" + "---|" * len(verdicts)]
    for claim in claims:
        found = [of_task.get(claim) for of_task in verdicts.values()]
        sentence = next(one.sentence for one in found if one)
        lines.append(_row(f"**{claim}.** {sentence}", [f"**{one.verdict}**{_why(one)}" if one else "" for one in found]))
        parts = [dict(_cells(one)) if one else {} for one in found]
        names = {kind: effect.name for one in found[::-1] if one for kind, effect in _kinds(one)}
        order = dict.fromkeys(kind for of_task in parts for kind in of_task)
        lines += [_row(names[kind], [cells.get(kind, "") for cells in parts]) for kind in order]
    return "\n".join([*(lines if claims else []), "", *_figures(own), *_commands(name, own)])


def _row(head: str, cells: Iterable[str]) -> str:
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in (head, *cells))} |"


def _kinds(verdict: Verdict) -> Iterator[tuple[tuple[str, int], Effect]]:
    """Parts by their names without densities, as those that networks really have differ between testbeds, and the how manieth of that
    name each is.
    """
    met = Counter[str]()
    for effect in verdict.effects:
        kind = re.sub(r"[\d.,]+( to [\d.,]+)?(?= % density)", "#", effect.name)
        yield (kind, met[kind]), effect
        met[kind] += 1


def _why(verdict: Verdict) -> str:
    return f": {'; '.join(verdict.reasons)}" if verdict.lacks else ""


def _cells(verdict: Verdict) -> Iterator[tuple[tuple[str, int], str]]:
    for (kind, effect), state in zip(_kinds(verdict), verdict.parts, strict=True):
        lacks = f" ({effect.lacks})" if effect.lacks and not verdict.lacks else ""
        said = f"{'**contradicted**' if state == 'contradicted' else state}{lacks}"
        yield kind, f"{text.estimate(effect)}, n = {effect.n}: {said}" if effect.n else said


def _figures(folders: Iterable[Path]) -> Iterator[str]:
    for folder in folders:
        for figure in judged(folder)[0].figures():
            if (folder / f"{figure.name}.png").exists():
                name, kept = f"{folder.parent.name}/{folder.name}", folder / f"{figure.name}.txt"
                said = kept.read_text(encoding="utf-8").strip().removeprefix(f"{figure.title}. ") if kept.exists() else figure.caption
                yield f"![{figure.title}, {folder.name}]({name}/{figure.name}.png)\n\n*{figure.title}, `{folder.name}`.* {said}\n"


def _commands(name: str, folders: Iterable[Path]) -> Iterator[str]:
    yield "```sh"
    yield from (f"tombola run docs/results/{name}/{folder.name}/study.toml -o report" for folder in folders)
    yield "```"


def page(content: str) -> str:
    """A page whose blocks say what the tables say now."""
    return BLOCK.sub(lambda found: f"{found[1]}\n{told(found[2])}\n\n{found[3]}", content)


def whole_ledger(content: str) -> str:
    """The ledger with its lines anew, under the words that it begins with."""
    found = [(folder, *judged(folder)) for folder in folders()]
    lines = sorted((ledger.entry(one, study.name, folder.name) for folder, study, own in found for one in own), key=_place)
    head = content.partition("\n| claim |")[0]
    rows = [(one.claim, one.state, one.parts, str(one.n or "-"), one.study, one.testbed, one.reason) for one in lines]
    over = ledger.overall(lines)
    return "\n".join(
        [
            head,
            "| claim | verdict | parts that hold | n | study | testbed | which hold, or are contradicted, and what was missing |",
            "|---|---|---|---|---|---|---|",
            *(_row(row[0], row[1:]) for row in rows),
            "\n## Over testbeds\n\n| claim | comes to |\n|---|---|",
            *(_row(claim, [said]) for claim, said in over.items()),
            "",
        ]
    )


def _place(line: ledger.Entry) -> tuple[int, str, int, str]:
    """Papers, then ideas; of each its claims by number."""
    letters, number = re.fullmatch(r"(.+?)(\d+)[a-z]?", line.claim).groups()  # type: ignore[union-attr]
    packages = list(dict.fromkeys(name.partition(".")[0] for name in sorted(studies, key=lambda name: not re.search(r"\d{4}", name))))
    return packages.index(line.study.partition(".")[0]), letters, int(number), line.claim


def tell() -> None:
    """Write what the pages and the ledger say."""
    for path in sorted(RESULTS.glob("*.md")):
        content = path.read_text(encoding="utf-8")
        new = whole_ledger(content) if path.name == "ledger.md" else page(content)
        if new != content:
            path.write_text(new, encoding="utf-8")
            print(f"{path.name}: written")
    for folder in folders():
        made, before = claims_as_json(judged(folder)[1]), json.loads((folder / "claims.json").read_bytes())
        if _states(made) != _states(before):  # numbers of a table may have been rounded since
            write_file(folder / "claims.json", dump_json(made))


def _states(claims: Iterable[dict[str, Any]]) -> list[Any]:
    return [(claim["id"], claim["verdict"], [(part["name"], part["state"]) for part in claim["effects"]]) for claim in claims]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("verb", choices=("run", "draw", "tell"))
    parser.add_argument("folders", nargs="*", type=Path)
    parser.add_argument("--store", type=Path, default=Path("runs"))
    parser.add_argument("--data-dir")
    given = parser.parse_args()
    if given.verb == "tell":
        tell()
    for folder in given.folders or (folders() if given.verb == "draw" else ()):
        if given.verb == "run":
            run(folder, given.store, given.data_dir)
        elif given.verb == "draw":
            draw_again(folder)
