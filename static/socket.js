// The tail of one stream over a real session: opens it, subscribes, comes back by itself and goes
// on behind what was seen last. Knows nothing of how it is shown.
// Invariant: `offset` rises; whatever is missing was told as a gap.

import { call } from "./api.js";

const FIRST_WAIT = 500;
const LONGEST_WAIT = 15_000;
/** Newest events that a new reader is shown first. */
const LAST = 20;
/** Ends that will not mend themselves, by close code. */
const ENDS = {
  4001: ["revoked", "The token behind this session was revoked."],
  4002: ["revoked", "The token behind this session has expired."],
  4004: ["closed", "An operator closed this connection."],
};

/**
 * `told` is `{ state(name, words), events(list), gap(body) }`; states are `connecting`, `live`,
 * `reconnecting`, `revoked`, `closed`, `signedout`, `refused`.
 */
export class Tail {
  #stream;
  #told;
  #socket = null;
  #position = null;
  #wait = FIRST_WAIT;
  #timer = 0;
  #ended = false;
  #round = 0;

  constructor(stream, told) {
    this.#stream = stream;
    this.#told = told;
    this.online = () => this.#timer && this.connect();
    window.addEventListener("online", this.online);
  }

  /** Connects now; what was waited for is forgotten. */
  async connect() {
    clearTimeout(this.#timer);
    this.#timer = 0;
    this.#drop();
    const round = ++this.#round;
    this.#told.state(this.#position ? "reconnecting" : "connecting");
    try {
      const { path } = this.#stream;
      const { id } = await call("POST", "/session", { paths: { [path]: { read: true } } });
      if (round === this.#round && !this.#ended) this.#open(id);
    } catch (error) {
      if (round === this.#round && !this.#ended) this.#refused(error);
    }
  }

  /** Ends for good. */
  end() {
    this.#ended = true;
    clearTimeout(this.#timer);
    window.removeEventListener("online", this.online);
    this.#drop();
  }

  #drop() {
    const socket = this.#socket;
    this.#socket = null;
    socket?.close();
  }

  #open(id) {
    const scheme = location.protocol === "https:" ? "wss:" : "ws:";
    const socket = new WebSocket(`${scheme}//${location.host}/session/${id}/ws`);
    this.#socket = socket;
    const mine = (act) => (event) => socket === this.#socket && act(event);
    socket.onopen = mine(() => {
      const from = this.#position ? { since: this.#position } : { last: LAST };
      socket.send(JSON.stringify({ msgId: 1, object: "event", type: "subscribe", streamId: this.#stream.id, ...from }));
    });
    socket.onmessage = mine((event) => this.#receive(JSON.parse(event.data)));
    socket.onclose = mine((event) => this.#closed(event.code, event.reason));
  }

  #receive(message) {
    if (message.type === "message") {
      this.#position.offset = message.offset;
      this.#told.events([{ offset: message.offset, ...message.value }]);
    } else if (message.type === "gap") {
      const { to, reason } = message.body;
      this.#position.offset = reason === "epoch" ? to : Math.max(this.#position.offset, to);
      this.#told.gap(message.body);
    } else if (message.head?.ok) {
      const { epoch, offset } = message.body.streams[0];
      this.#position = { epoch, offset };
      this.#wait = FIRST_WAIT;
      this.#told.state("live");
    } else {
      this.#stop("refused", message.head?.errors?.[0] ?? "The server refused the subscription.");
    }
  }

  #closed(code, reason) {
    this.#socket = null;
    const end = ENDS[code];
    if (end) this.#stop(...end);
    else this.#later(code === 4003 ? "This page did not read fast enough." : reason.replace(/^[a-z.]+: /, ""));
  }

  #refused(error) {
    if (error.status === 401) this.#stop("signedout", "Nobody is signed in any more.");
    else if (error.status >= 400 && error.status < 500 && error.status !== 429 && error.status !== 408) this.#stop("refused", error.text ?? error.message);
    else this.#later(error.message);
  }

  #stop(state, words) {
    this.#drop();
    this.#told.state(state, words);
  }

  #later(words) {
    if (this.#ended) return;
    const wait = this.#wait * (0.75 + Math.random() / 2);
    this.#wait = Math.min(this.#wait * 2, LONGEST_WAIT);
    this.#told.state("reconnecting", words);
    this.#timer = setTimeout(() => this.connect(), wait);
  }
}
