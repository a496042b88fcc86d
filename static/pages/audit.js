// Who did what: newest first, never changed afterwards.

import { call, me, rest } from "../api.js";
import { el, button, head, picture } from "../ui.js";
import { field, select, text } from "../forms.js";
import { paged } from "../list.js";
import { date, verbsOf, when } from "../format.js";

const ACTIONS = [
  "token.created", "token.revoked", "token.rotated", "user.added", "user.removed", "user.changed", "user.reset", "password.set",
  "login.opened", "login.refused", "stream.created", "stream.changed", "stream.deleted", "events.deleted", "key.added", "key.removed", "connection.closed",
];
const ALARMING = ["login.refused", "token.revoked", "user.removed", "stream.deleted", "events.deleted"];
const PAUSE = 250;

const paths = (scope) => Object.entries(scope).map(([pattern, allowed]) => `${pattern} (${verbsOf(allowed)})`).join(", ");

/** A member of an entry's detail, as people read it. */
function value(name, content) {
  if (name === "paths") return paths(content);
  if (name === "expires") return date(content);
  if (Array.isArray(content)) return content.join(", ");
  return typeof content === "string" ? content : JSON.stringify(content);
}

const says = (content) => content !== null && content !== "" && !(Array.isArray(content) && content.length === 0);
const detail = (entry) => Object.entries(entry.detail ?? {}).filter(([, content]) => says(content)).map(([name, content]) => `${name}: ${value(name, content)}`).join(" · ");

const columns = [
  { label: "When", kind: "fit", cell: (entry) => [when(entry.time), el("small", {}, date(entry.time))] },
  { label: "What", kind: "fit", cell: (entry) => el("span", { class: ALARMING.includes(entry.action) ? "chip warn" : "chip" }, entry.action) },
  { label: "Concerns", kind: "", cell: (entry) => [el("code", {}, entry.subject ?? ""), detail(entry) && el("small", {}, detail(entry))] },
  { label: "Who", kind: "fit", cell: (entry) => [entry.user ?? (entry.token ? "a token" : "nobody"), entry.token && el("small", {}, el("code", {}, entry.token))] },
  { label: "From", kind: "fit", cell: (entry) => (entry.address ? el("code", {}, entry.address) : "this server") },
];

export async function open({ node, signal }) {
  if (!me.manages) {
    node.append(head("Audit"), picture("audit", "Only for who manages", "Somebody who manages users can let you do so too."));
    return;
  }
  const action = field("Action", select([["", "All"], ...ACTIONS.map((name) => [name, name])]), { short: true });
  const user = field("User", text({ type: "search", placeholder: "Anybody", autocapitalize: "none" }), { short: true });
  const table = paged({
    label: "Audit", columns, key: (entry) => String(entry.id), limit: 25, counted: false,
    load: async (start, limit) => {
      const query = { start, limit, action: action.input.value, user: user.input.value.trim() };
      return { items: await call("GET", rest("/audit", query), undefined, { signal }), total: null };
    },
    empty: () => picture("audit", "Nothing here", action.input.value || user.input.value ? "Nothing fits this filter." : "Whatever people change is written down here."),
  });
  const anew = () => table.reload({ rewind: true });
  let timer;
  action.input.addEventListener("change", anew);
  user.input.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(anew, PAUSE);
  });
  node.append(head("Audit", "Who did what. Nothing in here can be changed or deleted.", button("Load again", anew, { icon: "again" })),
    el("div", { class: "row" }, action, user), table);
  await anew();
}
