"""The parts of a study's section of the page, each as HTML. All text that comes from outside is escaped."""

from collections import Counter
from collections.abc import Sequence
from html import escape

from tombola.evaluation.verdict import Effect, Verdict
from tombola.report import text
from tombola.report.result import arms_of, panels_of
from tombola.report.summary import counts, densities_of, summarise
from tombola.studies.base import Findings, Panel, studies

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
    rows = [(text.percent(density), text.number(mean, places, sign=True), text.short(p)) for density, mean, p in effect.per_level]
    return _table(("density", f"mean ({effect.unit})", "p (Holm)"), rows, caption=effect.name)


def summary_table(report: Findings) -> str:
    """Mean ± half-interval by arm and density, for every panel that the figures show."""
    panels, arms, kept = panels_of(report), arms_of(report), counts(report.table)
    if not panels:
        return ""
    summary = summarise(report.table, [panel.metric for panel in panels])
    cells = [text.cells(summary, panel) for panel in panels]
    rows = []
    for level, density in densities_of(report.table).items():
        values = [of_panel.get((arm, level), "") for of_panel in cells for arm in arms]
        rows.append([text.percent(density), *([kept[level]] if kept else []), *values])
    keys = ["density", *(["kept"] if kept else [])]
    groups = _groups(panels, len(arms), len(keys))
    table = _table([*keys, *list(arms.values()) * len(panels)], rows, over=groups, rules=(len(keys), len(arms)))
    note = _note(text.how_summarised(summary))
    return f"<details><summary>All numbers, by density and arm</summary>\n{note}\n{table}</details>"


def _groups(panels: Sequence[Panel], arms: int, keys: int) -> str:
    over = "".join(f'<th class="over" colspan="{arms}" scope="colgroup">{escape(panel.label)}</th>' for panel in panels)
    return f'<tr><td colspan="{keys}"></td>{over}</tr>'


def _table(head: Sequence[str], rows: Sequence[Sequence[str]], caption: str = "", over: str = "", rules: tuple[int, int] = (0, 0)) -> str:
    """A table; `rules`: after so many columns, a rule before every group of so many."""
    keys, group = rules

    def row(tag: str, cells: Sequence[str]) -> str:
        first = [" class=first" if group and index >= keys and (index - keys) % group == 0 else "" for index in range(len(cells))]
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
    return f"<h3>How this was made</h3>\n{shown}\n<dl>{listed}</dl>"
