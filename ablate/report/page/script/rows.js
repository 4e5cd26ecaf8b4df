"use strict";
// The table of rows: sorted, filtered, and built a hundred rows at a time.

const STEP = 100;
const table = { sort: 0, down: false, rows: [], count: STEP };
const COMPARED = {
  "=": (a, b) => a === b, "!=": (a, b) => a !== b, "<": (a, b) => a < b, "<=": (a, b) => a <= b,
  ">": (a, b) => a > b, ">=": (a, b) => a >= b,
};

function findColumn(name) {
  const wanted = name.trim().toLowerCase();
  const names = trials.columns.map((one) => [one.heading.toLowerCase(), one.key.toLowerCase()]);
  const rules = [
    (one) => one.includes(wanted),
    (one) => one.some((text) => text.endsWith(`.${wanted}`)),
    (one) => one.some((text) => text.startsWith(wanted)),
    (one) => one.some((text) => text.includes(wanted)),
  ];
  for (const rule of rules) {
    const at = names.findIndex(rule);
    if (at >= 0) return at;
  }
  return -1;
}

function condition(text) {
  const parts = text.match(/^(.+?)\s*(!=|<=|>=|=|<|>)\s*(.*)$/);
  const at = parts ? findColumn(parts[1]) : -1;
  if (at < 0) {
    const word = text.toLowerCase();
    return (row) => trials.values.some((values, place) =>
      values[row] !== null && shown(place, values[row]).toLowerCase().includes(word));
  }
  const number = Number(parts[3]);
  const compare = COMPARED[parts[2]];
  return (row) => {
    const value = trials.values[at][row];
    if (value === null) return parts[2] === "!=";
    if (typeof value === "number" && parts[3] !== "" && !Number.isNaN(number)) return compare(value, number);
    return compare(String(value).toLowerCase(), parts[3].trim().toLowerCase());
  };
}

function byValue(values, down) {
  const sign = down ? -1 : 1;
  return (one, other) => {
    const [a, b] = [values[one], values[other]];
    if (a === null || b === null) return (a === null) - (b === null) || one - other;
    if (a === b) return one - other;
    if (typeof a === typeof b) return a < b ? -sign : sign;
    return typeof a === "number" ? -sign : sign;
  };
}

function filterRows() {
  const text = document.getElementById("filter").value;
  const state = document.getElementById("state").value;
  const front = document.getElementById("front")?.checked ?? false;
  remember("filter", text);
  const states = column("state");
  const numbers = column("number");
  const rules = text.split(",").map((part) => part.trim()).filter(Boolean).map(condition);
  table.rows = numbers.map((_, row) => row).filter((row) =>
    (!state || states[row] === state) && (!front || onFront.has(numbers[row])) &&
    rules.every((rule) => rule(row)));
  if (table.rows.length) table.rows.sort(byValue(trials.values[table.sort], table.down));
  table.count = STEP;
  showRows();
}

function showRows() {
  const body = document.querySelector("#rows tbody");
  const numbers = column("number");
  body.replaceChildren(...table.rows.slice(0, table.count).map((row) => {
    const line = document.createElement("tr");
    line.dataset.number = numbers[row];
    line.setAttribute("aria-current", String(numbers[row] === chosen));
    line.classList.toggle("selected", selected.has(numbers[row]));
    trials.columns.forEach((_, at) => {
      const cell = document.createElement("td");
      const text = shown(at, trials.values[at][row]);
      if (at === 0) {
        const button = document.createElement("button");
        button.type = "button";
        button.textContent = text;
        button.setAttribute("aria-label", `Trial ${text}: mark it in all figures`);
        cell.append(button);
      } else {
        cell.textContent = text;
        cell.title = text;
      }
      if (typeof trials.values[at][row] === "number") cell.className = "number";
      line.append(cell);
    });
    return line;
  }));
  const left = table.rows.length - table.count;
  const more = document.getElementById("more");
  more.hidden = left <= 0;
  more.textContent = `Show ${Math.min(STEP, left)} more of ${left}`;
  document.getElementById("count").textContent = `${table.rows.length} of ${numbers.length} rows`;
  document.querySelectorAll("#rows thead th").forEach((cell, at) => cell.setAttribute("aria-sort",
    at !== table.sort ? "none" : table.down ? "descending" : "ascending"));
}

function buildTable() {
  const line = document.createElement("tr");
  trials.columns.forEach((_, at) => {
    const cell = document.createElement("th");
    const button = document.createElement("button");
    cell.scope = "col";
    button.type = "button";
    button.textContent = heading(at);
    button.addEventListener("click", () => {
      // Numbers are asked for from the top: the best first.
      const numeric = trials.values[at].some((value) => typeof value === "number") && at > 0;
      table.down = table.sort === at ? !table.down : numeric;
      table.sort = at;
      filterRows();
    });
    cell.append(button);
    line.append(cell);
  });
  document.querySelector("#rows thead").append(line);
  const states = document.getElementById("state");
  for (const state of [...new Set(column("state"))].sort()) states.append(new Option(state.toLowerCase(), state));
  document.querySelector("#rows tbody").addEventListener("click", (event) => {
    const row = event.target.closest("tr");
    if (!row) return;
    const number = Number(row.dataset.number);
    if (!event.ctrlKey && !event.metaKey) choose(number);
    else select(selected.has(number) ? [...selected].filter((one) => one !== number) : [...selected, number]);
  });
  document.getElementById("filter").addEventListener("input", filterRows);
  states.addEventListener("change", filterRows);
  document.getElementById("front")?.addEventListener("change", filterRows);
  document.querySelector(".filters").addEventListener("submit", (event) => event.preventDefault());
  document.getElementById("more").addEventListener("click", () => { table.count += STEP; showRows(); });
  document.getElementById("filter").value = recall("filter");
  filterRows();
}
