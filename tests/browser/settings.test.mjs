// The company's settings, through the page: saved card by card, refused where it can be seen.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { Person, WebSocket, openBrowser, welcome } from "./person.mjs";
import { Server } from "./server.mjs";

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

const settings = async () => (await server.ask("GET", "/v5.0/demo/settings")).body;

/** What comes of a connection from a page of this origin: an echo, or the code of its end. */
function connect(origin) {
  const socket = new WebSocket(`${server.url.replace("http", "ws")}/users/demo/ws`, { origin });
  return new Promise((resolve) => {
    socket.on("open", () => socket.send('{"eventType":10,"message":"Hello"}'));
    socket.on("message", (text) => { resolve(String(text)); socket.close(); });
    socket.on("close", resolve);
  });
}

test("settings are saved card by card and hold at once", { timeout: 60_000 }, async () => {
  await person.visit(`${server.url}/?settings#/settings`);
  await person.heading("Settings");
  assert.equal(await connect("https://app.example.com"), 1006);
  await person.tick("Clients of channels may publish");
  await person.fill("Approved origins", "^https://app\\.example\\.com$\n\n  (  ");
  await person.press("Save notices");
  await person.sees("Expression 1 of");
  await person.assertAccessible("settings-refused-1280-light");
  assert.deepEqual((await settings()).approvedSocketDomains, []);
  await person.fill("Approved origins", "^https://app\\.example\\.com$\n");
  await person.press("Save notices");
  await person.sees("Saved");
  const saved = await settings();
  assert.deepEqual([saved.approvedSocketDomains, saved.allowClientSend], [["^https://app\\.example\\.com$"], false]);
  await person.press("Save channels");
  await person.page.waitForFunction(async () => {
    const answer = await fetch("/v5.0/demo/settings", { headers: { "X-Streamgate-Page": "1" } });
    return (await answer.json()).body.allowClientSend;
  });
  assert.equal(await connect("https://app.example.com"), '{"eventType":10,"message":"Hello"}');
  assert.equal(await connect("https://app.example.com.evil.example"), 1006);
  person.expectRefusal("/v5.0/demo/settings");
  person.assertNoComplaints();
});
