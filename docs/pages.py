"""Pages of the site that are made from the code: public names, parts, commands, studies, terms."""

import ast
import inspect
import json
import re
import typing
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from importlib import import_module
from itertools import pairwise
from pathlib import Path
from typing import Any

import tombola as tb
from tombola.core import parts
from tombola.core.errors import TombolaError
from tombola.core.fields import docstrings, help_of
from tombola.core.registry import Registry
from tombola.core.spec import Spec
from tombola.studies.figure import Panel
from tombola.studies.shown import Shown

HERE = Path(__file__).parent
RESULTS = HERE / "results"

NAMES = {
    "Experiments": "train imp instability path robustness supermask search attack classes words run predict Trajectory Words",
    "Masks and weights": "score prune combine values compact masks load_ticket to_torch",
    "Tasks": "task tasks Task Data Model Recipe Step model DataInfo sow Pruning Supermask MaskSchedule Detect Action",
    "Data": "from_arrays from_table from_file from_dataset from_text",
    "Objectives": "objectives",
    "Your own parts": "criteria optimizers schedules augmentations initializers mask_schedules MaskUpdates detectors Detector "
    "searchers Searcher mask_actions value_actions measurements torch_rules",
    "The store, trackers, errors": "Store tracker TombolaError TombolaWarning",
}
"""Section of the reference -> the public names in it, each in one."""

SHOWN = (
    'It shows itself in a notebook. `.plot()` gives its figure (`.plot().save("figure.pdf")` writes it), `.to_pandas()` the first of its '
    "`tables`, `.to_pandas(NAME)` another."
)
"""What is said of each result (`Shown`)."""


def made() -> dict[str, str]:
    """Path of a page below `_made`, without its suffix -> its text."""
    from tombola.studies.catalogue import studies

    found = {"reference": reference(), "writing_studies": writing_studies(), "parts": all_parts(), "commands": commands()}
    found |= {"glossary": glossary(), "studies/index": study_index()}
    return found | {f"studies/{name}": study_page(name) for name in studies}


# -- public names --------------------------------------------------------------------------------------------------------


def reference() -> str:
    """Every public name, with what belongs to it."""
    lines = ["# Reference: `import tombola as tb`", "Every public name. What parts are registered under these names: [](parts.md)."]
    for title, names in NAMES.items():
        lines.append(f"## {title}")
        for name in names.split():
            lines += described(f"tombola.{name}", getattr(tb, name))
    return "\n\n".join(lines) + "\n"


def writing_studies() -> str:
    """What a file with a study of one's own imports."""
    import tombola.studies as own

    lines = [
        "# Reference: `tombola.studies`",
        "What a file with a study of your own needs. How they go together: [](../guide/own_study.md).",
    ]
    places = re.findall(r"^from (\S+) import", inspect.getsource(own), re.MULTILINE)
    values = {name: text for place in places for name, text in _texts_under(import_module(place)).items()}
    for name in own.__all__:
        if name in tb.__all__:
            lines.append(f"`{name}`: {{py:obj}}`tombola.{name}`.")
        elif name in values:
            lines.append(_directive("data", f"tombola.studies.{name}", markdown(values[name])))
        else:
            lines += described(f"tombola.studies.{name}", getattr(own, name))
    return "\n\n".join(lines) + "\n"


def described(name: str, part: Any) -> list[str]:
    """A part as directives of Sphinx's Python domain: a function or class with its members, a module with what is in it, or a value."""
    if inspect.ismodule(part):
        inside = [(key, one) for key, one in vars(part).items() if not key.startswith("_") and callable(one) and documented(one, part)]
        return [
            _directive("module", name, ""),
            _directive("currentmodule", "None", ""),
            text_of(part),
            *(line for key, one in inside for line in described(f"{name}.{key}", one)),
        ]
    if inspect.isclass(part):
        return [_class(name, part)]
    if inspect.isfunction(part):
        results = [_class(f"{part.__module__}.{kind.__name__}", kind) for kind in _results(part)]
        return [_directive("function", f"{name}{signature(part)}", text_of(part)), *results]
    return [_directive("data", name, text_of(part))]


