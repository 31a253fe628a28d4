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

const token = new URLSearchParams(location.search).get("token");
const live = location.protocol === "http:" && token !== null;
const data = JSON.parse(at("data").textContent);
const viewer = new Viewer(data, live ? annotate : null);
overview = new Overview(data, (run, filter) => viewer.open(run, filter));
overview.draw();
if (live) follow(1);

/** Asks for what is new every few seconds, while somebody looks. */
async function follow(known) {
  const pause = (ms) => new Promise((done) => setTimeout(done, ms));
  for (;;) {
    await pause(document.hidden ? 10000 : 3000);
    try {
      const answer = await fetch(`/data?${new URLSearchParams({ token, known })}`);
      const { version, data, error } = await answer.json();
      if (!answer.ok) throw new Error(error);
      if (data) {
        overview.update(data);
        viewer.update(data);
      }
      known = version;
      const now = new Date().toLocaleTimeString();
      at("live").textContent = `following; ${data ? "new" : "nothing new"} at ${now}`;
    } catch (error) {
      at("live").textContent = `No answer (${error.message}). Is rltf watch running? What you see is the newest that came.`;
    }
  }
}

/** Opens the page where feedback is written, on a rollout. */
async function annotate(run, group, rollout) {
  // Opened at once: browsers keep pages from opening windows later.
  const page = open("about:blank", "_blank");
  page.opener = null;
  const query = new URLSearchParams({ token, run, step: group.step, group: group.group, rollout: rollout.i });
  const answer = await fetch(`/annotate?${query}`);
  const { url, error } = await answer.json();
  if (answer.ok) page.location = url;
  else page.close();
  at("live").textContent = answer.ok ? "" : error;
}
