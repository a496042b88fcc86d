// Every page, wide and narrow, light and dark: nothing to complain about for axe or the console,
// nothing wider than the window, and a picture of each in target/screenshots.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { PASSWORD, Person, openBrowser, welcome } from "./person.mjs";
import { Server } from "./server.mjs";

/** What a first visit may transfer, headers included. */
const MOST_BYTES = 100 * 1024;
const LOOKS = [1280, 390].flatMap((width) => ["light", "dark"].map((scheme) => ({ width, scheme })));

let server, browser, cookies, stream;
before(async () => {
  [server, browser] = await Promise.all([Server.start(), openBrowser()]);
  const { body } = await server.ask("GET", "/v5.0/demo/stream");
  stream = body[0].id;
});
after(async () => {
  await browser?.close();
  await server?.end();
});

/** Pages in the order of the menu: name, address, a heading, and what shows that all of it is there. */
const PAGES = () => [
  ["overview", "#/", "Overview", "Database"],
  ["tokens", "#/tokens", "Tokens", "master token of admin"],
  ["streams", "#/streams", "Streams", server.made.path],
  ["stream", `#/streams/${stream}`, server.made.path, "Live"],
  ["connections", "#/connections", "Connections", ""],
  ["keys", "#/keys", "Signing keys", ""],
  ["users", "#/users", "Users", "you"],
  ["audit", "#/audit", "Audit", "login.opened"],
  ["settings", "#/settings", "Settings", "Approved origins"],
  ["account", "#/account", "Account", "manages users"],
  ["nothing", "#/nowhere", "Nothing here", "The address may be mistyped."],
];

test("the link of the first start, and the door", { timeout: 120_000 }, async () => {
  for (const look of LOOKS) {
    const person = await Person.come(browser, look);
    await person.visit(server.made.link);
    await person.heading("Welcome, admin");
    await person.assertAccessible(`welcome-${look.width}-${look.scheme}`);
    await person.assertFits();
    await person.visit(`${server.url}/?door#/`);
    await person.heading("Sign in");
    await person.assertAccessible(`sign-in-${look.width}-${look.scheme}`);
    await person.assertFits();
    person.assertNoComplaints();
    await person.context.close();
  }
});

test("a wrong password is told, the right one lets in, and signing out lets nobody in", { timeout: 60_000 }, async () => {
  const person = await Person.come(browser);
  await welcome(person, server);
  await person.visit(`${server.url}/#/account`);
  await person.heading("Account");
  await person.press("Sign out");
  await person.sees("You are signed out.");
  await person.fill("Company", "demo");
  await person.fill("User", "admin");
  await person.fill("Password", "not this one at all");
  await person.press("Sign in");
  await person.sees("Capital letters count.");
  await person.fill("Password", PASSWORD);
  await person.press("Sign in");
  await person.heading("Overview");
  person.expectRefusal("/login");
  person.assertNoComplaints();
  await person.visit(server.made.link);
  await person.sees("This link does not work any more");
  await person.visit(`${server.url}/?again`);
  await person.heading("Overview");
  cookies = await person.context.cookies();
  await person.context.close();
});

for (const look of LOOKS) {
  test(`every page at ${look.width} px, ${look.scheme}`, { timeout: 120_000 }, async () => {
    const person = await Person.come(browser, look);
    await person.context.setCookie(...cookies);
    for (const [name, address, heading, words] of PAGES()) {
      await person.visit(`${server.url}/?${name}${address}`);
      await person.heading(heading);
      if (words) await person.sees(words);
      await person.assertAccessible(`${name}-${look.width}-${look.scheme}`);
      await person.assertFits();
      person.assertNoComplaints();
    }
    await person.context.close();
  });
}

for (const look of [LOOKS[0], LOOKS[3]]) {
  test(`the API's page at ${look.width} px, ${look.scheme}`, { timeout: 60_000 }, async () => {
    const person = await Person.come(browser, look);
    await person.page.setJavaScriptEnabled(false);
    await person.visit(`${server.url}/docs`);
    await person.page.setJavaScriptEnabled(true);
    await person.heading("The API");
    await person.assertAccessible(`docs-${look.width}-${look.scheme}`);
    await person.assertFits();
    person.assertNoComplaints();
    await person.context.close();
  });
}

test("a first visit transfers little, before and after signing in", { timeout: 60_000 }, async () => {
  for (const known of [[], cookies]) {
    const person = await Person.come(browser);
    if (known.length > 0) await person.context.setCookie(...known);
    const wire = await person.page.createCDPSession();
    await wire.send("Network.enable");
    let bytes = 0;
    wire.on("Network.loadingFinished", ({ encodedDataLength }) => { bytes += encodedDataLength; });
    await person.visit(server.url);
    await person.heading(known.length > 0 ? "Overview" : "Sign in");
    if (known.length > 0) await person.sees("Database");
    assert.ok(bytes > 1_000 && bytes < MOST_BYTES, `${bytes} bytes`);
    await person.context.close();
  }
});
