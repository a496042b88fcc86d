// The one-time link: says whose it is, and sets a first or new password.

import { call, whoIsThere } from "../api.js";
import { el, picture, problem, skeleton } from "../ui.js";
import { field, form, password, text } from "../forms.js";

const LEAST = 10;

/** The card for a link's `code`; `entered` goes on when the password is set. */
export function welcome(code, entered) {
  const node = el("div", { class: "card stack", "aria-busy": "true" }, el("h1", {}, "Welcome"), skeleton(3));
  load(node, code, entered);
  return node;
}

async function load(node, code, entered) {
  try {
    const whose = await call("POST", "/login/link", { code });
    node.replaceChildren(...choose(whose, code, entered));
    node.querySelector("input[type=password]").focus();
  } catch (error) {
    node.replaceChildren(el("h1", {}, "Welcome"), error.code === "link.unknown"
      ? picture("warning", "This link does not work any more", error.advice, el("a", { class: "button", href: "#/" }, "To the sign-in"))
      : problem(error, () => load(node, code, entered)));
  }
  node.removeAttribute("aria-busy");
}

function choose({ company, user }, code, entered) {
  const first = password("New password", { autocomplete: "new-password", hint: `At least ${LEAST} characters. A few words in a row are good.` });
  const again = password("The same again", { autocomplete: "new-password" });
  // Password stores want to know whose it is.
  const whose = field("User", text({ value: user, readonly: true, autocomplete: "username" }));
  const submit = async () => {
    if (first.input.value.length < LEAST) throw at(first, `A password has at least ${LEAST} characters.`);
    if (again.input.type === "password" && again.input.value !== first.input.value) throw at(again, "These two are not the same.");
    await call("POST", "/login/password", { code, password: first.input.value });
    await whoIsThere();
    entered();
  };
  const at = (target, text) => Object.assign(new Error(text), { target });
  return [el("h1", {}, `Welcome, ${user}`),
    el("p", { class: "soft" }, "Choose a password for ", el("strong", {}, user), " of ", el("strong", {}, company), ". This link works once."),
    form([whose, first, again], { label: "Set password and sign in", submit, place: (error) => error.target })];
}
