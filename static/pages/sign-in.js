// The door: company, user, password.

import { call, whoIsThere } from "../api.js";
import { el, icon } from "../ui.js";
import { field, form, password, text } from "../forms.js";

const LAST = "streamgate.last";

function remembered() {
  try {
    return JSON.parse(localStorage.getItem(LAST)) ?? {};
  } catch {
    return {};
  }
}

/** The form; `said` is why somebody is asked again, `entered` goes on afterwards. */
export function signIn(said, entered) {
  const last = remembered();
  const company = field("Company", text({ name: "company", required: true, value: last.company ?? "", autocomplete: "organization", autocapitalize: "none", autofocus: !last.company }));
  const user = field("User", text({ name: "user", required: true, value: last.user ?? "", autocomplete: "username", autocapitalize: "none" }));
  const secret = password("Password", { autocomplete: "current-password" });
  if (last.company) secret.input.autofocus = true;
  const submit = async () => {
    const who = { company: company.input.value.trim(), user: user.input.value.trim() };
    await call("POST", "/login", { ...who, password: secret.input.value });
    localStorage.setItem(LAST, JSON.stringify(who));
    await whoIsThere();
    entered();
  };
  return el("div", { class: "card stack" },
    el("h1", {}, "Sign in"),
    said && el("div", { class: "notice" }, icon("out"), el("p", {}, said)),
    form([company, user, secret], { label: "Sign in", submit }),
    el("p", { class: "hint" }, "No password yet, or lost it? Somebody who manages users gives you a link; or, on the server: ", el("code", {}, "streamgate user reset COMPANY NAME")));
}
