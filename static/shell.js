// The frame around the pages: side bar, account menu, the line that says that the server is away.
// Knows the names of pages, not what is on them.

import { me, call, leave, wire } from "./api.js";
import { el, icon, button } from "./ui.js";

const LINKS = [
  ["", "overview", "Overview"],
  ["tokens", "tokens", "Tokens"],
  ["streams", "streams", "Streams"],
  ["connections", "connections", "Connections"],
  ["keys", "keys", "Signing keys"],
  ["users", "users", "Users"],
  ["audit", "audit", "Audit"],
  ["settings", "settings", "Settings"],
];
const FOR_MANAGERS = ["keys", "users", "audit", "settings"];

/** The company's mark, as a link home. */
export const brand = () =>
  el("a", { class: "brand", href: "#/" }, el("img", { src: new URL("icon.svg", import.meta.url), alt: "", width: 26, height: 26 }), "Streamgate");

/** Ends the login and goes back to the door. */
export async function signOut() {
  try {
    await call("DELETE", "/login");
  } catch (error) {
    if (error.status !== 401) throw error;
  }
  leave();
  wire.dispatchEvent(new Event("left"));
}

function accountMenu() {
  const menu = el("div", { class: "menu", id: "account-menu", popover: "auto" },
    el("a", { href: "#/account" }, icon("account"), "Account"),
    el("a", { href: "/docs" }, icon("audit"), "Documentation"),
    button("Sign out", signOut, { icon: "out" }));
  menu.addEventListener("click", (event) => event.target.closest("a") && menu.hidePopover());
  const opener = el("button", { class: "quiet", type: "button", popovertarget: "account-menu", "aria-haspopup": "true" },
    el("span", { class: "face", "aria-hidden": "true" }, me.user[0]),
    el("span", { class: "names" }, el("span", {}, me.user), el("small", {}, me.company)));
  return el("div", { class: "who" }, opener, menu);
}

/** Builds the frame; `.main` is where pages go, `.mark(name)` shows which one is open. */
export function shell() {
  const items = LINKS.filter(([name]) => me.manages || !FOR_MANAGERS.includes(name));
  const links = items.map(([name, drawing, words]) => el("a", { href: `#/${name}`, "data-name": name }, icon(drawing), words));
  const side = el("nav", { class: "side", id: "side", "aria-label": "Pages" }, brand(),
    el("ul", {}, links.map((link) => el("li", {}, link))), accountMenu());
  const toggle = button("", () => open(!("open" in node.dataset)), { kind: "quiet square", icon: "menu", name: "Menu", "aria-expanded": "false", "aria-controls": "side" });
  const away = el("div", { class: "banner", role: "status", hidden: true }, icon("warning"), "No connection to the server. Trying again…");
  const main = el("main", { id: "main", tabindex: -1 });
  const skip = el("button", { class: "skip", type: "button", on: { click: () => main.focus() } }, "Skip to the page");
  const node = el("div", { class: "frame" }, skip, el("header", { class: "top" }, brand(), toggle), side, el("div", {}, away, main));
  const open = (is) => {
    node.toggleAttribute("data-open", is);
    toggle.setAttribute("aria-expanded", String(is));
  };
  side.addEventListener("click", (event) => event.target.closest("a") && open(false));
  node.addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || !("open" in node.dataset)) return;
    open(false);
    toggle.focus();
  });
  node.main = main;
  node.away = away;
  node.mark = (name) => links.forEach((link) => {
    if (link.dataset.name === name) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  });
  return node;
}
