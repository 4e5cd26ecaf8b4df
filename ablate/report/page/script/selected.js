"use strict";
// Trials selected in the front or in the table of rows: their parameters beside those of all others.

const PARAM = "param.";
const paramColumns = trials.columns.map((column, at) => [column.key, at]).filter(([key]) => key.startsWith(PARAM));
let selected = new Set();

function isNumeric(values) {
  return values.some((one) => typeof one === "number") && values.every((one) => one === null || typeof one === "number");
}

const short = (number) => String(Number(number.toPrecision(3)));

function spread(numbers) {
  if (!numbers.length) return "-";
  const sorted = [...numbers].sort((a, b) => a - b);
  const [low, high] = [(sorted.length - 1) >> 1, sorted.length >> 1];
  return `${short((sorted[low] + sorted[high]) / 2)} (${short(sorted[0])} to ${short(sorted.at(-1))})`;
}

function counts(texts) {
  const found = new Map();
  for (const text of texts) found.set(text, (found.get(text) ?? 0) + 1);
  return found;
}

function counted(texts, of) {
  // How often each of these values is there.
  const found = counts(texts);
  return of.map((value) => `${value}: ${found.get(value) ?? 0}`).join(", ") || "-";
}

function strip(others, mine) {
  // A line per row: pale for the others, long and dark for the selected ones.
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [440, 44];
  canvas.setAttribute("aria-hidden", "true");
  const all = [...others, ...mine].sort((a, b) => a - b);
  const [low, high] = [all[0], all.at(-1)];
  const scale = low > 0 && high / low > 30 ? Math.log : (number) => number;
  const [from, to] = [scale(low), scale(high)];
  const pen = canvas.getContext("2d");
  const style = getComputedStyle(document.body);
  const lines = (numbers, colour, top, width) => {
    pen.fillStyle = style.getPropertyValue(colour);
    for (const number of numbers) {
      const share = to > from ? (scale(number) - from) / (to - from) : 0.5;
      pen.fillRect(4 + share * (canvas.width - 8) - width / 2, top, width, canvas.height - top);
    }
  };
  lines(others, "--faint", 22, 1);
  lines(mine, "--accent", 0, 3);
  return canvas;
}

function compare() {
  const panel = document.getElementById("selected");
  panel.hidden = selected.size === 0;
  for (const line of document.querySelectorAll("#rows tbody tr")) {
    line.classList.toggle("selected", selected.has(Number(line.dataset.number)));
  }
  if (panel.hidden) return;
  const numbers = column("number");
  document.getElementById("selected-count").textContent =
    `${selected.size} of ${numbers.length} rows selected`;
  document.querySelector("#selected tbody").replaceChildren(...paramColumns.map(([, at]) => {
    const [mine, others] = [[], []];
    trials.values[at].forEach((value, row) => {
      if (value !== null) (selected.has(numbers[row]) ? mine : others).push(value);
    });
    const line = document.createElement("tr");
    const name = document.createElement("th");
    name.scope = "row";
    name.textContent = heading(at);
    line.append(name);
    const cells = [mine, others].map(() => document.createElement("td"));
    const picture = document.createElement("td");
    if (isNumeric(trials.values[at])) {
      cells[0].textContent = spread(mine);
      cells[1].textContent = spread(others);
      if (mine.length + others.length) picture.append(strip(others, mine));
    } else {
      const values = [...counts([...mine, ...others].map(String))]
        .sort((a, b) => b[1] - a[1]).slice(0, 6).map(([value]) => value);
      cells[0].textContent = counted(mine.map(String), values);
      cells[1].textContent = counted(others.map(String), values);
    }
    line.append(...cells, picture);
    return line;
  }));
}

function select(numbers, under = document.querySelector(".filters")) {
  // The comparison stands under what they were selected in.
  selected = new Set(numbers.filter((number) => rowOf.has(number)));
  under.after(document.getElementById("selected"));
  compare();
  if (selected.size) say(`${selected.size} rows selected`);
}

function brushes(element) {
  // A region of a figure, drawn with its box or lasso.
  element.on("plotly_selected", (event) => {
    const found = (event?.points ?? []).map((point) => numberOf(point.customdata));
    const under = element.closest(".first") ?? element.closest(".figures");
    if (found.some(Number.isInteger)) select(found.filter(Number.isInteger), under);
  });
  element.on("plotly_deselect", () => select([]));
}

document.getElementById("select-shown").addEventListener("click", () =>
  select(table.rows.map((row) => column("number")[row])));
document.getElementById("select-none").addEventListener("click", () => select([]));
