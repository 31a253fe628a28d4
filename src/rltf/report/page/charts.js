"use strict";
// Charts: curves by uPlot, stacked bars as SVG. Each has a caption, a legend whose entries are switches, and its values
// as a table, which is also what a screen reader reads.

const COLOURS = 8;
const drawn = new Set(); // Charts that are drawn again when the colours change.

const colour = (name) => {
  const probe = el("span");
  probe.style.color = `var(--${name})`;
  document.body.append(probe);
  const found = getComputedStyle(probe).color;
  probe.remove();
  return found;
};
const faint = (rgb, share) => rgb.replace(/^rgba?\(([^)]*)\)$/, (_, inner) => `rgba(${inner.split(",").slice(0, 3).join(",")}, ${share})`);

/**
 * Curves over a common axis.
 * `series`: {label, colour: index, dash, dots, points: [[x, y, half]]}; `half` is half an interval, or null.
 * `marks`: {x, label} of moments that are marked by a line. `until`: where the axis ends at the least.
 */
function lineChart({ title, note, xLabel, series, share = false, marks = [], height = 240, until = null }) {
  const alive = series.filter((each) => each.points.length);
  if (!alive.length) return null;
  const plot = el("div", { class: "plot" });
  const values = el("details", { class: "values" }, el("summary", {}, "Values"));
  const buttons = alive.map((each) => {
    const key = el("span", { class: `key k${each.colour} ${each.dash ? "dash" : ""} ${each.dots ? "dot" : ""}`, "aria-hidden": "true" });
    const now = el("span", { class: "now" });
    const button = el("button", { type: "button", "aria-pressed": "true" }, key, shownText(each.label), now);
    return { button, now };
  });
  const legend = el("ul", { class: "legend", "aria-label": `Curves of ${title}` }, ...buttons.map(({ button }) => el("li", {}, button)));
  const figure = el("figure", { class: "card" },
    el("figcaption", {}, el("h3", {}, title), note ? el("span", { class: "soft" }, note) : null),
    plot, alive.length > 1 ? legend : null, values);
  plot.setAttribute("role", "img");
  plot.setAttribute("aria-label", `${title}: ${alive.map((each) => {
    const last = each.points[each.points.length - 1];
    return `${each.label} from ${format(each.points[0][1])} to ${format(last[1])}`;
  }).join("; ")}. The values are in the table below.`);
  function format(value) { return share ? percent(value) : short(value); }

  const xs = [...new Set(alive.flatMap((each) => each.points.map((point) => point[0])))].sort((a, b) => a - b);
  const columns = [], options = [], bands = [];
  for (const each of alive) {
    const at = new Map(each.points.map((point) => [point[0], point]));
    const pick = (change) => xs.map((x) => (at.has(x) ? change(at.get(x)) : undefined));
    const bound = (value) => (share ? Math.min(1, Math.max(0, value)) : value);
    const half = each.points.some((point) => point[2]);
    each.at = columns.length + 1;
    columns.push(pick((point) => point[1]));
    options.push(each);
    if (half) {
      columns.push(pick((point) => bound(point[1] + (point[2] ?? 0))), pick((point) => bound(point[1] - (point[2] ?? 0))));
      options.push({ ...each, edge: true }, { ...each, edge: true });
      bands.push({ of: each, series: [columns.length - 1, columns.length] });
    }
  }
  values.addEventListener("toggle", () => {
    if (!values.open || values.childElementCount > 1) return;
    const head = [xLabel, ...alive.map((each) => each.label)];
    const rows = xs.map((x, i) => [count(x), ...alive.map((each) => {
      const value = columns[each.at - 1][i];
      return value === undefined || value === null ? "" : format(value);
    })]);
    values.append(wide(table(head, rows, head.map((_, i) => i)), `Values of ${title}`));
  });

  let chart = null;
  const hidden = new Set();
  function draw() {
    if (!plot.isConnected || !plot.clientWidth) return;
    chart?.destroy();
    const axis = { stroke: colour("soft"), grid: { stroke: colour("line"), width: 1 }, ticks: { stroke: colour("line"), width: 1 }, font: "12px system-ui, sans-serif" };
    chart = new uPlot({
      width: plot.clientWidth, height,
      legend: { show: false },
      cursor: { y: false, points: { size: 6 }, drag: { x: true, y: false } },
      scales: { x: { time: false, range: (_, low, high) => (low === null ? [0, 1] : [low, Math.max(high, until ?? high, low + 1e-9)]) }, y: { range: share ? [0, 1] : (_, low, high) => spread(low, high) } },
      axes: [
        { ...axis, label: xLabel, labelSize: 20, labelFont: axis.font, size: 34, values: (_, ticks) => ticks.map(short) },
        { ...axis, size: 56, values: (_, ticks) => ticks.map((tick) => (share ? `${Math.round(100 * tick)} %` : short(tick))) },
      ],
      series: [{}, ...options.map((each) => {
        const stroke = colour(`c${each.colour % COLOURS}`);
        return {
          stroke: each.edge ? "transparent" : stroke, width: each.edge ? 0 : 2, dash: each.dash ? [7, 5] : undefined, spanGaps: true,
          points: each.edge ? { show: false } : { show: each.dots || each.points.length < 3, size: 8, fill: stroke, stroke },
          paths: each.dots ? () => null : undefined, show: !hidden.has(each.label),
        };
      })],
      bands: bands.map(({ of, series: edges }) => ({ series: edges, fill: faint(colour(`c${of.colour % COLOURS}`), 0.16) })),
      hooks: {
        draw: [(u) => { bars(u); lines(u); }],
        setCursor: [(u) => alive.forEach((each, i) => {
          const value = u.cursor.idx === null || u.cursor.idx === undefined ? undefined : columns[each.at - 1][u.cursor.idx];
          buttons[i].now.textContent = value === undefined || value === null ? "" : format(value);
        })],
      },
    }, [xs, ...columns], plot);
  }
  // Intervals of single points, and the moments that are marked.
  function bars(u) {
    for (const { of, series: edges } of bands) {
      if (!of.dots || hidden.has(of.label)) continue;
      u.ctx.save();
      u.ctx.strokeStyle = colour(`c${of.colour % COLOURS}`);
      u.ctx.lineWidth = 2 * devicePixelRatio;
      xs.forEach((x, i) => {
        const [high, low] = edges.map((edge) => columns[edge - 1][i]);
        if (high === undefined) return;
        const px = u.valToPos(x, "x", true);
        u.ctx.beginPath();
        u.ctx.moveTo(px, u.valToPos(high, "y", true));
        u.ctx.lineTo(px, u.valToPos(low, "y", true));
        u.ctx.stroke();
      });
      u.ctx.restore();
    }
  }
  function lines(u) {
    u.ctx.save();
    u.ctx.strokeStyle = u.ctx.fillStyle = colour("bad");
    u.ctx.lineWidth = 1.5 * devicePixelRatio;
    u.ctx.font = `${12 * devicePixelRatio}px system-ui, sans-serif`;
    let written = -Infinity;
    for (const { x, label } of marks) {
      const px = u.valToPos(x, "x", true), { top, height: tall, left, width } = u.bbox;
      if (px < left || px > left + width) continue;
      u.ctx.setLineDash([4 * devicePixelRatio, 4 * devicePixelRatio]);
      u.ctx.beginPath();
      u.ctx.moveTo(px, top);
      u.ctx.lineTo(px, top + tall);
      u.ctx.stroke();
      // One word where two lines stand near each other.
      if (px - written < 50 * devicePixelRatio) continue;
      written = px;
      u.ctx.textAlign = px > left + width / 2 ? "right" : "left";
      u.ctx.fillText(label, px + (px > left + width / 2 ? -5 : 5) * devicePixelRatio, top + 13 * devicePixelRatio);
    }
    u.ctx.restore();
  }
  buttons.forEach(({ button }, i) => button.addEventListener("click", () => {
    const { label } = alive[i];
    const shown = hidden.has(label);
    if (shown) hidden.delete(label);
    else hidden.add(label);
    button.setAttribute("aria-pressed", String(shown));
    draw();
  }));
  new ResizeObserver(() => {
    if (chart && chart.width === plot.clientWidth) return;
    draw();
  }).observe(plot);
  drawn.add({ figure, draw });
  return figure;
}

