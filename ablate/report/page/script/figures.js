"use strict";
// Figures are drawn when they come into view; a chosen trial is ringed in each.

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

function textPixels(text) {
  // As the print has it.
  const ems = (one) => ("fijlrtI ().,:;|'![]-".includes(one) ? 0.3 : one === one.toLowerCase() ? 0.56 : 0.67);
  return 13 * Array.from(text).reduce((sum, one) => sum + ems(one), 0);
}

function legendPixels(names, width) {
  // As the print has it: in several rows each entry is as wide as the widest, in a wider font (`names.py`).
  if (!names.length) return 0;
  const entries = names.map((name) => 55 + 1.15 * textPixels(name));
  const whole = entries.reduce((sum, entry) => sum + entry, 0);
  const across = whole <= width ? names.length : Math.max(1, Math.floor(width / Math.max(...entries)));
  return 22 * Math.ceil(names.length / across) + 6;
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
    displayModeBar: name === "pareto" || "hover",
    modeBarButtonsToRemove: ["sendChartToCloud", ...(name === "pareto" ? [] : ["select2d", "lasso2d"])],
    toImageButtonOptions: { format: "svg", filename: `${settings.study}-${name}` },
  });
  if (!entry.listens) {
    entry.listens = true;
    element.on("plotly_click", (event) => {
      const number = numberOf(event.points[0].customdata);
      if (Number.isInteger(number)) choose(number);
    });
    if (name === "pareto") brushes(element);
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
