"""Several settings of one study side by side, studies as files, the ledger of claims, and reports of studies that still run."""

import json
import shutil

import pandas as pd
import pytest

from tombola import cli
from tombola.core.errors import TombolaError
from tombola.engine.configuring import explained, fields_of, resolve
from tombola.engine.study import findings_so_far, run_study, study_graph
from tombola.engine.study_files import read, written
from tombola.report.ledger import judged_again, overall, read_table
from tombola.report.page import write
from tombola.store.store import Store
from tombola.studies.catalogue import studies
from tombola.studies.columns import MEANINGS

TINY = {"scale": "smoke", "task": "digits-mlp", "settings": [("steps", "20it"), ("evaluate_every", "10it"), ("levels", 1)]}
NAME = "frankle2019.sparsity"


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    """A sweep over two criteria, carried out, its report, and its store."""
    folder = tmp_path_factory.mktemp("swept")
    study = resolve(NAME, sweep={"criterion": ["large_final", "movement"]}, **TINY)
    report = run_study(study, Store(folder / "store"), quiet=True)
    write([report], folder / "report")
    return folder, report


# -- sweeps ---------------------------------------------------------------------------------------------------------------


def test_a_sweep_has_the_runs_of_its_settings_each_once():
    single = {
        one: set(study_graph(resolve(NAME, **{**TINY, "settings": [*TINY["settings"], ("criterion", one)]})).runs)
        for one in ("movement", "random")
    }
    both = set(study_graph(resolve(NAME, sweep={"pruning.criterion": ["movement", "random"]}, **TINY)).runs)
    assert both == single["movement"] | single["random"]
    assert single["movement"] & single["random"]  # the dense run is trained once


@pytest.mark.slow
def test_a_sweeps_table_is_those_of_its_settings(swept):
    folder, report = swept
    for one in ("large_final", "movement"):
        alone = run_study(
            resolve(NAME, **{**TINY, "settings": [*TINY["settings"], ("criterion", one)]}), Store(folder / "store"), quiet=True
        )
        own = report.table[report.table.criterion == one].drop(columns=["variant", "criterion"]).reset_index(drop=True)
        pd.testing.assert_frame_equal(own, alone.table.drop(columns="variant"), check_exact=True)
        assert [v.effects for v in report.verdicts if v.id.endswith(f"(criterion {one})")] == [v.effects for v in alone.verdicts]


def test_a_swept_field_is_a_column_and_one_that_the_table_has_is_told_apart():
    values = {"task": ["digits-mlp", "mnist1d-mlp"], "task.recipe.steps": ["20it", "40it"], "rates": [{"dense": 0.5}]}
    study = resolve(NAME, scale="smoke", sweep=values)
    told = [tuple(study.varied(row).items()) for row in study.rows()]
    rates = ("rates", '{"dense": 0.5}')
    assert list(dict.fromkeys(told)) == [(("steps", "20it"), rates), (("steps", "40it"), rates)]


def test_a_run_is_text_whatever_it_looks_like(swept, tmp_path):
    folder, report = swept
    text = (folder / "report" / NAME / "table.csv").read_text()
    assert list(read_table(folder / "report" / NAME / "table.csv").run) == list(report.table.run)
    for digest in report.table.run.unique():
        text = text.replace(digest, "12345678901234e5")
    (tmp_path / "table.csv").write_text(text)
    assert set(read_table(tmp_path / "table.csv").run) == {"12345678901234e5"}
    (tmp_path / "table.csv").write_text("\n".join(",".join(line.split(",")[:7] + line.split(",")[9:]) for line in text.splitlines()))
    assert "run" not in read_table(tmp_path / "table.csv")  # as reports before had it


def test_settings_are_compared_in_one_figure(swept):
    report = swept[1]
    compared = [figure for figure in report.figures if figure.compared]
    assert [figure.name for figure in compared] == ["sparsity-compared", "generalisation-compared"]
    caption = (swept[0] / "report" / NAME / "sparsity-compared.svg").read_text()
    assert all(label in caption for label in ("criterion large_final", "criterion movement", "winning ticket"))


