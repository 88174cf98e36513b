// Hover over a mark: its value, interval and n. Click in a legend: an arm is hidden. Click on a column's head: sorted by it.
"use strict";
const tip = document.getElementById("tip");
const REACH = 14; // points (1/72 inch) around a mark in which it answers

const number = (value) => Number(value.toPrecision(4)).toLocaleString("en", { maximumSignificantDigits: 4 });

function said(point) {
  const lines = [point.label];
  if (point.at) lines.push(point.at);
  if (point.infinite) lines.push(`never in ${point.infinite} of ${point.n}`);
  else if (point.mean !== null) {
    const ends = point.low === null || point.low === undefined ? "" : ` [${number(point.low)}, ${number(point.high)}]`;
    lines.push(number(point.mean) + ends + (point.n === undefined ? "" : `, n = ${point.n}`));
  }
  return lines.join("\n");
}

function entriesOf(element) {
  const found = element.id.match(/^series([\d_]+)-/);
  return found ? found[1].split("_").map(Number) : [];
}

function interactive(plot) {
  if (!plot.shadowRoot) return; // an old browser shows no figure at all
  const svg = plot.shadowRoot.querySelector("svg");
  const points = JSON.parse(plot.querySelector(".numbers").textContent);
  const hidden = new Set();

  const visible = (point) => !(point.entry || []).some((entry) => hidden.has(entry));

  function nearest(event) {
    const frame = svg.getBoundingClientRect();
    const scale = svg.viewBox.baseVal.width / frame.width;
    const x = (event.clientX - frame.left) * scale;
    const y = (event.clientY - frame.top) * scale;
    let best = null;
    let least = REACH;
    for (const point of points) {
      const away = Math.hypot(point.place[0] - x, point.place[1] - y);
      if (away < least && visible(point)) [best, least] = [point, away];
    }
    return best;
  }

  svg.addEventListener("pointermove", (event) => {
    const point = nearest(event);
    tip.hidden = !point;
    if (!point) return;
    tip.textContent = said(point);
    const room = document.documentElement.clientWidth - tip.offsetWidth - 8;
    tip.style.left = `${Math.min(event.clientX + 14, room)}px`;
    tip.style.top = `${event.clientY + 14}px`;
  });
  svg.addEventListener("pointerleave", () => (tip.hidden = true));

  const series = [...svg.querySelectorAll("[id^=series]")];
  const tied = new Set(series.flatMap(entriesOf));

  function toggle(entry) {
    if (!hidden.delete(entry)) hidden.add(entry);
    for (const element of series) element.classList.toggle("hidden", entriesOf(element).some((one) => hidden.has(one)));
    for (const part of svg.querySelectorAll(`[id="legend${entry}"], [id="legend${entry}-mark"]`)) {
      part.classList.toggle("off", hidden.has(entry));
      part.setAttribute("aria-pressed", String(!hidden.has(entry)));
    }
  }

  for (const part of svg.querySelectorAll("[id^=legend]")) {
    const entry = Number((part.id.match(/^legend(\d+)/) || [])[1]);
    if (!tied.has(entry)) continue;
    part.addEventListener("click", () => toggle(entry));
    if (part.id.endsWith("-mark")) continue;
    part.setAttribute("role", "button");
    part.setAttribute("tabindex", "0");
    part.setAttribute("aria-pressed", "true");
    part.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" && event.key !== " ") return;
      event.preventDefault();
      toggle(entry);
    });
  }
}

function valueOf(cell) {
  const found = cell.textContent.replaceAll(",", "").match(/-?(inf|\d+(\.\d+)?(e-?\d+)?)/);
  return found ? Number(found[0].replace("inf", "Infinity")) : NaN;
}

function sortable(table) {
  const heads = [...table.tHead.rows].at(-1).cells;
  [...heads].forEach((head, column) => {
    head.tabIndex = 0;
    const sort = () => {
      const down = head.getAttribute("aria-sort") === "ascending";
      for (const other of heads) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      const body = table.tBodies[0];
      const rows = [...body.rows].sort((a, b) => {
        const [one, other] = [a, b].map((row) => valueOf(row.cells[column]));
        if (Number.isNaN(one) || Number.isNaN(other)) return Number.isNaN(one) - Number.isNaN(other);
        return down ? other - one : one - other;
      });
      body.append(...rows);
    };
    head.addEventListener("click", sort);
    head.addEventListener("keydown", (event) => event.key === "Enter" && sort());
  });
}

document.querySelectorAll(".plot").forEach(interactive);
document.querySelectorAll("table.sortable").forEach(sortable);
const details = [...document.querySelectorAll("details")];
addEventListener("beforeprint", () => details.forEach((one) => one.setAttribute("open", "")));
