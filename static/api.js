// The one place that talks HTTP: asks, opens the envelope, makes errors of refusals.
// Knows who is signed in; knows nothing of pages. Invariant: no answer with a secret is cached.

/** Who is signed in, as the server told: company, user, manages, expires, url, token. */
export const me = { company: null };

let ahead = 0;

/** The server's clock, to the second. */
export const serverNow = () => Date.now() + ahead;

/** Tells the frame what concerns all pages: `signedout`, `unreachable`, `reached`. */
export const wire = new EventTarget();

const ADVICE = {
  "net.unreachable": "Check the network and whether the server runs. This page tries again by itself.",
  "scope.denied": "Ask somebody of your company who manages users.",
  "log.full": "Make room on the server's disk; publishing goes on by itself.",
  "log.unavailable": "The server's disk fails; its log has the cause.",
  "server.fault": "Nothing to mend on your side. Try again; the server's log has the cause.",
  "server.stopping": "The server restarts. Try again in a moment.",
  "link.unknown": "Links work once and for 24 hours. Ask for a new one.",
  "stream.unknown": "It may have been deleted. The list of streams shows what there is.",
  "stream.exists": "Use the stream that is there, or another path.",
  "auth.refused": "Capital letters count.",
  "event.filtered": "This stream has a filter. Send what it accepts, or change the filter.",
  "user.last": "Let somebody else manage first.",
};

/** Why something was not done: a stable `code`, one sentence, and what to do about it. */
export class Refused extends Error {
  constructor(code, text, { status = 0, wait = 0, advice } = {}) {
    super(text);
    Object.assign(this, { code, text, status, wait, advice: advice ?? later(wait) ?? ADVICE[code] });
  }
}

const later = (wait) => (wait > 1 ? `Try again in ${wait < 120 ? `${wait} seconds` : `${Math.ceil(wait / 60)} minutes`}.` : undefined);

async function send(method, path, body, signal) {
  try {
    const response = await fetch(path, {
      method, signal, cache: "no-store", credentials: "same-origin",
      headers: { "X-Streamgate-Page": "1", ...(body === undefined ? {} : { "Content-Type": "application/json" }) },
      body: body === undefined ? undefined : typeof body === "string" ? body : JSON.stringify(body),
    });
    return [response, await response.text()];
  } catch (error) {
    if (error.name === "AbortError") throw error;
    wire.dispatchEvent(new Event("unreachable"));
    throw new Refused("net.unreachable", "The server does not answer.");
  }
}

/** Asks and returns the whole answer: `body`, and `total` where the server counts. */
export async function ask(method, path, body, { signal } = {}) {
  const [response, text] = await send(method, path, body, signal);
  wire.dispatchEvent(new Event("reached"));
  const told = Date.parse(response.headers.get("Date") ?? "");
  // The header has whole seconds: a difference below two is none.
  if (told) ahead = Math.abs(told - Date.now()) < 2_000 ? 0 : told - Date.now();
  let json = null;
  try {
    json = JSON.parse(text);
  } catch {
    // A proxy's page of its own, for one: the status says enough.
  }
  if (response.ok && json) {
    const total = response.headers.get("X-Total-Count");
    return { body: json.body, total: total === null ? null : Number(total) };
  }
  const refusal = json?.head ?? {};
  const code = refusal.code ?? `http.${response.status}`;
  if (response.status === 401 && me.company && path !== "/login" && path !== "/login/password") {
    wire.dispatchEvent(new Event("signedout"));
  }
  throw new Refused(code, sentence(refusal.errors?.[0] ?? `The server answered ${response.status}.`),
    { status: response.status, wait: Number(response.headers.get("Retry-After") ?? 0) });
}

const sentence = (text) => text.charAt(0).toUpperCase() + text.slice(1) + (/[.!?…]$/.test(text) ? "" : ".");

/** Asks and returns the answer's body. */
export const call = async (method, path, body, options) => (await ask(method, path, body, options)).body;

/** An address of this company: `rest("/stream", { limit: 20 })`. */
export function rest(path, query = {}) {
  const given = Object.entries(query).filter(([, value]) => value !== undefined && value !== null && value !== "");
  const search = new URLSearchParams(given).toString();
  return `/v5.0/${encodeURIComponent(me.company)}${path}${search && `?${search}`}`;
}

/** Finds out who is signed in; null if nobody is. */
export async function whoIsThere() {
  try {
    const login = await call("GET", "/login");
    if (!login?.company) return null;
    return Object.assign(me, login, { url: (login.url ?? location.origin).replace(/\/$/, "") });
  } catch (error) {
    if (error.status === 401) return null;
    throw error;
  }
}

/** Forgets who was signed in. */
export function leave() {
  for (const name of Object.keys(me)) delete me[name];
  me.company = null;
}

/** Who asks, in lines to be copied; without a token they read it from $TOKEN. */
export const asker = (token) => ({ company: me.company, user: me.user, token });
