"use strict";
// The parts above the rollouts: in words, learning, feedback, health, settings, the same problem before and after.

let overview = null; // The one on this page.
const AXES = { rollouts: "rollouts", tokens: "tokens sampled", step: "steps" };

class Overview {
  /** `show(run, filter)` opens the viewer with a filter. */
  constructor(data, show) {
    this.data = data;
    this.show = show;
    this.axis = "rollouts";
    this.attempts = "first";
    this.run = 0;
  }

  get several() { return this.data.runs.length > 1; }
  get current() { return this.data.runs[this.run]; }

  /** Runs of one arm of a comparison have one colour. */
  colourOf(i) {
    const arms = this.data.comparison ? Object.keys(this.data.comparison.arms) : [];
    const arm = arms.findIndex((name) => this.data.runs[i].name.replace(/-seed\d+$/, "") === name);
    return (arm < 0 ? i : arm) % COLOURS;
  }

  /** Newer data of the same runs. */
  update(data) {
    this.data = data;
    this.updating = true;
    this.draw();
    this.updating = false;
  }

  draw() {
    const { title, runs } = this.data;
    document.title = `${title} · rltf report`;
    at("title").replaceChildren(shownText(title));
    const rollouts = runs.reduce((sum, run) => sum + run.tally.rollouts, 0);
    at("status").replaceChildren(shownText(this.several
      ? `${runs.length} runs, ${count(rollouts)} rollouts`
      : `${runs[0].method} on ${runs[0].task}, ${runs[0].model}, seed ${runs[0].seed}: ${count(runs[0].done)} of ${count(runs[0].steps)} steps, ${count(rollouts)} rollouts`));
    this.drawRunChoice();
    this.drawCurves();
    this.drawRun();
    this.drawHealth();
    this.drawSettings();
  }

  drawRunChoice() {
    if (at("runs").contains(document.activeElement)) return;
    const choice = el("select", { id: "run-choice" }, ...this.data.runs.map((run, i) => el("option", { value: String(i) }, shownText(run.name))));
    choice.value = String(this.run);
    choice.addEventListener("change", () => { this.run = Number(choice.value); this.drawRun(); this.show(this.run, null); });
    at("runs").replaceChildren(...(this.several ? [el("label", { class: "field" }, "Run that “in words”, feedback, before and after, and rollouts are about", choice)] : []));
  }

  /** All that is about one run. */
  drawRun() {
    this.drawFindings();
    this.drawFeedback();
    this.drawExamples();
  }

  drawFindings() {
    const { findings } = this.current;
    const tones = { good: ["▲", "good"], bad: ["▼", "bad"], note: ["•", "to know"] };
    put("findings", el("ul", { class: "findings card" }, ...findings.map(({ tone, text, show }) => el("li", {},
      el("span", { class: `tone ${tone}`, role: "img", "aria-label": tones[tone][1] }, tones[tone][0]),
      el("span", {}, shownText(text), show ? act("show", () => this.show(this.run, show), `show rollouts: ${text}`) : null)))));
  }

  drawCurves() {
    const { runs, comparison } = this.data;
    const pick = (name, options, change) => el("span", { class: "row", role: "radiogroup", "aria-label": name }, ...Object.entries(options).map(([value, label]) => {
      const radio = el("input", { type: "radio", name, value, checked: this[change] === value });
      radio.addEventListener("change", () => { this[change] = value; this.drawCurves(); at("curves").querySelector(`input[name="${name}"]:checked`).focus(); });
      return el("label", { class: "check" }, radio, label);
    }));
    const bar = el("p", { class: "row small" }, pick("over", AXES, "axis"), this.several ? pick("attempts", { first: "first attempts", later: "attempts after feedback", both: "both" }, "attempts") : null);
    const both = !this.several || this.attempts === "both";
    const wanted = ["first", "later"].filter((name) => both || this.attempts === name);
    const words = { first: "first attempts", later: "after feedback" };
    const training = [], evaluated = [];
    runs.forEach((run, i) => wanted.forEach((name) => {
      const colour = this.several ? this.colourOf(i) : name === "first" ? 0 : 1;
      const label = this.several ? `${run.name}${both ? `, ${words[name]}` : ""}` : words[name];
      const dash = this.several && name === "later";
      training.push({ label, colour, dash, points: run.tally[name].map(([mean, half], b) => [run.axis[this.axis][b], mean, this.several && runs.length > 4 ? null : half]).filter((point) => point[1] !== null) });
      for (const split of ["validation", "test"]) {
        const points = run.evaluations.filter((each) => each.split === split && each[name][0] !== null).map((each) => [each[this.axis], each[name][0], each[name][1]]);
        evaluated.push({ label: `${label}, ${split}`, colour: this.several ? colour : name === "first" ? (split === "test" ? 0 : 2) : split === "test" ? 1 : 3, dash, dots: points.length < 4, points });
      }
    }));
    const marks = this.several ? [] : runs[0].alarms.map(({ step }) => ({ x: this.along(runs[0], step), label: "alarm" }));
    const charts = [
      lineChart({ title: "Right attempts in training", note: "share of attempts that are right, with 95 % intervals over problems", xLabel: AXES[this.axis], share: true, series: training, marks }),
      lineChart({ title: "Right attempts in evaluations", note: "on problems that no step saw, with 95 % intervals; “after feedback” follows a wrong first attempt", xLabel: AXES[this.axis], share: true, series: evaluated, marks }),
    ].filter(Boolean);
    put("curves", bar, comparison ? this.comparison() : null, el("div", { class: "grid" }, ...charts));
  }

