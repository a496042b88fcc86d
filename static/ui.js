// Elements without a framework: el() makes one, and what every page needs stands beside it.
// Text is always set as text, never parsed, so nothing that a stranger sent becomes markup.

const SVG = "http://www.w3.org/2000/svg";

function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name === "on") {
      for (const [event, listener] of Object.entries(value)) node.addEventListener(event, listener);
    } else if (name !== "value" || node.localName === "option") {
      node.setAttribute(name, value === true ? "" : value);
    }
  }
  // A list of choices has no value before it has choices, so values come last.
  node.append(...children.flat(3).filter((child) => child !== null && child !== undefined && child !== false));
  if (attributes?.value !== undefined && attributes.value !== null) node.value = attributes.value;
  return node;
}

/** An HTML element; `on` holds listeners, absent children and attributes are passed over. */
export const el = (tag, attributes, ...children) => fill(document.createElement(tag), attributes, children);

/** The same for drawings. */
export const svg = (tag, attributes, ...children) => fill(document.createElementNS(SVG, tag), attributes, children);

const ICONS = {
  overview: "M3 13h4l3-8 4 14 3-6h4",
  tokens: "M14.5 9.5a4.5 4.5 0 1 0-4 4.5L12 15.5h2V18h2.5v2.5H20V17l-6-6",
  keys: "M12 3l7 3v5c0 5-3 8-7 10-4-2-7-5-7-10V6zM9 12l2 2 4-4",
  streams: "M3 7c4 0 4 3 8 3s4-3 10-3M3 12c4 0 4 3 8 3s4-3 10-3M3 17c4 0 4 3 8 3s4-3 10-3",
  connections: "M9 7V3M15 7V3M7 7h10v4a5 5 0 0 1-10 0zM12 16v5",
  users: "M9 11a3.5 3.5 0 1 0 0-7 3.5 3.5 0 0 0 0 7zM3 20c0-3.3 2.7-6 6-6s6 2.7 6 6M16 4.5a3.5 3.5 0 0 1 0 6.5M18 14.5c2 .9 3 3 3 5.5",
  audit: "M6 3h9l4 4v14H6zM9 11h7M9 15h7M9 7h3",
  settings: "M4 7h9M19 7h1M4 17h1M11 17h9M16 4.5v5M8 14.5v5",
  account: "M12 12a4 4 0 1 0 0-8 4 4 0 0 0 0 8zM4 21c0-4 3.6-7 8-7s8 3 8 7",
  out: "M10 4H5v16h5M15 8l4 4-4 4M19 12H9",
  copy: "M9 9h11v11H9zM5 15H4V4h11v1",
  done: "M4 12.5 9.5 18 20 6.5",
  add: "M12 5v14M5 12h14",
  close: "M6 6l12 12M18 6 6 18",
  menu: "M4 7h16M4 12h16M4 17h16",
  search: "M11 18a7 7 0 1 0 0-14 7 7 0 0 0 0 14zM16 16l5 5",
  pause: "M8 5v14M16 5v14",
  play: "M7 4.5v15l12-7.5z",
  warning: "M12 4 2.5 20h19zM12 10v4M12 17v.5",
  again: "M20 11a8 8 0 1 0-2.3 6.3M20 5v6h-6",
  edit: "M4 20h4L19 9l-4-4L4 16z",
  trash: "M4 7h16M9 7V4h6v3M6 7l1 13h10l1-13",
  send: "M4 12 20 4l-5 16-3-7z",
  more: "M9 6l6 6-6 6",
};

/** A small drawing beside a word; screen readers pass over it. */
export const icon = (name, size = 18) =>
  svg("svg", { viewBox: "0 0 24 24", width: size, height: size, fill: "none", stroke: "currentColor",
    "stroke-width": 1.8, "stroke-linecap": "round", "stroke-linejoin": "round", "aria-hidden": "true" },
  svg("path", { d: ICONS[name] }));

/** A button; while what it started is not over, further presses are passed over. */
export function button(label, press, { kind = "", icon: drawing, name, ...more } = {}) {
  const node = el("button", { type: "button", class: kind, "aria-label": name, ...more },
    drawing && icon(drawing), label);
  node.addEventListener("click", async () => {
    if (node.getAttribute("aria-disabled") === "true") return;
    await busy(node, () => press(node));
  });
  return node;
}

