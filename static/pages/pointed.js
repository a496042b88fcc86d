// A filter's error, with the place where it stops being right.

import { el } from "../ui.js";

/** The sentence and, below it, the filter with the named character marked. */
export function pointed(filter, sentence) {
  const named = /character (\d+)/.exec(sentence);
  if (!named) return [sentence];
  // The server counts characters from one, and they may be of two units here.
  const letters = [...filter];
  const at = Math.min(Number(named[1]) - 1, letters.length);
  const marked = letters[at] ?? "⏎";
  return [sentence, el("pre", { "aria-hidden": "true" }, letters.slice(0, at).join(""), el("mark", {}, marked), letters.slice(at + 1).join(""))];
}
