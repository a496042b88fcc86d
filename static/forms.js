// Fields, forms and dialogs: labels tied to inputs, errors under the field that they concern,
// focus that goes where it is wanted and comes back. Knows nothing of what is asked.

import { el, icon, button, busy, say } from "./ui.js";

let number = 0;
const fresh = (word) => `${word}-${++number}`;

/**
 * A labelled input. `input` is an element; `hint` stands below. The node has `.input`, `.value`
 * and `.fail(text)`, which shows an error under the input (null takes it away).
 */
export function field(label, input, { hint, short } = {}) {
  const id = (input.id ||= fresh("field"));
  const hintNode = hint && el("p", { class: "hint", id: `${id}-hint` }, hint);
  const error = el("p", { class: "error", id: `${id}-error`, hidden: true });
  const node = el("div", { class: short ? "field short" : "field" }, el("label", { for: id }, label), input, hintNode, error);
  const describe = (failed) => {
    const ids = [hint && `${id}-hint`, failed && `${id}-error`].filter(Boolean).join(" ");
    if (ids) input.setAttribute("aria-describedby", ids);
    else input.removeAttribute("aria-describedby");
  };
  describe(false);
  node.input = input;
  node.fail = (content) => {
    error.replaceChildren(...(content ? [content].flat() : []));
    error.hidden = !content;
    if (content) input.setAttribute("aria-invalid", "true");
    else input.removeAttribute("aria-invalid");
    describe(Boolean(content));
  };
  input.addEventListener("input", () => node.fail(null));
  return node;
}

/** A text input. */
export const text = (attributes) => el("input", { type: "text", autocomplete: "off", spellcheck: "false", ...attributes });

/** A choice: `[[value, words], …]`. */
export const select = (options, attributes) =>
  el("select", attributes, options.map(([value, words]) => el("option", { value }, words)));

/** A box to tick, with its label. */
export function check(label, attributes = {}) {
  const id = attributes.id ?? fresh("check");
  const input = el("input", { type: "checkbox", ...attributes, id });
  const node = el("div", { class: "check" }, input, el("label", { for: id }, label));
  node.input = input;
  return node;
}

/** A password with a button that shows it. */
export function password(label, { hint, autocomplete }) {
  const input = el("input", { type: "password", autocomplete, required: true, maxlength: 1024 });
  const node = field(label, input, { hint });
  const unseen = () => el("span", { class: "unseen" }, ` ${label.toLowerCase()}`);
  const show = el("button", { type: "button", class: "quiet slim reveal" }, "Show", unseen());
  show.addEventListener("click", () => {
    const shown = input.type === "password";
    input.type = shown ? "text" : "password";
    show.textContent = shown ? "Hide" : "Show";
    show.append(unseen());
  });
  const wrap = el("div", { class: "reveals" });
  input.replaceWith(wrap);
  wrap.append(input, show);
  return node;
}

/** A line that says what went wrong; `.show(error)` fills it, null empties it. */
function errorLine() {
  const node = el("div", { class: "notice bad", role: "alert", hidden: true });
  node.show = (error) => {
    node.hidden = !error;
    const advice = error?.advice && el("p", { class: "soft" }, error.advice);
    node.replaceChildren();
    if (error) node.append(icon("warning"), el("div", {}, el("p", {}, error.text ?? error.message), advice ?? ""));
  };
  return node;
}

/** A form: `submit` is awaited; what it throws is shown, unless `place(error)` found a field for it. */
export function form(children, { label, kind = "primary", cancel, back = "Cancel", submit, place, attributes = {} }) {
  const line = errorLine();
  const go = el("button", { type: "submit", class: kind }, label);
  const node = el("form", { class: "stack", novalidate: true, ...attributes }, children, line,
    el("div", { class: cancel ? "actions end" : "actions" }, cancel && button(back, cancel), go));
  node.submitButton = go;
  node.addEventListener("submit", async (event) => {
    event.preventDefault();
    if (go.getAttribute("aria-disabled") === "true") return;
    line.show(null);
    node.querySelectorAll(".field").forEach((field) => field.fail(null));
    const empty = [...node.elements].find((input) => input.required && !input.value.trim());
    if (empty) {
      empty.closest(".field")?.fail("Please fill this in.");
      empty.focus();
      return;
    }
    try {
      await busy(go, async () => submit(node));
    } catch (error) {
      if (error.name === "AbortError") return;
      const target = place?.(error);
      if (target) {
        target.fail(error.text ?? error.message);
        target.input.focus();
      } else {
        line.show(error);
      }
    }
  });
  return node;
}

/**
 * Opens a dialog. `fillIn(close)` makes its contents; `guard()` may return a sentence that keeps
 * Escape from closing it the first time. Resolves with what `close(value)` was given.
 */
export function dialog(title, fillIn, { wide, guard } = {}) {
  return new Promise((resolve) => {
    const id = fresh("title");
    const said = el("div", { class: "unseen", role: "status", "aria-live": "polite", "data-said": true });
    const node = el("dialog", { class: wide ? "wide" : "", "aria-labelledby": id });
    let value;
    let warned = false;
    const close = (result) => { value = result; node.close(); };
    const ask = () => {
      const why = warned ? null : guard?.();
      if (!why) return close();
      warned = true;
      const line = errorLine();
      line.show({ text: why });
      node.querySelector(".body").append(line);
      line.scrollIntoView({ block: "nearest" });
    };
    node.append(
      el("div", { class: "title row between" }, el("h2", { id }, title),
        button("", ask, { kind: "quiet slim square", icon: "close", name: "Close" })),
      el("div", { class: "body stack" }, fillIn(close)), said);
    node.addEventListener("cancel", (event) => { event.preventDefault(); ask(); });
    node.addEventListener("close", () => { node.remove(); resolve(value); });
    window.addEventListener("hashchange", () => node.close(), { once: true });
    document.body.append(node);
    node.showModal();
    (node.querySelector("[autofocus], .body input:not([type=hidden]), .body select, .body button") ?? node).focus();
  });
}

/** Asks whether it is really meant; `word` must be typed if it is given. Resolves with true or undefined. */
export function confirm(title, lines, { label, word, act }) {
  return dialog(title, (close) => {
    const typed = word && field(["Type ", el("code", {}, word), " to confirm"], text({ required: true }));
    const submit = async () => {
      if (word && typed.input.value.trim() !== word) throw Object.assign(new Error("This is not the same text."), { code: "typed" });
      await act();
      close(true);
      say(`${label}: done`);
    };
    const place = (error) => (error.code === "typed" ? typed : null);
    return [[lines].flat().map((line) => el("p", {}, line)),
      form(typed ? [typed] : [], { label, kind: "danger primary", cancel: () => close(), submit, place })];
  });
}