def test_every_study_can_be_swept_and_explains_its_fields_and_columns(monkeypatch):
    for name, kind in studies.items():
        if name.startswith("test"):
            continue
        one = resolve(name, scale="smoke")
        both = resolve(name, scale="smoke", sweep={"seed": [0, 1]})
        assert {row.variant.partition(" | ")[0] for row in both.rows()} == {"seed 0", "seed 1"}
        assert len(list(both.rows())) == 2 * len(list(one.rows()))
        assert issubclass(kind, type(one))
        monkeypatch.setattr(kind, "meanings", {"mine": ("", "of its own")})
        assert both.meanings == {"mine": ("", "of its own")}
        shown = {panel.metric for figure in one.figures() for panel in (*figure.panels, figure.across) if panel is not None}
        assert [column for column in one.columns if column not in {*shown, *MEANINGS, *one.meanings}] == []
        words = explained(one)
        assert words.keys() == fields_of(one).keys()
        assert [path for path, field in words.items() if not (field.meaning and field.allowed)] == []


@pytest.mark.parametrize(
    ("sweep", "words"),
    [
        ({"levles": [1, 2]}, "did you mean 'levels'"),
        ({"levels": 3}, "give a list"),
        ({"levels": []}, "give a list"),
        ({"levels": [1, 1]}, "given twice"),
        ({"levels": [1, 0]}, "greater than or equal to 1"),
        ({"task": ["digits-mlp", "diabetes-mlp"]}, "learn different things"),
    ],
)
def test_wrong_sweeps_are_one_line(sweep, words):
    with pytest.raises(TombolaError, match=words) as error:
        resolve(NAME, scale="smoke", sweep=sweep)
    assert "\n" not in str(error.value)


# -- study files ------------------------------------------------------------------------------------------------------------


def of_file(path, text):
    path.write_text(text)
    options = read(path)
    options.pop("load")
    return resolve(options.pop("study"), **options)


@pytest.mark.parametrize("name", [name for name in studies if not name.startswith("test")])
def test_a_study_written_down_is_read_as_the_same(name, tmp_path):
    study = resolve(name, scale="smoke", settings=[("seed", 3)])
    again = of_file(tmp_path / "study.toml", written(study, task=study.task.name, scale="paper"))
    assert (type(again), again.digest) == (type(study), study.digest)


def test_a_sweep_written_down_is_read_as_the_same(tmp_path):
    study = resolve(NAME, sweep={"criterion": ["large_final", "movement"], "levels": [1, 2]}, scale="smoke")
    again = of_file(tmp_path / "study.toml", written(study, task=study.task.name, scale="smoke"))
    assert list(again.settings) == list(study.settings)
    assert again.digest == study.digest


def test_settings_of_a_file_may_be_tables_or_paths_and_numbers_keep_their_type(tmp_path):
    text = f'''study = "{NAME}"
scale = "smoke"
replicates = 3
[set]
levels = 2
task.recipe.learning_rate = 1e-3
"pruning.rates" = {{dense = 0.5}}
'''
    found = of_file(tmp_path / "s.toml", text)
    assert (found.replicates, found.levels, found.task.recipe.learning_rate, found.pruning.rates) == (3, 2, 1e-3, {"dense": 0.5})


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("levels = 3", "fields of the study stand under"),
        ("scale = 'small'", "names no study"),
        ("study = 'x'", "unknown study 'x'"),
        (f"study = '{NAME}'\nscale = 'tiny'", "unknown scale"),
        (f"study = '{NAME}'\nset = 3", "as a table"),
        (f"study = '{NAME}'\n[set]\nlevels = 0", "greater than or equal to 1"),
        ("study = ", "is not TOML"),
    ],
)
def test_wrong_study_files_are_one_line(text, words, tmp_path):
    with pytest.raises(TombolaError, match=words) as error:
        of_file(tmp_path / "s.toml", text)
    assert "\n" not in str(error.value)


