// One's own account: who is signed in, another password, the way out.

import { call, me } from "../api.js";
import { el, button, card, head, note } from "../ui.js";
import { form, password, text, field } from "../forms.js";
import { when } from "../format.js";
import { signOut } from "../shell.js";

const LEAST = 10;

function passwordCard() {
  // Password stores want to know whose it is.
  const whose = field("User", text({ value: me.user, readonly: true, autocomplete: "username" }));
  whose.hidden = true;
  const old = password("Old password", { autocomplete: "current-password" });
  const next = password("New password", { autocomplete: "new-password", hint: `At least ${LEAST} characters. Your other logins end.` });
  const submit = async (node) => {
    if (next.input.value.length < LEAST) throw Object.assign(new Error(`A password has at least ${LEAST} characters.`), { target: next });
    await call("POST", "/login/password", { old: old.input.value, password: next.input.value });
    node.reset();
    note("Password changed");
  };
  const place = (error) => error.target ?? (error.code === "auth.refused" ? old : error.code === "password.malformed" ? next : null);
  return card("Another password", null, form([whose, old, next], { label: "Change password", submit, place }));
}

export async function open({ node }) {
  const facts = [["Company", me.company], ["User", me.user], ["Role", me.manages ? "manages users" : "uses streams, tokens and connections"], ["This login ends", when(me.expires)]];
  node.append(head("Account"),
    el("div", { class: "half" },
      card("Signed in", null, el("dl", {}, facts.flatMap(([name, value]) => [el("dt", {}, name), el("dd", {}, value)])), el("div", {}, button("Sign out", signOut, { icon: "out" }))),
      passwordCard()));
}
