"use strict";
// Training samples token by token: coloured by how much each was pushed, or by what the feedback changed.

const COLOUR_BY = {
  weight: "weight",
  change: "what the feedback changes",
  plain: "log-probability, question alone",
};

/** The training samples of one rollout: `samples` are those of its group, `by` names what colours tokens. */
function sampleCards(samples, rollout, by) {
  // Weights are held against the largest of the group, so that rollouts can be compared by eye.
  const heaviest = Math.max(...samples.flatMap((sample) => sample.parts.flatMap((part) => [part.weights].flat().map(Math.abs))));
  return samples.filter((sample) => sample.rollout === rollout).flatMap((sample) => sample.parts.map((part) => {
    const learned = sample.own && !sample.plain ? "the feedback itself" : ordinal(sample.turn).toLowerCase();
    const weights = Array.isArray(part.weights) ? part.weights : sample.tokens.map(() => part.weights);
    const live = weights.filter(Boolean), masked = weights.length - live.length;
    const rests = part.value === undefined || part.value === null ? ""
      : part.baseline === undefined ? `, from ${signed(part.value)}` : `, from ${signed(part.value)} less the baseline ${signed(part.baseline)}`;
    const weight = live.length ? signed(live[0]) + (new Set(live).size > 1 ? " at the first token" : "") : "0";
    const push = !live.length ? "nothing is pushed" : live[0] > 0 ? "made more likely" : "made less likely";
    const where = { policy: "after the prompt that it answered", distillation: "as an answer to the question alone", feedback: "as a prediction of the feedback",
      token_distillation: "towards what the model says after the feedback", self_feedback: "as feedback of the model's own" }[part.component] ?? "";
    return el("div", {},
      el("h4", {}, el("span", { class: "chip" }, shownText(part.component)), shownText(` ${learned} ${where}: weight ${weight} per token${rests}; ${push}${masked ? `, ${masked} of ${weights.length} tokens masked` : ""}`)),
      ...tokenStrip(sample, weights, by, heaviest, `${part.component}, ${learned}`));
  }));
}

/** The tokens, and a line that tells of the one under the pointer or the focus. Arrow keys step through them. */
function tokenStrip(sample, weights, by, heaviest, name) {
  const values = { weight: weights, plain: sample.plain, change: sample.plain && sample.feedback && sample.plain.map((p, i) => (p === null || sample.feedback[i] === null ? null : sample.feedback[i] - p)) }[by];
  const most = by === "weight" ? heaviest : Math.max(...(values ?? []).map((value) => Math.abs(value ?? 0)), 1e-9);
  const readout = el("div", { class: "readout", role: "status" }, el("span", { class: "soft" }, "Point at a token, or step through them with the arrow keys."));
  const strip = el("div", { class: "tokens with-readout", role: "group", "aria-label": `Tokens of ${name}` });
  const spans = sample.tokens.map((token, i) => {
    const span = el("span", { class: `tok ${weights[i] ? "" : "masked"}`, tabIndex: i ? -1 : 0, role: "img", "aria-label": tokenName(i) });
    // The end of a line is shown where it is, and still ends it.
    for (const part of token.split(/(\n)/)) span.append(part === "\n" ? el("span", { class: "nl" }, "↵\n") : shownText(part));
    if (!token) span.append(el("span", { class: "nl" }, "·"));
    const value = values?.[i];
    if (value) {
      const share = Math.round(100 * Math.sqrt(Math.min(1, Math.abs(value) / most)));
      span.style.background = `color-mix(in srgb, var(--${value > 0 ? "pos" : "neg"}) ${share}%, var(--card))`;
    }
    span.addEventListener("focus", () => tell(i));
    span.addEventListener("pointerenter", () => tell(i));
    return span;
  });
  function tokenName(i) { return `token ${i + 1}: ${sample.tokens[i].trim() ? sample.tokens[i] : JSON.stringify(sample.tokens[i])}, weight ${signed(weights[i])}`; }
  function tell(i) {
    const part = (label, value) => (value === undefined || value === null ? null : el("span", { class: "chip" }, `${label} `, el("b", {}, `${value.toFixed(2)}`), ` (${percent(Math.exp(value))})`));
    const change = sample.plain && sample.feedback && sample.plain[i] !== null && sample.feedback[i] !== null ? sample.feedback[i] - sample.plain[i] : null;
    readout.replaceChildren(el("div", { class: "row" },
      el("span", {}, `${i + 1} of ${sample.tokens.length}: `, el("code", {}, shownText(JSON.stringify(sample.tokens[i])))),
      el("span", { class: "chip" }, "weight ", el("b", {}, weights[i] ? signed(weights[i]) : "0, masked")),
      part("question alone", sample.plain?.[i]), part("after feedback", sample.feedback?.[i]), part("own prompt", sample.own?.[i]),
      change === null ? "" : el("span", { class: "chip" }, `the feedback changes it by ${signed(Number(change.toFixed(2)))}`)));
    for (const [k, span] of spans.entries()) span.classList.toggle("at", k === i);
  }
  strip.addEventListener("keydown", (event) => {
    const from = spans.indexOf(document.activeElement);
    const to = { ArrowRight: from + 1, ArrowLeft: from - 1, Home: 0, End: spans.length - 1 }[event.key];
    if (from < 0 || to === undefined || !spans[to]) return;
    event.preventDefault();
    event.stopPropagation();
    spans[from].tabIndex = -1;
    spans[to].tabIndex = 0;
    spans[to].focus();
  });
  strip.append(...spans);
  if (sample.left_out) strip.append(el("span", { class: "soft" }, ` … ${count(sample.left_out)} more tokens`));
  return [strip, readout];
}
