// permessage-deflate as other people's programs speak it: Node's ws with whatever it can be told to
// offer, and a real Chromium, which offers it by itself and compresses what it sends.

import assert from "node:assert/strict";
import { once } from "node:events";
import { after, before, test } from "node:test";
import { WebSocket, openBrowser } from "./person.mjs";
import { Server } from "./server.mjs";

const AGREED = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";
const LONG = "what is said again and again is said in few bytes. ".repeat(60);

let server, browser;
before(async () => {
  [server, browser] = await Promise.all([Server.start({ STREAMGATE_COMPRESSION: "on" }), openBrowser()]);
});
after(async () => {
  await browser?.close();
  await server?.end();
});

async function address() {
  const { body } = await server.ask("POST", "/session");
  return `${server.url.replace("http", "ws")}/session/${body.id}/ws`;
}

const subscription = () => JSON.stringify({ msgId: 1, object: "event", type: "subscribe", path: server.made.path });

/** Node's client, subscribed; what it offers is up to `perMessageDeflate`. */
async function follow(perMessageDeflate) {
  const socket = new WebSocket(await address(), { perMessageDeflate });
  let answer;
  socket.on("upgrade", (response) => { answer = response.headers["sec-websocket-extensions"]; });
  await once(socket, "open");
  socket.send(subscription());
  const [acknowledged] = await once(socket, "message");
  assert.equal(JSON.parse(acknowledged).head.ok, true);
  return { socket, answer, before: socket._socket.bytesRead };
}

test("whatever Node's ws offers, it reads what it would read without", { timeout: 60_000 }, async () => {
  const offers = [
    [false, undefined],
    [true, AGREED],
    // With these it compresses what it sends, the subscription included.
    [{ threshold: 0 }, AGREED],
    [{ threshold: 0, serverNoContextTakeover: true, clientNoContextTakeover: true }, AGREED],
    [{ threshold: 0, clientMaxWindowBits: 9 }, AGREED],
    [{ threshold: 0, serverMaxWindowBits: 15 }, `${AGREED}; server_max_window_bits=15`],
    [{ threshold: 0, serverMaxWindowBits: 10 }, undefined],
  ];
  const followers = await Promise.all(offers.map(([offer]) => follow(offer)));
  followers.forEach(({ answer }, n) => assert.equal(answer, offers[n][1], JSON.stringify(offers[n][0])));
  for (const text of ["short", LONG, "and short"]) {
    const heard = followers.map(({ socket }) => once(socket, "message"));
    await server.publish(server.made.path, { text });
    const texts = (await Promise.all(heard)).map(([message]) => message.toString());
    assert.equal(JSON.parse(texts[0]).value.elems.text, text);
    assert.deepEqual(texts, texts.map(() => texts[0]));
  }
  const taken = followers.map(({ socket, before }) => socket._socket.bytesRead - before);
  taken.forEach((bytes, n) => {
    if (offers[n][1]) assert.ok(bytes < taken[0] / 3, `${bytes} of ${taken[0]} bytes`);
    else assert.equal(bytes, taken[0]);
  });
  for (const { socket } of followers) {
    const closed = once(socket, "close");
    socket.close(1000);
    assert.equal((await closed)[0], 1000);
  }
});

test("a large request of Node's ws is understood", { timeout: 60_000 }, async () => {
  const { socket } = await follow(true);
  const heard = [];
  const both = new Promise((resolve) => socket.on("message", (message) => { if (heard.push(JSON.parse(message)) === 2) resolve(); }));
  const value = { elems: { text: LONG.repeat(10) } };
  socket.send(JSON.stringify({ msgId: 2, object: "event", type: "create", path: server.made.path, value }));
  await both;
  assert.equal(heard.find((message) => message.head).head.ok, true);
  assert.deepEqual(heard.find((message) => message.type === "message").value.elems, value.elems);
  socket.close();
});

test("Chromium agrees on it by itself", { timeout: 60_000 }, async () => {
  const page = await browser.newPage();
  await page.goto(server.url);
  const extensions = await page.evaluate(async (url, subscription) => {
    const socket = new WebSocket(url);
    globalThis.heard = [];
    await new Promise((resolve, reject) => {
      socket.onerror = reject;
      socket.onopen = () => socket.send(subscription);
      socket.onmessage = resolve;
    });
    socket.onmessage = ({ data }) => globalThis.heard.push(data);
    socket.onclose = ({ code }) => globalThis.heard.push(`closed: ${code}`);
    return socket.extensions;
  }, await address(), subscription());
  assert.equal(extensions, AGREED);
  for (const text of [LONG, "short"]) await server.publish(server.made.path, { text });
  await page.waitForFunction(() => globalThis.heard.length >= 2);
  const heard = await page.evaluate(() => globalThis.heard);
  assert.deepEqual(heard.map((message) => JSON.parse(message).value.elems.text), [LONG, "short"]);
  await page.close();
});
