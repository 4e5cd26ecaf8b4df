"use strict";
// Light or dark: the figures exchange their colours by the table that the package has.

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
