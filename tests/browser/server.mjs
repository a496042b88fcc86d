// The debug binary on a database of its own and a port that the system chose, and commands run
// against it as a person would run them. Knows no browser.

import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));
const BINARY = join(ROOT, "target/debug/streamgate");
/** The longest that a start, an end or a command may take, in milliseconds. */
const DEADLINE = 20_000;

export class Server {
  /** Where it is: `http://127.0.0.1:<port>`. */
  url;
  /** What the first start made: company, user, token, link, path. */
  made;
  #folder;
  #child;
  #log = "";
  #settings;

  /** Starts one on an empty database; `settings` are environment variables. */
  static async start(settings = {}) {
    const server = new Server();
    server.#settings = settings;
    server.#folder = await mkdtemp(join(tmpdir(), "streamgate-browser-"));
    server.made = await server.#spawn("127.0.0.1:0");
    server.url = `http://${server.made.address}`;
    return server;
  }

  async #spawn(listen) {
    const environment = {
      PATH: process.env.PATH,
      STREAMGATE_LISTEN: listen,
      STREAMGATE_DATABASE_URL: `sqlite:${join(this.#folder, "test.db")}`,
      ...this.#settings,
    };
    const child = spawn(BINARY, ["serve", "--json"], { env: environment, cwd: this.#folder, stdio: ["ignore", "pipe", "pipe"] });
    this.#child = child;
    child.stderr.on("data", (text) => { this.#log = (this.#log + text).slice(-20_000); });
    const lines = createInterface(child.stdout);
    try {
      const signal = AbortSignal.timeout(DEADLINE);
      const [line] = await Promise.race([once(lines, "line", { signal }), once(child, "exit", { signal }).then(() => [""])]);
      return JSON.parse(line);
    } catch (error) {
      throw new Error(`the server did not start: ${error.message}\n${this.#log}`);
    }
  }

  /** Ends it as an operator would, and waits for that. */
  async stop() {
    const ended = once(this.#child, "exit", { signal: AbortSignal.timeout(DEADLINE) });
    this.#child.kill("SIGTERM");
    await ended;
  }

  /** Starts it again on the same database and port. */
  async startAgain() {
    await this.#spawn(new URL(this.url).host);
  }

  /** Ends it and removes what it left. */
  async end() {
    if (this.#child.exitCode === null) await this.stop();
    await rm(this.#folder, { recursive: true });
  }

  /** The master token's headers, as curl takes them. */
  get headers() {
    const { company, user, token } = this.made;
    return { "X-Auth-Company": company, "X-Auth-User": user, "X-Auth-Token": token };
  }

  /** Asks the API with the master token, or with other headers; returns status and body. */
  async ask(method, path, body, headers = this.headers) {
    const answer = await fetch(this.url + path, {
      method, headers, body: body === undefined ? undefined : JSON.stringify(body), signal: AbortSignal.timeout(DEADLINE),
    });
    return { status: answer.status, ...(await answer.json()) };
  }

  /** Publishes an event with curl, as the pages and the documentation have it. */
  async publish(path, elems) {
    const headers = Object.entries(this.headers).flatMap(([name, value]) => ["-H", `${name}: ${value}`]);
    const body = JSON.stringify({ path, elems });
    const answer = await run("curl", ["-sS", "-X", "POST", `${this.url}/v5.0/${this.made.company}/event`, ...headers, "-d", body]);
    if (!answer.includes('"status":201')) throw new Error(answer);
    return JSON.parse(answer).body;
  }
}

/** Runs a program and returns what it printed. */
export async function run(program, parameters) {
  const { stdout } = await promisify(execFile)(program, parameters, { timeout: DEADLINE });
  return stdout;
}

/** Runs a line as it was copied from a page. */
export const shell = (line) => run("bash", ["-c", line]);
