"""What the README, the guides and the tutorials say, runs, is there, and is all there is."""

import ast
import importlib.util
import json
import os
import re
import shlex
import subprocess
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import tombola as tb
from tombola import cli
from tombola.core import parts
from tombola.core.parts import studies
from tombola.engine.configuring import resolve
from tombola.studies.testbeds import chance

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
RESULTS = DOCS / "results"
README = (ROOT / "README.md").read_text()
GUIDES = {path.stem: path.read_text() for path in sorted((DOCS / "guide").glob("*.md"))}
TUTORIALS = {path.stem: path.read_text() for path in sorted((DOCS / "tutorials").glob("*.md"))}
PAGES = [path for path in sorted(DOCS.rglob("*.md")) if not {"_made", "_build"} & set(path.parts)]
STUDIES, BLOCKS = [], {}
for name, text in {"README": README, **GUIDES}.items():
    for number, block in enumerate(re.findall(r"```python\n(.*?)```", text, re.DOTALL)):
        if "@study(" in block:
            STUDIES.append(block)  # files for --load
        else:
            BLOCKS[f"{name}-{number}"] = block
STUDY, OTHER = STUDIES
TEXTS = [README, (ROOT / "CONTRIBUTING.md").read_text(), *GUIDES.values(), *TUTORIALS.values()]
COMMANDS = [re.split(" [#>|]", line)[0].strip() for text in TEXTS for line in re.findall(r"^tombola .*$", text, re.MULTILINE)]


@pytest.fixture(scope="module")
def beside():
    """Modules beside the pages, by name."""

    def load(name):
        spec = importlib.util.spec_from_file_location(name, DOCS / f"{name}.py")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    return load


@pytest.fixture(scope="module")
def pages(beside):
    """What makes pages of the code."""
    return beside("pages")


@pytest.mark.slow
@pytest.mark.parametrize("block", BLOCKS)
def test_python_blocks_run(block, capsys, tmp_path, monkeypatch):
    if "torch" in BLOCKS[block]:
        pytest.importorskip("torch")
    monkeypatch.chdir(tmp_path)
    exec(compile(BLOCKS[block], block, "exec"), {"__name__": "readme"})
    assert capsys.readouterr().out.strip()


@pytest.fixture
def on_the_command_line(tmp_path, monkeypatch, capsys):
    """What the command line makes of a study in a file: exit status, and what it says."""
    list(studies)  # which imports ours
    monkeypatch.setattr(studies, "_parts", dict(studies._parts))
    monkeypatch.chdir(tmp_path)

    def said(text, verb, *options):
        Path("mine.py").write_text(text)
        quick = ("--task", "digits-mlp", "--scale", "smoke", "--set", "steps=40it", "--set", "evaluate_every=20it", *options)
        status = cli.main([verb, re.search(r'@study\("(\S+)"', text)[1], "--load", "mine.py", *quick])
        return status, "".join(capsys.readouterr())

    return said


@pytest.mark.slow
def test_the_study_of_the_readme_is_shown_and_run(on_the_command_line, tmp_path):
    assert len([line for line in STUDY.splitlines() if line.strip() and not line.strip().startswith("#")]) < 40
    status, said = on_the_command_line(STUDY, "show", "--set", "rival=movement")
    assert (status, "claims: MINE-1" in said, "6 movement" in said) == (0, True, True), said
    status, said = on_the_command_line(STUDY, "run", "-o", "report")
    assert (status, "MINE-1" in said) == (0, True), said
    assert {file.name for file in (tmp_path / "report" / "mine.growth").iterdir()} > {"table.csv", "growth.svg", "claims.json"}
    status, said = on_the_command_line(OTHER, "run")
    assert (status, "training minus test accuracy" in said, "2 of the 6 replicates" in said) == (0, True, True), said


