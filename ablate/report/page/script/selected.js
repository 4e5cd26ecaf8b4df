"use strict";
// Trials selected in the front or in the table of rows: their parameters beside those of all others.

const PARAM = "param.";
const paramColumns = trials.columns.map((column, at) => [column.key, at]).filter(([key]) => key.startsWith(PARAM));
let selected = new Set();

function isNumeric(values) {
  return values.some((one) => typeof one === "number") && values.every((one) => one === null || typeof one === "number");
}

function median(numbers) {
  const sorted = [...numbers].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

const short = (number) => String(Number(number.toPrecision(3)));

function spread(numbers) {
  if (!numbers.length) return "-";
  return `${short(median(numbers))} (${short(Math.min(...numbers))} to ${short(Math.max(...numbers))})`;
}

function counted(texts, of) {
  // How often each value is there, in the order of its count among all rows.
  const count = (value) => texts.filter((one) => one === value).length;
  return of.map((value) => `${value}: ${count(value)}`).join(", ") || "-";
}

function strip(others, mine) {
  // A line per row: pale for the others, long and dark for the selected ones.
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [440, 44];
  canvas.setAttribute("aria-hidden", "true");
  const all = [...others, ...mine];
  const low = Math.min(...all);
  const high = Math.max(...all);
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
      const texts = [...mine, ...others].map(String);
      const values = [...new Set(texts)].sort((a, b) =>
        texts.filter((one) => one === b).length - texts.filter((one) => one === a).length).slice(0, 6);
      cells[0].textContent = counted(mine.map(String), values);
      cells[1].textContent = counted(others.map(String), values);
    }
    line.append(...cells, picture);
    return line;
  }));
}

function select(numbers) {
  selected = new Set(numbers.filter((number) => rowOf.has(number)));
  compare();
  if (selected.size) say(`${selected.size} rows selected: their parameters are above the table of rows`);
}

function brushes(element) {
  // A region of a figure, drawn with its box or lasso.
  element.on("plotly_selected", (event) => {
    const found = (event?.points ?? []).map((point) => numberOf(point.customdata));
    if (found.some(Number.isInteger)) select(found.filter(Number.isInteger));
  });
  element.on("plotly_deselect", () => select([]));
}

document.getElementById("select-shown").addEventListener("click", () =>
  select(table.rows.map((row) => column("number")[row])));
document.getElementById("select-none").addEventListener("click", () => select([]));
