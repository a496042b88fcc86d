// The whole story, by what a person sees: from the first start's link to a revoked token.

import assert from "node:assert/strict";
import { once } from "node:events";
import { after, before, test } from "node:test";
import { Person, WebSocket, openBrowser, welcome } from "./person.mjs";
import { Server, shell } from "./server.mjs";

let server, browser;
before(async () => {
  [server, browser] = await Promise.all([Server.start(), openBrowser()]);
});
after(async () => {
  await browser?.close();
  await server?.end();
});

test("from the first link to a revoked token", { timeout: 120_000 }, async () => {
  const person = await Person.come(browser);
  await welcome(person, server);

  await person.follow("Tokens");
  await person.heading("Tokens");
  await person.press("New token");
  await person.fill("Label", "the lobby screen");
  await person.press("Make token");
  await person.heading("The new token");
  const secret = await person.inDialog(".secret code");
  const line = await person.command("Open a session");
  assert.ok(line.includes(secret));
  const { head, body } = JSON.parse(await shell(line));
  assert.equal(head.status, 201);
  await person.press("Copy token");
  await person.press("I have it");
  await person.seesInRow("the lobby screen", "read");

  const socket = new WebSocket(`${server.url.replace("http", "ws")}/session/${body.id}/ws`);
  await once(socket, "open");
  socket.send(JSON.stringify({ msgId: 1, object: "event", type: "subscribe", path: server.made.path }));
  const [acknowledged] = await once(socket, "message");
  assert.equal(JSON.parse(acknowledged).head.ok, true);

  const tail = await person.another(browser);
  await tail.visit(`${server.url}/#/streams`);
  await tail.follow(server.made.path);
  await tail.sees("Live");
  await tail.sees("Waiting for events");
  const delivered = once(socket, "message");
  await server.publish(server.made.path, { greeting: "hello from a shell" });
  await tail.sees("hello from a shell");
  assert.deepEqual(JSON.parse((await delivered)[0]).value.elems, { greeting: "hello from a shell" });

  await person.page.bringToFront();
  const closed = once(socket, "close");
  await person.press("Revoke the lobby screen");
  await person.press("Revoke");
  await person.seesInRow("the lobby screen", "revoked");
  assert.equal((await closed)[0], 4001);

  await person.press("Rotate");
  await person.choose("The old one ends", "At once: open connections close");
  await person.pressInDialog("Rotate");
  await person.heading("The new token");
  server.made.token = await person.inDialog(".secret code");
  await tail.page.bringToFront();
  await tail.sees("Revoked");
  await tail.sees("The token behind this session was revoked.");
  await tail.press("Connect again");
  await tail.sees("Live");
  await server.publish(server.made.path, { greeting: "hello again" });
  await tail.sees("hello again");
  person.assertNoComplaints();
  tail.assertNoComplaints();
});

test("the tail comes back after a restart and goes on where it was", { timeout: 120_000 }, async () => {
  const person = await Person.come(browser);
  const own = await Server.start();
  try {
    await welcome(person, own);
    await person.follow("Streams");
    await person.follow(own.made.path);
    await person.sees("Live");
    await own.publish(own.made.path, { step: "before one" });
    await own.publish(own.made.path, { step: "before two" });
    await person.sees("before two");
    await own.stop();
    await person.sees("Reconnecting…");
    await own.startAgain();
    await own.publish(own.made.path, { step: "while away" });
    await person.sees("Live");
    await person.sees("while away");
    await own.publish(own.made.path, { step: "afterwards" });
    await person.sees("afterwards");
    assert.deepEqual(await person.tailOffsets(), [4, 3, 2, 1]);
    assert.ok(!(await person.text()).includes("missing"));
    // While the server was away the browser said so itself.
    person.expectRefusal("ERR_CONNECTION_REFUSED");
    person.expectRefusal("/session");
    person.assertNoComplaints();
  } finally {
    await person.page.close();
    await own.end();
  }
});