  /** Where a step lies on the chosen axis. */
  along(run, step) {
    if (this.axis === "step") return step;
    const i = run.axis.step.findIndex((end) => end >= step);
    const place = i < 0 ? run.axis.step.length - 1 : i;
    const [from, to] = [place ? run.axis.step[place - 1] : 0, run.axis.step[place]];
    const [low, high] = [place ? run.axis[this.axis][place - 1] : 0, run.axis[this.axis][place]];
    return to > from ? low + ((step - from) / (to - from)) * (high - low) : high;
  }

  /** A comparison's arms: curves over seeds, and the table with paired differences. */
  comparison() {
    const { arms, baseline, seeds } = this.data.comparison;
    const figure = (name) => Object.entries(arms).map(([arm, found], i) => ({ label: arm, colour: i % COLOURS, points: found.curve.filter((point) => point[name]).map((point) => [point.rollouts, point[name].mean, point[name].half]) }));
    const cell = (spread) => (spread ? `${percent(spread.mean)}${spread.half === null ? "" : ` ± ${(100 * spread.half).toFixed(1)}`}` : "–");
    const differs = (spread) => (spread ? `${signed(100 * spread.mean)}${spread.half === null ? "" : ` ± ${(100 * spread.half).toFixed(1)}`}` : "");
    const head = ["arm", "first attempts", ...(baseline ? [`minus ${baseline}`] : []), "after feedback", ...seeds.map((seed) => `seed ${seed}`), "rollouts", "tokens", "feedback", "seconds"];
    const rows = Object.entries(arms).map(([arm, { after, difference, cost }]) => [arm, cell(after.first_turn.spread),
      ...(baseline ? [arm === baseline ? "" : differs(difference.first_turn)] : []), cell(after.second_turn.spread),
      ...seeds.map((seed) => percent(after.first_turn.seeds[seed])), ...["rollouts", "tokens", "feedback_calls", "seconds"].map((name) => count(cost[name]))]);
    const charts = [["first_turn", "First attempts, by arm"], ["second_turn", "Attempts after feedback, by arm"]].map(([name, title]) =>
      lineChart({ title, note: `validation problems; mean and 95 % interval over ${seeds.length} seeds`, xLabel: "rollouts", share: true, series: figure(name) })).filter(Boolean);
    return el("div", { class: "stack" }, el("div", { class: "card" }, el("h3", {}, "Arms after training"),
      wide(table(head, rows, head.map((_, i) => i).slice(1)), "Arms after training"),
      el("p", { class: "soft small" }, `On ${this.data.comparison.test_problems} test problems: mean over seeds ± half its 95 % interval (Student's t). Differences are paired by seed, in points.`)),
    el("div", { class: "grid" }, ...charts), el("h3", {}, "Each run"));
  }

  drawFeedback() {
    const run = this.current, { tally, cost } = run;
    const bars = outcomeBars({ title: "How rollouts went", note: "attempt and revision together, over the training", outcomes: tally.outcomes, ends: run.axis.rollouts, xLabel: "rollouts" });
    put("helped", bars, el("div", { class: "grid" }, this.kinds(tally), this.mistakes(tally), this.wordings(tally), this.failures(tally, cost)));
  }

  kinds({ kinds }) {
    if (!kinds.length) return null;
    const share = (right, made) => (made ? percent(right / made, 0) : "–");
    const last = (list) => list[list.length - 1];
    const row = (kind) => [kind.name, share(kind.right[0], kind.made[0]), share(last(kind.right), last(kind.made)),
      withMeter(kind.fixed.reduce(add, 0), kind.revised.reduce(add, 0)), count(kind.made.reduce(add, 0))];
    return el("div", { class: "card" }, el("h3", {}, "By kind of problem"), ...[...new Set(kinds.map((kind) => kind.by))].flatMap((by) => [
      el("h4", {}, `By ${by}`), wide(table([by, "right at first, first third", "last third", "revisions that are right", "attempts"], kinds.filter((kind) => kind.by === by).map(row), [1, 2, 3, 4]), `Problems by ${by}`)]));
  }

