// Who is connected right now; one connection can be closed.

import { call, rest } from "../api.js";
import { el, button, head, note, picture } from "../ui.js";
import { confirm } from "../forms.js";
import { paged, refresh } from "../list.js";
import { bytes, count, titleOf, when } from "../format.js";

const EVERY = 2_000;

const columns = (close) => [
  { label: "Opened by", kind: "main", cell: (at) => [titleOf(at), el("small", {}, el("code", {}, at.token))] },
  { label: "Address", kind: "fit", cell: (at) => el("code", {}, at.address ?? "unknown") },
  { label: "Session", kind: "fit", cell: (at) => el("code", {}, `${at.session}…`) },
  { label: "Protocol", kind: "fit", cell: (at) => at.protocol },
  { label: "Since", kind: "fit", cell: (at) => when(at.since) },
  { label: "Follows", kind: "number", live: true, cell: (at) => count(at.subscriptions) },
  { label: "Sent", kind: "number", live: true, cell: (at) => count(at.sent) },
  { label: "Waiting", kind: "number", live: true, cell: (at) => (at.waiting > 0 ? el("span", { class: "chip warn", title: "What this reader has not taken yet" }, bytes(at.waiting)) : "nothing") },
  { label: "", kind: "fit", cell: (at) => el("div", { class: "actions" }, button("Close", () => close(at), { kind: "slim danger", name: `Close the connection of ${titleOf(at)} from ${at.address}` })) },
];

export async function open({ node, signal }) {
  const close = async (at) => {
    const done = await confirm("Close this connection?", "Its client is told that an operator closed it, and may connect again unless its token is revoked.", {
      label: "Close it", act: () => call("DELETE", rest(`/connection/${at.id}`)),
    });
    if (!done) return;
    note("Closed");
    await table.reload();
  };
  const table = paged({
    label: "Connections", columns: columns(close), key: (at) => at.id, limit: 25,
    load: async (start, limit) => {
      const { connections, total } = await call("GET", rest("/connection", { start, limit }), undefined, { signal });
      return { items: connections, total };
    },
    empty: () => picture("connections", "Nobody is connected", "Whoever opens a WebSocket with a session of this company appears here.", el("a", { class: "button", href: "#/streams" }, "Open a stream to connect")),
  });
  node.append(head("Connections", "Open sockets of this company, the newest first."), table);
  await refresh(signal, EVERY, () => table.reload());
}
