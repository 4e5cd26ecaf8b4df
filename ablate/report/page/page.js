"use strict";
// The page: figures are drawn when they come into view, trials are linked by their number.

const read = (id) => JSON.parse(document.getElementById(id).textContent);
const settings = read("settings");
const trials = read("data-trials");
const memory = (() => {
  // A page from a disk may have no storage of its own.
  try { sessionStorage.setItem("ablate", "1"); return sessionStorage; } catch { return new Map(); }
})();
// Two reports in one tab keep what they remember apart.
const keyOf = (key) => `ablate:${settings.study}:${key}`;
const remember = (key, value) =>
  memory instanceof Map ? memory.set(key, value) : memory.setItem(keyOf(key), value);
const recall = (key) => (memory instanceof Map ? memory.get(key) : memory.getItem(keyOf(key))) ?? "";

function say(text) {
  const said = document.getElementById("said");
  said.textContent = text;
  setTimeout(() => { if (said.textContent === text) said.textContent = ""; }, 2500);
}

async function copy(text, what) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    const area = document.createElement("textarea");
    area.value = text;
    document.body.append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
  }
  say(`${what} copied`);
}

// -- colours ------------------------------------------------------------------------------------

const themes = ["auto", "light", "dark"];
const themeNames = { auto: "system", light: "light", dark: "dark" };
const system = matchMedia("(prefers-color-scheme: dark)");
const root = document.documentElement;

function isDark() {
  return root.dataset.theme === "dark" || (root.dataset.theme === "auto" && system.matches);
}

function setTheme(name) {
  root.dataset.theme = name;
  remember("theme", name);
  const button = document.getElementById("theme");
  button.textContent = `Colours: ${themeNames[name]}`;
  button.setAttribute("aria-label", `Colours: ${themeNames[name]}. Change.`);
}

function exchanged(part) {
  if (typeof part === "string") return Object.hasOwn(settings.dark, part) ? settings.dark[part] : part;
  if (Array.isArray(part)) return part.map(exchanged);
  if (part === null || typeof part !== "object" || ArrayBuffer.isView(part)) return part;
  return Object.fromEntries(Object.entries(part).map(([key, value]) => [key, exchanged(value)]));
}

// -- figures ------------------------------------------------------------------------------------

const ARRAYS = {
  i1: Int8Array, u1: Uint8Array, i2: Int16Array, u2: Uint16Array,
  i4: Int32Array, u4: Uint32Array, f4: Float32Array, f8: Float64Array,
};
const drawn = new Map();

function values(packed) {
  // plotly packs arrays of numbers in base64.
  if (!packed || packed.bdata === undefined) return packed;
  const bytes = Uint8Array.from(atob(packed.bdata), (one) => one.charCodeAt(0));
  const flat = new ARRAYS[packed.dtype](bytes.buffer);
  if (packed.shape === undefined) return flat;
  const width = Number(String(packed.shape).split(",")[1] ?? 1);
  return Array.from({ length: flat.length / width }, (_, row) =>
    flat.slice(row * width, (row + 1) * width));
}

const numberOf = (datum) => (Array.isArray(datum) || ArrayBuffer.isView(datum) ? datum[0] : datum);

function placesOf(data) {
  // Trial number -> its points, as [trace, point].
  const places = new Map();
  data.forEach((trace, at) => {
    const numbers = values(trace.customdata);
    if (!numbers || !String(trace.type ?? "scatter").startsWith("scatter")) return;
    Array.from(numbers).forEach((datum, point) => {
      const number = numberOf(datum);
      if (number === null || number === undefined) return;
      if (!places.has(number)) places.set(number, []);
      places.get(number).push([at, point]);
    });
  });
  return places;
}

function legendPixels(names, width) {
  let rows = names.length ? 1 : 0;
  let used = 0;
  for (const name of names) {
    const entry = 45 + 6.5 * name.length;
    if (used && used + entry > width) { rows += 1; used = 0; }
    used += entry;
  }
  return 30 * rows;
}

function fitted(figure, element) {
  // The legend takes more rows where the page is narrower than the print.
  const layout = structuredClone(figure.layout);
  const margin = layout.margin;
  const names = figure.data.filter((trace) => trace.showlegend).map((trace) => String(trace.name));
  const inner = (width) => width - margin.l - margin.r;
  const printed = legendPixels(names, inner(Number(element.dataset.width)));
  const needed = legendPixels(names, inner(element.clientWidth));
  margin.b += needed - printed;
  element.style.height = `${Number(element.dataset.height) + needed - printed}px`;
  return layout;
}

function draw(element) {
  const name = element.dataset.figure;
  if (!drawn.has(name)) {
    const figure = read(`data-${name}`);
    drawn.set(name, { element, figure, places: placesOf(figure.data), marks: 0 });
  }
  const entry = drawn.get(name);
  const shown = { data: entry.figure.data, layout: fitted(entry.figure, element) };
  const { data, layout } = isDark() ? exchanged(shown) : structuredClone(shown);
  entry.marks = 0;
  Plotly.react(element, data, layout, {
    displaylogo: false,
    responsive: true,
    modeBarButtonsToRemove: ["select2d", "lasso2d", "sendChartToCloud"],
    toImageButtonOptions: { format: "svg", filename: `${settings.study}-${name}` },
  });
  if (!entry.listens) {
    entry.listens = true;
    element.on("plotly_click", (event) => {
      const number = numberOf(event.points[0].customdata);
      if (Number.isInteger(number)) choose(number);
    });
  }
  mark(entry);
}

