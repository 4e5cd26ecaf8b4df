"use strict";
// The table of rows: sorted, filtered, built a hundred rows at a time; selected rows beside all
// others. At the end what is done once.

const STEP = 100;
const COLUMNS = 12;
const table = { sort: 0, down: false, rows: [], count: STEP };
const hiddenColumns = new Set(recall("columns") === ""
  ? keys.slice(COLUMNS) : recall("columns").split(" ").filter((key) => keys.includes(key)));
const visible = () => keys.map((_, at) => at).filter((at) => !hiddenColumns.has(keys[at]));
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
  return rules.map((rule) => names.findIndex(rule)).find((at) => at >= 0) ?? -1;
}

function condition(text) {
  // A rule for rows; the name of a column that there is not, as a text.
  const parts = text.match(/^(.*?)\s*(!=|<=|>=|=|<|>)\s*(.*)$/);
  if (!parts) {
    const word = text.toLowerCase();
    return (row) => trials.values.some((values, place) =>
      values[row] !== null && shown(place, values[row]).toLowerCase().includes(word));
  }
  const at = findColumn(parts[1]);
  if (at < 0) return parts[1];
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
  const [states, numbers] = [column("state"), column("number")];
  const rules = text.split(",").map((part) => part.trim()).filter(Boolean).map(condition);
  const unknown = rules.filter((rule) => typeof rule === "string");
  table.rows = unknown.length ? [] : numbers.map((_, row) => row).filter((row) =>
    (!state || states[row] === state) && (!front || onFront.has(numbers[row])) &&
    rules.every((rule) => rule(row)));
  table.rows.sort(byValue(trials.values[table.sort] ?? [], table.down));
  table.count = STEP;
  showRows();
  const count = document.getElementById("count");
  count.classList.toggle("wrong", unknown.length > 0);
  if (unknown.length) {
    count.textContent = `no column "${unknown[0]}": see Columns for their names`;
  }
}

function cell(at, row) {
  const found = document.createElement("td");
  const text = shown(at, trials.values[at][row]);
  if (at === 0) {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = text;
    button.setAttribute("aria-label", `Trial ${text}: mark it in all figures`);
    found.append(button);
  } else {
    found.textContent = text;
    found.title = text;
  }
  if (typeof trials.values[at][row] === "number") found.className = "number";
  return found;
}

function showRows() {
  const numbers = column("number");
  const places = visible();
  document.querySelector("#rows tbody").replaceChildren(...table.rows.slice(0, table.count).map((row) => {
    const line = document.createElement("tr");
    line.dataset.number = numbers[row];
    line.setAttribute("aria-current", String(numbers[row] === chosen));
    line.classList.toggle("selected", selected.has(numbers[row]));
    line.append(...places.map((at) => cell(at, row)));
    return line;
  }));
  const left = table.rows.length - table.count;
  const more = document.getElementById("more");
  more.hidden = left <= 0;
  more.textContent = `Show ${Math.min(STEP, left)} more of ${left}`;
  document.getElementById("count").textContent = `${table.rows.length} of ${numbers.length} rows`;
  document.querySelectorAll("#rows thead th").forEach((one, place) => one.setAttribute("aria-sort",
    places[place] !== table.sort ? "none" : table.down ? "descending" : "ascending"));
}

function showHeads() {
  const line = document.createElement("tr");
  line.append(...visible().map((at) => {
    const head = document.createElement("th");
    const button = document.createElement("button");
    head.scope = "col";
    button.type = "button";
    button.textContent = heading(at);
    button.addEventListener("click", () => {
      // Numbers are asked for from the top: the best first.
      const numeric = trials.values[at].some((value) => typeof value === "number") && at > 0;
      table.down = table.sort === at ? !table.down : numeric;
      table.sort = at;
      filterRows();
    });
    head.append(button);
    return head;
  }));
  document.querySelector("#rows thead").replaceChildren(line);
}

function buildTable() {
  document.querySelector("#columns div").append(...keys.slice(1).map((key, place) => {
    const label = document.createElement("label");
    const box = document.createElement("input");
    box.type = "checkbox";
    box.checked = !hiddenColumns.has(key);
    box.addEventListener("change", () => {
      hiddenColumns[box.checked ? "delete" : "add"](key);
      remember("columns", [...hiddenColumns].join(" ") || "-");
      showHeads();
      showRows();
    });
    label.append(box, ` ${trials.columns[place + 1].heading}`);
    return label;
  }));
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
  showHeads();
  filterRows();
}

// -- selected trials: their parameters beside those of all others

let selected = new Set();
const paramColumns = keys.map((key, at) => [key, at]).filter(([key]) => key.startsWith("param."));
const short = (number) => String(Number(number.toPrecision(3)));

function spread(numbers) {
  if (!numbers.length) return "-";
  const sorted = [...numbers].sort((a, b) => a - b);
  const [low, high] = [(sorted.length - 1) >> 1, sorted.length >> 1];
  return `${short((sorted[low] + sorted[high]) / 2)} (${short(sorted[0])} to ${short(sorted.at(-1))})`;
}

