// What goes on right now: figures every two seconds, drawn as they come; what is wrong; and on an
// empty system the way to one's own first event.

import { call, rest } from "../api.js";
import { el, card, head, icon } from "../ui.js";
import { refresh } from "../list.js";
import { lineChart, SPANS } from "../charts.js";
import { bytes, count, short } from "../format.js";
import { firstSteps } from "./first-steps.js";

const EVERY = 2_000;

/** What was seen lately; stays while other pages are open. */
let seen = [];
let company = null;

const milliseconds = (number) => (number < 1000 ? `${short(number)} ms` : `${short(number / 1000)} s`);
const rate = (number) => `${short(number)} / s`;

/** Adds the rates to what the server counted; a counter that fell was a restart. */
function point(now, before) {
  const seconds = before ? (now.time - before.time) / 1000 : 0;
  const usable = seconds > 0 && seconds < 15 && now.published >= before.published && now.delivered >= before.delivered;
  return { ...now, gap: !usable,
    in: usable ? (now.published - before.published) / seconds : null,
    out: usable ? (now.delivered - before.delivered) / seconds : null };
}

/** A card with a figure, a line about it, and a chart of it. */
function gauge(title, { lines, words, figure, line }) {
  const number = el("strong", { class: "figure" }, "–");
  const below = el("span", { class: "soft" }, "");
  const chart = lineChart({ label: title, lines, words });
  const legend = lines.length > 1 && el("div", { class: "legend", "aria-hidden": "true" }, lines.map(({ name }, at) => el("span", { class: `key-${at}` }, name)));
  const node = card(title, legend || null, el("div", { class: "row" }, number, below), chart);
  node.show = (now) => {
    const value = figure(now);
    number.textContent = value ?? "–";
    below.textContent = line(now);
    chart.show(seen, now.time);
  };
  return node;
}

const gauges = () => [
  gauge("Connections", {
    lines: [{ name: "connections", of: (at) => at.connections }], words: short,
    figure: (now) => count(now.connections), line: (now) => `${count(now.subscriptions)} subscriptions`,
  }),
  gauge("Events", {
    lines: [{ name: "out", of: (at) => at.out }, { name: "in", of: (at) => at.in }], words: rate,
    figure: (now) => (now.out === null ? null : rate(now.out)),
    line: (now) => (now.in === null ? "counting…" : `delivered, ${rate(now.in)} published`),
  }),
  gauge("Latency", {
    lines: [{ name: "p99", of: (at) => at.latency?.p99 ?? null }, { name: "p90", of: (at) => at.latency?.p90 ?? null }, { name: "p50", of: (at) => at.latency?.p50 ?? null }],
    words: milliseconds, figure: (now) => (now.latency ? milliseconds(now.latency.p50) : null),
    line: (now) => (now.latency ? `half are faster; 1 in 100 takes over ${milliseconds(now.latency.p99)}` : "nothing delivered lately"),
  }),
];

function diskCard() {
  const free = el("strong", { class: "figure" }, "–");
  const facts = el("dl", {});
  const node = card("Disk", null, el("div", { class: "row" }, free, el("span", { class: "soft" }, "free")), facts);
  node.show = ({ disk, streams, published, delivered }) => {
    free.textContent = bytes(disk.free);
    const rows = [["Database", bytes(disk.database)], ["Write-ahead log", bytes(disk.log)], ["Streams", count(streams)], ["Published", count(published)], ["Delivered", count(delivered)]];
    facts.replaceChildren(...rows.flatMap(([name, value]) => [el("dt", {}, name), el("dd", { class: "figures" }, value)]));
  };
  return node;
}

function problems() {
  const node = el("div", { class: "stack tight", role: "status" });
  let shown = null;
  node.show = ({ problems: list }) => {
    const text = JSON.stringify(list);
    if (text === shown) return;
    shown = text;
    node.replaceChildren(...(list.length > 0
      ? list.map((problem) => el("div", { class: "notice bad" }, icon("warning"), el("div", {}, el("p", {}, el("strong", {}, problem.text)), el("p", {}, problem.advice))))
      : [el("p", { class: "row fine" }, el("span", { class: "dot good", "aria-hidden": "true" }), "Everything works.")]));
  };
  return node;
}

export async function open({ node, signal }) {
  if (company !== rest("")) [seen, company] = [[], rest("")];
  const wrong = problems();
  const parts = [wrong, ...gauges(), diskCard()];
  const steps = el("div", {});
  node.append(head("Overview", null), steps, wrong, el("div", { class: "gauges" }, parts.slice(1)));
  let first = true;
  let guide = null;
  await refresh(signal, EVERY, async () => {
    try {
      const now = await call("GET", rest("/overview"), undefined, { signal });
      seen = [...seen.filter((at) => at.time > now.time - SPANS.at(-1)), point(now, seen.at(-1))];
      parts.forEach((part) => part.show(seen.at(-1)));
      if (first && now.published === 0 && now.streams <= 1) {
        guide = firstSteps(signal);
        steps.replaceChildren(guide);
      }
      guide?.show(now);
      first = false;
    } catch (error) {
      // The frame says that the server is away; what was seen stays.
      if (first || error.name === "AbortError") throw error;
    }
  });
}
