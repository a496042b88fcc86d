// The streams of the company: looked for and paged by the server, so a hundred thousand are no burden.

import { ask, rest } from "../api.js";
import { el, button, head, icon, picture } from "../ui.js";
import { text } from "../forms.js";
import { paged } from "../list.js";
import { count, when } from "../format.js";
import { editStream } from "./stream-form.js";

/** Milliseconds without a key after which the server is asked. */
const PAUSE = 180;

const columns = [
  { label: "Path", kind: "main", cell: (stream) => [el("a", { href: `#/streams/${stream.id}` }, el("code", {}, stream.path)), stream.description && el("small", {}, stream.description)] },
  { label: "Keeps", kind: "number", cell: (stream) => (stream.capacity === 0 ? "nothing" : `${count(stream.capacity)} events`) },
  { label: "Rules", kind: "", cell: (stream) => (rules(stream).length > 0 ? el("div", { class: "chips" }, rules(stream)) : null) },
  { label: "Created", kind: "fit", cell: (stream) => when(stream.creationDate) },
];

/** What is unusual about a stream, as chips. */
export function rules(stream) {
  return [
    stream.ack && el("span", { class: "chip accent" }, `ack ${stream.ack}`),
    stream.maxAge && el("span", { class: "chip" }, `${count(stream.maxAge)} s old at most`),
    stream.maxBytes && el("span", { class: "chip" }, `${count(stream.maxBytes)} bytes at most`),
    stream.filter && el("span", { class: "chip", title: stream.filter }, "filter"),
  ].filter(Boolean);
}

export async function open({ node, signal }) {
  let search = "";
  const create = async () => {
    const made = await editStream();
    if (made) location.hash = `#/streams/${made.id}`;
  };
  const add = button("New stream", create, { kind: "primary", icon: "add" });
  const table = paged({
    label: "Streams", columns, key: (stream) => stream.id, limit: 25, forth: true,
    load: async (start, limit) => {
      const { body, total } = await ask("GET", rest("/stream", { start, limit, search }), undefined, { signal });
      return { items: body, total };
    },
    empty: () => (search
      ? picture("search", "No stream is called so", "The search looks into paths and descriptions.")
      : picture("streams", "No stream yet", "A stream is an ordered sequence of events with a path, such as /acme/door/1.", button("Make the first one", create, { kind: "primary" }))),
  });
  let timer;
  const input = text({ type: "search", placeholder: "Search paths and descriptions", "aria-label": "Search streams" });
  input.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(() => {
      search = input.value.trim();
      table.reload({ rewind: true });
    }, PAUSE);
  });
  node.append(head("Streams", "Ordered sequences of events. Open one to watch it, publish to it or change it.", add),
    el("div", { class: "searching" }, icon("search", 16), input), table);
  await table.reload();
}
