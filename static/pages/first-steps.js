// Three steps to one's own first event, each ticked off when the server has seen it.

import { asker, call, me, rest } from "../api.js";
import { el, button, icon, note, problem } from "../ui.js";
import { command, connect, publish, subscribe } from "../commands.js";

/** The guide; `.show(overview)` ticks off what is done. */
export function firstSteps(signal) {
  const path = `/${me.company}/hello`;
  const place = el("div", { class: "stack tight" });
  let stream = null;
  const link = () => el("a", { class: "button", href: `#/streams/${stream.id}` }, icon("play"), "Watch it here");
  const make = async () => {
    try {
      stream = await call("POST", rest("/stream"), { path, capacity: 100, description: "My first stream" });
      note("Made");
      place.replaceChildren(el("div", {}, link()));
    } catch (error) {
      place.append(problem(error));
    }
  };
  const shown = el("span", {}, path);
  const steps = [
    [el("span", {}, "Have a stream"), el("p", { class: "soft" }, "A stream keeps events in order under a path, here ", el("code", {}, shown), "."), place],
    ["Listen to it", el("p", { class: "soft" }, "Open its page, which shows what comes. Or in a terminal, with your master token in ", el("code", {}, "$TOKEN"), " (lost it? ", el("a", { href: "#/tokens" }, "Tokens"), " makes another):"), el("div", { class: "lines" })],
    ["Publish an event", el("p", { class: "soft" }, "From the stream's page, or from another terminal:"), el("div", { class: "lines" })],
  ];
  const items = steps.map(([title, ...rest]) => {
    const done = el("span", { class: "unseen" }, "");
    return Object.assign(el("li", {}, el("div", { class: "tick", "aria-hidden": "true" }, icon("done", 15)), el("div", { class: "stack tight" }, el("h3", {}, title, done), rest)), { done });
  });
  const write = (at) => {
    shown.textContent = at;
    items[1].querySelector(".lines").replaceChildren(command("Connect", connect(me.url, asker()), "npm install -g wscat"), command("Subscribe, in wscat", subscribe(at)));
    items[2].querySelector(".lines").replaceChildren(command("Publish", publish(me.url, asker(), at)));
  };
  const tick = (item, done) => {
    item.classList.toggle("done", done);
    item.done.textContent = done ? " – done" : "";
  };
  const node = el("section", { class: "card steps" }, el("h2", {}, "Three steps to your first event"), el("ol", {}, items));
  node.show = ({ streams, subscriptions, published }) => {
    tick(items[0], streams > 0);
    tick(items[1], subscriptions > 0 || published > 0);
    tick(items[2], published > 0);
  };
  write(path);
  find();
  return node;

  async function find() {
    try {
      [stream] = await call("GET", rest("/stream", { limit: 1 }), undefined, { signal });
      if (stream) write(stream.path);
      place.replaceChildren(stream ? el("div", {}, link()) : button(`Make ${path}`, make, { kind: "primary", icon: "add" }));
    } catch (error) {
      if (error.name !== "AbortError") place.replaceChildren(problem(error, find));
    }
  }
}