@pytest.mark.parametrize(
    ("verb", "old", "new", "said"),
    [
        ("show", "(TicketStudy)", "", "is no class derived from Study"),
        ("show", '"mine.growth"', '"zhou2019.mask1"', "is registered already"),
        ("show", "    def rows", "    def runs", "has no method `rows`"),
        ("show", "yield from chain_rows(", "yield (", "yields a tuple"),
        ("show", "self.replicates", "self.nothing", "`rows`, line 35: AttributeError"),
        ("run", "(ES, ACC_ES)", "(ES, ES.__class__('nope', 'x'))", "there is no column 'nope'"),
        ("run", "table.levels(0, 0.2)", "table.levels()", "`claims`, line 47: TypeError"),
        ("run", "    def figures", "    def measure(self, row, results):\n        return {'nope': 1}\n\n    def figures", "returns 'nope'"),
        ("run", "    def figures", "    def measure(self, row, results):\n        pass\n\n    def figures", "returns None; let it return"),
    ],
)
def test_what_is_wrong_in_a_study_of_ones_own_is_one_line(verb, old, new, said, on_the_command_line):
    assert old in STUDY
    status, found = on_the_command_line(STUDY.replace(old, new), verb)
    assert status != 0
    assert said in found.splitlines()[-1]
    assert "Traceback" not in found


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_are_understood(command):
    _, verb, *_ = shlex.split(command)
    parsed = vars(cli._parser().parse_args(shlex.split(command)[1:]))
    assert parsed["verb"] == verb


def test_make_targets_exist():
    makefile = (ROOT / "Makefile").read_text()
    for target in {found for text in TEXTS for found in re.findall(r"(?:`|^)make (\w+)", text, re.MULTILINE)}:
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


def test_linked_files_exist(pages):
    made = {"reference", "writing_studies", "parts", "commands", "glossary", "studies/index"}
    for page in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *PAGES]:
        for link in re.findall(r"\]\(([^)#\s]+)\)", page.read_text()):
            there = (page.parent / link).resolve()
            written = there.is_relative_to(DOCS / "_made") and there.relative_to(DOCS / "_made").with_suffix("").as_posix() in made
            assert link.startswith("http") or written or there.exists(), (page, link)


def test_every_page_is_in_the_table_of_contents():
    trees = re.findall(r"```{toctree}\n(.*?)```", (DOCS / "index.md").read_text(), re.DOTALL)
    named = [line for tree in trees for line in tree.splitlines() if line and not line.startswith(":")]
    listed = {path for name in named if not name.startswith("_made") for path in DOCS.glob(f"{name}.md")}
    assert set(PAGES) == {*listed, DOCS / "index.md"}
    assert {name for name in named if name.startswith("_made")} == {
        f"_made/{name}" for name in ("reference", "writing_studies", "parts", "commands", "glossary", "studies/index")
    }


def test_the_reference_has_every_public_name_once(pages):
    assert sorted(" ".join(pages.NAMES.values()).split()) == sorted(tb.__all__)
    text = pages.reference()
    assert "\nFields:\n" not in text  # which stand one by one
    for name in tb.__all__:
        assert len(re.findall(rf"^`+{{py:\w+}} tombola\.{name}(?![\w.])", text, re.MULTILINE)) == 1, name
    assert "imp(task: Task, levels: int | None = None, *, pruning: Pruning | None = None" in text
    assert "```{py:attribute} learning_rate\n:type: float" in text  # without what checks it
    assert "- `eps`: " in text
    assert "**Raises**" in text
    assert "{py:obj}`tombola.path`" in text


def test_a_kept_figure_has_the_caption_of_what_was_run(pages):
    page = pages.study_page("zhang2019.blocks")
    assert "kept result on `resnet14-cifar10`" in page
    assert "rises by no more than 1 pp" in page  # 0.2 pp by default


def test_pages_of_parts_and_commands_have_all_of_them(pages):
    text = pages.all_parts()
    for kind in ("criteria", "mask_schedules", "optimizers", "value_actions", "searchers", "objectives"):
        assert all(f"**`{name}" in text for name in getattr(parts, kind)), kind
    commands = pages.commands()
    (verbs,) = (action.choices for action in cli._parser()._actions if isinstance(action.choices, dict))
    assert all(f"## tombola {verb}\n" in commands for verb in verbs)
    assert "| `--sweep` `KEY=[A, B]` | a field under several values" in commands


