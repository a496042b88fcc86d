// The dialog that makes or changes a stream, and the one that deletes it.

import { call, me, rest } from "../api.js";
import { el, note } from "../ui.js";
import { confirm, dialog, field, form, select, text } from "../forms.js";
import { pointed } from "./pointed.js";

const ACKS = [
  ["durable", "durable – on the disk, synced"],
  ["written", "written – in the system's hands; a power cut may lose it"],
  ["accepted", "accepted – in memory; a crash may lose it"],
];

const number = (input) => (input.value.trim() === "" ? null : Number(input.value));

/** Makes a stream, or changes the one given; resolves with it, or with undefined. */
export function editStream(stream) {
  return dialog(stream ? "Change the stream" : "New stream", (close) => {
    const path = field("Path", text({ required: true, value: stream?.path ?? `/${me.company}/`, readonly: Boolean(stream), class: "mono", autofocus: !stream }),
      { hint: stream ? "A path stays as it is." : "Letters, digits and _ - . ~ : @ +, with slashes between." });
    const description = field("Description", text({ value: stream?.description ?? "", autofocus: Boolean(stream) }));
    const capacity = field("Keeps, in events", text({ type: "number", min: 0, inputmode: "numeric", required: true, value: stream?.capacity ?? 1000 }), { hint: "0 keeps nothing, 1 the last value." });
    const age = field("Oldest, in seconds", text({ type: "number", min: 1, inputmode: "numeric", value: stream?.maxAge ?? "" }), { hint: "Empty: however old." });
    const size = field("Most bytes", text({ type: "number", min: 1, inputmode: "numeric", value: stream?.maxBytes ?? "" }), { hint: "Empty: no bound." });
    const ack = field("An answer to a publisher means", select(ACKS, { value: stream?.ack ?? "durable" }));
    const filter = field("Takes only events that", text({ value: stream?.filter ?? "", class: "mono", placeholder: "EXISTS open && temp < 80" }), { hint: "A filter; empty takes all." });
    const submit = async () => {
      const body = {
        path: path.input.value.trim(), description: description.input.value.trim(), capacity: number(capacity.input),
        ack: ack.input.value, filter: filter.input.value.trim() || null, maxAge: number(age.input), maxBytes: number(size.input),
      };
      const saved = stream
        ? await call("PUT", rest(`/stream/${stream.id}`), body)
        : await call("POST", rest("/stream"), body);
      note(stream ? "Changed" : "Made");
      close(saved);
    };
    const place = (error) => {
      if (["path.malformed", "stream.exists", "limit.streams"].includes(error.code)) return path;
      if (error.code === "limit.capacity") return capacity;
      if (error.code === "filter.malformed") {
        filter.fail(pointed(filter.input.value.trim(), error.text ?? error.message));
        filter.input.focus();
        return { fail: () => {}, input: filter.input };
      }
      return null;
    };
    return form([path, description, el("div", { class: "fields" }, capacity, age, size), ack, filter],
      { label: stream ? "Save" : "Make stream", cancel: () => close(), submit, place });
  }, { wide: true });
}

/** Deletes a stream once its path was typed; resolves with true when it is gone. */
export const deleteStream = (stream) =>
  confirm("Delete this stream?", ["The stream and all events that it keeps go, for good. Subscriptions to it end in silence."], {
    label: "Delete stream", word: stream.path, act: () => call("DELETE", rest(`/stream/${stream.id}`)),
  });
