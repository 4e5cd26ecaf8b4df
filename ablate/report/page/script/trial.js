"use strict";
// One trial: its values, and the command that takes its weights out.

const keys = trials.columns.map((column) => column.key);
const column = (key) => trials.values[keys.indexOf(key)] ?? [];
const rowOf = new Map(column("number").map((number, row) => [number, row]));
const onFront = new Set(trials.front);
const exportable = new Set(trials.exportable);
let chosen = null;

function shown(at, value) {
  if (value === null || value === undefined) return "-";
  if (typeof value !== "number") return String(value);
  if (trials.columns[at].percent) return value.toFixed(1);
  return String(value);
}

const heading = (at) => trials.columns[at].heading + (trials.columns[at].percent ? " (%)" : "");

function choose(number) {
  const row = rowOf.get(number);
  if (number !== null && row === undefined) return;
  chosen = number;
  remember("chosen", number === null ? "" : String(number));
  const panel = document.getElementById("trial");
  panel.hidden = number === null;
  for (const line of document.querySelectorAll("#rows tbody tr")) {
    line.setAttribute("aria-current", String(Number(line.dataset.number) === number));
  }
  for (const entry of drawn.values()) mark(entry);
  if (number === null) return;
  document.getElementById("trial-title").textContent =
    `Trial ${number}${onFront.has(number) ? `, ${trials.front_words}` : ""}`;
  const list = document.getElementById("trial-values");
  list.replaceChildren();
  trials.columns.forEach((_, at) => {
    const value = trials.values[at][row];
    if (at === 0 || value === null) return;
    const term = document.createElement("dt");
    const text = document.createElement("dd");
    term.textContent = heading(at);
    text.textContent = shown(at, value);
    list.append(term, text);
  });
  const command = settings.export.replaceAll("{trial}", number);
  document.getElementById("trial-export").hidden = !exportable.has(number);
  document.getElementById("trial-command").textContent = command;
  say(`Trial ${number} is marked in all figures`);
}

document.getElementById("trial-close").addEventListener("click", () => choose(null));
document.getElementById("trial-copy").addEventListener("click", () =>
  copy(document.getElementById("trial-command").textContent, "Command"));
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && chosen !== null) choose(null);
});
