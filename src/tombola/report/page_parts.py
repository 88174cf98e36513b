"""The parts of a study's section of the page, each as HTML. All text that comes from outside is escaped."""

import json
from collections import Counter
from collections.abc import Collection, Sequence
from functools import partial
from html import escape
from typing import Any

from tombola.evaluation.verdict import Effect, Verdict
from tombola.report import text
from tombola.report.glossary import GLOSSARY
from tombola.report.numbers import Block, Numbers, numbers_of
from tombola.studies.base import Findings, studies

_SYMBOLS = {"replicated": "\N{HEAVY CHECK MARK}", "not replicated": "\N{HEAVY BALLOT X}", "undecided": "?"}


def heading(report: Findings, name: str) -> str:
    """The study's name and the question that it answers."""
    study = report.study
    answers = studies[study.name].answers if study.name in studies else ""
    replicates = report.table.replicate.nunique()
    tally = Counter(verdict.verdict for verdict in report.verdicts)
    found = ", ".join(f"{count} {verdict}" for verdict, count in tally.items())
    facts = f"Task {study.config.task.name}, {replicates} replicate{'s' if replicates != 1 else ''}. Claims: {found or 'none'}."
    return f'<h2>{escape(study.name)}</h2>\n<p class="answers">{escape(answers)}</p>\n<p class="soft">{escape(facts)}</p>'


def claims(report: Findings) -> str:
    """Every claim with its verdict, and the effects that it rests on."""
    if not report.verdicts:
        return ""
    return "<h3>Claims</h3>\n" + "\n".join(_claim(verdict) for verdict in report.verdicts)


def _claim(verdict: Verdict) -> str:
    badge = f'<span class="badge {verdict.verdict.replace(" ", "-")}">{_SYMBOLS[verdict.verdict]} {verdict.verdict}</span>'
    effects = "".join(_effect(effect) for effect in verdict.effects)
    head = _effect_row("th", ("effect, above 0 as claimed", "mean [95 % interval]", "n", "p"))
    return f"""<article>
<header><b>{escape(verdict.id)}</b> {badge}</header>
<p>{escape(verdict.sentence)}</p>
<p class="note">{escape(verdict.source)}</p>
<div class="scroll"><table class="effects"><thead>{head}</thead><tbody>{effects}</tbody></table></div>
{_note(verdict.note)}{_per_level(verdict.effects)}
</article>"""


def _effect(effect: Effect) -> str:
    name = escape(effect.name) + ("" if effect.decides else ' <span class="soft">(shown, not judged)</span>')
    return _effect_row("td", (name + _note(effect.note), escape(text.estimate(effect)), str(effect.n), text.p_value(effect)))


def _effect_row(tag: str, cells: Sequence[str]) -> str:
    names = ("name", "estimate", "n", "p")
    return "<tr>" + "".join(f'<{tag} class="{name}">{cell}</{tag}>' for name, cell in zip(names, cells, strict=True)) + "</tr>"


def _note(note: str) -> str:
    return f'<p class="note">{escape(note)}</p>' if note else ""


def _per_level(effects: Sequence[Effect]) -> str:
    tables = "".join(_levels(effect) for effect in effects if effect.per_level)
    return f'<details><summary>By level</summary><div class="levels">{tables}</div></details>' if tables else ""


def _levels(effect: Effect) -> str:
    places = text.decimals([(effect.high - effect.low) / 2])
    key, name = (text.STEP, partial(text.number, places=0)) if effect.along == "step" else ("density", text.percent)
    rows = [(name(place), text.number(mean, places, sign=True), text.short(p)) for place, mean, p in effect.per_level]
    return _table((key, f"mean ({effect.unit})", "p (Holm)"), rows, caption=effect.name)


def summary_table(report: Findings) -> str:
    """Mean ± half-interval by arm and what levels count, for every panel that the figures show: a table for each variant."""
    variants, note = numbers_of(report)
    if not variants:
        return ""
    tables = "\n".join(_numbers(numbers) for numbers in variants)
    if not variants[0].key:
        return f"<details><summary>The numbers of the first figure</summary>\n{_note(note)}\n{tables}</details>"
    by = {"rounds": "density", "steps": "step", "layers": "number of layers reset", "widths": "width"}[report.study.levels]
    return f"<details><summary>All numbers, by {by} and arm</summary>\n{_note(note)}\n{tables}</details>"


def _numbers(numbers: Numbers) -> str:
    keys = [numbers.key, *(["kept"] if numbers.kept else [])]
    columns = [(block, arm) for block in numbers.blocks for arm in block.arms]
    rows = [
        [name, *([numbers.kept.get(level, "")] if numbers.kept else []), *(block.cells.get((arm, level), "") for block, arm in columns)]
        for level, name in numbers.levels.items()
    ]
    widths = [len(block.arms) for block in numbers.blocks]
    firsts = {len(keys) + sum(widths[:index]) for index in range(len(widths))}
    head = [*keys, *(block.arms[arm] for block, arm in columns)]
    return _table(head, rows, caption=numbers.label, over=_over(numbers.blocks, len(keys)), firsts=firsts)


def _over(blocks: Sequence[Block], keys: int) -> str:
    over = "".join(f'<th class="over" colspan="{len(block.arms)}" scope="colgroup">{escape(block.label)}</th>' for block in blocks)
    return f'<tr><td colspan="{keys}"></td>{over}</tr>'


def _table(head: Sequence[str], rows: Sequence[Sequence[str]], caption: str = "", over: str = "", firsts: Collection[int] = ()) -> str:
    """A table; `firsts`: columns with a rule before them."""

    def row(tag: str, cells: Sequence[str]) -> str:
        first = [" class=first" if index in firsts else "" for index in range(len(cells))]
        return "<tr>" + "".join(f"<{tag}{rule}>{escape(cell)}</{tag}>" for cell, rule in zip(cells, first, strict=True)) + "</tr>"

    body = "".join(row("td", cells) for cells in rows)
    named = f"<caption>{escape(caption)}</caption>" if caption else ""
    return f'<div class="scroll"><table>{named}<thead>{over}{row("th", head)}</thead><tbody>{body}</tbody></table></div>'


def provenance(report: Findings) -> str:
    """Where the numbers come from; the command that makes them again in full."""
    others = {name: value for name, value in report.provenance.items() if name != "command"}
    listed = "".join(f"<dt>{escape(name)}</dt><dd>{escape(str(value))}</dd>" for name, value in others.items())
    command = report.provenance.get("command", "")
    shown = f"<pre><code>{escape(command)}</code></pre>" if command else ""
    return f"<h3>How this was made</h3>\n{shown}\n<dl>{listed}</dl>\n{_configuration(report)}"


def _configuration(report: Findings) -> str:
    from tombola.engine.configuring import fields_of  # loads JAX

    fields = fields_of(report.study.config)
    listed = "".join(f"<dt>{escape(path)}</dt><dd>{escape(_json(value))}</dd>" for path, value in fields.items())
    return f"<details><summary>Configuration: all fields, as <code>--set</code> takes them</summary>\n<dl>{listed}</dl></details>"


def _json(value: Any) -> str:
    return value if isinstance(value, str) and value else json.dumps(value, ensure_ascii=False, default=str)


def glossary() -> str:
    """What the words of a report mean."""
    sentences = " ".join(f"<b>{escape(term)}</b> {escape(rest)}" for term, rest in GLOSSARY.items())
    return f"<details><summary>What the words mean</summary>\n<p>{sentences}</p></details>"
