// The people of the company; for who manages.

import { call, me, rest } from "../api.js";
import { el, button, copyButton, head, icon, note, picture, problem } from "../ui.js";
import { check, confirm, dialog, field, form, text } from "../forms.js";
import { list } from "../list.js";
import { when } from "../format.js";

/** Shows a one-time link, to be handed over. */
const showLink = (user, link) =>
  dialog(`A link for ${user}`, (close) => [
    el("p", {}, "Whoever opens it sets the password of ", el("strong", {}, user), ". It works once, for 24 hours, and is shown this once."),
    el("div", { class: "secret" }, el("code", {}, link), copyButton(link, { kind: "primary", label: "Copy link" })),
    el("div", { class: "actions end" }, button("Done", () => close())),
  ]);

const addUser = () =>
  dialog("New user", (close) => {
    const name = field("Name", text({ required: true, maxlength: 64, autocapitalize: "none", autofocus: true }), { hint: "Letters a to z, digits, _ and -." });
    const manages = check("May manage users, keys and other people's tokens");
    const submit = async () => close(await call("POST", rest("/user"), { user: name.input.value.trim(), manages: manages.input.checked }));
    const place = (error) => (["name.malformed", "user.exists"].includes(error.code) ? name : null);
    return form([name, manages], { label: "Add user", cancel: () => close(), submit, place });
  });

const address = (user) => rest(`/user/${encodeURIComponent(user)}`);

function columns(act) {
  return [
    { label: "User", kind: "main", cell: ({ user }) => [user, user === me.user && el("span", { class: "chip accent" }, "you")] },
    { label: "Role", kind: "fit", live: true, cell: ({ manages }) => (manages ? el("span", { class: "chip accent" }, "manages") : "uses") },
    { label: "Password", kind: "fit", cell: ({ hasPassword }) => (hasPassword ? "set" : el("span", { class: "chip warn" }, "not yet")) },
    { label: "Last used", kind: "fit", live: true, cell: ({ lastUsed }) => when(lastUsed) },
    { label: "Added", kind: "fit", cell: ({ created }) => when(created) },
    { label: "", kind: "fit", cell: (at) => el("div", { class: "actions" },
      button(at.manages ? "May not manage" : "May manage", () => act.manage(at), { kind: "slim", name: `${at.manages ? "May not manage" : "May manage"}: ${at.user}` }),
      at.user !== me.user && button("Reset", () => act.reset(at), { kind: "slim", name: `Reset ${at.user}` }),
      at.user !== me.user && button("Remove", () => act.remove(at), { kind: "slim danger", name: `Remove ${at.user}` })) },
  ];
}

export async function open({ node, signal }) {
  const manage = async ({ user, manages }) => {
    if (manages) {
      const own = user === me.user ? " You cannot give it back to yourself." : "";
      if (!(await confirm(`Should ${user} no longer manage?`, `${user} keeps streams, tokens and connections, but no longer sees users and audit.${own}`, { label: "Take it away", act: () => call("PUT", address(user), { manages: false }) }))) return;
    } else {
      await call("PUT", address(user), { manages: true });
    }
    note("Changed");
    await load();
  };
  const reset = async ({ user }) => {
    let link = null;
    await confirm(`Reset ${user}?`, "The old password and all logins end at once. You get a link that sets a new password.", {
      label: "Reset", act: async () => { ({ link } = await call("POST", `${address(user)}/reset`)); },
    });
    if (link) await showLink(user, link);
    await load();
  };
  const remove = async ({ user }) => {
    const done = await confirm(`Remove ${user}?`, "The user's master token and logins end at once, and sockets that were opened with them. Streams and events stay.", { label: "Remove user", word: user, act: () => call("DELETE", address(user)) });
    if (!done) return;
    note("Removed");
    await load();
  };
  const said = el("div", { class: "stack tight" });
  const guarded = (act) => async (at) => {
    said.replaceChildren();
    try {
      await act(at);
    } catch (error) {
      said.replaceChildren(problem(error));
    }
  };
  const table = list({
    label: "Users", key: (at) => at.user, columns: columns({ manage: guarded(manage), reset: guarded(reset), remove: guarded(remove) }),
    empty: () => picture("users", "No users", null),
  });
  const load = async () => table.show(await call("GET", rest("/user", { limit: 1000 }), undefined, { signal }));
  const add = async () => {
    const made = await addUser();
    if (!made) return;
    await showLink(made.user, made.link);
    await load();
  };
  if (!me.manages) {
    node.append(head("Users"), picture("users", "Only for who manages", "Somebody who manages users can let you do so too."));
    return;
  }
  node.append(head("Users", "People who sign in here. Each has a master token.", button("Add user", guarded(add), { kind: "primary", icon: "add" })), said, el("div", { class: "card flush" }, table),
    el("p", { class: "hint row" }, icon("users", 16), "Who manages may add and remove users, see the audit, and rotate other people's master tokens."));
  await load();
}
