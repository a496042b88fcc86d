// Signing keys: with one, a back end signs JWTs that open sessions. For who manages.

import { call, rest } from "../api.js";
import { el, button, head, note, picture, problem } from "../ui.js";
import { confirm, dialog, field, form, select, text } from "../forms.js";
import { list } from "../list.js";
import { when } from "../format.js";
import { rights } from "./tokens.js";
import { rules } from "./token-dialogs.js";

const ALGORITHMS = [["ES256", "ES256 – elliptic curve, public key"], ["RS256", "RS256 – RSA, public key"], ["HS256", "HS256 – shared secret"], ["HS512", "HS512 – shared secret"]];

/** What was pasted: a JSON Web Key Set, or a secret or public key as it is. */
function material(pasted) {
  if (!pasted.startsWith("{")) return { key: pasted };
  return { jwks: JSON.parse(pasted) };
}

const addKey = () =>
  dialog("New signing key", (close) => {
    const label = field("Label", text({ required: true, placeholder: "the shop's back end", autofocus: true }), { hint: "Who signs with it." });
    const algorithm = field("Algorithm", select(ALGORITHMS));
    const kid = field("Key id (kid)", text({ class: "mono" }), { hint: "Empty: the key is found without one." });
    const key = field("Key", el("textarea", { class: "mono", rows: 5, spellcheck: "false", required: true, placeholder: "-----BEGIN PUBLIC KEY-----" }),
      { hint: "A public key in PEM, a JSON Web Key Set, or a secret of at least 32 bytes." });
    const scope = rules();
    const submit = async () => {
      const named = kid.input.value.trim();
      const body = { label: label.input.value.trim(), algorithm: algorithm.input.value, ...material(key.input.value.trim()), paths: scope.paths() };
      close(await call("POST", rest("/key"), named ? { ...body, kid: named } : body));
    };
    const place = (error) => (error instanceof SyntaxError ? key : null);
    return form([label, el("div", { class: "fields" }, algorithm, kid), key, scope], { label: "Add key", cancel: () => close(), submit, place });
  }, { wide: true });

const columns = (remove) => [
  { label: "Label", kind: "main", cell: (key) => [key.label || key.id, el("small", {}, el("code", {}, key.kid ? `kid ${key.kid}` : key.id))] },
  { label: "Algorithm", kind: "fit", cell: (key) => key.algorithm },
  { label: "May", kind: "plain roomy", cell: rights },
  { label: "Last used", kind: "fit", live: true, cell: (key) => when(key.lastUsed) },
  { label: "Added", kind: "fit", cell: (key) => when(key.created) },
  { label: "", kind: "fit", cell: (key) => (key.revoked === null
    ? el("div", { class: "actions" }, button("Remove", () => remove(key), { kind: "slim danger", name: `Remove ${key.label || key.id}` }))
    : el("span", { class: "chip bad" }, "removed")) },
];

export async function open({ node, signal }) {
  const said = el("div", {});
  const remove = async (key) => {
    const done = await confirm(`Remove “${key.label || key.id}”?`, "Nothing that was signed with it is believed any more; sessions that it opened end within a second.", { label: "Remove key", act: () => call("DELETE", rest(`/key/${key.id}`)) });
    if (!done) return;
    note("Removed");
    await load();
  };
  const add = async () => {
    if (!(await addKey())) return;
    note("Added");
    await load();
  };
  const table = list({
    label: "Signing keys", columns: columns(remove), key: (key) => key.id, over: (key) => key.revoked !== null,
    empty: () => picture("keys", "No signing key yet", "A back end that signs JWTs with its own key opens sessions without a token of ours.", button("Add one", add, { kind: "primary" })),
  });
  const load = async () => {
    said.replaceChildren();
    try {
      table.show(await call("GET", rest("/key"), undefined, { signal }));
    } catch (error) {
      if (error.name === "AbortError") throw error;
      said.replaceChildren(problem(error, load));
    }
  };
  node.append(head("Signing keys", "Keys of back ends that sign JWTs; POST /session takes these in place of a token.", button("New key", add, { kind: "primary", icon: "add" })), said, el("div", { class: "card flush" }, table));
  await load();
}
