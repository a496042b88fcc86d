// The events that a stream keeps: newest first, in pages, filtered by the server.

import { call, rest } from "../api.js";
import { el, button, icon, picture, problem, skeleton } from "../ui.js";
import { field, text } from "../forms.js";
import { count } from "../format.js";
import { pointed } from "./pointed.js";
import { eventRow } from "./live.js";

const LIMIT = 25;
/** Hexadecimal digits of an event's id that are its offset. */
const OFFSET_DIGITS = 10;

const placed = (event) => ({ ...event, offset: event.offset ?? parseInt(event.id.slice(-OFFSET_DIGITS), 16) });

export function keptEvents(stream, signal) {
  const input = text({ class: "mono", placeholder: "temp > 20 && EXISTS open", type: "search" });
  const filter = field("Filter", input);
  const words = el("span", {}, "");
  const newer = button("Newer", () => turn(-1), { kind: "slim" });
  const older = button("Older", () => turn(1), { kind: "slim" });
  const pager = el("div", { class: "pager", hidden: true }, words, el("div", { class: "actions" }, newer, older));
  const rows = el("div", { class: "events whole" });
  const ask = el("form", { class: "row filter", role: "search" }, el("div", { class: "grow" }, filter),
    el("div", { class: "actions" }, el("button", { type: "submit" }, icon("search", 16), "Find"),
      button("", () => load(), { kind: "square", icon: "again", name: "Load again" })));
  const node = el("div", { class: "card flush" }, ask, rows, pager);
  let start = 0;
  let asked = 0;

  const turn = (by) => {
    start = Math.max(0, start + by * LIMIT);
    return load();
  };
  const empty = () => (input.value.trim()
    ? picture("search", "No event fits", "None of the events that are kept is accepted by this filter.")
    : picture("streams", "No event kept", stream.capacity === 0 ? "This stream keeps nothing: events are only shown live." : "Nothing was published yet, or everything was deleted."));
  const load = async () => {
    const mine = ++asked;
    if (!rows.childElementCount) rows.replaceChildren(skeleton(8, "rows"));
    try {
      const query = { start, limit: LIMIT + 1, filter: input.value.trim() };
      const events = await call("GET", rest(`/event/${stream.id}`, query), undefined, { signal });
      if (mine !== asked) return;
      filter.fail(null);
      const shown = events.slice(0, LIMIT);
      rows.replaceChildren(...(shown.length > 0 ? shown.map((event) => eventRow(placed(event))) : [empty()]));
      words.textContent = shown.length > 0 ? `${count(start + 1)} – ${count(start + shown.length)}` : "";
      pager.hidden = start === 0 && events.length <= LIMIT;
      newer.disabled = start === 0;
      older.disabled = events.length <= LIMIT;
    } catch (error) {
      if (error.name === "AbortError" || mine !== asked) return;
      failed(error);
    }
  };
  const failed = (error) => {
    if (error.code === "filter.malformed" || error.code === "limit.filter") filter.fail(pointed(input.value.trim(), error.message));
    else rows.replaceChildren(el("div", { class: "inset" }, problem(error, load)));
    if (rows.querySelector(".skeleton")) rows.replaceChildren();
  };
  ask.addEventListener("submit", (event) => {
    event.preventDefault();
    start = 0;
    load();
  });
  node.seen = load;
  return node;
}