def test_the_page_of_a_study_is_made_of_its_class(pages):
    text, study = pages.study_page("frankle2020.onset"), resolve("frankle2020.onset")
    assert text.startswith(f"# frankle2020.onset\n\n*{study.answers}*")
    assert "Fields:" not in text  # they stand in a table
    assert "../../results/frankle2020.onset/digits-noise-mlp/" in text
    for field in set(type(study).model_fields) - {"task"}:
        assert f"| `{field}` |" in text or f"| `{field}." in text
    for arm in study.arms:
        assert f"| `{arm}` |" in text
    assert f"| `small` | {study.replicates} |" in text
    claims, sparsity = resolve("frankle2019.sparsity").claims, pages._verdicts("frankle2019.sparsity")
    assert {claim.id for claim in claims} == set(sparsity)
    assert set(sparsity["LTH-C3"]) >= {"mnist1d-mlp", "lenet-mnist"}


@pytest.mark.parametrize("name", TUTORIALS)
def test_tutorials_are_of_what_there_is(name):
    cells = re.findall(r"```{code-cell}\n(.*?)```", TUTORIALS[name], re.DOTALL)
    assert len(cells) >= 3
    tree = ast.parse("\n".join(re.sub(r"^!.*$", "", cell, flags=re.MULTILINE) for cell in cells))
    used = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "tb"}
    assert used <= set(tb.__all__)
    assert used


@pytest.mark.parametrize("paper", ["frankle2019", "frankle2020", "zhang2019", "zhou2019"])
def test_the_table_of_verdicts_says_what_the_kept_claims_say(paper):
    lines = [[cell.strip() for cell in line.split("|")[1:-1]] for line in (RESULTS / f"{paper}.md").read_text().splitlines()]
    head = next(cells for cells in lines if cells[:1] == ["claim"])
    said = {
        (cells[0], task.strip("`")): cell
        for cells in lines
        if cells and re.fullmatch(r"[CO]\d+[a-z]?", cells[0]) and len(cells) == len(head)
        for task, cell in zip(head[2:], cells[2:], strict=True)
        if cell
    }
    kept = {
        (claim["id"].split("-")[1], path.parent.name): claim["verdict"]
        for path in RESULTS.glob(f"{paper}.*/*/claims.json")
        for claim in json.loads(path.read_text())
        if f"`{path.parent.name}`" in head[2:]
    }
    assert said == kept


def _kept(page):
    """Mean and half of its interval of each group of a page's kept tables; (mean, low, high) of its effects; claim -> its verdicts."""
    means, effects, verdicts = [], [], {}
    studies = (page, "transplant") if page == "initial" else (page,)
    for file in (path for name in studies for path in sorted(RESULTS.glob(f"{name}.*/*/table.csv"))):
        table = pd.read_csv(file, dtype={"variant": str}, keep_default_na=False, na_values=["nan", ""])
        by = ["variant", "arm", "level"]
        table = table.assign(variant=table.variant.fillna("") if "variant" in table else "")
        of = table.groupby([*by, "replicate"]).mean(numeric_only=True).replace([np.inf, -np.inf], np.nan).groupby(level=by)
        n = of.count()
        half = of.std() / np.sqrt(n) * stats.t.ppf(0.975, n.clip(lower=2) - 1)
        means.append(np.stack([of.mean().to_numpy().ravel(), half.to_numpy().ravel()]))
        for claim in json.loads(file.with_name("claims.json").read_text()):
            verdicts.setdefault(claim["id"], set()).add(claim["verdict"])
            effects += [[float(one[end] or 0) for end in ("mean", "low", "high", "least")] for one in claim["effects"]]
    return np.concatenate(means, axis=1), np.array(effects).T, verdicts


def _among(numbers, columns):
    """Whether a group of `columns` has these numbers as they are printed, as shares or in per cent."""
    values = [float(number.replace(",", "")) for number in numbers]
    last = [10.0 ** -len(number.partition(".")[2]) for number in numbers]
    return any(
        np.all([np.abs(scale * column - value) <= 0.5001 * one for column, value, one in zip(columns, values, last, strict=True)], 0).any()
        for scale in (1, 100, -1, -100)
    )