function mark(entry) {
  // A ring round the chosen trial's marks, a line over its line.
  if (entry.marks) {
    const last = entry.element.data.length;
    Plotly.deleteTraces(entry.element,
      Array.from({ length: entry.marks }, (_, at) => last - entry.marks + at));
    entry.marks = 0;
  }
  const found = chosen === null ? [] : entry.places.get(chosen) ?? [];
  if (!found.length) return;
  const ink = isDark() ? settings.dark["#1A1A1A"] : "#1A1A1A";
  const byTrace = new Map();
  for (const [at, point] of found) byTrace.set(at, [...(byTrace.get(at) ?? []), point]);
  const rings = [...byTrace].map(([at, points]) => {
    const trace = entry.figure.data[at];
    const ring = { type: trace.type ?? "scatter", name: "chosen", showlegend: false, hoverinfo: "skip" };
    for (const axis of ["x", "y", "a", "b", "c"]) {
      const all = values(trace[axis]);
      if (all) ring[axis] = points.map((point) => all[point]);
    }
    for (const place of ["xaxis", "yaxis", "subplot", "sum"]) {
      if (trace[place] !== undefined) ring[place] = trace[place];
    }
    const hasLines = String(trace.mode ?? "lines").includes("lines");
    ring.mode = hasLines ? "lines+markers" : "markers";
    ring.line = { color: ink, width: 3 };
    ring.marker = { symbol: "circle-open", size: hasLines ? 8 : 19, color: ink, line: { color: ink, width: 3 } };
    return ring;
  });
  entry.marks = rings.length;
  Plotly.addTraces(entry.element, rings);
}

const inView = new IntersectionObserver((entries) => {
  for (const entry of entries) {
    if (!entry.isIntersecting) continue;
    inView.unobserve(entry.target);
    draw(entry.target);
  }
}, { rootMargin: "300px" });

// -- one trial ----------------------------------------------------------------------------------

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
    `Trial ${number}${onFront.has(number) ? ", on the front" : ""}`;
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

// -- the table of rows --------------------------------------------------------------------------

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
    if (row) choose(Number(row.dataset.number));
  });
  document.getElementById("filter").addEventListener("input", filterRows);
  states.addEventListener("change", filterRows);
  document.getElementById("front")?.addEventListener("change", filterRows);
  document.querySelector(".filters").addEventListener("submit", (event) => event.preventDefault());
  document.getElementById("more").addEventListener("click", () => { table.count += STEP; showRows(); });
  document.getElementById("filter").value = recall("filter");
  filterRows();
}

// -- tables of the paper: sorted by what stands in them -------------------------------------------

function sortable(element) {
  const body = element.tBodies[0];
  const original = [...body.rows];
  element.querySelectorAll("thead th").forEach((cell, at) => {
    cell.setAttribute("aria-sort", "none");
    cell.querySelector("button").addEventListener("click", () => {
      const down = cell.getAttribute("aria-sort") !== "descending" && cell.className === "number"
        || cell.getAttribute("aria-sort") === "ascending";
      element.querySelectorAll("thead th").forEach((other) => other.setAttribute("aria-sort", "none"));
      cell.setAttribute("aria-sort", down ? "descending" : "ascending");
      const read = original.map((row) => {
        const text = row.cells[at].textContent.trim().replaceAll("\u2212", "-");
        const number = parseFloat(text.replace(/^\./, "0."));
        return Number.isNaN(number) ? (cell.className === "number" ? null : text) : number;
      });
      const order = original.map((_, row) => row).sort(byValue(read, down));
      body.replaceChildren(...order.map((row) => original[row]));
    });
  });
}

// -- begin --------------------------------------------------------------------------------------

document.getElementById("theme").addEventListener("click", () => {
  setTheme(themes[(themes.indexOf(root.dataset.theme) + 1) % themes.length]);
  for (const entry of drawn.values()) draw(entry.element);
});
system.addEventListener("change", () => { for (const entry of drawn.values()) draw(entry.element); });
setTheme(recall("theme") || "auto");
document.querySelectorAll("table.sortable").forEach(sortable);
for (const button of document.querySelectorAll("[data-copy-from]")) {
  button.addEventListener("click", () =>
    copy(document.getElementById(button.dataset.copyFrom).innerText.trim(), "Methods"));
}
buildTable();
document.querySelectorAll(".plot").forEach((element) => inView.observe(element));

let width = document.body.clientWidth;
addEventListener("resize", () => {
  if (Math.abs(document.body.clientWidth - width) < 60) return;
  width = document.body.clientWidth;
  for (const entry of drawn.values()) draw(entry.element);
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
