"use strict";
// The rollouts of one run: a list that filters, and one of them in full with its siblings.

const PAGE = 60; // Rollouts of the list that stand on the page at a time.
const NOTABLE = {
  solved: "feedback solved it",
  unhelped: "feedback did not help",
  spoiled: "feedback spoiled it",
  failed: "feedback or score failed",
  malformed: "no readable answer",
};
const CHANGES = { rose: "reward rose", fell: "reward fell", same: "reward stayed", none: "one attempt alone" };

class Viewer {
  /** `annotate(run, group, rollout)`: where feedback can be written. */
  constructor(data, annotate) {
    this.data = data;
    this.annotate = annotate;
    this.run = 0;
    this.page = 0;
    this.colourBy = "weight";
    this.chosen = null;
    this.build();
    this.open(0, null);
  }

  get current() { return this.data.runs[this.run]; }

  build() {
    const field = (id, label, control) => { control.id = `f-${id}`; return el("label", { class: "field" }, label, control); };
    const number = () => el("input", { type: "number", min: 1, inputMode: "numeric" });
    this.fields = {
      from: number(), to: number(), task: el("select"), problem: el("input", { type: "number", min: 0, inputMode: "numeric" }), outcome: el("select"), change: el("select"), source: el("select"),
      notable: el("select"), text: el("input", { type: "search" }), tokens: el("input", { type: "checkbox", id: "f-tokens" }),
    };
    const f = this.fields;
    const clear = act("Clear filters", () => { this.clear(); this.filter(); });
    this.tally = el("p", { class: "small soft", role: "status", id: "tally" });
    this.items = el("ol", { "aria-label": "Rollouts" });
    this.more = el("div", { class: "row small" });
    this.detail = el("div", { class: "detail" });
    put("viewer",
      el("form", { class: "filters card", role: "search", "aria-label": "Filter rollouts", onsubmit: (event) => event.preventDefault() },
        field("text", "Text", f.text), field("from", "Steps from", f.from), field("to", "to", f.to), field("task", "Task", f.task), field("problem", "Problem", f.problem), field("outcome", "Outcome", f.outcome),
        field("change", "Change of reward", f.change), field("source", "Source of feedback", f.source), field("notable", "What says most", f.notable),
        el("label", { class: "check" }, f.tokens, "with recorded tokens"), clear),
      el("p", { class: "small soft" }, "Keys: ", el("kbd", {}, "j"), " ", el("kbd", {}, "k"), " next and previous rollout, ", el("kbd", {}, "n"), " ", el("kbd", {}, "p"), " next and previous group, ", el("kbd", {}, "/"), " search text."),
      el("div", { class: "viewer" }, el("div", { class: "list" }, this.tally, this.items, this.more), this.detail));
    for (const control of Object.values(f)) control.addEventListener(control.tagName === "SELECT" || control.type === "checkbox" ? "change" : "input", () => {
      clearTimeout(this.pause);
      this.pause = setTimeout(() => this.filter(), control.type === "search" ? 180 : 0);
    });
    document.addEventListener("keydown", (event) => this.key(event));
    this.items.addEventListener("keydown", (event) => {
      const by = { ArrowDown: 1, ArrowUp: -1 }[event.key];
      if (by) { event.preventDefault(); this.move(by); this.items.querySelector('[aria-current="true"]')?.focus(); }
    });
  }

  /** Opens a run; with a filter, sets it and goes to the viewer. */
  open(run, filter) {
    this.run = run;
    this.load();
    if (filter) {
      this.clear();
      for (const [name, value] of Object.entries(filter)) {
        if (name === "step") this.fields.from.value = this.fields.to.value = value;
        else this.fields[name].value = value;
      }
    }
    this.filter();
    if (filter && filter.step && !this.found.length) { this.fields.from.value = String(Math.max(1, Number(filter.step) - 10)); this.filter(); }
    if (filter) { at("viewer").scrollIntoView(); at("viewer").focus({ preventScroll: true }); }
  }

  /** The rollouts of the run, and what can be chosen among them. */
  load() {
    this.rows = this.current.groups.flatMap((group) => group.rollouts.map((rollout, i) => ({ group, rollout, key: `${this.run}.${group.step}.${group.group}.${i}` })));
    for (const row of this.rows) row.search = searchable(row);
    const options = (control, any, pairs) => { const was = control.value; control.replaceChildren(el("option", { value: "" }, any), ...pairs.map(([value, label]) => el("option", { value }, shownText(label)))); control.value = was; if (control.selectedIndex < 0) control.value = ""; };
    const known = (pick) => [...new Set(this.rows.flatMap(pick))].filter((value) => value !== undefined).sort();
    const same = (values) => values.map((value) => [value, value]);
    options(this.fields.task, "any", same(known(({ group }) => [group.task])));
    options(this.fields.outcome, "any", Object.entries(OUTCOMES).map(([name, [sign, words]]) => [name, `${sign} ${words}`]));
    options(this.fields.change, "any", Object.entries(CHANGES));
    options(this.fields.source, "any", same(known(({ rollout }) => rollout.turns.map((turn) => turn.feedback?.source))));
    options(this.fields.notable, "any", known(({ group }) => group.notable ?? []).map((name) => [name, NOTABLE[name] ?? name]));
  }