/** Marks a button as busy until the work is over; focus stays where it is. */
export async function busy(node, work) {
  const done = work();
  if (!(done instanceof Promise)) return done;
  node.setAttribute("aria-disabled", "true");
  node.setAttribute("aria-busy", "true");
  try {
    return await done;
  } finally {
    node.removeAttribute("aria-disabled");
    node.removeAttribute("aria-busy");
  }
}

/** Tells screen readers something, politely. */
export function say(text) {
  const place = document.querySelector("dialog[open] [data-said]") ?? document.getElementById("said");
  place.textContent = "";
  requestAnimationFrame(() => { place.textContent = text; });
}

/** Shows for a moment that something was done. */
export function note(text) {
  document.querySelector(".note")?.remove();
  const node = el("div", { class: "note", "aria-hidden": "true" }, icon("done", 16), text);
  (document.querySelector("dialog[open]") ?? document.body).append(node);
  say(text);
  setTimeout(() => node.remove(), 3200);
}

async function toClipboard(text) {
  if (navigator.clipboard) return navigator.clipboard.writeText(text);
  // Pages of plain http from another machine have no clipboard of the new kind.
  const area = el("textarea", { class: "unseen", readonly: true, value: text });
  (document.querySelector("dialog[open]") ?? document.body).append(area);
  area.select();
  const copied = document.execCommand("copy");
  area.remove();
  if (!copied) throw new Error("the browser does not let pages copy");
}

/** A button that copies; `text` may be a function that makes it when asked. */
export function copyButton(text, { label = "Copy", name, kind = "slim", copied } = {}) {
  const words = el("span", {}, label);
  const node = el("button", { type: "button", class: `copy ${kind}`, "aria-label": name }, icon("copy", 15), words);
  let over;
  node.addEventListener("click", async () => {
    let outcome = "Copied";
    try {
      await toClipboard(typeof text === "function" ? text() : text);
      copied?.();
    } catch {
      outcome = "Select it and copy by hand";
    }
    const said = outcome === "Copied";
    node.replaceChildren(icon(said ? "done" : "warning", 15), el("span", {}, outcome));
    node.removeAttribute("aria-label");
    say(outcome);
    clearTimeout(over);
    over = setTimeout(() => {
      node.replaceChildren(icon("copy", 15), words);
      if (name) node.setAttribute("aria-label", name);
    }, 2000);
  });
  return node;
}

/** What to do when a picture of a state is wanted: nothing there, or something wrong. */
export function picture(drawing, title, text, ...actions) {
  return el("div", { class: "picture" }, el("div", { class: "disc" }, icon(drawing, 22)),
    el("h2", {}, title), text && el("p", { class: "soft" }, text),
    actions.length > 0 && el("div", { class: "actions" }, actions));
}

/** What went wrong, what to do about it, and a way to try again. */
export function problem(error, again) {
  const advice = error.advice && el("p", { class: "soft" }, error.advice);
  return el("div", { class: "notice bad", role: "alert" }, icon("warning"),
    el("div", { class: "grow" }, el("p", {}, error.text ?? error.message), advice),
    again && button("Try again", again, { kind: "slim", icon: "again" }));
}

/** Grey bars where something will stand in a moment. */
export function skeleton(rows, kind = "bars") {
  const bars = Array.from({ length: rows }, () => el("div", { class: "bar" }));
  return el("div", { class: `skeleton ${kind}`, "aria-hidden": "true" }, bars);
}

/** A card with a heading. */
export const card = (title, actions, ...children) =>
  el("section", { class: "card" },
    title && el("div", { class: "row between" }, el("h2", {}, title), actions && el("div", { class: "actions" }, actions)),
    children);

/** The head of a page: what it is, a line about it, what can be done. */
export const head = (title, line, ...actions) =>
  el("div", { class: "head" }, el("div", {}, el("h1", { tabindex: -1 }, title), line && el("p", {}, line)),
    actions.length > 0 && el("div", { class: "actions" }, actions));