function counted(texts, of) {
  return of.map((value) => `${value}: ${texts.filter((one) => one === value).length}`).join(", ") || "-";
}

function compared(at, numbers) {
  const [mine, others] = [[], []];
  trials.values[at].forEach((value, row) => {
    if (value !== null) (selected.has(numbers[row]) ? mine : others).push(value);
  });
  const line = document.createElement("tr");
  const name = document.createElement("th");
  name.scope = "row";
  name.textContent = heading(at);
  const cells = [1, 2].map(() => document.createElement("td"));
  const all = [...mine, ...others];
  if (all.some((one) => typeof one === "number") && all.every((one) => typeof one === "number")) {
    [cells[0].textContent, cells[1].textContent] = [spread(mine), spread(others)];
  } else {
    const counts = new Map();
    for (const one of all.map(String)) counts.set(one, (counts.get(one) ?? 0) + 1);
    const usual = [...counts].sort((a, b) => b[1] - a[1]).slice(0, 6).map(([value]) => value);
    [cells[0].textContent, cells[1].textContent] = [mine, others].map((one) => counted(one.map(String), usual));
  }
  line.append(name, ...cells);
  return line;
}

function select(numbers, under = document.querySelector(".filters")) {
  // The comparison stands under what they were selected in.
  selected = new Set(numbers.filter((number) => rowOf.has(number)));
  const panel = document.getElementById("selected");
  under.after(panel);
  panel.hidden = selected.size === 0;
  for (const line of document.querySelectorAll("#rows tbody tr")) {
    line.classList.toggle("selected", selected.has(Number(line.dataset.number)));
  }
  if (panel.hidden) return;
  const all = column("number");
  document.getElementById("selected-count").textContent = `${selected.size} of ${all.length} rows selected`;
  document.querySelector("#selected tbody").replaceChildren(...paramColumns.map(([, at]) => compared(at, all)));
  say(`${selected.size} rows selected`);
}

function brushes(element) {
  // A region of the first figure, drawn with its box or lasso.
  element.on("plotly_selected", (event) => {
    const found = (event?.points ?? []).map((point) => numberOf(point.customdata)).filter(Number.isInteger);
    if (found.length) select(found, element.closest(".first"));
  });
  element.on("plotly_deselect", () => select([]));
}

// -- once

const folds = [...document.querySelectorAll("details.section")];

function unfold() {
  // A link into a folded section unfolds it.
  const linked = location.hash ? document.getElementById(location.hash.slice(1)) : null;
  linked?.closest("details.section")?.setAttribute("open", "");
  linked?.scrollIntoView();
}

document.getElementById("select-shown").addEventListener("click", () =>
  select(table.rows.map((row) => column("number")[row])));
document.getElementById("select-none").addEventListener("click", () => select([]));
document.getElementById("trial-close").addEventListener("click", () => choose(null));
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && chosen !== null) choose(null);
});
for (const button of document.querySelectorAll("[data-copy-from]")) {
  button.addEventListener("click", () =>
    copy(document.getElementById(button.dataset.copyFrom).innerText.trim()));
}
document.getElementById("theme").addEventListener("click", () => {
  const names = Object.keys(themes);
  setTheme(names[(names.indexOf(root.dataset.theme) + 1) % names.length]);
});
system.addEventListener("change", redraw);
setTheme(recall("theme") || "auto");
buildTable();

// What is unfolded stays so after a reload.
const before = recall("open").split(" ");
for (const one of folds) {
  one.open = before.includes(one.id);
  one.addEventListener("toggle", () => {
    if (!isPrinting) remember("open", folds.filter((other) => other.open).map((other) => other.id).join(" "));
  });
}
addEventListener("hashchange", unfold);
unfold();
document.querySelectorAll(".plot").forEach((element) => inView.observe(element));

let unprinted = [];
addEventListener("beforeprint", () => {
  isPrinting = true;
  unprinted = [...document.querySelectorAll("details:not([open])")];
  for (const one of unprinted) one.open = true;
  for (const element of document.querySelectorAll(".plot")) draw(element);
});
addEventListener("afterprint", () => {
  isPrinting = false;
  for (const one of unprinted) one.open = false;
  redraw();
});

let width = document.body.clientWidth;
addEventListener("resize", () => {
  if (isPrinting || Math.abs(document.body.clientWidth - width) < 60) return;
  width = document.body.clientWidth;
  redraw();
});

if (recall("chosen") !== "") choose(Number(recall("chosen")));
if (settings.reloadSeconds) {
  if (recall("scroll")) scrollTo({ top: Number(recall("scroll")), behavior: "instant" });
  setInterval(() => {
    if (document.hidden) return;
    remember("scroll", String(scrollY));
    location.reload();
  }, 1000 * settings.reloadSeconds);
}
