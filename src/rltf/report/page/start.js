"use strict";
// Puts the page together. On a live page it asks its server for what is new.

const themes = ["system", "light", "dark"];
at("theme").addEventListener("click", () => {
  const now = document.documentElement.dataset.theme ?? "system";
  const next = themes[(themes.indexOf(now) + 1) % themes.length];
  if (next === "system") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = next;
  at("theme").textContent = `Colours: ${next}`;
  redraw();
});

const data = JSON.parse(at("data").textContent);
const viewer = new Viewer(data);
const overview = new Overview(data, (run, filter) => viewer.open(run, filter));
overview.draw();