  mistakes({ mistakes }) {
    if (!mistakes.length) return null;
    const rows = mistakes.map((kind) => [filterLink(kind.name, () => this.show(this.run, { text: kind.name })), count(kind.made[0]), count(kind.made[kind.made.length - 1]), withMeter(kind.fixed.reduce(add, 0), kind.revised.reduce(add, 0))]);
    return el("div", { class: "card" }, el("h3", {}, "What was wrong at first"), el("p", { class: "soft small" }, "What the score said of wrong first attempts, and how many of the revisions after them are right."),
      wide(table(["mistake", "first third", "last third", "revisions that are right"], rows, [1, 2, 3]), "Mistakes of first attempts"));
  }

  wordings({ feedback }) {
    if (!feedback.given) return null;
    const row = (name, each, search) => [search ? filterLink(name, () => this.show(this.run, { text: each.example.split("\n")[0] })) : name, count(each.given), withMeter(each.fixed, each.revised)];
    const rows = Object.entries(feedback.sources).map(([name, each]) => row(name, each, false));
    const like = feedback.wordings.map((each) => row(each.words, each, true));
    return el("div", { class: "card" }, el("h3", {}, "By feedback"),
      wide(table(["source", "given", "revisions that are right"], rows, [1, 2]), "Feedback by source"),
      feedback.siblings_right === null ? null : el("p", { class: "small soft" }, `For comparison, trying again without feedback: of the first attempts of their siblings at the same problems ${percent(feedback.siblings_right)} were right.`),
      like.length ? el("h4", {}, "By how it begins (# is a number)") : null,
      like.length ? wide(table(["feedback", "given", "revisions that are right"], like, [1, 2]), "Feedback by its beginning") : null);
  }

  failures({ feedback }, cost) {
    const causes = [...Object.entries(feedback.causes).map(([cause, n]) => [cause, "feedback", count(n), feedback.failures[cause] ?? ""]),
      ...Object.entries(feedback.unscored).map(([cause, n]) => [cause, "score", count(n), feedback.failures[cause] ?? ""])];
    const facts = [
      ["seconds", count(cost.seconds)],
      ["  of which", Object.entries(cost.phases).sort((a, b) => b[1] - a[1]).map(([name, seconds]) => `${name} ${count(seconds)}`).join(", ")],
      ["tokens sampled", count(cost.tokens)],
      ["feedback asked for", count(cost.asked)],
      ["feedback that failed", `${count(cost.failed)}${cost.asked ? ` (${percent(cost.failed / cost.asked)})` : ""}${cost.replaced ? `, ${count(cost.replaced)} of it replaced by a text` : ""}`],
      ["feedback with the right answer in it", feedback.given ? percent(feedback.told_answer / feedback.given) : "–"],
      ["revisions that repeat the attempt", feedback.revised ? percent(feedback.repeated / feedback.revised) : "–"],
    ];
    return el("div", { class: "card" }, el("h3", {}, "Failures and cost"), wide(table(["figure", "value"], facts), "Cost"),
      causes.length ? el("h4", {}, "Failures by cause") : null,
      causes.length ? wide(table(["cause", "of", "times", "as it was told"], causes, [2]), "Failures by cause") : null);
  }

  drawHealth() {
    const { runs } = this.data;
    const names = [...new Set(runs.flatMap((run) => Object.keys(run.health.curves)))];
    const charts = names.map((name) => {
      const holders = runs.filter((run) => run.health.curves[name]);
      const meaning = holders[0].health.curves[name].meaning;
      return lineChart({
        title: meaning[0].toUpperCase() + meaning.slice(1), note: name, xLabel: "steps", height: 170, until: Math.max(...runs.map((run) => run.done)),
        series: runs.map((run, i) => ({ label: run.name, colour: this.colourOf(i), points: (run.health.curves[name]?.values ?? []).map((value, k) => [run.health.step[k], value, null]).filter((point) => point[1] !== null) })),
        marks: this.several ? [] : runs[0].alarms.map(({ step }) => ({ x: step, label: "alarm" })),
      });
    }).filter(Boolean);
    const alarms = runs.flatMap((run) => run.alarms.map(({ step, until, reason }) => [run.name, `${step}${until > step ? ` to ${until}` : ""}`, reason]));
    const list = alarms.length
      ? el("div", { class: "card" }, el("h3", { class: "bad" }, "Alarms"), wide(table(["run", "steps", "reason"], alarms), "Alarms"))
      : el("p", { class: "soft" }, "No alarm was raised.");
    put("health", list, el("div", { class: "grid small-charts" }, ...charts));
  }

