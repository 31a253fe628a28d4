"use strict";
// Small helpers. Texts of models, judges and people reach the page through text nodes alone: no markup is ever read.

/** An element with properties and children; strings become text nodes. */
function el(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === undefined || value === null) continue;
    if (name === "class") made.className = value;
    else if (name in made && name !== "list") made[name] = value;
    else made.setAttribute(name, value);
  }
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

// Signs that show nothing, or that change the order of what stands beside them.
const UNSEEN = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u00ad\u061c\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]/u;

/** Text as nodes, with a visible name in place of signs that would hide or turn something. */
function shownText(text) {
  const nodes = document.createDocumentFragment();
  let rest = text;
  for (let at = rest.search(UNSEEN); at >= 0; at = rest.search(UNSEEN)) {
    if (at) nodes.append(rest.slice(0, at));
    const code = rest.codePointAt(at).toString(16).toUpperCase().padStart(4, "0");
    nodes.append(el("span", { class: "sign", title: "a sign that shows nothing itself" }, `U+${code}`));
    rest = rest.slice(at + 1);
  }
  nodes.append(rest);
  return nodes;
}

/** A block of text as it was written; long ones can be scrolled, also by keyboard. */
function block(text, label) {
  const long = text.length > 900 || text.split("\n").length > 16;
  return el("pre", long ? { tabIndex: 0, role: "region", "aria-label": label } : {}, shownText(text));
}

const percent = (share, digits = 1) => (share === null || share === undefined ? "–" : `${(100 * share).toFixed(digits)} %`);
const count = (number) => Math.round(number).toLocaleString("en");
const signed = (number) => (number > 0 ? "+" : number < 0 ? "−" : "") + String(Math.abs(Number(number.toPrecision(3))));
const ordinal = (turn) => ["First attempt", "Second attempt", "Third attempt", "Fourth attempt"][turn] ?? `Attempt ${turn + 1}`;

function short(number) {
  const size = Math.abs(number);
  if (size >= 1e6) return `${Number((number / 1e6).toPrecision(3))}M`;
  if (size >= 1e4) return `${Number((number / 1e3).toPrecision(3))}k`;
  if (size && size < 1e-3) return number.toExponential(1);
  return String(Number(number.toPrecision(3)));
}

/** A table with a head; numbers stand right. Cells are strings, numbers as strings, or nodes. */
function table(head, rows, numeric = []) {
  const cell = (tag, value, i) => el(tag, { class: numeric.includes(i) ? "n" : undefined, ...(tag === "th" ? { scope: "col" } : {}) },
    typeof value === "string" ? shownText(value) : value);
  return el("table", {}, el("thead", {}, el("tr", {}, ...head.map((value, i) => cell("th", value, i)))),
    el("tbody", {}, ...rows.map((row) => el("tr", {}, ...row.map((value, i) => cell("td", value, i))))));
}

/** A table that may be wider than the screen. */
const wide = (inner, label) => el("div", { class: "scroll", tabIndex: 0, role: "region", "aria-label": label }, inner);

function meter(share, kind = "") {
  const bar = el("span");
  bar.style.width = `${100 * share}%`;
  return el("span", { class: `meter ${kind}`, "aria-hidden": "true" }, bar);
}

/** Words of two texts, those marked that the other has not: a longest common subsequence, for texts of a sensible size. */
function marked(text, other) {
  const [mine, theirs] = [text, other].map((each) => each.split(/(\s+)/));
  if (mine.length * theirs.length > 250000) return shownText(text);
  const longest = Array.from({ length: mine.length + 1 }, () => new Uint16Array(theirs.length + 1));
  for (let i = mine.length - 1; i >= 0; i--)
    for (let j = theirs.length - 1; j >= 0; j--)
      longest[i][j] = mine[i] === theirs[j] ? longest[i + 1][j + 1] + 1 : Math.max(longest[i + 1][j], longest[i][j + 1]);
  const nodes = document.createDocumentFragment();
  for (let i = 0, j = 0; i < mine.length; i++) {
    while (j < theirs.length && mine[i] !== theirs[j] && longest[i][j + 1] === longest[i][j]) j++;
    const common = j < theirs.length && mine[i] === theirs[j];
    if (common) j++;
    nodes.append(common || !mine[i].trim() ? shownText(mine[i]) : el("mark", {}, shownText(mine[i])));
  }
  return nodes;
}
