"use strict";
// What the page is told, what it remembers from one load to the next, what it says aloud.

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
