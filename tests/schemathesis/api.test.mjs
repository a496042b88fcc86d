// The running server under requests that schemathesis makes up from /openapi.json: legal ones and
// broken ones, with a master token and with a login. The same every time, because seeded.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { afterEach, beforeEach, test } from "node:test";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { Server } from "../browser/server.mjs";

const tools = process.env.STREAMGATE_TEST_TOOLS ?? fileURLToPath(new URL("../../target/tools", import.meta.url));
const PASSWORD = "a few words in a row";
const SEED = "1";
/** Requests made up for each operation in each phase. */
const EXAMPLES = "8";
/**
 * Not checked: that what the schema allows is always accepted. What is legal also depends on what is
 * there, on settings and on the asker's rights, which no schema says. And that `Allow` lists no more than
 * OpenAPI can say: it has no place for MGET. `tests/api/docs.rs` holds it to the document with its extensions.
 */
const UNCHECKED = "positive_data_acceptance,allow_header_conformance";
const REFUSALS = ["400", "401", "403", "404", "405", "406", "409", "412", "413", "415", "422", "428", "429", "503"];
/** A socket is no request; signing out would end the run's own login. */
const APART = ["GET /session/{id}/ws", "GET /api/v1/ws/{token}/", "GET /users/{company}/ws", "DELETE /login"];

let server, folder;
beforeEach(async () => {
  server = await Server.start();
  folder = await mkdtemp(join(tmpdir(), "streamgate-schemathesis-"));
  await writeFile(join(folder, "schemathesis.toml"), await knownNames());
});
afterEach(async () => {
  await server?.end();
  if (folder) await rm(folder, { recursive: true });
});

/**
 * What no made-up request can guess, as schemathesis' settings: the company everywhere, and what
 * there is for those operations that do not take it away.
 */
async function knownNames() {
  const rest = "/v5.0/demo";
  const { id: event, streamId: stream } = await server.publish(server.made.path, { t: 21 });
  const token = (await server.ask("POST", `${rest}/token`, { paths: { "/demo/**": { read: true } } })).body.id;
  const user = (await server.ask("POST", `${rest}/user`, { user: "eve" })).body.user;
  const about = (methods, path, names) => [
    "[[operations]]", `include-path = "${path}"`, `include-method = ${JSON.stringify(methods)}`,
    `parameters = { ${Object.entries(names).map(([name, value]) => `"${name}" = "${value}"`).join(", ")} }`,
  ].join("\n");
  return [
    '[parameters]\n"path.company" = "demo"\n"path.base" = "v0.1"',
    // Beside the usual ones: a precondition that does not hold, and too much at once.
    `[checks.negative_data_rejection]\nexpected-statuses = ${JSON.stringify(REFUSALS)}`,
    about(["GET", "PUT"], "/v5.0/{company}/stream/{id}", { "path.id": stream }),
    about(["GET"], "/v5.0/{company}/event", { "query.path": server.made.path }),
    about(["GET", "POST"], "/v5.0/{company}/event/{id}", { "path.id": stream }),
    about(["GET"], "/v5.0/{company}/event/{id}/{event}", { "path.id": stream, "path.event": event }),
    about(["GET"], "/v5.0/{company}/token/{id}", { "path.id": token }),
    about(["POST"], "/v5.0/{company}/token/{id}/can", { "path.id": token }),
    about(["POST"], "/v5.0/{company}/event/{id}/aggregate", { "path.id": stream }),
    about(["GET", "PUT"], "/{base}/{company}/flow/{id}", { "path.id": stream }),
    about(["GET"], "/{base}/{company}/drop", { "query.path": server.made.path }),
    about(["GET", "POST"], "/{base}/{company}/drop/{id}", { "path.id": stream }),
    about(["POST"], "/{base}/{company}/drop/{id}/aggregate", { "path.id": stream }),
    about(["GET"], "/{base}/{company}/drop/{id}/{event}", { "path.id": stream, "path.event": event }),
    about(["GET"], "/{base}/{company}/token/{id}", { "path.id": token }),
    about(["PUT"], "/v5.0/{company}/user/{name}", { "path.name": user }),
    about(["POST"], "/v5.0/{company}/user/{name}/reset", { "path.name": user }),
  ].join("\n");
}

/** Runs schemathesis with these headers on every request, and fails with what it found. */
async function assertConforms(t, headers, more = []) {
  const parameters = [
    "--config-file", join(folder, "schemathesis.toml"), "run", `${server.url}/openapi.json`,
    "--seed", SEED, "--max-examples", EXAMPLES, "--generation-database", "none", "--workers", "1",
    "--exclude-checks", UNCHECKED, "--continue-on-failure", "--request-timeout", "10", "--no-color",
    ...more,
    ...APART.flatMap((name) => ["--exclude-name", name]),
    ...Object.entries(headers).flatMap(([name, value]) => ["--header", `${name}: ${value}`]),
  ];
  const child = spawn(`${tools}/venv/bin/st`, parameters, { cwd: folder, stdio: ["ignore", "pipe", "pipe"] });
  let said = "";
  for (const stream of [child.stdout, child.stderr]) stream.on("data", (text) => { said += text; });
  const [code] = await once(child, "close");
  assert.equal(code, 0, said);
  // Whatever was asked, whoever asked may still ask.
  assert.equal((await server.ask("GET", "/v5.0/demo/stream", undefined, headers)).status, 200);
  const [, count] = said.match(/Test cases:\n +(\d+) generated/) ?? [];
  assert.ok(Number(count) > 500, said);
  t.diagnostic(`${count} requests made up`);
  if (process.env.STREAMGATE_TEST_VERBOSE) t.diagnostic(said);
}

test("with a master token", { timeout: 120_000 }, (t) =>
  assertConforms(t, { ...server.headers, Authorization: server.headers["X-Auth-Token"] }));

// Made-up tokens would win over the login, so here none are made up.
test("with a login", { timeout: 120_000 }, async (t) => {
  const code = server.made.link.split("/").pop();
  const answer = await fetch(`${server.url}/login/password`, {
    method: "POST", body: JSON.stringify({ code, password: PASSWORD }), headers: { "X-Streamgate-Page": "1" },
  });
  assert.equal(answer.status, 201);
  const cookie = answer.headers.get("set-cookie").split(";")[0];
  await assertConforms(t, { Cookie: cookie, "X-Streamgate-Page": "1" }, ["--generation-with-security-parameters", "false"]);
});
