"""`tombola`, `tombola new`: the first hour."""

import shlex
from pathlib import Path

import pytest
from test_docs import STUDY

from tombola import cli
from tombola.core.parts import objectives

QUICK = shlex.split(
    "--task digits-mlp --scale smoke --set steps=20it --set evaluate_every=20it --set levels=1 --set reinits=0 --set random_masks=0"
)


@pytest.fixture(autouse=True)
def _there(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_alone_it_says_what_to_try(capsys):
    assert cli.main([]) == 0
    said = capsys.readouterr().out
    commands = [line.split()[1] for line in said.splitlines() if line.startswith("  tombola ")]
    assert commands == ["demo", "list", "show"]
    assert len(said.splitlines()) < 10


def test_a_new_study_is_the_one_of_the_guide(capsys):
    """Which is run, and broken in many ways, by the tests of the documentation."""
    assert cli.main(["new", "study", "mine.growth"]) == 0
    assert Path("growth.py").read_text() == STUDY
    assert "tombola run mine.growth --load growth.py --scale smoke -o report" in capsys.readouterr().out


@pytest.mark.slow
def test_a_new_model_runs(capsys):
    assert cli.main(["new", "model", "two_layers"]) == 0
    assert "--model two_layers.py:TwoLayers" in capsys.readouterr().out
    assert cli.main(["run", "frankle2019.sparsity", "--model", "two_layers.py:TwoLayers", "--set", "options.width=7", *QUICK]) == 0
    assert cli.main(["show", "frankle2019.sparsity", "--model", "two_layers.py:TwoLayers", "--set", "options.width=7", *QUICK]) == 0
    assert f"hidden  dense   {64 * 7}" in capsys.readouterr().out


@pytest.mark.slow
def test_a_new_objective_runs(capsys, monkeypatch):
    list(objectives)  # which imports ours
    monkeypatch.setattr(objectives, "_parts", dict(objectives._parts))
    assert cli.main(["new", "objective", "harder"]) == 0
    assert "--load harder.py --set objective=harder" in capsys.readouterr().out
    with_it = ["--load", "harder.py", "--set", "objective=harder", "--set", "objective.gamma=1", *QUICK]
    assert cli.main(["run", "frankle2019.sparsity", *with_it]) == 0
    assert cli.main(["show", "frankle2019.sparsity", *with_it]) == 0
    assert "task.objective.gamma" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("kind", "name", "said"),
    [
        ("study", "my study", "a study cannot be called 'my study'; give letters, digits and _"),
        ("model", "a.b", "a model cannot be called 'a.b'"),
        ("objective", "lambda", "an objective cannot be called 'lambda'"),
        ("study", "frankle2019.sparsity", "there is a study 'frankle2019.sparsity' already"),
        ("objective", "regression", "there is an objective 'regression' already"),
        ("model", "there", "there.py is there already, and is left as it is"),
        ("model", "numpy", "numpy.py would hide the package 'numpy'"),
        ("network", "mine", "choose from"),
    ],
)
def test_what_cannot_be_written_is_one_line(kind, name, said, capsys):
    Path("there.py").write_text("mine")
    if kind == "network":
        with pytest.raises(SystemExit):
            cli.main(["new", kind, name])
    else:
        assert cli.main(["new", kind, name]) == 2
    assert said in capsys.readouterr().err
    assert [path.name for path in Path().iterdir()] == ["there.py"]
    assert Path("there.py").read_text() == "mine"
