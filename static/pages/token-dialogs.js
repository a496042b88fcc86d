// The dialogs of tokens: make one, rotate one, show the secret once, ask what one may do.

import { asker, call, me, rest } from "../api.js";
import { el, button, copyButton, icon } from "../ui.js";
import { check, dialog, field, form, select, text } from "../forms.js";
import { titleOf } from "../format.js";
import { command, connect, openSession } from "../commands.js";

const DAY = 86_400_000;
const ENDS = [["", "Never"], [DAY / 24, "In an hour"], [DAY, "In a day"], [7 * DAY, "In a week"], [30 * DAY, "In 30 days"], [365 * DAY, "In a year"], ["at", "At a date…"]];
const OVERLAPS = [[0, "At once: open connections close"], [300, "In 5 minutes"], [3600, "In an hour"], [86400, "In a day"], [604800, "In a week"]];
const VERBS = [["read", "subscribe"], ["write", "publish"], ["manage", "make and change"]];

const lines = (input) => input.value.split(/[\s,]+/).filter(Boolean);

/** A row of pattern and verbs; `.rule()` gives `[pattern, verbs]`, or null if nothing is typed. */
function ruleRow(pattern, allowed, remove) {
  const input = text({ class: "mono", value: pattern, "aria-label": "Path pattern", placeholder: `/${me.company}/door/**` });
  const boxes = VERBS.map(([verb, words]) => check(verb, { checked: allowed.includes(verb), name: verb, title: words }));
  const node = el("div", { class: "rule", role: "group", "aria-label": "Rule" }, input, el("div", { class: "verbs" }, boxes),
    button("", () => remove(node), { kind: "quiet slim square", icon: "close", name: "Remove this rule" }));
  node.rule = () => {
    const path = input.value.trim();
    return path && [path, Object.fromEntries(boxes.filter((box) => box.input.checked).map((box) => [box.input.name, true]))];
  };
  return node;
}

/** The rows of a scope; `.paths()` gives what the API takes. */
export function rules() {
  const rows = el("div", { class: "stack tight" });
  const remove = (row) => {
    if (rows.childElementCount > 1) row.remove();
    rows.querySelector("input").focus();
  };
  const add = (pattern = "", allowed = ["read"]) => {
    const row = ruleRow(pattern, allowed, remove);
    rows.append(row);
    return row;
  };
  add(`/${me.company}/**`);
  const more = button("Another pattern", () => add().querySelector("input").focus(), { kind: "slim", icon: "add" });
  const node = el("fieldset", { class: "stack tight" }, el("legend", {}, "May use"), rows,
    el("p", { class: "hint" }, el("code", {}, "*"), " stands for one whole segment, ", el("code", {}, "**"), " at the end for the rest."), el("div", {}, more));
  node.paths = () => Object.fromEntries([...rows.children].map((row) => row.rule()).filter(Boolean));
  return node;
}

/** When a token ends: a choice, and a date if that is chosen. `.time()` is null for never. */
function ending() {
  const choice = field("Ends", select(ENDS, { value: String(30 * DAY) }));
  const at = field("On", el("input", { type: "datetime-local" }));
  at.hidden = true;
  choice.input.addEventListener("change", () => { at.hidden = choice.input.value !== "at"; });
  const node = el("div", { class: "fields" }, choice, at);
  node.time = () => {
    const { value } = choice.input;
    if (value === "") return null;
    if (value !== "at") return Date.now() + Number(value);
    const time = Date.parse(at.input.value);
    if (!(time > Date.now())) throw Object.assign(new Error("Choose a date that is to come."), { target: at });
    return time;
  };
  return node;
}