  /** Newer data of the same runs; what is being read stays. */
  update(data) {
    this.data = data;
    this.load();
    const focused = this.items.contains(document.activeElement);
    this.filter(true);
    if (focused) this.items.querySelector('[aria-current="true"]')?.focus();
  }

  clear() { for (const control of Object.values(this.fields)) { if (control.type === "checkbox") control.checked = false; else control.value = ""; } }

  filter(keep = false) {
    clearTimeout(this.pause);
    const f = this.fields, words = f.text.value.trim().toLowerCase();
    // As in the tables above, # stands for any number.
    const pattern = words.includes("#") ? new RegExp(words.split("#").map((part) => part.replace(/[.*+?^${}()|[\]\\]/g, "\\$&")).join("[\\d.,]+")) : null;
    const [from, to] = [Number(f.from.value || 0), Number(f.to.value || Infinity)];
    this.found = this.rows.filter(({ group, rollout, search }) => group.step >= from && group.step <= to
      && (!f.task.value || group.task === f.task.value)
      && (f.problem.value === "" || group.problem === Number(f.problem.value))
      && (!f.outcome.value || rollout.outcome === f.outcome.value)
      && (!f.change.value || change(rollout) === f.change.value)
      && (!f.source.value || rollout.turns.some((turn) => turn.feedback?.source === f.source.value))
      && (!f.notable.value || (group.notable ?? []).includes(f.notable.value))
      && (!f.tokens.checked || group.samples.some((sample) => sample.rollout === rollout.i))
      && (!words || (pattern ? pattern.test(search) : search.includes(words))));
    const { rollouts_shown: shown, tally } = this.current;
    this.tally.textContent = `${count(this.found.length)} of ${count(shown)} rollouts on this page; the run has ${count(tally.rollouts)}, all in rollouts.jsonl`;
    const same = this.found.findIndex((row) => row.key === this.chosen?.key);
    if (!keep || !this.chosen) return this.select(Math.max(0, same));
    this.index = same;
    this.list(same);
  }

  /** Draws the page of the list that an item is on. */
  list(index) {
    this.page = Math.floor(Math.max(0, index) / PAGE);
    const start = this.page * PAGE, end = Math.min(this.found.length, start + PAGE);
    const nodes = [];
    let group = null;
    for (let i = start; i < end; i++) {
      const row = this.found[i];
      if (row.group !== group) {
        group = row.group;
        nodes.push(el("li", { class: "head" }, shownText(`step ${group.step} · ${group.task} ${group.problem}${group.samples.length ? " · tokens" : ""}`)));
      }
      nodes.push(el("li", {}, this.entry(row, i, i === index)));
    }
    this.items.replaceChildren(...nodes);
    this.items.querySelector('[aria-current="true"]')?.scrollIntoView({ block: "nearest" });
    const turn = (label, page) => { const button = act(label, () => this.select(page * PAGE)); button.disabled = page < 0 || page * PAGE >= this.found.length; return button; };
    this.more.replaceChildren(...(this.found.length > PAGE ? [turn("‹ earlier", this.page - 1), `${count(start + 1)} to ${count(end)}`, turn("later ›", this.page + 1)] : []));
  }

  entry({ rollout }, i, current) {
    const [sign, , words] = OUTCOMES[rollout.outcome];
    const rewards = rollout.turns.map((turn) => String(turn.reward)).join(" → ");
    const button = el("button", { type: "button", "aria-current": current ? "true" : undefined },
      el("span", { class: `mark m-${rollout.outcome}`, "aria-hidden": "true" }, sign),
      el("span", {}, rollout.i === undefined ? "no score" : `${rollout.i + 1}: ${words}`), el("span", { class: "soft small" }, rewards));
    button.addEventListener("click", () => { this.select(i, true); });
    return button;
  }

  select(index, byHand = false) {
    this.index = this.found.length ? Math.min(Math.max(0, index), this.found.length - 1) : -1;
    this.chosen = this.found[this.index] ?? null;
    this.list(this.index);
    this.drawDetail();
    if (byHand && matchMedia("(max-width: 60rem)").matches) this.detail.scrollIntoView();
  }