  drawSettings() {
    const { runs, differing } = this.data;
    const parts = [];
    if (this.several) {
      const rows = differing.map((name) => [name, ...runs.map((run) => run.settings[name] ?? "–")]);
      parts.push(el("div", { class: "card" }, el("h3", {}, "How the runs differ"), rows.length
        ? wide(table(["setting", ...runs.map((run) => run.name)], rows), "Settings that differ") : el("p", {}, "In no setting.")));
    }
    else {
      const rows = Object.entries(runs[0].not_default).map(([name, usual]) => [name, runs[0].settings[name], usual]);
      parts.push(el("div", { class: "card" }, el("h3", {}, "What is not the default"), rows.length
        ? wide(table(["setting", "here", "by default"], rows), "Settings that are not the default") : el("p", {}, "Nothing: this is the main job.")));
    }
    const all = runs.map((run) => el("details", {}, el("summary", {}, shownText(`All settings${this.several ? ` of ${run.name}` : ""}`)),
      el("p", { class: "soft small" }, "The records lie in ", el("code", {}, shownText(run.path)), ": ",
        ...["config.json", "metrics.jsonl", "rollouts.jsonl", "samples.jsonl", "evaluations.jsonl"].flatMap((name, i) => [i ? ", " : "", el("a", { href: fileLink(run.path, name) }, name)]), "."),
      wide(table(["setting", "value"], Object.entries(run.settings)), "Settings")));
    put("settings", ...parts, el("div", { class: "card" }, ...all));
  }

  drawExamples() {
    const { examples } = this.current;
    if (!examples.length) return put("examples", el("p", { class: "soft" }, "The run has evaluated no problem yet."));
    const choice = el("select", { "aria-label": "Problem" }, ...examples.map((each, i) => el("option", { value: String(i) }, shownText(`${each.task}, ${each.split} problem ${each.problem}`))));
    const place = el("div");
    const draw = () => {
      const each = examples[Number(choice.value)];
      const first = each.visits[0].rollout.turns[0].text;
      place.replaceChildren(
        ...each.prompt.map(([role, text]) => el("div", {}, el("h4", {}, role === "user" ? "Question" : role), block(text, "Question"))),
        el("div", { class: "visits" }, ...each.visits.map(({ step, rollout }, i) => {
          const [attempt] = rollout.turns;
          const text = el("pre", {}, i ? marked(attempt.text, first) : shownText(attempt.text));
          return el("div", {}, el("h4", {}, step ? `After step ${step}: ` : "Before training: ", verdict(attempt)), text,
            ...rollout.turns.slice(1).map((turn, k) => el("p", { class: "small soft" }, shownText(`${ordinal(k + 1).toLowerCase()}, after feedback: ${turn.correct ? "right" : "wrong"}`))));
        })),
        each.answer ? el("details", {}, el("summary", {}, "Right answer"), block(each.answer, "Right answer")) : null ?? "");
    };
    choice.addEventListener("change", draw);
    draw();
    put("examples", el("div", { class: "card" }, el("div", { class: "row" }, el("label", {}, "Problem ", choice), el("span", { class: "soft small" }, "First attempts without feedback. Words that the attempt before training does not have are marked.")), place));
  }
}

const add = (a, b) => a + b;
const at = (id) => document.getElementById(id);
/** Fills a part of the page. With newer data, a part in which somebody is at work is left as it is. */
function put(id, ...children) {
  const body = at(id).querySelector(".body");
  if (overview?.updating && body.contains(document.activeElement)) return;
  body.replaceChildren(...children.filter((child) => child !== null && child !== undefined));
}
const fileLink = (path, name) => `file://${path.split("/").map(encodeURIComponent).join("/")}/${name}`;

function act(label, run, name) {
  const button = el("button", { type: "button", "aria-label": name }, label);
  button.addEventListener("click", run);
  return button;
}

function filterLink(text, run) {
  const link = el("a", { href: "#viewer" }, shownText(text));
  link.addEventListener("click", run);
  return link;
}

const withMeter = (part, whole) => (whole ? el("span", {}, meter(part / whole, "fix"), ` ${percent(part / whole, 0)} of ${count(whole)}`) : "–");

function verdict(turn) {
  const word = turn.correct ? "right" : turn.reward ? `reward ${turn.reward}` : "wrong";
  return el("span", { class: turn.correct ? "good" : "bad" }, `${turn.correct ? "✓" : "✗"} ${word}`);
}