def documented(part: Any, module: Any) -> bool:
    """Whether a name in a module is the module's to offer: its own, or imported under its own name from Tombola."""
    return str(getattr(part, "__module__", "")).startswith("tombola.") and part.__module__ in (module.__name__, *_offered(module))


def _offered(module: Any) -> list[str]:
    """Modules from which a package imports what it offers (``from x import y as y``)."""
    return re.findall(r"^from (\S+) import (?:\w+) as", inspect.getsource(module), re.MULTILINE)


def _results(function: Callable[..., Any]) -> list[type]:
    """The public class of a function's module that it returns, such as `Instability`."""
    kind = hints(function).get("return")
    own = inspect.isclass(kind) and kind.__module__ == function.__module__ and kind.__name__ not in tb.__all__
    return [kind] if own else []


def _class(name: str, kind: type) -> str:
    members = []
    annotations = hints(kind)
    for key, text in fields(kind).items():
        value = _default(kind, key)
        head = f"{key}\n:type: {type_text(annotations[key])}" if key in annotations else key
        members.append(_directive("attribute", f"{head}\n:value: {value}" if value else head, markdown(text)))
    for key, member in vars(kind).items():
        if key.startswith("_") or not inspect.getdoc(member) or (key == "pictures" and issubclass(kind, Shown)):
            continue
        if isinstance(member, property):
            members.append(_directive("property", key, text_of(member)))
        elif callable(one := getattr(member, "__func__", member)) and inspect.isfunction(one):
            members.append(_directive("method", f"{key}{signature(one)}", text_of(member)))
    shown = "" if issubclass(kind, Spec | Exception) else signature(kind)
    return _directive("class", f"{name}{shown}", "\n\n".join([text_of(kind), *([SHOWN] if issubclass(kind, Shown) else []), *members]))


def _directive(kind: str, head: str, body: str) -> str:
    """``head``: a signature, and options a line each. Fences are longer than those of what is inside."""
    ticks = "`" * (max([2, *map(len, re.findall(r"^`{3,}", body, re.MULTILINE))]) + 1)
    return f"{ticks}{{py:{kind}}} {head}\n" + (f"\n{body}\n" if body else "") + ticks


def signature(function: Any) -> str:
    """As it is called; types as they are read, without what checks them."""
    try:
        found = inspect.signature(function)
    except ValueError:
        return "()"
    own, types = list(found.parameters.values()), hints(function)
    own = [one for one in own if one.name != "self"]
    if inspect.isclass(function):
        types = hints(function) | hints(function.__init__)

    def shown(one: inspect.Parameter) -> str:
        stars = {one.VAR_POSITIONAL: "*", one.VAR_KEYWORD: "**"}.get(one.kind, "")
        text = f"{stars}{one.name}" + (f": {type_text(types[one.name])}" if one.name in types else "")
        return text if one.default is one.empty else f"{text} = {_plain(one.default)}"

    texts, keywords = [], False
    for one in own:
        if one.kind is one.KEYWORD_ONLY and not keywords:
            keywords = True
            if not any(other.kind is other.VAR_POSITIONAL for other in own):
                texts.append("*")
        keywords |= one.kind is one.VAR_POSITIONAL
        texts.append(shown(one))
    given = types.get("return")
    return f"({', '.join(texts)})" + (f" -> {type_text(given)}" if "return" in types and not inspect.isclass(function) else "")


def hints(part: Any) -> dict[str, Any]:
    """Types without what pydantic checks of them; as they are written, where they name what is imported for checkers alone."""
    try:
        return typing.get_type_hints(part)
    except (NameError, TypeError, AttributeError):
        return dict(getattr(part, "__annotations__", {}))


def type_text(kind: Any) -> str:
    """A type in short names."""
    if kind is None or kind is type(None):
        return "None"
    text = (
        kind.strip("'\"") if isinstance(kind, str) else kind.__name__ if inspect.isclass(kind) and not typing.get_args(kind) else str(kind)
    )
    return re.sub(r"\b(?:[a-z_]\w*\.)+(?=\w)", "", text).replace("NoneType", "None").replace("~", "")