def test_the_command_line_takes_study_files_and_its_own_options_come_last(tmp_path, capsys):
    (tmp_path / "s.toml").write_text(f'study = "{NAME}"\nscale = "smoke"\ntask = "digits-mlp"\n[set]\nlevels = 2\n')
    assert cli.main(["show", str(tmp_path / "s.toml"), "--set", "levels=3", "--replicates", "5", "--toml"]) == 0
    found = of_file(tmp_path / "again.toml", capsys.readouterr().out)
    assert (found.levels, found.replicates, found.task.name) == (3, 5, "digits-mlp")
    assert cli.main(["show", NAME, "--scale", "smoke", "--task", "digits-mlp", "--sweep", "levels=[1, 2]"]) == 0
    printed = capsys.readouterr().out
    assert "LTH-C3" in printed
    assert "sweep levels" in printed
    assert cli.main(["show", NAME, "--sweep", "levels=[1, 2", "--toml"]) == 2
    assert "list in JSON" in capsys.readouterr().err


# -- the ledger -------------------------------------------------------------------------------------------------------------


def test_the_ledger_judges_tables_again_under_the_configuration_beside_them(swept, capsys):
    folder, report = swept
    lines = judged_again(folder / "report")
    assert [(line.claim, line.state) for line in lines] == [(verdict.id, verdict.verdict) for verdict in report.verdicts]
    assert cli.main(["claims", str(folder / "report")]) == 0
    printed = capsys.readouterr().out
    assert "2 of the 6 replicates" in printed
    assert "not judged" in printed


def test_a_table_reads_back_bitwise(swept):
    folder, report = swept
    pd.testing.assert_frame_equal(read_table(folder / "report" / NAME / "table.csv"), report.table, check_exact=True, check_dtype=False)


def test_a_claim_over_testbeds_is_counted():
    class Line:
        def __init__(self, claim, state):
            self.claim, self.state = claim, state

    lines = [Line("A", "replicated"), Line("A", "undecided"), Line("A", "replicated"), Line("B", "not run")]
    assert overall(lines) == {"A": "replicated on 2, undecided on 1 of 3 testbeds", "B": "not run on any of 1 testbed"}


def test_folders_without_tables_and_damaged_tables_are_one_line(tmp_path):
    with pytest.raises(TombolaError, match="no table of a report"):
        judged_again(tmp_path)
    (tmp_path / "table.csv").write_text("a,b\n1,2\n")
    with pytest.raises(TombolaError, match="no table of a study"):
        judged_again(tmp_path)
    assert cli.main(["claims", str(tmp_path / "none")]) == 2


# -- while it runs ------------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_study_that_still_runs_has_a_report_of_what_is_there(swept, tmp_path, capsys):
    folder, _ = swept
    shutil.copytree(folder / "store", tmp_path / "store")
    store = Store(tmp_path / "store")
    study = resolve(NAME, **TINY)
    whole, how_far = findings_so_far(study, store)
    assert how_far == ""
    gone = next(row for row in study.rows() if row.arm == "random" and row.replicate == 1)
    store.remove(gone.run.digest)
    part, how_far = findings_so_far(study, store)
    assert how_far == "7 of 8 runs"
    assert len(part.table) == len(whole.table) - 1
    page = write([part], tmp_path / "page", every=5)[0].read_text()
    assert "Not complete: 7 of 8 runs so far" in page
    assert 'http-equiv="refresh"' in page
    empty, how_far = findings_so_far(study, Store(tmp_path / "none"))
    assert (empty, how_far) == (None, "0 of 8 runs")
    settings = [text for key, value in TINY["settings"] for text in ("--set", f"{key}={value}")]
    common = ["--scale", "smoke", "--task", "digits-mlp", *settings, "--store"]
    assert cli.main(["report", NAME, *common, str(tmp_path / "store"), "-o", str(tmp_path / "page")]) == 2
    assert "1 of 8 runs are not in store" in capsys.readouterr().err
    assert cli.main(["report", NAME, *common, str(tmp_path / "store"), "-o", str(tmp_path / "page"), "--partial"]) == 0
    assert f"{NAME}: 7 of 8 runs" in capsys.readouterr().out
    assert "refresh" not in (tmp_path / "page" / "index.html").read_text()
    assert all(line.reason.startswith("only 7 of 8 runs so far") for line in judged_again(tmp_path / "page"))
    assert cli.main(["report", NAME, *common, str(tmp_path / "none"), "-o", str(tmp_path / "page"), "--partial"]) == 2
    assert "has 0 of 8 runs" in capsys.readouterr().err
    common += [str(folder / "store"), "-o", str(tmp_path / "watched")]
    assert cli.main(["watch", NAME, *common]) == 0  # complete: one page, and it ends
    assert "complete" in capsys.readouterr().out
    assert "refresh" not in (tmp_path / "watched" / "index.html").read_text()


