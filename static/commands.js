// Lines to paste into a shell. Pure: the same words give the same lines.
// A secret is written out only where it was just made; else the line reads it from $TOKEN.

import { el, copyButton } from "./ui.js";

/** As a POSIX shell takes it, whatever is in it. */
const quoted = (text) => `'${text.replaceAll("'", `'\\''`)}'`;

const socketUrl = (url) => url.replace(/^http/, "ws");

/** The headers of who asks: `who` is company, user (null with a restricted token), token. */
function headers({ company, user, token }, withCompany) {
  const lines = [];
  if (withCompany) lines.push(`-H ${quoted(`X-Auth-Company: ${company}`)}`);
  if (user) lines.push(`-H ${quoted(`X-Auth-User: ${user}`)}`);
  lines.push(token ? `-H ${quoted(`X-Auth-Token: ${token}`)}` : `-H "X-Auth-Token: $TOKEN"`);
  return lines.join(" ");
}

/** Opens a session; with `paths` one that may do no more than these. */
export const openSession = (url, who, paths) =>
  `curl -sS -X POST ${url}/session ${headers(who, true)}${paths ? ` -d ${quoted(JSON.stringify({ paths }))}` : ""}`;

/** Opens a session and connects to it. The id is the 14th word between double quotes of the answer. */
export const connect = (url, who, paths) =>
  `wscat -c "${socketUrl(url)}/session/$(${openSession(url, who, paths)} | cut -d'"' -f14)/ws"`;

/** The frame that subscribes. */
export const subscribe = (path) => JSON.stringify({ msgId: 1, object: "event", type: "subscribe", path });

/** Publishes one event. */
export const publish = (url, who, path, elems = { hello: "world" }) =>
  `curl -sS -X POST ${url}/v5.0/${who.company}/event ${headers(who, false)} -d ${quoted(JSON.stringify({ path, elems }))}`;

/** A command with a heading and a button that copies it. */
export function command(label, text, hint) {
  return el("div", { class: "command" },
    el("div", { class: "row" }, el("div", {}, el("h3", {}, label), hint && el("p", { class: "hint" }, hint)),
      copyButton(text, { name: `Copy: ${label}` })),
    el("pre", {}, text));
}