  move(by) { if (this.found.length) this.select(Math.min(this.found.length - 1, Math.max(0, this.index + by))); }

  moveGroup(by) {
    const { group } = this.chosen ?? {};
    let i = this.index;
    while (i >= 0 && i < this.found.length && this.found[i].group === group) i += by;
    if (i < 0 || i >= this.found.length) return;
    const next = this.found[i].group;
    while (by < 0 && i > 0 && this.found[i - 1].group === next) i--;
    this.select(i);
  }

  key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || /^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName)) return;
    const run = { j: () => this.move(1), k: () => this.move(-1), n: () => this.moveGroup(1), p: () => this.moveGroup(-1), "/": () => this.fields.text.focus() }[event.key];
    if (!run) return;
    event.preventDefault();
    run();
  }

  drawDetail() {
    if (!this.chosen) return this.detail.replaceChildren(el("p", { class: "card" }, "No rollout on this page is like that. Clear a filter, or look into the run's rollouts.jsonl, which has them all."));
    const { group, rollout } = this.chosen, [sign, words] = OUTCOMES[rollout.outcome];
    const step = (label, name, run) => act(label, run, name);
    this.detail.replaceChildren(
      el("div", { class: "card" },
        el("div", { class: "head" }, el("h3", {}, shownText(`Step ${group.step}, ${group.task} problem ${group.problem}${rollout.i === undefined ? "" : `, rollout ${rollout.i + 1} of ${group.rollouts.length}`}`)),
          el("span", { class: "row" }, this.annotate && rollout.outcome !== "right" && rollout.turns.length ? act("Write feedback", () => this.annotate(this.run, group, rollout)) : null, step("‹", "previous rollout", () => this.move(-1)), step("›", "next rollout", () => this.move(1)))),
        el("p", {}, el("span", { class: `mark m-${rollout.outcome}` }, `${sign} `), words, el("span", { class: "soft" }, ` (ended: ${rollout.status.replaceAll("_", " ")})`),
          ...(group.notable ?? []).map((name) => el("span", { class: "chip" }, NOTABLE[name] ?? name))),
        this.siblings(group, rollout), this.visits(group)),
      el("div", { class: "card" }, ...group.prompt.map(([role, text]) => el("div", { class: "turn" }, el("h3", {}, role === "user" ? "Question" : role), block(text, "Question"))),
        ...rollout.turns.flatMap((turn, i) => this.turn(turn, i, rollout)), ...this.unscored(rollout),
        group.answer ? el("details", {}, el("summary", {}, "Right answer"), block(group.answer, "Right answer")) : ""),
      this.samples(group, rollout));
  }

  siblings(group, chosen) {
    const names = [...new Set(group.rollouts.flatMap((each) => each.turns.flatMap((turn) => Object.keys(turn.weights ?? {}))))];
    const firsts = group.rollouts.filter((each) => each.turns.length).map((each) => each.turns[0].reward);
    const mean = firsts.reduce(add, 0) / Math.max(1, firsts.length);
    const rows = group.rollouts.map((each) => {
      const go = act(each.i === undefined ? "–" : String(each.i + 1), () => this.goTo(group, each), `show rollout ${(each.i ?? 0) + 1} of this group`);
      return [go, el("span", { class: `mark m-${each.outcome}`, title: OUTCOMES[each.outcome][1] }, OUTCOMES[each.outcome][0]), each.turns.map((turn) => String(turn.reward)).join(" → "),
        ...names.map((name) => each.turns.map((turn) => (turn.weights?.[name] === undefined ? "·" : signed(turn.weights[name]))).join(" / "))];
    });
    const made = table(["rollout", "outcome", "rewards", ...names.map((name) => `weight, ${name}`)], rows);
    [...made.tBodies[0].rows].forEach((row, i) => { if (group.rollouts[i] === chosen) row.setAttribute("aria-current", "true"); });
    made.className = "sibs";
    const quiet = names.length ? "" : " No attempt of this group was trained: all rewards are alike.";
    return el("details", { open: true }, el("summary", {}, `The group: ${group.rollouts.length} rollouts of this problem, mean first reward ${signed(Number(mean.toFixed(3)))}`),
      wide(made, "Rollouts of this group"), el("p", { class: "small soft" }, `Weights stand for each attempt in turn, “·” where it was not trained.${quiet}`));
  }

  goTo(group, rollout) {
    const same = (row) => row.group.step === group.step && row.group.group === group.group && row.rollout.i === rollout.i;
    // A filter may keep it out of the list.
    if (!this.found.some(same)) { this.clear(); this.filter(true); }
    this.select(this.found.findIndex(same));
  }

  /** The same problem at other steps of the run. */
  visits(group) {
    const others = this.current.groups.filter((each) => each.task === group.task && each.problem === group.problem && each !== group);
    if (!others.length) return null ?? "";
    return el("p", { class: "row small" }, "The same problem: ", ...others.map((each) => {
      const right = each.rollouts.filter((one) => one.turns[0]?.correct).length;
      return act(`step ${each.step} (${right} of ${each.rollouts.length} right at first)`, () => this.goTo(each, each.rollouts[0]));
    }));
  }

  turn(turn, i, rollout) {
    const before = i ? rollout.turns[i - 1] : null;
    const weights = Object.entries(turn.weights ?? {}).map(([name, weight]) => `${name} ${signed(weight)}`).join(", ");
    const facts = [`${turn.tokens} tokens`, `log-probability ${turn.logprob}`, weights ? `weights: ${weights}` : "not trained"];
    const text = el("pre", turn.text.length > 900 ? { tabIndex: 0, role: "region", "aria-label": ordinal(i) } : {}, before ? marked(turn.text, before.text) : shownText(turn.text));
    const nodes = [];
    if (turn.prompt && !turn.prompt.every(([, content]) => before?.feedback?.text && content.trim() === before.feedback.text.trim()))
      nodes.push(el("details", {}, el("summary", {}, "What the model was asked next"), ...turn.prompt.map(([role, content]) => block(content, role))));
    nodes.push(el("div", { class: `turn ${turn.correct ? "right" : "wrong"}` },
      el("h3", {}, ordinal(i), el("span", { class: "verdict" }, verdict(turn), turn.malformed ? el("span", { class: "bad" }, ", no readable answer") : null, turn.cut ? el("span", { class: "bad" }, ", cut at the token limit") : null, turn.why ? shownText(` – ${turn.why}`) : null)),
      turn.thinking ? el("details", {}, el("summary", {}, "Thinking"), block(turn.thinking, "Thinking")) : null, text,
      before ? el("p", { class: "small soft" }, "Marked: what the attempt before does not have.") : null,
      el("p", { class: "small soft" }, facts.join(" · "))));
    if (turn.feedback) nodes.push(this.feedback(turn.feedback));
    return nodes;
  }

  feedback({ source, text, cause, failure }) {
    return el("div", { class: `turn ${cause ? "failed" : "feedback"}` },
      el("h3", {}, text === undefined ? "No feedback" : "Feedback", el("span", { class: "verdict soft" }, shownText(`from ${source}`))),
      cause ? el("p", { class: "bad" }, shownText(`failed: ${cause}${failure ? `, ${failure}` : ""}${text === undefined ? "" : "; this text stands in for it"}`)) : null,
      text === undefined ? null : block(text, "Feedback"));
  }

  unscored({ text, failure }) {
    if (!failure) return [];
    return [el("div", { class: "turn wrong" }, el("h3", {}, "Attempt without a score"), block(text ?? "", "Attempt"), el("p", { class: "bad" }, shownText(`${failure.source}: ${failure.cause}, ${failure.failure ?? ""}`)))];
  }

  samples(group, rollout) {
    if (!group.samples.some((sample) => sample.rollout === rollout.i)) {
      const why = rollout.turns.some((turn) => turn.weights) ? "The tokens of this rollout were not recorded; records.tokens sets how many of each step are. Its weights stand above." : "Nothing of this rollout was trained.";
      return el("div", { class: "card" }, el("h3", {}, "Training samples"), el("p", { class: "soft" }, why));
    }
    const choice = el("select", {}, ...Object.entries(COLOUR_BY).map(([value, label]) => el("option", { value }, label)));
    choice.value = this.colourBy;
    choice.addEventListener("change", () => { this.colourBy = choice.value; draw(); });
    const place = el("div");
    const draw = () => place.replaceChildren(...sampleCards(group.samples, rollout.i, this.colourBy));
    draw();
    return el("div", { class: "card" }, el("h3", {}, "Training samples"),
      el("p", { class: "row small" }, el("label", {}, "Colour by ", choice), el("span", { class: "row" }, "less", el("span", { class: "scale", "aria-hidden": "true" }), "more"), el("span", { class: "soft" }, "Struck through: masked, weight 0.")), place);
  }
}

/** How the reward went from the first attempt to the last. */
function change({ turns }) {
  if (turns.length < 2) return "none";
  const by = turns[turns.length - 1].reward - turns[0].reward;
  return by > 0 ? "rose" : by < 0 ? "fell" : "same";
}

const searchable = ({ group, rollout }) => [...group.prompt.map(([, text]) => text), ...rollout.turns.flatMap((turn) => [turn.text, turn.why, turn.feedback?.text, turn.feedback?.failure]), rollout.text, rollout.failure?.failure]
  .filter(Boolean).join("\n").toLowerCase();
