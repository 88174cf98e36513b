"""The page's style sheet: light and dark, wide and narrow, on screen and on paper."""

CSS = """
:root { color-scheme: light dark; --ink: #1f2328; --soft: #59636e; --line: #d9dee3; --card: #f6f8fa; --page: #ffffff;
  --good: #1a7f37; --bad: #b42318; --open: #8a6100; --link: #0550ae; }
@media screen and (prefers-color-scheme: dark) {
  :root { --ink: #e6e9ed; --soft: #9aa5b1; --line: #343b44; --card: #1a1f26; --page: #12161b;
    --good: #5cc97b; --bad: #ff8f86; --open: #e0b04a; --link: #79b8ff; }
}
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 66rem; padding: 1.5rem 1.25rem 4rem; background: var(--page); color: var(--ink);
  font: 1rem/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; }
a { color: var(--link); }
h1, h2, h3 { line-height: 1.25; }
h1 { font-size: 1.2rem; margin: 0 0 1rem; color: var(--soft); font-weight: 600; }
h2 { font-size: 1.7rem; margin: 2.5rem 0 0.25rem; overflow-wrap: anywhere; }
h3 { font-size: 1.15rem; margin: 2.25rem 0 0.75rem; }
.answers { font-size: 1.15rem; margin: 0 0 0.25rem; }
.soft, figcaption, .note { color: var(--soft); }
.note { font-size: 0.9rem; margin: 0.25rem 0; }
nav ul { padding-left: 1.2rem; }
article { border: 1px solid var(--line); border-radius: 8px; padding: 0.8rem 1rem 0.9rem; margin: 0.8rem 0; }
article header { display: flex; flex-wrap: wrap; gap: 0.25rem 0.7rem; align-items: baseline; }
article p { margin: 0.35rem 0; }
.badge { font-weight: 650; font-size: 0.85rem; white-space: nowrap; padding: 0 0.65rem;
  border: 1.5px solid currentColor; border-radius: 1rem; }
.replicated { color: var(--good); }
.not-replicated { color: var(--bad); border-style: double; border-width: 3px; }
.undecided { color: var(--open); border-style: dashed; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: 0.875rem; font-variant-numeric: tabular-nums; }
th, td { padding: 0.25rem 0.7rem; text-align: right; white-space: nowrap; border-bottom: 1px solid var(--line); }
th { font-weight: 600; vertical-align: bottom; white-space: normal; }
thead th.over { text-align: center; border-left: 1px solid var(--line); }
td.first, th.first { border-left: 1px solid var(--line); }
table.effects { width: 100%; }
table.effects td { vertical-align: top; }
table.effects .name { text-align: left; white-space: normal; padding-left: 0; }
table.effects .estimate { white-space: normal; width: 17rem; }
table.effects .n { width: 3.5rem; }
table.effects .p { width: 5rem; padding-right: 0; }
table.effects tr:last-child td { border-bottom: none; }
.levels { display: flex; flex-wrap: wrap; gap: 0.5rem 2.5rem; }
caption { text-align: left; padding: 0.5rem 0 0.2rem; max-width: 22rem; color: var(--soft); }
figure { margin: 1.25rem 0 2rem; }
.plot { overflow-x: auto; }
.plot svg { display: block; margin: 0 auto; width: 100%; height: auto;
  max-width: calc(var(--width) * 1.75px); min-width: calc(var(--width) * 1.3px); }
figcaption { font-size: 0.9rem; margin-top: 0.4rem; }
figcaption b { color: var(--ink); }
summary { cursor: pointer; font-weight: 600; padding: 0.2rem 0; }
article summary { font-weight: 400; font-size: 0.9rem; color: var(--soft); }
dl { display: grid; grid-template-columns: max-content 1fr; gap: 0.15rem 1.2rem; font-size: 0.9rem; }
dt { color: var(--soft); }
dd { margin: 0; overflow-wrap: anywhere; }
code, pre { font-family: ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; font-size: 0.85em; }
pre { background: var(--card); border: 1px solid var(--line); border-radius: 6px; padding: 0.6rem 0.8rem;
  white-space: pre-wrap; overflow-wrap: anywhere; }
@media (max-width: 40rem) {
  body { padding: 1rem 0.8rem 3rem; }
  table.effects, table.effects tbody, table.effects tr { display: block; }
  table.effects thead { display: none; }
  table.effects tr { border-top: 1px solid var(--line); padding: 0.3rem 0; }
  table.effects td { display: inline-block; width: auto !important; padding: 0 1rem 0 0; border: none; }
  table.effects td.name { display: block; }
  table.effects td.estimate { display: block; font-weight: 600; text-align: left; }
  table.effects td.n::before { content: "n = "; }
  table.effects td.p::before { content: "p = "; }
}
@media print { details > * { display: block; } .plot svg { min-width: 0; } article, figure { break-inside: avoid; } }
"""
