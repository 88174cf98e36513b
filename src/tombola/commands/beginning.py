"""Verbs of the first hour: a demonstration, and commented files of one's own to begin from."""

import importlib.util
import keyword
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tombola.commands.printing import print_paths
from tombola.core.errors import TombolaError, shown

_DEMO = "frankle2019.sparsity"
_EVERY = 20
"""Seconds between two reports of the demonstration."""
_TRY = {
    "study": "run NAME --load FILE --scale smoke -o report",
    "model": "run frankle2019.sparsity --model FILE:CLASS --scale smoke -o report",
    "objective": "run frankle2019.sparsity --load FILE --set objective=NAME --scale smoke -o report",
}


def welcome() -> None:
    """What `tombola` alone says."""
    print("Tombola, a workbench for the science of lottery tickets. To begin with:")
    print_commands(
        ("demo", "do winning tickets exist? Figures and verdicts in a few minutes"),
        ("list", "all studies, tasks and parts"),
        ("show frankle2020.onset", "what a study asks, trains and costs; `run` in the place of `show` carries it out"),
    )
    print("`tombola --help` has all commands.")


def demo(store: Path, output: Path) -> None:
    """Winning tickets on MNIST-1D: what it does, figures while it runs, the result, what to try next."""
    from tombola.engine.configuring import resolve
    from tombola.engine.cost import estimate
    from tombola.engine.progress import duration
    from tombola.engine.study import run_study
    from tombola.report.files import writable
    from tombola.report.page import write
    from tombola.report.table import terminal
    from tombola.store.store import Store

    writable(output)
    study, kept = resolve(_DEMO), Store(store)
    print(study.answers, flush=True)
    cost = estimate(study, kept)
    left = f"{cost.missing_runs} to train, about {duration(cost.seconds)} on this machine" if cost.missing_runs else "all trained already"
    print(
        f"{cost.runs} small networks on MNIST-1D (Frankle & Carbin 2019), {left}.\n"
        f"Figures so far, from the first results on, every {_EVERY} s: {output / 'index.html'}\n"
        "Stop it whenever you like: the same command goes on where it stopped.\n",
        flush=True,
    )
    with _watched(store, output):
        findings = run_study(study, kept, None)
    written = write([findings], output)
    print(terminal(findings))
    print_paths(written)
    print(f"\nThe figures, verdicts and numbers: {written[0]}\nTo try next:")
    print_commands(
        (f"run {_DEMO} --set criterion=movement -o movement", "another criterion; the same dense networks are used again"),
        ("run frankle2020.onset -o onset", "from which step on is a network stable to SGD noise? A minute"),
        ("list", "all studies, tasks and parts"),
        ("new study mine.first", "a commented file with a study of your own"),
    )


@contextmanager
def _watched(store: Path, output: Path) -> Iterator[None]:
    """The report of what there is so far is written meanwhile, by a process of its own."""
    same = ["--scale", "small", "--task", "mnist1d-mlp"]  # whatever a file of defaults says
    command = ["watch", _DEMO, *same, "--store", str(store), "-o", str(output), "--every", str(_EVERY)]
    silent = subprocess.DEVNULL
    watch = subprocess.Popen([sys.executable, "-m", "tombola", *command], stdin=silent, stdout=silent, stderr=silent)
    try:
        yield
    finally:
        watch.terminate()
        watch.wait()


def new(kind: str, name: str) -> None:
    """Write a commented file with a part of the user's own, which runs as it is."""
    from tombola.core import parts

    pattern, allowed = r"[A-Za-z]\w*", "letters, digits and _, beginning with a letter"
    if kind == "study":
        pattern, allowed = rf"{pattern}(\.{pattern})*", f"{allowed}; a study's name may have dots: mine.growth"
    stem, one = name.rpartition(".")[2], "an objective" if kind == "objective" else f"a {kind}"
    if not re.fullmatch(pattern, name, re.ASCII) or keyword.iskeyword(stem):
        raise TombolaError(f"{one} cannot be called {shown(name)}; give {allowed}")
    if kind != "model" and name in getattr(parts, {"study": "studies", "objective": "objectives"}[kind]):
        raise TombolaError(f"there is {one} {name!r} already; choose another name")
    file = Path(f"{stem}.py")
    if file.exists():
        raise TombolaError(f"{file} is there already, and is left as it is; choose another name, or another folder")
    if importlib.util.find_spec(stem) is not None:
        raise TombolaError(f"{file} would hide the package {stem!r} from Python; choose another name")

    def filled(text: str) -> str:
        own = {"NAME": name, "FILE": str(file), "CLASS": "".join(part[:1].upper() + part[1:] for part in stem.split("_"))}
        return re.sub(r"\b(NAME|FILE|CLASS)\b", lambda found: own[found[0]], text)

    template = Path(__file__).parent / "templates" / f"{kind}.txt"
    file.write_text(filled(template.read_text(encoding="utf-8")), encoding="utf-8")
    print(f"{file}: {one} that runs as it is. Edit it, and try it in seconds:")
    print_commands((filled(_TRY[kind]), ""))


def print_commands(*commands: tuple[str, str]) -> None:
    """Commands as they can be typed here, and what each is for."""
    program = sys.argv[0] if Path(sys.argv[0]).name == "tombola" and Path(sys.argv[0]).parts[:1] == (".venv",) else "tombola"
    width = max(len(command) for command, _ in commands)
    for command, what in commands:
        print(f"  {program} {command:<{width}}  {what}".rstrip())
