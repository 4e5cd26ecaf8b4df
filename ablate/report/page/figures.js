"use strict";
// What the page remembers, its colours, its figures, and the one trial that is marked in all.

const read = (id) => JSON.parse(document.getElementById(id).textContent);
const settings = read("data-settings");
const trials = read("data-trials");
const memory = (() => {
  // A page from a disk may have no storage of its own.
  try { sessionStorage.setItem("ablate", "1"); return sessionStorage; } catch { return null; }
})();
// Two reports in one tab keep what they remember apart.
const keyOf = (key) => `ablate:${settings.study}:${key}`;
const remember = (key, value) => memory?.setItem(keyOf(key), value);
const recall = (key) => memory?.getItem(keyOf(key)) ?? "";

function say(text) {
  const said = document.getElementById("said");
  said.textContent = text;
  setTimeout(() => { if (said.textContent === text) said.textContent = ""; }, 2500);
}

async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    say("Copied");
  } catch {
    say("Not copied: the browser forbids it");
  }
}

// -- light or dark: figures exchange their colours by the table that the package has

const themes = { auto: "system", light: "light", dark: "dark" };
const system = matchMedia("(prefers-color-scheme: dark)");
const root = document.documentElement;
const isDark = () => root.dataset.theme === "dark" || (root.dataset.theme === "auto" && system.matches);

function setTheme(name) {
  root.dataset.theme = name;
  remember("theme", name);
  const button = document.getElementById("theme");
  button.textContent = `Colours: ${themes[name]}`;
  button.setAttribute("aria-label", `Colours: ${themes[name]}. Change.`);
  redraw();
}

function exchanged(part) {
  if (typeof part === "string") return Object.hasOwn(settings.dark, part) ? settings.dark[part] : part;
  if (Array.isArray(part)) return part.map(exchanged);
  if (part === null || typeof part !== "object" || ArrayBuffer.isView(part)) return part;
  return Object.fromEntries(Object.entries(part).map(([key, value]) => [key, exchanged(value)]));
}

// -- figures: drawn when they come into view

const ARRAYS = {
  i1: Int8Array, u1: Uint8Array, i2: Int16Array, u2: Uint16Array,
  i4: Int32Array, u4: Uint32Array, f4: Float32Array, f8: Float64Array,
};
const PRINTED = 680;
const drawn = new Map();
let isPrinting = false;

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

function draw(element) {
  const name = element.dataset.figure;
  if (!drawn.has(name)) {
    const figure = read(`data-${name}`);
    drawn.set(name, { element, figure, places: placesOf(figure.data), marks: 0 });
  }
  const entry = drawn.get(name);
  const { data, layout } = isDark() && !isPrinting ? exchanged(entry.figure) : structuredClone(entry.figure);
  if (isPrinting) layout.width = PRINTED;
  const isFirst = element.closest(".first") !== null;
  entry.marks = 0;
  Plotly.react(element, data, layout, {
    displaylogo: false,
    responsive: !isPrinting,
    displayModeBar: isFirst && !isPrinting && innerWidth > 640 ? true : "hover",
    modeBarButtonsToRemove: ["sendChartToCloud", ...(isFirst ? [] : ["select2d", "lasso2d"])],
    toImageButtonOptions: { format: "svg", filename: `${settings.study}-${name}` },
  });
  if (!entry.listens) {
    entry.listens = true;
    element.on("plotly_click", (event) => {
      const number = numberOf(event.points[0].customdata);
      if (Number.isInteger(number)) choose(number);
    });
    if (isFirst) brushes(element);
  }
  mark(entry);
}

const redraw = () => { for (const entry of drawn.values()) draw(entry.element); };

function mark(entry) {
  // A ring round the chosen trial's marks, a line over its line: traces of their own over each
  // figure, as fading 10,000 others would change each of these.
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

// -- one trial: its values, and the command that exports its weights

const keys = trials.columns.map((column) => column.key);
const column = (key) => trials.values[keys.indexOf(key)] ?? [];
const rowOf = new Map(column("number").map((number, row) => [number, row]));
const onFront = new Set(trials.front);
const exportable = new Set(trials.exportable);
let chosen = null;

function shown(at, value) {
  if (value === null || value === undefined) return "-";
  return typeof value === "number" && trials.columns[at].percent ? value.toFixed(1) : String(value);
}

const heading = (at) => trials.columns[at].heading + (trials.columns[at].percent ? " (%)" : "");

function choose(number) {
  const row = rowOf.get(number);
  if (number !== null && row === undefined) return;
  chosen = number;
  remember("chosen", number === null ? "" : String(number));
  document.getElementById("trial").hidden = number === null;
  for (const line of document.querySelectorAll("#rows tbody tr")) {
    line.setAttribute("aria-current", String(Number(line.dataset.number) === number));
  }
  for (const entry of drawn.values()) mark(entry);
  if (number === null) return;
  document.getElementById("trial-title").textContent =
    `Trial ${number}${onFront.has(number) ? `, ${trials.front_words}` : ""}`;
  document.getElementById("trial-values").replaceChildren(...trials.columns.flatMap((_, at) => {
    const value = trials.values[at][row];
    if (at === 0 || value === null) return [];
    const [term, text] = [document.createElement("dt"), document.createElement("dd")];
    term.textContent = heading(at);
    text.textContent = shown(at, value);
    return [term, text];
  }));
  document.getElementById("trial-export").hidden = !exportable.has(number);
  document.getElementById("trial-command").textContent = settings.export.replaceAll("{trial}", number);
  say(`Trial ${number} is marked in all figures`);
}
