// The live tail: what comes, as it comes; pause, and what is wrong when nothing comes.
// Bounded: the newest rows stay. Screen readers hear a sum every few seconds, not every event.

import { serverNow } from "../api.js";
import { el, button, icon, picture, say } from "../ui.js";
import { bars } from "../charts.js";
import { Tail } from "../socket.js";
import { clock, count, oneLine, several } from "../format.js";

/** Rows that stay, and rows that may wait while paused. */
const MOST = 400;
/** Milliseconds between two drawings, so that a flood leaves the page time for clicks. */
const BREATH = 150;
/** Milliseconds between two sums read aloud. */
const SPEAK = 6_000;

const STATES = {
  connecting: ["warn", "Connecting…"],
  live: ["good", "Live"],
  reconnecting: ["warn", "Reconnecting…"],
  revoked: ["bad", "Revoked"],
  closed: ["bad", "Closed"],
  refused: ["bad", "Refused"],
  signedout: ["bad", "Signed out"],
};
const REASONS = {
  retention: "the stream no longer keeps them",
  slow: "this page did not read in time",
  epoch: "the numbering began anew; all that is kept is shown",
};

/** One event: a line that opens to show it whole. */
export function eventRow({ offset, creationDate, elems, ...others }) {
  const whole = () => JSON.stringify({ elems, ...others, offset }, null, 2);
  const body = el("pre", {});
  const row = el("details", { class: "event" }, el("summary", {},
    el("span", { class: "offset" }, `#${offset}`), el("time", { datetime: new Date(creationDate).toISOString() }, clock(creationDate)),
    el("code", { class: "elems" }, oneLine(elems))), body);
  row.addEventListener("toggle", () => { body.textContent = row.open ? whole() : ""; });
  return row;
}

function gapRow({ from, to, count: missing, reason }) {
  const which = missing > 0 ? `${several(missing, "event")} missing (#${from} to #${to})` : "A new beginning";
  return el("div", { class: "event gap" }, icon("warning", 15), `${which}: ${REASONS[reason] ?? reason}`);
}

export function liveTail(stream, signal) {
  const dot = el("span", { class: "dot", "aria-hidden": "true" });
  const words = el("strong", {}, "");
  const detail = el("span", { class: "soft" }, "");
  const state = el("div", { class: "row grow state", role: "status" }, dot, words, detail);
  const again = button("Connect again", () => tail.connect(), { kind: "slim", icon: "again", hidden: true });
  const pause = button("Pause", () => setPaused(!paused), { kind: "slim", icon: "pause", "aria-pressed": "false" });
  const clear = button("Clear", () => { rows.replaceChildren(); show(); }, { kind: "slim quiet" });
  const rows = el("div", { class: "events", role: "log", "aria-live": "off", "aria-label": "Live events", tabindex: 0 });
  const nothing = picture("streams", "Waiting for events", "Whatever is published to this stream appears here at once. Try the form “Publish”.");
  const chart = bars({ label: "Events a second, last minute" });
  const node = el("div", { class: "card flush live" }, el("div", { class: "row" }, state, again, pause, clear), chart, nothing, rows);

  let paused = false;
  let waiting = [];
  let spoken = 0;
  let drawn = 0;
  let before = 0;
  let offset = null;

  const show = () => {
    nothing.hidden = rows.childElementCount > 0;
    rows.hidden = rows.childElementCount === 0;
    pause.lastChild.textContent = paused ? `Go on${waiting.length ? ` (${count(waiting.length)})` : ""}` : "Pause";
    if (node.dataset.state === "live") detail.textContent = offset === null ? "" : `newest #${count(offset)}`;
  };
  const draw = () => {
    drawn = 0;
    before = performance.now();
    if (!paused && waiting.length > 0) {
      rows.prepend(...waiting.reverse().map((make) => make()));
      waiting = [];
      while (rows.childElementCount > MOST) rows.lastChild.remove();
    }
    show();
  };
  const take = (makers) => {
    waiting.push(...makers);
    if (waiting.length > MOST) waiting = waiting.slice(-MOST);
    drawn ||= setTimeout(draw, Math.max(0, before + BREATH - performance.now()));
  };
  const setPaused = (is) => {
    paused = is;
    pause.setAttribute("aria-pressed", String(is));
    pause.replaceChildren(icon(is ? "play" : "pause"), "");
    draw();
  };

  const tail = new Tail(stream, {
    state(name, text) {
      const [kind, title] = STATES[name];
      node.dataset.state = name;
      dot.className = `dot ${kind}`;
      words.textContent = title;
      detail.textContent = text ?? "";
      again.hidden = !["revoked", "closed", "refused", "reconnecting"].includes(name);
      show();
    },
    events(list) {
      offset = list.at(-1).offset;
      spoken += list.length;
      list.forEach((event) => chart.add(serverNow() - event.creationDate));
      take(list.map((event) => () => eventRow(event)));
    },
    gap: (body) => take([() => gapRow(body)]),
  });
  const second = setInterval(() => chart.tick(), 1000);
  const speaker = setInterval(() => {
    if (spoken > 0 && !paused && !node.closest("[hidden]")) say(`${several(spoken, "new event")}, newest number ${offset}`);
    spoken = 0;
  }, SPEAK);
  signal.addEventListener("abort", () => {
    clearTimeout(drawn);
    clearInterval(second);
    clearInterval(speaker);
    tail.end();
  });
  show();
  tail.connect();
  return node;
}
