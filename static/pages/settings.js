// The company's settings: what clients of older systems may do for it. For who manages.

import { call, me, rest } from "../api.js";
import { el, card, head, note, picture } from "../ui.js";
import { check, field, form } from "../forms.js";

const ADDRESS = () => rest("/settings");
const CHANNELS = [
  ["allowClientSend", "Clients of channels may publish"],
  ["allowChannelSubscription", "Clients of channels may subscribe"],
  ["allowChannelAuthorization", "Subscribing takes a token of the channel"],
  ["allowUndeclaredChannels", "A channel needs no stream that was made for it"],
];
const NOTICES = [["allowMetaWithoutKey", "Clients without a key may read and write users’ meta"]];

function boxes(names, settings) {
  return names.map(([name, label]) => {
    const box = check(label, { checked: settings[name] });
    box.read = () => ({ [name]: box.input.checked });
    return box;
  });
}

/** A card with a form that saves what it shows and nothing else. */
function part(title, says, children, read, place) {
  const submit = async () => {
    await call("PUT", ADDRESS(), read());
    note("Saved");
  };
  return card(title, null, el("p", { class: "soft" }, says), form(children, { label: `Save ${title.toLowerCase()}`, submit, place }));
}

const joined = (fields) => Object.assign({}, ...fields.map((field) => field.read()));

function channels(settings) {
  const fields = boxes(CHANNELS, settings);
  return part("Channels", "For clients of RootSocket.", fields, () => joined(fields));
}

function notices(settings) {
  const lines = settings.approvedSocketDomains.join("\n");
  const domains = field("Approved origins", el("textarea", { class: "mono", rows: 4, spellcheck: "false", placeholder: "app\\.example\\.com$", value: lines }),
    { hint: "Regular expressions, one a line. One must be found somewhere in the origin of a page that connects; ^ and $ anchor them." });
  const wanted = () => domains.input.value.split("\n").map((line) => line.trim()).filter(Boolean);
  const fields = boxes(NOTICES, settings);
  const read = () => ({ approvedSocketDomains: wanted(), ...joined(fields) });
  const place = (error) => (error.code === "body.malformed" ? domains : null);
  return part("Notices", "For clients of the users server.", [domains, ...fields], read, place);
}

export async function open({ node, signal }) {
  if (!me.manages) {
    node.append(head("Settings"), picture("settings", "Only for who manages", "Somebody who manages users can let you do so too."));
    return;
  }
  const settings = await call("GET", ADDRESS(), undefined, { signal });
  node.append(head("Settings", "What clients of older systems may do for the company."),
    el("div", { class: "half" }, channels(settings), notices(settings)));
}