@pytest.mark.slow
def test_the_ledger_finds_what_was_carried_out_says_what_does_not_fit_and_writes_its_page(swept, tmp_path, capsys):
    store = tmp_path / "store"
    shutil.copytree(swept[0] / "store", store)
    settings = [text for key, value in TINY["settings"] for text in ("--set", f"{key}={value}")]
    assert cli.main(["run", NAME, "--scale", "smoke", "--task", "digits-mlp", *settings, "--store", str(store)]) == 0
    capsys.readouterr()
    assert cli.main(["claims", "--store", str(store), "-o", str(tmp_path / "ledger"), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["claims"]
    own = [line for line in found if line["study"] == NAME]
    assert {(line["testbed"], line["state"]) for line in own} == {("digits-mlp", "not judged")}
    assert any("2 of the 6 replicates" in line["reason"] for line in own)
    assert {line["state"] for line in found if line["study"] == "zhou2019.mask1"} == {"not run"}
    page = (tmp_path / "ledger" / "claims.html").read_text()
    assert page.count(f"<td>{NAME}</td>") == len(own)
    assert cli.main(["claims", "zhou2019.mask1", "autoencoders.halves", "--task", "digits-mlp", "--store", str(store), "--json"]) == 0
    states = {line["study"]: (line["state"], line["reason"]) for line in json.loads(capsys.readouterr().out)["claims"]}
    assert states["zhou2019.mask1"] == ("not run", "")
    assert states["autoencoders.halves"][0] == "does not fit"
    assert "no layer or kind of layer 'encoder'" in states["autoencoders.halves"][1]
    assert cli.main(["claims", "zhou2019.mask1", NAME, "--task", "digits-mpl", "--store", str(store)]) == 2
    assert "did you mean 'digits-mlp'" in capsys.readouterr().err


def test_the_ledger_tells_what_is_damaged_from_what_was_not_run(swept, tmp_path, capsys):
    store = tmp_path / "store"
    shutil.copytree(swept[0] / "store", store)
    settings = [text for key, value in TINY["settings"] for text in ("--set", f"{key}={value}")]
    command = ["claims", NAME, "--scale", "smoke", "--task", "digits-mlp", *settings, "--store"]
    for path in store.rglob("metrics.csv"):
        path.write_text("step\n")
    assert cli.main([*command, str(store)]) == 0
    assert "damaged" in capsys.readouterr().out
    assert cli.main([*command, str(tmp_path / "none")]) == 0
    assert "not run" in capsys.readouterr().out
    (tmp_path / "file").touch()
    assert cli.main([*command, str(tmp_path / "file")]) == 2


def test_what_is_swept_and_set_is_one_line():
    with pytest.raises(
        TombolaError, match=r"^learning_rate is swept, and task.recipe.learning_rate is set, to 0.5; leave one of the two out$"
    ):
        resolve("frankle2019.sparsity", settings=["task.recipe.learning_rate=0.5"], sweep={"learning_rate": [0.1, 0.2]})