/** A range that never is a single point and begins at 0 where that is near. */
function spread(low, high) {
  if (low === null || high === null) return [0, 1];
  if (low === high) return low === 0 ? [0, 1] : [Math.min(0, 2 * low), Math.max(0, 2 * low)];
  const room = 0.06 * (high - low);
  return [low >= 0 && low < 0.4 * high ? 0 : low - room, high + room];
}

function redraw() {
  for (const each of drawn) {
    if (each.figure.isConnected) each.draw();
    else drawn.delete(each);
  }
}
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);

const OUTCOMES = {
  right: ["✓", "right at the first attempt", "right at first"],
  fixed: ["✗✓", "wrong, right after feedback", "fixed"],
  wrong: ["✗✗", "wrong, wrong after feedback", "still wrong"],
  spoiled: ["✓✗", "right, wrong after feedback", "spoiled"],
  alone: ["✗", "wrong, not tried again", "not tried again"],
  unscored: ["?", "no score", "no score"],
};

/** Shares of outcomes over the run, a bar for each stretch. `ends`: what the axis says at the end of each. */
function outcomeBars({ title, note, outcomes, ends, xLabel }) {
  const names = Object.keys(OUTCOMES).filter((name) => outcomes[name].some((each) => each));
  const totals = ends.map((_, i) => names.reduce((sum, name) => sum + outcomes[name][i], 0));
  if (!names.length) return null;
  const [width, height, left, bottom] = [innerWidth < 640 ? 400 : 800, 230, 44, 36], tall = height - bottom - 8, step = (width - left - 6) / ends.length;
  const svg = (tag, attributes, ...children) => {
    const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
    for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
    made.append(...children);
    return made;
  };
  const picture = svg("svg", { class: "bars", viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": `${title}. The values are in the table below.` });
  for (const share of [0, 0.25, 0.5, 0.75, 1]) {
    const y = 8 + tall * (1 - share);
    picture.append(svg("line", { x1: left, x2: width - 6, y1: y, y2: y }), svg("text", { x: left - 6, y: y + 4, "text-anchor": "end" }, `${100 * share} %`));
  }
  ends.forEach((end, i) => {
    let top = 8 + tall;
    for (const name of names) {
      const size = totals[i] ? (tall * outcomes[name][i]) / totals[i] : 0;
      top -= size;
      if (size) picture.append(svg("rect", { class: `o-${name}`, x: left + i * step + 0.5, y: top, width: Math.max(1, step - 1), height: size },
        svg("title", {}, `${OUTCOMES[name][1]}: ${percent(outcomes[name][i] / totals[i])} of ${count(totals[i])}, up to ${count(end)} ${xLabel}`)));
    }
    if ((i + 1) % Math.ceil(ends.length / (width < 640 ? 4 : 8)) === 0) picture.append(svg("text", { x: left + (i + 1) * step, y: height - bottom + 16, "text-anchor": i + 1 === ends.length ? "end" : "middle" }, short(end)));
  });
  picture.append(svg("text", { x: left + (width - left) / 2, y: height - 4, "text-anchor": "middle" }, xLabel));
  const sum = (name) => outcomes[name].reduce((a, b) => a + b, 0), all = totals.reduce((a, b) => a + b, 0);
  const legend = el("ul", { class: "legend" }, ...names.map((name) => el("li", { class: "row small" },
    el("span", { class: `box o-${name}`, "aria-hidden": "true" }), `${OUTCOMES[name][0]} ${OUTCOMES[name][1]}: ${percent(sum(name) / all)}`)));
  const rows = ends.map((end, i) => [count(end), ...names.map((name) => (totals[i] ? percent(outcomes[name][i] / totals[i]) : "")), count(totals[i])]);
  const head = [xLabel, ...names.map((name) => OUTCOMES[name][1]), "rollouts"];
  return el("figure", { class: "card" },
    el("figcaption", {}, el("h3", {}, title), el("span", { class: "soft" }, note)), picture, legend,
    el("details", { class: "values" }, el("summary", {}, "Values"), wide(table(head, rows, head.map((_, i) => i)), `Values of ${title}`)));
}