def _plain(value: Any) -> str:
    return f"'{value}'" if type(value).__name__ == "Step" else f"{value.__name__}" if inspect.isfunction(value) else f"{value!r}"


def _default(kind: type, key: str) -> str:
    if issubclass(kind, Spec) and key in kind.model_fields:
        field = kind.model_fields[key]
        return "" if field.is_required() or field.default_factory else _plain(field.default)
    return ""


@cache
def fields(kind: type) -> Mapping[str, str]:
    """Field of a class -> the text under it; of a description all that it has, with what they may be."""
    if issubclass(kind, Spec):
        return {name: f"{one.meaning} It is {one.allowed}.".strip() for name, one in help_of(kind).items()}
    said, own = docstrings(kind), inspect.get_annotations(kind).items()
    return {name: inspect.cleandoc(said.get(name, "")) for name, given in own if name[0] != "_" and "ClassVar" not in str(given)}


def text_of(part: Any) -> str:
    """What a part says of itself."""
    if isinstance(part, Panel):
        return f"The column `{part.metric}` of a table, drawn as: {part.label}."
    if isinstance(part, Registry):
        return markdown(_said_of_registries().get(id(part), f"Registry of every {part.kind}."))
    text = vars(part).get("__doc__") if inspect.isclass(part) and issubclass(part, Spec) else inspect.getdoc(part)  # without its fields
    return markdown(inspect.cleandoc(text or ""))


def _said_of_registries() -> dict[int, str]:
    """Registry -> the text under it in `tombola.core.parts`, or what a registry is for."""
    found, texts = {}, _texts_under(parts)
    for name, one in vars(parts).items():
        if isinstance(one, Registry):
            how = f"`@tb.{name}.register` adds a part of yours." if name in tb.__all__ else ""
            found[id(one)] = " ".join(filter(None, [f"The registry of every {one.kind}.", texts.get(name), how]))
    return found


def _texts_under(module: Any) -> dict[str, str]:
    """Name of a value that a module makes -> the text under it."""
    found = {}
    for node, after in pairwise(ast.parse(inspect.getsource(module)).body):
        target = node.target if isinstance(node, ast.AnnAssign) else node.targets[0] if isinstance(node, ast.Assign) else None
        if isinstance(target, ast.Name) and isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant):
            found[target.id] = str(after.value.value)
    return found


SECTION = re.compile(r"^(Args|Returns|Raises|Yields):$")


def markdown(text: str) -> str:
    """A docstring as Markdown: sections as lists, what it names in full as links."""
    lines, listed = [], False
    for line in text.split("\n"):
        if found := SECTION.match(line):
            lines += ["", f"**{'Arguments' if found[1] == 'Args' else found[1]}**", ""]
            listed = True
        elif listed and line.startswith("    ") and not line.startswith("     "):
            item = line.strip()
            name = re.match(r"([\w, *`.]+): ", item)
            lines.append(f"- `{name[1]}`: {item[name.end() :]}" if name and "`" not in name[1] else f"- {item}")
        elif listed and line.strip():
            lines.append(f"  {line.strip()}" if line.startswith(" ") else line)
            listed = line.startswith(" ")
        else:
            lines.append(line)
    joined = re.sub(r"`tombola\.(\w+)`", lambda one: f"{{py:obj}}`tombola.{one[1]}`" if one[1] in tb.__all__ else one[0], "\n".join(lines))
    return _doctests(joined)


def _doctests(text: str) -> str:
    """Examples of a Python session as blocks of code."""
    return re.sub(r"(?:^>>> .*\n?(?:^(?!\s*$).*\n?)*)", lambda one: f"```python\n{one[0].rstrip()}\n```\n", text, flags=re.MULTILINE)


# -- parts and commands ---------------------------------------------------------------------------------------------------


