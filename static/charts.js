// Small charts, drawn as SVG: lines over time, and bars for what came in the last seconds.
// Knows numbers and times only. A chart is an image with a sentence for who does not see it.

import { el, svg } from "./ui.js";

const WIDTH = 300;
const HEIGHT = 72;
/** Milliseconds that a chart of lines may span. */
export const SPANS = [60_000, 120_000, 300_000];

const path = (points) => points.map(([x, y], at) => `${at && !points[at].gap ? "L" : "M"}${x.toFixed(1)} ${y.toFixed(1)}`).join("");

/** The next round number: 1, 2 or 5 times a power of ten. */
function ceiling(number) {
  if (!(number > 0)) return 1;
  const power = 10 ** Math.floor(Math.log10(number));
  return [1, 2, 5, 10].map((factor) => factor * power).find((round) => round >= number * 1.0001) ?? 10 * power;
}

/**
 * Lines over the last minutes: as many of `SPANS` as there is something to show. `lines` are `{ name, of(point) }`; a point has `time`,
 * and `of` gives a number or null, which leaves a hole. `words(number)` writes a value.
 */
export function lineChart({ label, lines, words }) {
  const paths = lines.map((_, at) => svg("path", { class: `line line-${at}`, "vector-effect": "non-scaling-stroke" }));
  const area = svg("path", { class: "area" });
  const cursor = svg("line", { class: "cursor", y1: 0, y2: HEIGHT, "vector-effect": "non-scaling-stroke", visibility: "hidden" });
  const drawing = svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img", "aria-label": label },
    [0.5, HEIGHT / 2, HEIGHT - 0.5].map((y) => svg("line", { class: "grid", x1: 0, x2: WIDTH, y1: y, y2: y, "vector-effect": "non-scaling-stroke" })),
    area, paths, cursor);
  const top = el("span", {}, "");
  const since = el("span", {}, "");
  const readout = el("div", { class: "readout", hidden: true, "aria-hidden": "true" });
  const node = el("div", { class: "chart" }, el("div", { class: "plot" }, drawing, readout, el("div", { class: "scale", "aria-hidden": "true" }, top, el("span", {}, "0"))),
    el("div", { class: "foot", "aria-hidden": "true" }, since, el("span", {}, "now")));
  let points = [];
  let start = 0;
  let span = SPANS[0];

  node.show = (given, now) => {
    span = SPANS.find((size) => given.length === 0 || given[0].time >= now - size) ?? SPANS.at(-1);
    since.textContent = `${span / 60_000} min ago`;
    start = now - span;
    points = given.filter((point) => point.time >= start);
    const values = points.flatMap((point) => lines.map((line) => line.of(point))).filter((value) => value !== null);
    const most = ceiling(Math.max(0, ...values));
    const x = (time) => ((time - start) / span) * WIDTH;
    const y = (value) => HEIGHT - (value / most) * (HEIGHT - 4) - 1;
    lines.forEach((line, at) => {
      const shown = [];
      let hole = true;
      for (const point of points) {
        const value = line.of(point);
        if (value !== null) shown.push(Object.assign([x(point.time), y(value)], { gap: hole || point.gap }));
        hole = value === null;
      }
      paths[at].setAttribute("d", path(shown));
      const whole = lines.length === 1 && shown.length > 1 && !shown.slice(1).some((point) => point.gap);
      if (at === 0) area.setAttribute("d", whole ? `${path(shown)}L${shown.at(-1)[0].toFixed(1)} ${HEIGHT}L${shown[0][0].toFixed(1)} ${HEIGHT}Z` : "");
    });
    top.textContent = words(most);
    const last = points.at(-1);
    const said = lines.map((line) => `${line.name} ${last && line.of(last) !== null ? words(line.of(last)) : "not known"}`).join(", ");
    drawing.setAttribute("aria-label", `${label}, now: ${said}`);
  };

  const plot = node.firstElementChild;
  plot.addEventListener("pointermove", (event) => {
    const box = drawing.getBoundingClientRect();
    const time = start + ((event.clientX - box.left) / box.width) * span;
    const near = points.reduce((best, point) => (!best || Math.abs(point.time - time) < Math.abs(best.time - time) ? point : best), null);
    if (!near) return;
    const x = String(((near.time - start) / span) * WIDTH);
    cursor.setAttribute("x1", x);
    cursor.setAttribute("x2", x);
    cursor.setAttribute("visibility", "visible");
    readout.hidden = false;
    readout.textContent = lines.filter((line) => line.of(near) !== null).map((line) => (lines.length > 1 ? `${line.name} ${words(line.of(near))}` : words(line.of(near)))).join(" · ");
  });
  plot.addEventListener("pointerleave", () => {
    cursor.setAttribute("visibility", "hidden");
    readout.hidden = true;
  });
  return node;
}

/** What came in each of the last `seconds`: `.add(age)` counts one, `.tick()` moves on by a second. */
export function bars({ label, seconds = 60 }) {
  const counts = new Array(seconds).fill(0);
  const step = WIDTH / seconds;
  const nodes = counts.map((_, at) => svg("rect", { x: (at * step + 0.6).toFixed(2), width: (step - 1.2).toFixed(2), y: 39, height: 1, rx: 0.6 }));
  const drawing = svg("svg", { viewBox: `0 0 ${WIDTH} 40`, preserveAspectRatio: "none", role: "img", "aria-label": label }, nodes);
  const words = el("span", { class: "soft small" }, "");
  const node = el("div", { class: "bars" }, drawing, words);
  const draw = () => {
    const most = Math.max(4, ...counts);
    counts.forEach((count, at) => {
      const height = Math.max(1, (count / most) * 38);
      nodes[at].setAttribute("height", height.toFixed(1));
      nodes[at].setAttribute("y", (40 - height).toFixed(1));
      nodes[at].setAttribute("class", count ? "some" : "none");
    });
    const recent = counts.slice(-11, -1).reduce((sum, count) => sum + count, 0) / 10;
    words.textContent = `${recent >= 10 || recent === 0 ? Math.round(recent) : recent.toFixed(1)} / s`;
    words.title = "Mean of the last ten seconds";
    drawing.setAttribute("aria-label", `${label}: ${words.textContent}`);
  };
  node.add = (age) => {
    const at = seconds - 1 - Math.max(0, Math.floor(age / 1000));
    if (at >= 0) counts[at] += 1;
  };
  node.tick = () => {
    draw();
    counts.push(0);
    counts.shift();
  };
  draw();
  return node;
}
