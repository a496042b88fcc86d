// The form that publishes a test event.

import { call, rest } from "../api.js";
import { el, card, note } from "../ui.js";
import { field, form } from "../forms.js";

const EXAMPLE = '{\n  "hello": "world"\n}';

export function publishForm(stream) {
  const elems = field("Elements, as JSON", el("textarea", { class: "mono", rows: 5, spellcheck: "false", required: true, value: EXAMPLE }),
    { hint: "An object. Ctrl+Enter publishes." });
  const submit = async () => {
    const text = elems.input.value.trim();
    // Numbers stay as they were typed, so the text goes as it is once it is known to be JSON.
    JSON.parse(text);
    await call("POST", rest(`/event/${stream.id}`), `{"elems":${text}}`);
    note("Published");
  };
  const place = (error) => (error instanceof SyntaxError || ["event.malformed", "body.malformed", "event.filtered"].includes(error.code) ? elems : null);
  const node = form([elems], { label: "Publish", submit, place });
  elems.input.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) node.requestSubmit();
  });
  return card("Publish", null, node);
}