@pytest.mark.parametrize("page", ["attacks", "autoencoders", "finding", "initial", "moving", "phases", "search", "words"])
def test_tables_of_pages_have_the_numbers_and_verdicts_that_were_kept(page):
    means, effects, verdicts = _kept(page)
    number = r"-?(?:\d[\d,]*)?\.?\d+"
    rows = [line for line in (RESULTS / f"{page}.md").read_text().splitlines() if line.startswith("|")]
    for row in rows:
        for found in re.findall(rf"({number}) ± ({number})", row):
            assert _among(found, means), (row, found)
        for mean, low, high in re.findall(rf"({number}) \[({number}), ({number})\]", row):
            assert _among((mean, low, high), effects[:3]) or _among((mean, high, low), effects[:3]), (row, mean)
        cells = [cell.strip() for cell in row.split("|")[1:-1]]
        if cells[0] in verdicts:
            said = {
                match[0] for cell in cells[1:] if (match := re.match(r"(not |un)?(replicated in part|replicated|judged|decided)", cell))
            }
            assert said == verdicts[cells[0]], row


LARGE = [f"{network}-cifar10{recipe}" for network in ("resnet20", "vgg16") for recipe in ("", "-low", "-warmup")]

ON_MNIST, ZHANG = (
    ("robustness", "capacity", "joint", "frozen", "removed", "tickets", "criticality"),
    ("vgg16", "resnet18", "resnet50"),
)

ZHOU, OF_ZHOU = (
    ("lenet-mnist", *(f"conv{depth}-cifar10" for depth in (2, 4, 6))),
    ("supermask", "trained", "criteria", "mask1", "mask0", "compression"),
)


@pytest.mark.slow
def test_the_script_for_the_gpu_asks_for_what_there_is(tmp_path):
    fake = tmp_path / "tombola"
    fake.write_text('#!/bin/sh\necho "$@"\n')
    fake.chmod(0o755)
    command = ["sh", str(ROOT / "benchmarks" / "paper_scale.sh"), "data", "out", "smoke", "--replicates", "2"]
    done = subprocess.run(
        command, capture_output=True, text=True, check=True, env={**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    )
    query = [vars(cli._parser().parse_args(line.split())) for line in done.stdout.splitlines()]
    assert [(*one["studies"], one["task"]) for one in query] == [
        ("frankle2019.sparsity", "lenet-mnist"),
        *(("frankle2019.conv", f"conv{depth}-cifar10") for depth in (2, 4, 6)),
        *((study, task) for task in LARGE for study in ("frankle2020.instability", "frankle2020.sparse", "frankle2020.ranges")),
        *((f"zhang2019.{study}", "fcn-mnist") for study in ON_MNIST),
        *((f"zhang2019.{study}", f"{network}-cifar10-zhang") for network in ZHANG for study in ("robustness", "blocks", "joint")),
        *(("zhang2019.removed", f"{network}-cifar10-zhang") for network in ZHANG[:2]),
        *((f"zhou2019.{study}", task) for task in ZHOU for study in OF_ZHOU),
        ("zhou2019.signs", "lenet-mnist"),
    ]
    assert {(one["scale"], one["replicates"]) for one in query} == {("smoke", 2)}
    for one in query:
        assert next(iter(resolve(*one["studies"], scale="paper", task=one["task"]).rows()))


@pytest.mark.slow
def test_networks_that_have_learnt_nothing_decide_nothing(beside):
    """Of one kept table of each study that has the accuracy of its dense network."""
    kept = beside("kept")
    for folder in {folder.parent: folder for folder in kept.folders()}.values():
        table = kept.ledger.read_table(folder / "table.csv")
        study = kept.ledger.configured(folder / "table.csv", table)
        of_chance = [column for column in ("acc_final", "clean_acc", "dense_acc") if column in table]
        if study.name == "phases.rewind" or not of_chance or chance(study.task) is None:  # that has tickets alone
            continue
        table = table.assign(**dict.fromkeys(of_chance, chance(study.task) / 100))
        assert {verdict.verdict for verdict in study.judge(table)} <= {"not judged"}, folder


def test_no_two_studies_make_the_same_claim():
    made = {id(claim): claim.id for _, study in studies.items() for claim in study.claims_of_class()}
    assert len(set(made.values())) == len(made)


@pytest.mark.slow
def test_pages_and_ledger_say_what_the_kept_tables_come_to(beside):
    kept = beside("kept")
    for path in RESULTS.glob("*.md"):
        content = path.read_text()
        assert (kept.whole_ledger if path.name == "ledger.md" else kept.page)(content) == content, f"python docs/kept.py tell: {path.name}"
