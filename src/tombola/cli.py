"""The command line: argument parsing only. Each verb calls one function of `tombola.commands`."""

import argparse
import errno
import os
import sys
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, NoReturn

from tombola.core import interrupts
from tombola.core.errors import TombolaError, shown
from tombola.core.keys import MOST_REPLICATES

_EXAMPLES = """examples:
  tombola run frankle2019.sparsity --scale smoke
  tombola run frankle2019.sparsity --task digits-mlp --replicates 8 -o report/
  tombola show frankle2019.sparsity --set levels=5 --set steps=1000it
  tombola claims
"""


_MOST_WORKERS = 10_000
_FULL = (errno.ENOSPC, errno.EDQUOT)
"""Errors of a disk, or of a user's share of one, that has no room left."""


class _Parser(argparse.ArgumentParser):
    """argparse, but a mistake is one line that names the remedy."""

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:  # of a verb, too: it knows its own options
        found, unknown = super().parse_known_args(args, namespace)
        if unknown:
            near = get_close_matches(unknown[0].split("=")[0], self._option_string_actions, n=1)
            self.error(f"unknown option or argument {shown(unknown[0])}{f'; did you mean {near[0]}?' if near else ''}")
        return found, unknown

    def error(self, message: str) -> NoReturn:
        print(f"tombola: {message} (see `{self.prog} --help`)", file=sys.stderr)
        raise SystemExit(2)


def _path(text: str) -> Path:
    return Path(text).expanduser()  # no shell does that for --store=~/runs


def _place(text: str) -> Path | str:
    return text if "://" in text else _path(text)  # a path would make one slash of two


