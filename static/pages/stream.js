// One stream: what it is, what comes, what it keeps, how to reach it from elsewhere.

import { asker, call, me, rest } from "../api.js";
import { el, button, card, head, note } from "../ui.js";
import { count, when } from "../format.js";
import { command, connect, openSession, publish, subscribe } from "../commands.js";
import { deleteStream, editStream } from "./stream-form.js";
import { rules } from "./streams.js";
import { keptEvents } from "./events.js";
import { liveTail } from "./live.js";
import { publishForm } from "./publish.js";

/** Two panels of which one is seen; arrows change between them. */
function tabs(label, panels) {
  const buttons = panels.map(([words], at) => el("button", { type: "button", role: "tab", id: `tab-${at}`, "aria-controls": `panel-${at}` }, words));
  const nodes = panels.map(([, panel], at) => el("div", { role: "tabpanel", id: `panel-${at}`, "aria-labelledby": `tab-${at}` }, panel));
  const pick = (chosen, focus) => {
    buttons.forEach((tab, at) => {
      tab.setAttribute("aria-selected", String(at === chosen));
      tab.tabIndex = at === chosen ? 0 : -1;
      nodes[at].hidden = at !== chosen;
    });
    if (focus) buttons[chosen].focus();
    panels[chosen][1].seen?.();
  };
  buttons.forEach((tab, at) => {
    tab.addEventListener("click", () => pick(at));
    tab.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      if (step) pick((at + step + panels.length) % panels.length, true);
    });
  });
  pick(0);
  return el("div", { class: "stack" }, el("div", { class: "tabs", role: "tablist", "aria-label": label }, buttons), nodes);
}

function facts(stream) {
  const entries = [
    ["Id", el("code", {}, stream.id)],
    ["Keeps", stream.capacity === 0 ? "nothing" : `the newest ${count(stream.capacity)} events`],
    ["Created", when(stream.creationDate)],
    stream.lastEditDate && ["Changed", when(stream.lastEditDate)],
    stream.filter && ["Takes only", el("code", {}, stream.filter)],
  ];
  return el("dl", {}, entries.filter(Boolean).flatMap(([name, value]) => [el("dt", {}, name), el("dd", {}, value)]));
}

function commands(stream) {
  const paths = { [stream.path]: { read: true } };
  return card("From elsewhere", null,
    el("p", { class: "hint" }, "Where these lines say ", el("code", {}, "$TOKEN"), " they read your master token from the shell: ", el("code", {}, "TOKEN=…"), ". A page or device gets the session's id only."),
    command("Open a session", openSession(me.url, asker(), paths)),
    command("Open one and connect", connect(me.url, asker(), paths), "npm install -g wscat"),
    command("Subscribe, in wscat", subscribe(stream.path)),
    command("Publish an event", publish(me.url, asker(), stream.path)));
}

export async function open({ node, signal, argument }) {
  let stream = await call("GET", rest(`/stream/${encodeURIComponent(argument)}`), undefined, { signal });
  document.title = `${stream.path} · Streamgate`;
  const about = el("div", { class: "stack" });
  const draw = () => {
    const edit = async () => {
      const changed = await editStream(stream);
      if (!changed) return;
      stream = changed;
      draw();
    };
    const remove = async () => {
      if (!(await deleteStream(stream))) return;
      location.hash = "#/streams";
      note("Deleted");
    };
    about.replaceChildren(
      head(el("code", { class: "path" }, stream.path), stream.description || null,
        button("Change", edit, { icon: "edit" }), button("Delete", remove, { kind: "danger", icon: "trash" })),
      el("div", { class: "chips" }, rules(stream)));
    if (rules(stream).length === 0) about.lastChild.remove();
  };
  draw();
  const live = liveTail(stream, signal);
  const kept = keptEvents(stream, signal);
  node.append(el("nav", { "aria-label": "Where this is", class: "small" }, el("a", { href: "#/streams" }, "Streams")), about,
    el("div", { class: "columns" },
      tabs("Events", [["Live", live], ["Kept events", kept]]),
      el("div", { class: "stack" }, publishForm(stream), card("About", null, facts(stream)), commands(stream))));
}
