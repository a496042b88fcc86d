// The life of a token, through the page: made, used, tested, rotated with an overlap, ended,
// revoked, and kept to origins and addresses.

import assert from "node:assert/strict";
import { after, before, beforeEach, test } from "node:test";
import { Person, openBrowser, welcome } from "./person.mjs";
import { Server, shell } from "./server.mjs";

const ORIGIN = "https://app.example.com";

let server, browser, person;
before(async () => {
  [server, browser] = await Promise.all([Server.start(), openBrowser()]);
  person = await Person.come(browser);
  await welcome(person, server);
});
after(async () => {
  await browser?.close();
  await server?.end();
});
beforeEach(async () => {
  await person.visit(`${server.url}/?${Math.random()}#/tokens`);
  await person.heading("Tokens");
});

/** Makes a token through the page; `more` fills in what else is wanted. Returns its secret. */
async function make(label, more = async () => {}) {
  await person.press("New token");
  await person.fill("Label", label);
  await more();
  await person.press("Make token");
  return takeSecret();
}

async function takeSecret() {
  await person.heading("The new token");
  const secret = await person.inDialog(".secret code");
  await person.press("Copy token");
  await person.press("I have it");
  await person.page.waitForSelector("dialog[open]", { hidden: true });
  return secret;
}

/** Opens a session with a token: the status and the code of a refusal. */
async function open(token, headers = {}) {
  const { status, head } = await server.ask("POST", "/session", undefined, { "X-Auth-Company": "demo", "X-Auth-Token": token, ...headers });
  return head.code ?? status;
}

test("the copied command works, and the list shows that it was used", { timeout: 60_000 }, async () => {
  await person.press("New token");
  await person.fill("Label", "a used one");
  await person.assertAccessible("new-token-1280-light");
  await person.press("Make token");
  await person.heading("The new token");
  const command = await person.command("Open a session");
  await person.assertAccessible("secret-1280-light");
  assert.equal(JSON.parse(await shell(command)).head.status, 201);
  await takeSecret();
  await person.seesInRow("a used one", "now|ago");
  person.assertNoComplaints();
});

test("a secret that was not copied is not lost by a slip", { timeout: 60_000 }, async () => {
  await person.press("New token");
  await person.fill("Label", "nearly lost");
  await person.press("Make token");
  await person.heading("The new token");
  await person.page.keyboard.press("Escape");
  await person.sees("It was not copied yet.");
  await takeSecret();
  person.assertNoComplaints();
});

test("asked what it may do, it answers with the rule that decides", { timeout: 60_000 }, async () => {
  await make("a reader", () => person.fill("Path pattern", "/demo/door/**"));
  await person.press("Test a reader");
  await person.fill("Path of a stream", "/demo/door/1");
  await person.press("Ask");
  await person.sees("Yes.");
  await person.sees("/demo/door/**");
  await person.fill("Path of a stream", "/demo/window/1");
  await person.press("Ask");
  await person.sees("No.");
  await person.choose("May it", "write – publish");
  await person.fill("Path of a stream", "/demo/door/1");
  await person.press("Ask");
  await person.seesNoMore("Yes.");
  await person.sees("No.");
  await person.assertAccessible("can-1280-light");
  person.assertNoComplaints();
});

test("rotated with an overlap both work, rotated at once only the new one does", { timeout: 60_000 }, async () => {
  const first = await make("a rotating one");
  await person.press("Rotate a rotating one");
  await person.choose("The old one ends", "In an hour");
  await person.pressInDialog("Rotate");
  const second = await takeSecret();
  assert.deepEqual([await open(first), await open(second)], [201, 201]);
  await person.seesInRow("a rotating one", "expires soon");

  const other = await make("at once");
  await person.press("Rotate at once");
  await person.choose("The old one ends", "At once: open connections close");
  await person.pressInDialog("Rotate");
  const next = await takeSecret();
  assert.deepEqual([await open(other), await open(next)], ["token.revoked", 201]);
  person.assertNoComplaints();
});

test("a token that has expired is refused and shown so", { timeout: 60_000 }, async () => {
  // The page's shortest is an hour, so this one is made by a command, as a script would.
  const made = await server.ask("POST", "/v5.0/demo/token", { label: "a short one", paths: { "/demo/**": { read: true } }, expires: Date.now() + 1_500 });
  assert.equal(made.head.status, 201);
  assert.equal(await open(made.body.token), 201);
  await person.page.waitForFunction((end) => Date.now() > end, {}, made.body.expires);
  assert.equal(await open(made.body.token), "token.expired");
  await person.visit(`${server.url}/?expired#/tokens`);
  await person.seesInRow("a short one", "expired");
  person.assertNoComplaints();
});

test("a revoked token is refused and shown so", { timeout: 60_000 }, async () => {
  const secret = await make("a lost one");
  assert.equal(await open(secret), 201);
  await person.press("Revoke a lost one");
  await person.heading("Revoke “a lost one”?");
  await person.assertAccessible("revoke-1280-light");
  await person.press("Revoke");
  await person.seesInRow("a lost one", "revoked");
  assert.equal(await open(secret), "token.revoked");
  person.assertNoComplaints();
});

test("a token keeps to its origins and addresses", { timeout: 60_000 }, async () => {
  const page = await make("a page's", async () => {
    await person.unfold("Only from some places");
    await person.fill("Only pages of these origins", ORIGIN);
  });
  assert.deepEqual([await open(page), await open(page, { Origin: "https://elsewhere.example" })], ["origin.denied", "origin.denied"]);
  assert.equal(await open(page, { Origin: ORIGIN }), 201);
  await person.seesInRow("a page's", `only from ${ORIGIN}`);

  const network = async (label, addresses) => make(label, async () => {
    await person.unfold("Only from some places");
    await person.fill("Only from these addresses", addresses);
  });
  assert.equal(await open(await network("far away", "10.0.0.0/8")), "address.denied");
  assert.equal(await open(await network("right here", "127.0.0.0/8")), 201);
  person.assertNoComplaints();
});