/** Makes a restricted token and shows its secret. Resolves when that dialog is closed too. */
export async function createToken() {
  const made = await dialog("New token", (close) => {
    const label = field("Label", text({ required: true, placeholder: "the lobby screen", autofocus: true, maxlength: 200 }), { hint: "What uses it, or where." });
    const scope = rules();
    const ends = ending();
    const origins = field("Only pages of these origins", el("textarea", { class: "mono", rows: 2, spellcheck: "false", placeholder: "https://app.example.com" }), { hint: "One a line; empty: any." });
    const addresses = field("Only from these addresses", el("textarea", { class: "mono", rows: 2, spellcheck: "false", placeholder: "10.0.0.0/8" }), { hint: "Networks or addresses, one a line; empty: any." });
    const submit = async () => {
      const body = { label: label.input.value.trim(), paths: scope.paths(), expires: ends.time(), origins: lines(origins.input), addresses: lines(addresses.input) };
      close(await call("POST", rest("/token"), body));
    };
    return form([label, scope, ends, el("details", { class: "fold" }, el("summary", {}, "Only from some places"), el("div", { class: "fields" }, origins, addresses))],
      { label: "Make token", cancel: () => close(), submit, place: (error) => error.target });
  }, { wide: true });
  if (made) await showSecret("The new token", made);
}

/** Rotates a token: a new secret with the same rights; the old one ends after an overlap. */
export async function rotateToken(token) {
  const made = await dialog("Rotate the token", (close) => {
    const overlap = field("The old one ends", select(OVERLAPS, { value: "3600", autofocus: true }));
    const submit = async () => {
      close(await call("POST", rest(`/token/${token.id}/rotate`), { overlap: Number(overlap.input.value) }));
    };
    return [el("p", {}, "A new token with the same rights is made for ", el("strong", {}, titleOf(token)), ". Until the old one ends, both work."),
      form([overlap], { label: "Rotate", cancel: () => close(), submit })];
  });
  if (!made) return;
  if (token.id === me.token) me.token = made.id;
  await showSecret("The new token", made);
}

/** Shows a secret, this once: Escape asks back as long as it was not copied. */
function showSecret(title, { token, user, paths, label }) {
  let taken = false;
  const who = { ...asker(token), user: user ?? null };
  const narrowed = user ? undefined : paths && Object.fromEntries(Object.entries(paths).filter(([, verbs]) => verbs.read).map(([path]) => [path, { read: true }]));
  const copied = () => { taken = true; };
  return dialog(title, (close) => [
    el("div", { class: "notice warn" }, icon("warning"), el("p", {}, "Copy it now: it is shown this once, and nobody can look it up later.")),
    !user && label && el("p", {}, label),
    el("div", { class: "secret" }, el("code", {}, token), copyButton(token, { kind: "primary", copied, label: "Copy token" })),
    user && el("dl", {}, el("dt", {}, "Company"), el("dd", {}, el("code", {}, me.company)), el("dt", {}, "User"), el("dd", {}, el("code", {}, user))),
    command("Open a session", openSession(me.url, who, narrowed)),
    command("Open one and connect", connect(me.url, who, narrowed), "npm install -g wscat"),
    el("div", { class: "actions end" }, button("I have it", () => close(), {})),
  ], { wide: true, guard: () => (taken ? null : "It was not copied yet. Close once more to leave without it.") });
}

/** “Can this token do that?”: asks the server, which answers with the rule that decides. */
export function askCan(token) {
  return dialog("What may this token do?", (close) => {
    const verb = field("May it", select(VERBS.map(([word, words]) => [word, `${word} – ${words}`])));
    const path = field("Path of a stream", text({ class: "mono", required: true, value: `/${me.company}/`, autofocus: true }));
    const answer = el("div", { role: "status" });
    const submit = async () => {
      answer.replaceChildren();
      const { allowed, rule, why } = await call("POST", rest(`/token/${token.id}/can`), { verb: verb.input.value, path: path.input.value.trim() });
      answer.replaceChildren(el("div", { class: `notice ${allowed ? "good" : "bad"}` }, icon(allowed ? "done" : "close"),
        el("div", {}, el("p", {}, el("strong", {}, allowed ? "Yes. " : "No. "), why), rule && el("p", {}, "Rule: ", el("code", {}, rule.pattern)))));
    };
    const place = (error) => (error.code === "path.malformed" ? path : null);
    return [el("p", { class: "soft" }, titleOf(token)), form([el("div", { class: "fields" }, verb, path), answer], { label: "Ask", cancel: () => close(), back: "Close", submit, place })];
  });
}
