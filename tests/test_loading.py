"""A user's files: what they may do when they are loaded, what is stored of them, and that nothing that is read runs them."""

import functools
import json
import re
import shlex
import sys
from importlib.metadata import EntryPoint

import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import tombola as tb
from tombola import cli
from tombola.core import loading, registry
from tombola.core.data_info import DataInfo
from tombola.core.errors import TombolaError
from tombola.core.loading import load_file, load_part
from tombola.core.parts import criteria, given_options, models, optimizers, plain_options, value_actions
from tombola.core.registry import Registry
from tombola.core.task import Data, Model, Recipe, Task
from tombola.models.build import build
from tombola.models.custom import from_class
from tombola.procedures.run import Action, Run

DATA = DataInfo.of_classes((4,), 3)

NET = """
from flax import nnx
from beside import WIDTH
class Net(nnx.Module):
    def __init__(self, shape, classes, *, rngs, more=0):
        self.hidden = nnx.Linear(shape[0], WIDTH + more, rngs=rngs)
        self.output = nnx.Linear(WIDTH + more, classes, rngs=rngs)
    def __call__(self, x):
        return self.output(nnx.relu(self.hidden(x)))
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(NET)
    (tmp_path / "beside.py").write_text("WIDTH = 6\n")
    yield tmp_path
    forget()


ELSEWHERE = r"model 'Net' (is of a user's own code, which is not here|has other code here)"
"""Other modules of the tests may hold a Net of their own."""


def forget():
    """As in a new process."""
    loading._forget_neighbours()
    for name in [name for name in sys.modules if name.startswith("tombola_user_")]:
        del sys.modules[name]
    loading._loaded.clear()
    models.handed_over.clear()


def width(model):
    return build(model, DATA).shapes["hidden/kernel"].shape[1]


def test_a_file_finds_what_lies_beside_it_and_an_edit_there_is_seen(folder):
    first = from_class("mine.py:Net")
    assert (width(first), width(from_class("mine.py:Net", more=2))) == (6, 8)
    assert load_file("mine.py") is load_file("./mine.py") is load_file(folder / "mine.py")
    (folder / "beside.py").write_text("WIDTH = 9\n")
    second = from_class("mine.py:Net")
    assert (width(second), width(first)) == (9, 6)
    assert first != second


def test_one_network_is_one_identity_however_it_is_named(folder):
    (folder / "copy").mkdir()
    (folder / "copy" / "ours.py").write_text("# a copy\n\n" + NET + "\ndef other():\n    pass\n")
    (folder / "copy" / "beside.py").write_text("WIDTH = 6\n")
    names = ("mine.py:Net", "./mine.py:Net", f"{folder}/mine.py:Net", "copy/ours.py:Net")
    assert len({from_class(name).digest for name in names}) == 1
    (folder / "copy" / "beside.py").write_text("WIDTH = 7\n")
    assert from_class("copy/ours.py:Net") != from_class("mine.py:Net")  # each has its own neighbour
    assert width(from_class("mine.py:Net")) == 6


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("import sys; sys.exit(3)", r"ends Python when it is loaded; put what only a script does under `if __name__"),
        ("import argparse; p = argparse.ArgumentParser(); p.add_argument('x'); p.parse_args()", "ends Python"),
        ("1 / 0", r"wrong\.py cannot be loaded: ZeroDivisionError: division by zero"),
        ("x =", r"wrong\.py has a syntax error in line 1"),
        ("import absent", r"cannot be loaded: ModuleNotFoundError: No module named 'absent'"),
        ("raise RuntimeError('one\\ntwo')", r"RuntimeError: one$"),
    ],
)
def test_a_file_that_fails_is_one_line(folder, capsys, text, words):
    (folder / "wrong.py").write_text(text)
    with pytest.raises(TombolaError, match=words) as caught:
        load_file("wrong.py")
    assert "\n" not in str(caught.value)
    assert capsys.readouterr() == ("", "")


def test_a_file_gets_none_of_our_arguments(folder):
    (folder / "script.py").write_text("import argparse\nFOUND = argparse.ArgumentParser().parse_args()\n")
    assert vars(load_file("script.py").FOUND) == {}


# -- nothing that is read runs a file ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["evil.py:Net", "evil:Net", "{folder}/evil.py:Net", "Net@0123456789abcdef"])
def test_a_stored_description_imports_and_runs_nothing(folder, name, monkeypatch):
    monkeypatch.syspath_prepend(str(folder))
    (folder / "evil.py").write_text("import pathlib; pathlib.Path('ran').touch()\nclass Net: pass\n")
    for stored in ({"spec": "Model", "name": name.format(folder=folder)}, {"name": name.format(folder=folder), "source": "1" * 16}):
        with pytest.raises(TombolaError, match=r"give the (part itself|file that holds it)") as caught:
            build(Model.of_canonical(stored), DATA)
        assert "\n" not in str(caught.value)
    with pytest.raises(TombolaError):
        optimizers[name]
    assert not (folder / "ran").exists()


def test_a_part_is_found_again_where_its_code_is_loaded(folder):
    stored = from_class("mine.py:Net").canonical()
    forget()
    with pytest.raises(TombolaError, match=ELSEWHERE):
        build(Model.of_canonical(stored), DATA)
    (folder / "beside.py").write_text("WIDTH = 7\n")
    load_file("mine.py")
    with pytest.raises(TombolaError, match="has other code here than where it was described"):
        build(Model.of_canonical(stored), DATA)
    (folder / "beside.py").write_text("WIDTH = 6\n")
    load_file("mine.py")
    assert width(Model.of_canonical(stored)) == 6


# -- registries -------------------------------------------------------------------------------------------------------


def test_a_registered_name_is_replaced_by_the_users_other_part_and_never_gives_the_old_one():
    parts = Registry("part")

    def made(by):
        def scale(x):
            return x * by

        return scale

    parts.add("scale", made(1))
    first = parts.described("scale")
    parts.add("scale", made(2))
    second = parts.described("scale")
    assert first != second
    assert (parts[first](3), parts[second](3)) == (3, 6)
    with pytest.raises(TombolaError, match="was registered after it was described; describe it anew"):
        parts["scale"]
    with pytest.raises(TombolaError, match="registered already"):
        criteria.add("large_final", made(1))
    with pytest.raises(TombolaError, match="cannot be called"):
        parts.add("a@b", made(1))


def test_what_a_part_uses_must_not_change_under_it():
    held = [1]

    def scale(x):
        return x * held[0]

    parts = Registry("part")
    name = parts.described(scale)
    assert parts[name](2) == 2
    held[0] = 5
    with pytest.raises(TombolaError, match="'scale' has changed since it was described"):
        parts[name]


def test_descriptions_tell_the_code_of_every_part_they_name():
    def mine(*arguments, **options):
        return arguments

    task = Task(
        data=Data(name="digits", augment=mine),
        model=Model(name=mine, initializer=mine),
        recipe=Recipe(steps="1it", batch=1, learning_rate=1, optimizer=mine, schedule=mine),
    )
    named = [task.data.augment, task.model.name, task.model.initializer, task.recipe.optimizer, task.recipe.schedule]
    assert set(named) == {optimizers.described(mine)}
    value_actions.add("own_value", mine)
    try:
        run = Run(task=task, seed=0, kept=Action(name="own_value"))
        assert run.kept.name == value_actions.described("own_value") != "own_value"
    finally:
        value_actions._parts.pop("own_value")


def test_plug_ins_are_loaded_at_the_first_name_that_is_not_found(folder, monkeypatch, capsys):
    monkeypatch.syspath_prepend(str(folder))
    text = "from tombola.core.parts import criteria\n@criteria.register\ndef plugged(initial, final):\n    return abs(final)\n"
    (folder / "plugged.py").write_text(text)
    (folder / "failing.py").write_text("1 / 0\n")
    found = [EntryPoint(name, f"{name}", registry.PLUGINS) for name in ("failing", "plugged")]
    monkeypatch.setattr(registry, "entry_points", lambda group: found if group == "tombola" else [])
    monkeypatch.setattr(registry, "_plugins_loaded", False)
    monkeypatch.setattr(criteria, "_parts", dict(criteria._parts))
    assert "large_final" in criteria
    assert "plugged" not in sys.modules
    criteria.check("plugged")
    assert capsys.readouterr().err == "warning: plug-in 'failing' (failing) cannot be used: ZeroDivisionError: division by zero\n"
    assert criteria.described("plugged").startswith("plugged@")


# -- options ----------------------------------------------------------------------------------------------------------


class Typed(nnx.Module):
    def __init__(self, shape, classes, *, rngs, width=4, activation=nnx.relu, dtype=jnp.float32, scale=1.0, table=None):
        self.hidden = nnx.Linear(shape[0], width, rngs=rngs, dtype=dtype)
        self.output = nnx.Linear(width, classes, rngs=rngs)
        self.activation, self.scale, self.table = activation, scale, None if table is None else nnx.data(jnp.asarray(table))

    def __call__(self, x):
        x = self.activation(self.hidden(x)) * self.scale
        return self.output(x if self.table is None else x * self.table)


@pytest.mark.slow
def test_options_may_be_numbers_of_numpy_dtypes_functions_and_arrays():
    plain = tb.model(Typed, width=8)
    assert tb.model(Typed, width=np.int64(8)) == plain == tb.model(functools.partial(Typed, width=8))
    assert tb.model(Typed, scale=np.float64(0.5)) == tb.model(Typed, scale=0.5)
    assert tb.model(Typed, dtype=jnp.float16).options == {"dtype": {"@dtype": "float16"}} == tb.model(Typed, dtype=np.float16).options
    assert given_options(tb.model(Typed, dtype=np.dtype("float16")).options) == {"dtype": np.float16}
    build(tb.model(Typed, dtype=jnp.bfloat16), DATA)  # computes in half precision
    functions = [tb.model(Typed, activation=one) for one in (nnx.relu, nnx.gelu, lambda x: x, lambda x: -x)]
    assert len({model.digest for model in functions}) == 4
    json.dumps(functions[0].canonical())
    nets = [build(model, DATA) for model in functions]
    weights, x = nets[0].init(0), jnp.array([[1.0] * 4, [-1.0] * 4])
    outputs = [net.apply(weights, x, train=False)[0] for net in nets]
    assert len({np.asarray(one).tobytes() for one in outputs}) == 4
    with pytest.raises(TombolaError, match=r"cannot be told from others: it uses .*Generator"):
        tb.model(Typed, table=np.random.default_rng(0))
    assert plain_options({"a": (1, [np.bool_(True)])}) == {"a": (1, [True])}


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (Typed((4,), 3, rngs=nnx.Rngs(0)), r"given by its class, not by an instance.*: tb\.model\(Typed, \.\.\.\)"),
        (functools.partial(Typed, (4,)), "positional arguments"),
        (3, "given by its class, not by 3"),
    ],
)
def test_what_is_no_class_is_refused_in_one_line(given, words):
    with pytest.raises(TombolaError, match=words) as caught:
        tb.model(given)
    assert "\n" not in str(caught.value)


# -- runs of a user's network -----------------------------------------------------------------------------------------

STUDY = "frankle2019.sparsity --scale smoke --task digits-mlp --replicates 1 --store s --model mine.py:Net"
SETTINGS = "--set levels=1 --set random_masks=0 --set reinits=0 --set steps=2it --set evaluate_every=2it --set train=60 --set batch=60"


def call(verb, more=""):
    return cli.main(shlex.split(f"{verb} {STUDY} {SETTINGS} {more}"))


def asked(capsys, command):
    capsys.readouterr()
    assert cli.main(shlex.split(command)) == 0
    return capsys.readouterr().out


@pytest.mark.slow
def test_results_of_earlier_code_are_said_and_adopted_and_the_code_is_kept(folder, capsys):
    assert call("run") == 0
    kept = [path.read_text() for path in (folder / "s").glob("*/code.py")]
    assert len(kept) == 2
    assert all("class Net" in text for text in kept)
    run = next(path.parent.parent.name for path in (folder / "s").glob("*/weights/2it.safetensors"))

    forget()
    (folder / "mine.py").write_text("# a comment\n" + NET.replace("class Net", "def unrelated():\n    pass\n\n\nclass Net"))
    assert json.loads(asked(capsys, f"status {STUDY} {SETTINGS} --json")) == {
        "runs": 2,
        "done": 2,
        "in progress": 0,
        "missing": 0,
        "measurements": 0,
        "measurements missing": 0,
        "workers": {},
    }

    forget()
    (folder / "mine.py").write_text(NET.replace("nnx.relu(self.hidden(x))", "nnx.relu(self.hidden(x) + 0)"))
    assert "2 of those that are missing are stored with earlier code" in asked(capsys, f"status {STUDY} {SETTINGS}")
    assert "2 runs and measurements that earlier code made are found now" in asked(capsys, f"adopt {STUDY} {SETTINGS}")
    status = json.loads(asked(capsys, f"status {STUDY} {SETTINGS} --json"))
    assert (status["done"], status["missing"], "under earlier code" in status) == (2, 0, False)
    made = [json.loads(path.read_text()) for path in (folder / "s").glob("*/made.json")]
    assert sum("adopted" in one for one in made) == 2

    forget()  # nothing that is stored runs the file
    (folder / "mine.py").write_text(NET + "\nopen('ran', 'w').close()\n")
    assert cli.main(shlex.split(f"export {run} --store s -o t.safetensors --packed --step 2it")) == 2
    assert re.search(ELSEWHERE, capsys.readouterr().err)
    assert not (folder / "ran").exists()
    for given in ("--load mine.py", "--model mine.py:Net"):
        forget()
        assert cli.main(shlex.split(f"export {run} --store s -o t.safetensors --packed --step 2it {given}")) == 0
        tb.load_ticket("t.safetensors")
    forget()
    (folder / "ran").unlink()
    with pytest.raises(TombolaError, match=ELSEWHERE):
        tb.load_ticket("t.safetensors")
    assert not (folder / "ran").exists()


def test_runs_of_the_version_that_told_code_by_files_are_found_too(folder):
    from tombola.core.spec import digest_of
    from tombola.engine.adopting import earlier
    from tombola.engine.graph import graph
    from tombola.store.store import Store

    task = tb.task("digits-mlp", "smoke").but(model=from_class("mine.py:Net"))
    dense = Run(task=task, seed=0)
    child = Run(task=task, seed=0, kept=Action(name="rewind", of=(dense.at("0it"),)))
    store, named = Store(None), {dense.digest: "", child.digest: ""}
    for run in (dense, child):
        told = json.loads(json.dumps(run.canonical()))
        told["task"]["model"] |= {"name": "somewhere/mine.py:Net", "source": "00112233"}
        if run is child:
            told["kept"]["of"][0]["run"] = named[dense.digest]
        named[run.digest] = digest_of(told)
        store.put(named[run.digest], {"spec.json": json.dumps(told).encode(), "made.json": b"{}"}, {})
    found = earlier(graph([child]), {}, store)
    assert {one.now.digest: one.there.digest for one in found} == named
    assert earlier(graph([Run(task=tb.task("digits-mlp", "smoke"), seed=0)]), {}, store) == []


def test_a_part_of_a_file_may_be_set(folder):
    from tombola.engine.configuring import resolve

    found = resolve("frankle2019.sparsity", settings=["task.model.name=mine.py:Net"]).task.model
    assert found.name == from_class("mine.py:Net").name


def test_home_is_understood_in_paths():
    given = vars(cli._parser().parse_args(["runs", "--store=~/x"]))
    assert str(given["store"]).startswith("/")


def test_names_of_parts_of_files():
    for name in ("mine.py:", ":Net", "nothing"):
        with pytest.raises(TombolaError, match=r"write path\.py:Name or package\.module:Name"):
            load_part(name)
    assert load_part("json:dumps") is json.dumps
