// Numbers, times and sizes as people read them. Pure, but for the clock that keeps "2 min ago" true.

import { serverNow } from "./api.js";
import { el } from "./ui.js";

const plain = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const day = new Intl.DateTimeFormat("en", { dateStyle: "medium", timeStyle: "medium" });
const clockTime = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit" });
const PARTS = [[31_557_600, "year"], [2_629_800, "month"], [86_400, "day"], [3_600, "hour"], [60, "min"], [1, "s"]];

/** `1,234` */
export const count = (number) => plain.format(number);

/** `0.4`, `12.3`, `1,234`: as many digits as say something. */
export const short = (number) => (number >= 100 || Number.isInteger(number) ? plain.format(number) : number.toPrecision(number < 10 ? 2 : 3));

/** `34.1 MiB` */
export function bytes(number) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let at = 0;
  let size = number;
  while (size >= 1024 && at < units.length - 1) {
    size /= 1024;
    at += 1;
  }
  return `${at === 0 || size >= 100 ? Math.round(size) : size.toFixed(1)} ${units[at]}`;
}

/** `1 event`, `2 events` */
export const several = (number, word) => `${count(number)} ${word}${number === 1 ? "" : "s"}`;

/** `3 min`, `2 days` */
function span(milliseconds) {
  const seconds = Math.max(0, milliseconds / 1000);
  const [size, name] = PARTS.find(([size]) => seconds >= size) ?? [1, "s"];
  const number = Math.floor(seconds / size);
  return `${number} ${name}${number === 1 || name === "s" || name === "min" ? "" : "s"}`;
}

/** `15:04:05` */
export const clock = (milliseconds) => clockTime.format(milliseconds);

/** `Nov 21, 2026, 3:04:05 PM` */
export const date = (milliseconds) => day.format(milliseconds);

const relative = (at) => {
  const away = at - serverNow();
  if (Math.abs(away) < 5_000) return "now";
  return away < 0 ? `${span(-away)} ago` : `in ${span(away)}`;
};

/** A time as `2 min ago`, which stays true; `never` stands for none. */
export function when(at, never = "never") {
  if (at === null || at === undefined) return el("span", { class: "soft" }, never);
  return el("time", { datetime: new Date(at).toISOString(), title: date(at), "data-at": at }, relative(at));
}

setInterval(() => {
  for (const node of document.querySelectorAll("time[data-at]")) {
    const words = relative(Number(node.dataset.at));
    if (node.textContent !== words) node.textContent = words;
  }
}, 5_000);

/** What a token is called: a master token by whose it is. */
export const titleOf = ({ user, label, id, token }) => (user ? `master token of ${user}` : label || id || token);

/** Which verbs a rule allows, as words. */
export const verbsOf = (allowed) => ["read", "write", "manage"].filter((verb) => allowed[verb]).join(", ");

/** JSON in one line, with air. */
export const oneLine = (value) => JSON.stringify(value, null, 1).replace(/\n\s*/g, " ");
