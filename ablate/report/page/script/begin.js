"use strict";
// What is done once, at the end: listen, build, watch what comes into view.

document.getElementById("theme").addEventListener("click", () => {
  setTheme(themes[(themes.indexOf(root.dataset.theme) + 1) % themes.length]);
  for (const entry of drawn.values()) draw(entry.element);
});
system.addEventListener("change", () => { for (const entry of drawn.values()) draw(entry.element); });
setTheme(recall("theme") || "auto");
for (const button of document.querySelectorAll("[data-copy-from]")) {
  button.addEventListener("click", () =>
    copy(document.getElementById(button.dataset.copyFrom).innerText.trim(), "Methods"));
}
buildTable();

// A link into a folded section unfolds it; what is unfolded stays so after a reload.
const folded = [...document.querySelectorAll("details.section")];
function unfold() {
  const linked = location.hash ? document.getElementById(location.hash.slice(1)) : null;
  linked?.closest("details.section")?.setAttribute("open", "");
  linked?.scrollIntoView();
}
const before = recall("folded");
for (const one of folded) {
  if (before !== "") one.open = !before.split(" ").includes(one.id);
  one.addEventListener("toggle", () =>
    remember("folded", folded.filter((other) => !other.open).map((other) => other.id).join(" ") || "-"));
}
addEventListener("hashchange", unfold);
for (const link of document.querySelectorAll("nav a")) link.addEventListener("click", () => setTimeout(unfold));
unfold();
addEventListener("beforeprint", () => folded.forEach((one) => one.setAttribute("open", "")));

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