def all_parts() -> str:
    """Everything that is registered, by kind."""
    lines = ["# Parts", "What can be named in a task, a study or a call, as `tombola list` prints it, with options and sources."]
    for kind, registry in parts.registries().items():
        if registry.kind in ("option", "study", "data set"):
            continue
        lines.append(f"## {kind[:1].upper()}{kind[1:]}")
        lines.append(_said_of_registries()[id(registry)])
        if registry is parts.torch_rules:
            lines.append(", ".join(f"`{name}`" for name in registry))
            continue
        for name, part in registry.items():
            given = getattr(part, "build", part)
            shown = "" if registry is parts.tasks or (inspect.isclass(given) and issubclass(given, Spec)) else signature(given)
            own = [f"- `{key}` = {_default(given, key) or 'none'}: {text}" for key, text in _options(given)]
            lines.append("\n\n".join(filter(None, [f"**`{name}{shown}`**", text_of(given), "\n".join(own)])))
    return "\n\n".join(lines) + "\n"


def _options(part: Any) -> Iterator[tuple[str, str]]:
    """Fields of an objective, which are its options."""
    if inspect.isclass(part) and issubclass(part, Spec):
        for key, text in fields(part).items():
            yield key, " ".join(markdown(text).split())


def commands() -> str:
    """Every command with its options."""
    from tombola.cli import _parser

    lines = ["# Commands", "`tombola VERB --help` prints the same."]
    (verbs,) = (action.choices for action in _parser()._actions if isinstance(action.choices, dict))
    for verb, parser in verbs.items():
        lines.append(f"## tombola {verb}")
        lines.append(f"{parser.description[:1].upper()}{parser.description[1:]}.")
        actions = [one for action in parser._actions for one in getattr(action, "_choices_actions", [action])]
        rows = [(_invoked(action), action.help) for action in actions if action.help and action.dest != "help"]
        lines.append("| | |\n|---|---|\n" + "\n".join(f"| {name} | {cell(help)} |" for name, help in rows))
    return "\n\n".join(line for line in lines if line) + "\n"


def _invoked(action: Any) -> str:
    names = ", ".join(f"`{name}`" for name in action.option_strings) or f"`{action.metavar or action.dest}`"
    return f"{names} `{action.metavar}`".replace("|", "\\|") if action.option_strings and action.metavar else names.replace("|", "\\|")


def glossary() -> str:
    """The terms of reports."""
    from tombola.report.glossary import GLOSSARY

    entries = "\n\n".join(f"{term}\n  *{term}* {text}" for term, text in sorted(GLOSSARY.items(), key=lambda one: one[0].lower()))
    return f"# Glossary\n\nThe words of reports, as each of them explains them too.\n\n```{{glossary}}\n{entries}\n```\n"


# -- studies -------------------------------------------------------------------------------------------------------------


def study_index() -> str:
    """All studies, by paper or idea."""
    from tombola.studies.catalogue import studies

    packages: dict[str, list[str]] = {}
    for name in studies:
        packages.setdefault(name.partition(".")[0], []).append(name)
    lines = ["# Studies", "Each answers one question, with claims that are judged. `tombola run NAME -o report` carries one out."]
    for package, names in packages.items():
        about = inspect.getdoc(import_module(f"tombola.studies.{package}")) or package
        lines.append(f"## {package}\n\n{markdown(about.split(': one module')[0].split(' One module')[0])}")
        rows = [f"| [{name}]({name}.md) | {studies[name].answers} | {', '.join(_kept(name)) or '-'} |" for name in names]
        lines.append("| study | asks | kept results on |\n|---|---|---|\n" + "\n".join(rows))
    pages = "\n".join(studies)
    return "\n\n".join(lines) + f"\n\n```{{toctree}}\n:hidden:\n\n{pages}\n```\n"


def study_page(name: str) -> str:
    """A study's question, protocol, arms, claims, fields, cost, and its kept figure."""
    from tombola.engine.configuring import resolve
    from tombola.studies.catalogue import studies

    kind, study = studies[name], resolve(name)
    lines = [f"# {name}", f"*{study.answers}*"]
    about = ", ".join(filter(None, [study.paper, f"task `{study.task.name}` unless `--task` names another"]))
    lines.append(f"{about[:1].upper()}{about[1:]}.")
    lines += _kept_figure(name, study)
    lines += ["## Protocol", text_of(kind), _cost(name), f"```sh\ntombola show {name}\ntombola run {name} -o report\n```"]
    if study.arms:
        lines.append(
            "## Arms\n\n| arm | in legends |\n|---|---|\n" + "\n".join(f"| `{arm}` | {cell(label)} |" for arm, label in study.arms.items())
        )
    if study.claims:
        lines.append("## Claims")
        verdicts = _verdicts(name)
        for claim in study.claims:
            where = f"{study.paper}, {claim.where}" if study.paper else claim.where
            said = [f"- on `{task}`: {verdict}" for task, verdict in verdicts.get(claim.id, {}).items()]
            note = claim.note(study) if callable(claim.note) else claim.note
            lines += [f"**{claim.id}.** {claim.sentence}", f"*{where}.* {note}".strip(), *(["\n".join(said)] if said else [])]
        lines.append("How a verdict comes about: [](../../guide/numbers.md).")
    return "\n\n".join([*lines, "## Fields", *_fields(study)]) + "\n"


