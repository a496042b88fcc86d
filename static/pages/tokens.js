// Tokens: one's own master token, and the restricted ones of the company.

import { ask, asker, call, me, rest } from "../api.js";
import { el, button, card, copyButton, head, note, picture } from "../ui.js";
import { confirm } from "../forms.js";
import { paged } from "../list.js";
import { count, date, titleOf, verbsOf, when } from "../format.js";
import { command, connect, openSession } from "../commands.js";
import { askCan, createToken, rotateToken } from "./token-dialogs.js";

/** Whether a token still works, and if not, why. */
function standing({ revoked, expires }) {
  if (revoked !== null) return ["bad", "revoked"];
  if (expires !== null && expires <= Date.now()) return ["bad", "expired"];
  if (expires !== null && expires - Date.now() < 86_400_000) return ["warn", "expires soon"];
  return null;
}

const isOver = (token) => standing(token)?.[0] === "bad";

/** Which patterns with which verbs, and from where. */
export function rights(token) {
  const rules = Object.entries(token.paths).map(([pattern, allowed]) => el("div", {}, el("code", {}, pattern), " ", el("span", { class: "soft small" }, verbsOf(allowed))));
  const places = [...(token.origins ?? []), ...(token.addresses ?? [])];
  return el("div", {}, rules.slice(0, 4), rules.length > 4 && el("small", {}, `and ${rules.length - 4} more`),
    places.length > 0 && el("small", {}, `only from ${places.join(", ")}`));
}

function masterCard(reload) {
  const key = me.token;
  const row = el("div", { class: "soft" });
  const rotate = async () => {
    await rotateToken({ id: key, user: me.user });
    await reload();
  };
  const fact = (name, value) => [el("dt", {}, name), el("dd", { class: "row" }, el("code", {}, value), copyButton(value, { name: `Copy ${name.toLowerCase()}`, kind: "slim quiet" }))];
  const show = async () => {
    const token = await call("GET", rest(`/token/${key}`));
    row.replaceChildren("Last used ", when(token.lastUsed), ` · ${count(token.connections)} open connections · made `, when(token.created));
  };
  if (key) show().catch((error) => { row.textContent = error.message; });
  return card("Your master token", key && button("Rotate", rotate, { icon: "again" }),
    el("p", { class: "soft" }, "May do everything in your company. Keep it on servers; give browsers and devices sessions or restricted tokens. It is shown once, when it is made."),
    el("dl", {}, fact("Company", me.company), fact("User", me.user), key && fact("Token id", key)), row,
    el("details", { class: "fold" }, el("summary", {}, "Lines for a shell that has it in $TOKEN"),
      el("div", { class: "stack" }, command("Open a session", openSession(me.url, asker())), command("Open one and connect", connect(me.url, asker()), "npm install -g wscat"))));
}

function columns(act) {
  return [
    { label: "Label", kind: "main", live: true, cell: (token) => [titleOf(token), el("small", {}, el("code", {}, token.id))] },
    { label: "May", kind: "plain roomy", cell: rights },
    { label: "Last used", kind: "fit", live: true, cell: (token) => when(token.lastUsed) },
    { label: "Ends", kind: "fit", live: true, cell: (token) => {
      const state = standing(token);
      const time = token.revoked ?? token.expires;
      return [state && el("span", { class: `chip ${state[0]}`, title: date(time) }, state[1]), !isOver(token) && when(token.expires)];
    } },
    { label: "Open", kind: "number", live: true, cell: (token) => count(token.connections) },
    { label: "", kind: "fit", cell: (token) => (isOver(token) ? null : el("div", { class: "actions" },
      button("Test", () => askCan(token), { kind: "slim", name: `Test ${titleOf(token)}` }),
      button("Rotate", () => act.rotate(token), { kind: "slim", name: `Rotate ${titleOf(token)}` }),
      token.id !== me.token && button("Revoke", () => act.revoke(token), { kind: "slim danger", name: `Revoke ${titleOf(token)}` }))) },
  ];
}

export async function open({ node, signal }) {
  const reload = () => table.reload();
  const make = async () => {
    await createToken();
    await table.reload({ rewind: true });
  };
  const rotate = async (token) => {
    await rotateToken(token);
    await reload();
  };
  const revoke = async (token) => {
    const open = token.connections > 0 ? ` ${count(token.connections)} open connections close within a second.` : "";
    const done = await confirm(`Revoke “${titleOf(token)}”?`, `Whoever uses it is refused from now on.${open} This cannot be undone.`, {
      label: "Revoke", act: () => call("DELETE", rest(`/token/${token.id}`)),
    });
    if (!done) return;
    note("Revoked");
    await reload();
  };
  const table = paged({
    label: "Tokens", columns: columns({ rotate, revoke }), key: (token) => token.id, over: isOver, limit: 20,
    load: async (start, limit) => {
      const { body, total } = await ask("GET", rest("/token", { start, limit }), undefined, { signal });
      return { items: body, total: total ?? (body.length < limit ? start + body.length : start + limit + 1) };
    },
    empty: () => picture("tokens", "No token yet", "A restricted token may use only the streams that you say, and can be taken back at any time.", button("Make one", make, { kind: "primary" })),
  });
  node.append(head("Tokens", "Long-lived credentials of servers, scripts and devices.", button("New token", make, { kind: "primary", icon: "add" })),
    masterCard(reload), el("h2", {}, "All tokens"), table);
  await table.reload();
}