def _whole(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{shown(text)} is not a whole number") from None


def _count(text: str) -> int:
    if (number := _whole(text)) > MOST_REPLICATES:
        raise argparse.ArgumentTypeError(f"{shown(number)} are more than a study describes; {MOST_REPLICATES:,} or fewer")
    return number


def _workers(text: str) -> int:
    if not 1 <= (number := _whole(text)) <= _MOST_WORKERS:
        raise argparse.ArgumentTypeError(f"{shown(number)} is no number of workers; from 1 to {_MOST_WORKERS:,}")
    return number


def _parser() -> _Parser:
    parser = _Parser(prog="tombola", description="A workbench for the science of lottery tickets.", epilog=_EXAMPLES, allow_abbrev=False)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--version", action="store_true", help="print the version")
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", parser_class=_Parser)

    printed = _Parser(add_help=False)
    printed.add_argument("--json", action="store_true", help="print JSON")
    stored = _Parser(add_help=False)
    stored.add_argument(
        "--store", metavar="DIR", type=_place, help="where runs are kept: a folder, a packed study, or s3://... (default: runs/)"
    )
    data = _Parser(add_help=False)
    data.add_argument("--data-dir", metavar="DIR", type=_path, help="folder of the data files (default: TOMBOLA_DATA, or the user's cache)")
    configured = _loading()
    configured.add_argument("--scale", metavar="SCALE", help="smoke (seconds), small (minutes; the default) or paper")
    configured.add_argument("--task", metavar="TASK", help="another task (`tombola list`)")
    configured.add_argument("--model", metavar="MODEL", help="another network: a name, package.module:Class or path.py:Class")
    _data(configured)
    configured.add_argument("--replicates", metavar="N", type=_count, help="number of replicates")
    configured.add_argument("--seed", metavar="S", type=_whole, help="seed of the study")
    configured.add_argument("--set", metavar="KEY=VALUE", action="append", default=[], dest="settings", help="any field that `show` lists")
    configured.add_argument(
        "--sweep", metavar="KEY=[A, B]", action="append", default=[], help="a field under several values, compared in one report"
    )

    def verb(name: str, help: str, *parents: Any) -> Any:
        return verbs.add_parser(name, help=help, description=help, parents=list(parents), allow_abbrev=False)

    verb("list", "studies, tasks and parts that can be used", printed, _loading())
    show = verb("show", "what a study would do: configuration, runs, estimated cost; trains nothing", configured, stored, data, printed)
    run = verb("run", "carry studies out: skip what the store has, resume what was begun", configured, stored, data, printed)
    run.add_argument("-o", "--output", metavar="DIR", type=_path, help="also write the report")
    run.add_argument("--keep", metavar="ARM", action="append", default=[], help="keep this arm's weights at the end too, to be exported")
    run.add_argument(
        "--workers", metavar="N", type=_workers, default=1, help="so many processes share the work, and the cores of this machine"
    )
    run.add_argument("--ray", metavar="ADDRESS", help="the workers run on the Ray cluster of this address: HOST:PORT of its head, or auto")
    work = verb("work", "be one of several workers on studies: compute what the store lacks, print no table", configured, stored, data)
    work.add_argument("--workers", metavar="N", type=_workers, default=1, help="how many there are; each takes its share (default: 1)")
    submit = verb("submit", "send workers on studies to a cluster, as one array job", configured, stored, data, printed)
    submit.add_argument("--slurm", action="store_true", required=True, help="a Slurm cluster, whose nodes see the store under this path")
    submit.add_argument("--array", metavar="N", type=_workers, default=1, help="number of workers (default: 1)")
    submit.add_argument("--time", metavar="TIME", help="time that a worker has, as Slurm writes it: minutes, or HH:MM:SS")
    submit.add_argument("--partition", metavar="NAME", help="partition of the cluster")
    submit.add_argument(
        "--set-slurm", metavar="KEY=VALUE", action="append", default=[], help="any other option of sbatch, such as cpus-per-task=4"
    )
    submit.add_argument("--dry-run", action="store_true", help="only print the job")
    for parser_of_several in (run, work, submit):
        parser_of_several.add_argument("studies", metavar="STUDY", nargs="+", help="studies' names, or study files (.toml)")
    _style(run)
    status = verb("status", "how far a study is", configured, stored, data, printed)
    adopt = verb("adopt", "have results found that an earlier version of your own code made", configured, stored, data, printed)
    watch = verb("watch", "write the report of a study while it runs, again and again", configured, stored, data)
    watch.add_argument("-o", "--output", metavar="DIR", type=_path, required=True)
    watch.add_argument("--every", metavar="SECONDS", type=float, default=15.0, help="between two reports (default: 15)")
    for parser_of_one in (show, status, adopt, watch):
        parser_of_one.add_argument("study", metavar="STUDY", help="a study's name, or a study file (.toml)")
    show.add_argument("--toml", action="store_true", help="print the resolved configuration as a study file")
    report = verb("report", "write tables, figures and a page of finished studies", configured, stored, data, printed)
    report.add_argument("-o", "--output", metavar="DIR", type=_path, required=True)
    report.add_argument("studies", metavar="STUDY", nargs="+")
    _style(report)
    report.add_argument("--partial", action="store_true", help="also of studies that are not complete: what they have so far")
    claims = verb("claims", "the papers' claims with their verdicts so far", configured, stored, data, printed)
    claims.add_argument("studies", metavar="STUDY|DIR", nargs="*", help="studies, or folders of reports, whose tables are judged again")
    audit = verb("audit", "tickets, stability, layers and supermask of a network, in a given time", _loading(), stored, data, printed)
    audit.add_argument("--task", metavar="TASK", help="a task (`tombola list`), or the one whose recipe your network and data are put in")
    audit.add_argument("--model", metavar="MODEL", help="your network: a name, package.module:Class or path.py:Class")
    _data(audit)
    audit.add_argument("--minutes", metavar="N", type=float, default=10.0, help="the time there is (default: 10)")
    audit.add_argument("--seed", metavar="S", type=_whole, default=0, help="seed of all studies (default: 0)")
    audit.add_argument(
        "-o", "--output", metavar="DIR", type=_path, help="folder of the page (default: audit/DATA-NETWORK/, or audit/TASK/)"
    )
    claims.add_argument("-o", "--output", metavar="DIR", type=_path, help="also write the ledger's page, DIR/claims.html")
    cite = verb("cite", "what to cite: the papers that studies judge, and Tombola, as BibTeX", _loading())
    cite.add_argument("studies", metavar="STUDY", nargs="+")
    placed = _Parser(add_help=False)
    placed.add_argument("--arm", metavar="ARM", help="runs of this arm of a study")
    placed.add_argument("--level", metavar="N", type=_whole, help="runs of this level")
    placed.add_argument("--replicate", metavar="N", type=_whole, help="runs of this replicate")
    placed.add_argument(
        "--where", metavar="CONDITION", action="append", default=[], help="runs that are so, by any name in `runs --json`: 'density<0.1'"
    )
    runs = verb("runs", "the runs in a store, with their places in studies", stored, placed, printed)
    runs.add_argument("--study", metavar="STUDY", help="runs of this study")
    runs.add_argument("--sort", metavar="NAME", help="sorted by a name in `runs --json`; from the largest: --sort=-NAME")
    why = verb("why", "where a run comes from, back to the initialisation", stored, printed)
    why.add_argument("run", metavar="RUN", help="a run's digest, or the beginning of it")
    diff = verb("diff", "what differs between two runs: description, curves, weights, mask", stored, printed)
    diff.add_argument("first", metavar="RUN", help="a run's digest, or the beginning of it")
    diff.add_argument("second", metavar="RUN")
    diff.add_argument("--other", metavar="DIR", type=_place, help="the store of the second run (default: that of the first)")
    export = verb("export", "write a run's weights and mask as one safetensors file", stored, placed, data, printed, _loading())
    export.add_argument("run", metavar="RUN|STUDY", help="a run's digest, or a study, with what tells one of its runs")
    export.add_argument("-o", "--output", metavar="FILE", type=_path, required=True)
    export.add_argument("--model", metavar="MODEL", help="your own network, where the run has one: path.py:Class or package.module:Class")
    export.add_argument("--step", default="end", help="which of its kept weights (default: end)")
    _data(export)
    forms = export.add_mutually_exclusive_group()
    for form, help in (
        ("compact", "the smaller network without dead units, with the same outputs"),
        ("packed", "only what does not follow from the seed, in as few bytes as it takes"),
        ("torch", "the state dict of a PyTorch module: FILE.pt, or FILE.safetensors"),
    ):
        forms.add_argument(f"--{form}", action="store_const", const=form, dest="form", help=help)
    log = verb("log", "write stored runs into another tool: those of studies, or single ones", configured, stored, data)
    log.add_argument("what", metavar="STUDY|RUN", nargs="+", help="a study's name or file, or a run's digest or the beginning of it")
    log.add_argument("--to", metavar="TOOL", required=True, help="tensorboard, trackio or wandb: an extra of that name")
    log.add_argument("--project", metavar="NAME", default="tombola", help="of TensorBoard a folder (default: tombola)")
    push = verb("push", "write a run's ticket with a model card to the Hugging Face Hub", stored, data, printed)
    push.add_argument("run", metavar="RUN", help="a run's digest, or the beginning of it")
    push.add_argument("repository", metavar="USER/REPOSITORY", help="it is made if it is not there")
    push.add_argument("--step", default="end", help="which of its kept weights (default: end)")
    push.add_argument("--packed", action="store_true", help="only what does not follow from the seed")
    push.add_argument("--private", action="store_true", help="a repository that is made now is seen by you alone")
    push.add_argument("-o", "--output", metavar="DIR", type=_path, help="write its files there, and send nothing")
    shell = verb("completion", "print what completes commands in a shell")
    shell.add_argument("shell", metavar="SHELL", help="bash, zsh, fish or tcsh")
    demo = verb("demo", "winning tickets on MNIST-1D in a few minutes, and what to try next", stored)
    demo.add_argument("-o", "--output", metavar="DIR", type=_path, default=Path("report"), help="folder of the report (default: report/)")
    new = verb("new", "write a commented file with a study, a model or an objective of your own, which runs as it is")
    new.add_argument("kind", metavar="study|model|objective", choices=("study", "model", "objective"))
    new.add_argument("name", metavar="NAME", help="what it is called; the file is NAME.py, in this folder")
    parts = verb("data", "the data sets: list, fetch, verify").add_subparsers(dest="part", metavar="list|fetch|verify", required=True)
    parts.add_parser("list", help="what there is", parents=[data, printed], allow_abbrev=False)
    for name, help in (("fetch", "download with checksums"), ("verify", "compare files with their checksums")):
        part = parts.add_parser(name, help=help, parents=[data, printed], allow_abbrev=False)
        part.add_argument("name", metavar="NAME")
    _store(verb("store", "a store as a whole: its size, what can go, two as one"), configured, stored, data, printed)
    return parser


def _store(parser: Any, configured: Any, stored: Any, data: Any, printed: Any) -> None:
    parts = parser.add_subparsers(dest="part", metavar="size|prune|merge|verify|pack", required=True)

    def part(name: str, help: str, *parents: Any) -> Any:
        return parts.add_parser(name, help=help, description=help, parents=[*parents, stored, printed], allow_abbrev=False)

    part("size", "what takes up how much")
    prune = part("prune", "what no study needs: shows it, and with --yes removes it", configured, data)
    prune.add_argument("studies", metavar="STUDY", nargs="*", help="those that are to stay (default: all that were carried out here)")
    prune.add_argument("--yes", action="store_true", help="remove it")
    part("merge", "have all that other stores have, told by digest").add_argument(
        "others", metavar="DIR|FILE", type=_place, nargs="+", help="other stores, or packed studies"
    )
    part("verify", "compare every file with its checksum")
    pack = part("pack", "write finished studies as one file, which --store reads in place", configured, data)
    pack.add_argument("-o", "--output", metavar="FILE.zip", type=_path, required=True)
    pack.add_argument("studies", metavar="STUDY", nargs="+", help="a study's name, or a study file (.toml)")


def _data(parser: Any) -> None:
    parser.add_argument("--data", metavar="DATA", type=_path, help="your own data: FILE.npz, or a folder with a folder of images a class")
    parser.add_argument("--image-size", metavar="N", type=_whole, help="height and width of the images of --data FOLDER")


def _style(parser: Any) -> None:
    parser.add_argument("--style", choices=["page", "paper", "talk"], default="page", help="of the figures (default: page)")
    parser.add_argument("--width", metavar="INCHES", type=float, help="of all figures, as they are shown")
    parser.add_argument("--font-size", metavar="PT", type=float, help="of their text, as it is shown")


def _loading() -> _Parser:
    loading = _Parser(add_help=False)
    loading.add_argument("--load", metavar="FILE.py", type=_path, action="append", default=[], help="your own parts: criteria, tasks, ...")
    return loading


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; 0, 2 after a mistake that the user can mend, or 130 or 143 if it was told to stop."""
    _open_streams()
    parser = _parser()
    given = vars(parser.parse_args(arguments))
    if given.pop("version"):
        from tombola import __version__

        print(__version__)
        return 0
    verb = given.pop("verb")
    if verb is None:
        verb = "welcome"
    elif verb in ("data", "store"):
        verb = f"{verb}_{given.pop('part')}"
    elif verb == "list":
        verb = "catalogue"
    elif verb == "completion":
        given["parser"] = parser
    try:
        from tombola import commands

        with interrupts.heeded():
            try:
                getattr(commands, verb)(**commands.with_places(given))
            except KeyboardInterrupt:
                how = interrupts.name()
                print(f"tombola: {how}; the same command goes on where this one stopped", file=sys.stderr)
                return 143 if how == "terminated" else 130
    except TombolaError as error:
        from tombola.report.result import plain

        print(plain(f"tombola: {' '.join(str(error).split())}"), file=sys.stderr)
        return 2
    except BrokenPipeError:  # the reader, such as `head`, has seen enough
        sys.stderr.close()
    except OSError as error:
        remedy = "make room" if error.errno in _FULL else "mend that, or name another"
        place = "" if error.filename is None else f": {error.filename}"
        print(f"tombola: {error.strerror or error}{place}; {remedy}: what is finished stays, and the same command goes on", file=sys.stderr)
        return 2
    return 0


def _open_streams() -> None:
    """A stream that was closed swallows what is written; a character that a terminal cannot show is escaped. Neither ends the work."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115 (as long as the process)
        elif hasattr(stream := getattr(sys, name), "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


if __name__ == "__main__":
    raise SystemExit(main())