def _kept(name: str) -> list[str]:
    """Tasks of which results are kept."""
    return sorted(path.parent.name for path in RESULTS.glob(f"{name}/*/claims.json"))


def _kept_figure(name: str, study: Any) -> list[str]:
    """The first figure of the study as it was configured for what is kept, on its own task if there is that."""
    from tombola.report import ledger

    tasks = _kept(name)
    if not tasks:
        return []
    task = study.task.name if study.task.name in tasks else tasks[0]
    table = RESULTS / name / task / "table.csv"
    for figure in ledger.configured(table, ledger.read_table(table)).figures():
        if table.with_name(f"{figure.name}.png").exists():
            text = f"{figure.title}: kept result on `{task}`."
            return [f"```{{figure}} ../../results/{name}/{task}/{figure.name}.png\n{text} {figure.caption}\n```"]
    return []


def _verdicts(name: str) -> dict[str, dict[str, str]]:
    """Claim -> task -> verdict and how many of its parts hold, of the kept results."""
    found: dict[str, dict[str, str]] = {}
    for task in _kept(name):
        for claim in json.loads((RESULTS / name / task / "claims.json").read_text()):
            found.setdefault(claim["id"], {})[task] = claim["verdict"]
    return found


def _cost(name: str) -> str:
    from tombola.engine.configuring import resolve
    from tombola.engine.cost import estimate
    from tombola.engine.progress import duration
    from tombola.kernels.device import cores
    from tombola.store.store import Store

    rows = []
    for scale in ("smoke", "small"):
        study = resolve(name, scale=scale)
        try:
            cost = estimate(study, Store())
        except TombolaError as error:
            return f"What it costs, `tombola show {name}` says; here it could not be worked out: {error}."
        numbers = [f"{n:,}" for n in (study.replicates, cost.runs, cost.replica_steps, cost.measurements)]
        rows.append(f"| `{scale}` | {' | '.join(numbers)} | {cost.floating_point_operations:.1e} | {duration(cost.seconds)} |")
    names = ("scale", "replicates", "runs", "steps, all runs together", "measurements", "floating-point operations", "time")
    head = f"| {' | '.join(names)} |\n{'|---' * len(names)}|\n"
    return f"What it costs, roughly, on {cores()} cores:\n\n{head}" + "\n".join(rows)


def _fields(study: Any) -> list[str]:
    """Settings of the study itself, and of its parts but for the task, each with its default and what it is."""
    own, others = [], []
    for key, said in fields(type(study)).items():
        value = getattr(study, key)
        if key == "task":
            continue
        if isinstance(value, Spec):
            others += [(f"{key}.{inner}", getattr(value, inner), text) for inner, text in fields(type(value)).items()]
        else:
            own.append((key, value, said))
    table = "| field | default | |\n|---|---|---|\n" + "\n".join(
        f"| `{key}` | {_cell_value(value)} | {cell(' '.join(markdown(text).split()))} |" for key, value, text in [*own, *others]
    )
    return ["`--set FIELD=VALUE` sets one; those of its task are `task.recipe.steps` and so on (`tombola show` lists all).", table]


def _cell_value(value: Any) -> str:
    text = _plain(value)
    return f"`{cell(text)}`" if len(text) <= 60 else f"`{cell(text[:56])} ...`"


def cell(text: str) -> str:
    """Of a table in Markdown."""
    return text.replace("|", "\\|").replace("\n", " ")
