// The running server under requests that schemathesis makes up from /openapi.json: legal ones and
// broken ones, with a master token and with a login. The same every time, because seeded.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";
import { Server } from "../browser/server.mjs";

const tools = process.env.STREAMGATE_TEST_TOOLS ?? fileURLToPath(new URL("../../target/tools", import.meta.url));
const PASSWORD = "a few words in a row";
const SEED = "1";
/** Requests made up for each operation in each phase. */
const EXAMPLES = "8";
/**
 * Not checked: that what the schema allows is always accepted. What is legal also depends on what is
 * there, on settings and on the asker's rights, which no schema says.
 */
const UNCHECKED = "positive_data_acceptance";
/** A socket is no request; signing out would end the run's own login. */
const APART = ["GET /session/{id}/ws", "DELETE /login"];

let server;
before(async () => {
  server = await Server.start();
});
after(() => server?.end());

/** Runs schemathesis with these headers on every request, and fails with what it found. */
async function assertConforms(t, headers) {
  const parameters = [
    "--config-file", fileURLToPath(new URL("schemathesis.toml", import.meta.url)), "run", `${server.url}/openapi.json`,
    "--seed", SEED, "--max-examples", EXAMPLES, "--generation-database", "none", "--workers", "1",
    "--exclude-checks", UNCHECKED, "--continue-on-failure", "--request-timeout", "10", "--no-color",
    ...APART.flatMap((name) => ["--exclude-name", name]),
    ...Object.entries(headers).flatMap(([name, value]) => ["--header", `${name}: ${value}`]),
  ];
  const child = spawn(`${tools}/venv/bin/st`, parameters, { stdio: ["ignore", "pipe", "pipe"] });
  let said = "";
  for (const stream of [child.stdout, child.stderr]) stream.on("data", (text) => { said += text; });
  const [code] = await once(child, "close");
  assert.equal(code, 0, said);
  const [, count] = said.match(/Test cases:\n +(\d+) generated/) ?? [];
  assert.ok(Number(count) > 500, said);
  t.diagnostic(`${count} requests made up`);
  if (process.env.STREAMGATE_TEST_VERBOSE) t.diagnostic(said);
}

test("with a master token", { timeout: 120_000 }, (t) => assertConforms(t, server.headers));

test("with a login", { timeout: 120_000 }, async (t) => {
  const code = server.made.link.split("/").pop();
  const answer = await fetch(`${server.url}/login/password`, {
    method: "POST", body: JSON.stringify({ code, password: PASSWORD }), headers: { "X-Streamgate-Page": "1" },
  });
  assert.equal(answer.status, 201);
  const cookie = answer.headers.get("set-cookie").split(";")[0];
  await assertConforms(t, { Cookie: cookie, "X-Streamgate-Page": "1" });
});
