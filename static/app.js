// Where it starts: finds out who is there, and puts the page of the address into the frame.
// Invariant: a page that was left is told so (`view.signal`) and stops asking.

import { me, call, wire, whoIsThere, leave } from "./api.js";
import { el, skeleton, picture, problem, button } from "./ui.js";
import { shell, brand } from "./shell.js";
import { signIn } from "./pages/sign-in.js";

const PAGES = {
  "": ["Overview", () => import("./pages/overview.js")],
  tokens: ["Tokens", () => import("./pages/tokens.js")],
  streams: ["Streams", () => import("./pages/streams.js")],
  stream: ["Stream", () => import("./pages/stream.js")],
  connections: ["Connections", () => import("./pages/connections.js")],
  keys: ["Signing keys", () => import("./pages/keys.js")],
  users: ["Users", () => import("./pages/users.js")],
  audit: ["Audit", () => import("./pages/audit.js")],
  settings: ["Settings", () => import("./pages/settings.js")],
  account: ["Account", () => import("./pages/account.js")],
};

/** Milliseconds between two looks whether the server is back. */
const AGAIN = 3_000;

const app = document.getElementById("app");
let frame = null;
let left = new AbortController();
let retry = 0;

/** A part that is no good encoding is taken as it is: it names no page. */
function decoded(part) {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

const parts = () => location.hash.replace(/^#\/?/, "").split("/").map(decoded);

const waiting = () => el("div", { class: "view" }, el("div", { class: "head" }, skeleton(1, "title")), skeleton(6));

/** Puts the form of who is not signed in, or that of a first password, in place of everything. */
async function door(name, argument) {
  frame = null;
  document.title = name === "welcome" ? "Welcome · Streamgate" : "Sign in · Streamgate";
  const make = name === "welcome" ? (await import("./pages/welcome.js")).welcome : signIn;
  app.replaceChildren(el("main", { class: "door", id: "main" }, el("div", {}, brand(), make(argument, entered))));
  app.querySelector("[autofocus]")?.focus();
}

function entered(said) {
  if (location.hash.startsWith("#/welcome")) history.replaceState(null, "", "#/");
  route({ focus: true, said });
}

async function route({ focus = true, said } = {}) {
  left.abort();
  left = new AbortController();
  const [name, argument] = parts();
  if (name === "welcome") return door("welcome", argument);
  if (!me.company) return door("sign-in", said);
  if (!frame) {
    frame = shell();
    app.replaceChildren(frame);
  }
  await show(name === "streams" && argument ? "stream" : name, argument, focus);
}

async function show(name, argument, focus) {
  const signal = left.signal;
  const mark = name === "stream" ? "streams" : name;
  frame.mark(mark);
  const page = PAGES[name];
  document.title = `${page?.[0] ?? "Not found"} · ${me.company} · Streamgate`;
  const main = frame.main;
  if (!page) {
    main.replaceChildren(el("div", { class: "view" }, el("h1", { tabindex: -1 }, "Nothing here"),
      picture("search", "There is no such page", "The address may be mistyped.", el("a", { class: "button", href: "#/" }, "To the overview"))));
  } else {
    main.replaceChildren(waiting());
    main.setAttribute("aria-busy", "true");
    const view = el("div", { class: "view" });
    try {
      const { open } = await page[1]();
      if (signal.aborted) return;
      await open({ node: view, signal, argument });
    } catch (error) {
      if (signal.aborted || error.name === "AbortError") return;
      view.replaceChildren(el("h1", { tabindex: -1 }, page[0]), failure(error));
    }
    if (signal.aborted) return;
    main.replaceChildren(view);
    main.removeAttribute("aria-busy");
  }
  scrollTo(0, 0);
  if (focus) main.querySelector("h1")?.focus({ preventScroll: true });
}

/** A module that cannot be had any more means that the server was updated meanwhile. */
function failure(error) {
  if (error instanceof TypeError && /module|import/i.test(error.message)) {
    return picture("again", "The server has another version", "Load the page again to go on.", button("Load again", () => location.reload(), { kind: "primary" }));
  }
  if (!error.code) console.error(error);
  return problem(error, () => route());
}

/** Looks whether the server is back; api.js tells everybody if it is. */
function lookAgain() {
  retry = 0;
  call("GET", "/login").catch(() => {});
}

async function start() {
  app.replaceChildren(el("main", { class: "door", "aria-busy": "true" }, el("div", {}, brand(), skeleton(3))));
  try {
    await whoIsThere();
    await route({ focus: false });
  } catch (error) {
    app.replaceChildren(el("main", { class: "door" }, el("div", {}, brand(), problem(error, start))));
  }
}

wire.addEventListener("signedout", () => {
  leave();
  document.querySelectorAll("dialog").forEach((open) => open.close());
  route({ said: "You have been signed out. Sign in to go on where you were." });
});
wire.addEventListener("left", () => {
  history.replaceState(null, "", "#/");
  route({ said: "You are signed out." });
});
wire.addEventListener("unreachable", () => {
  if (frame) frame.away.hidden = false;
  retry ||= setTimeout(lookAgain, AGAIN);
});
wire.addEventListener("reached", () => {
  if (frame) frame.away.hidden = true;
  clearTimeout(retry);
  retry = 0;
});
window.addEventListener("hashchange", () => route());
start();
