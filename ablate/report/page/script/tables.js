"use strict";
// Tables of the paper, sorted by what stands in them.

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
