// Lists of records: a table where there is room, cards where there is none; pages of them.
// Rows are kept by key, so what refreshes every second neither flickers nor takes focus away.

import { el, button, problem, skeleton } from "./ui.js";
import { count } from "./format.js";

/**
 * `columns` are `{ label, cell(item), kind, live }`: `cell` gives text or an element, `kind` is a
 * class (`main`, `number`, `fit`), `live` says that it changes. `key(item)` names a row.
 */
export function list({ label, columns, key, empty, over = () => false }) {
  const body = el("tbody", { role: "rowgroup" });
  const header = columns.map((column) => el("th", { scope: "col", role: "columnheader", class: column.kind }, column.label || el("span", { class: "unseen" }, "Actions")));
  const table = el("table", { class: "list", role: "table", "aria-label": label },
    el("thead", { role: "rowgroup" }, el("tr", { role: "row" }, header)), body);
  const node = el("div", {});
  const rows = new Map();

  const place = (cell, column, item) => {
    const content = column.cell(item);
    // Several parts are one to the card that a row becomes on a small screen.
    if (Array.isArray(content)) cell.replaceChildren(el("div", {}, content));
    else if (typeof content !== "string" || cell.firstElementChild) cell.replaceChildren(...[content].filter((part) => part !== null && part !== undefined && part !== false));
    else if (cell.textContent !== content) cell.textContent = content;
  };
  const make = (item) => {
    const cells = columns.map((column) => el("td", { role: "cell", class: column.kind, "data-label": column.label }));
    cells.forEach((cell, at) => place(cell, columns[at], item));
    return { cells, row: el("tr", { role: "row" }, cells), text: JSON.stringify(item) };
  };
  const renew = (entry, item) => {
    const text = JSON.stringify(item);
    if (text === entry.text) return;
    const all = entry.row.contains(document.activeElement) ? columns.filter((column) => column.live) : columns;
    all.forEach((column) => place(entry.cells[columns.indexOf(column)], column, item));
    entry.text = text;
  };

  node.show = (items) => {
    const wanted = new Set(items.map(key));
    for (const [name, entry] of rows) {
      if (wanted.has(name)) continue;
      entry.row.remove();
      rows.delete(name);
    }
    items.forEach((item, at) => {
      const entry = rows.get(key(item)) ?? make(item);
      if (rows.has(key(item))) renew(entry, item);
      rows.set(key(item), entry);
      entry.row.classList.toggle("over", over(item));
      if (body.children[at] !== entry.row) body.insertBefore(entry.row, body.children[at] ?? null);
    });
    const wantedNode = items.length > 0 ? table : empty();
    if (items.length > 0 ? table.parentNode !== node : true) node.replaceChildren(wantedNode);
  };
  node.wait = (number = 6) => {
    if (!table.parentNode) node.replaceChildren(skeleton(number, "rows"));
  };
  node.fail = (error, again) => {
    rows.clear();
    body.replaceChildren();
    node.replaceChildren(el("div", { class: "card" }, problem(error, again)));
  };
  return node;
}

/**
 * A list in pages: `load(start, limit)` resolves with `{ items, total }`, total null if nobody
 * counts (then one more than a page is asked for, to know whether there is more).
 */
export function paged({ limit = 20, load, ...options }) {
  const table = list(options);
  const words = el("span", {}, "");
  const turn = (by) => async () => {
    start = Math.max(0, start + by * limit);
    await node.reload();
  };
  const back = button("Newer", turn(-1), { kind: "slim" });
  const on = button("Older", turn(1), { kind: "slim" });
  if (options.forth) [back.textContent, on.textContent] = ["Previous", "Next"];
  const pager = el("div", { class: "pager", hidden: true }, words, el("div", { class: "actions" }, back, on));
  const node = el("div", { class: "card flush" }, table, pager);
  let start = 0;
  let asked = 0;
  node.table = table;
  node.reload = async ({ rewind = false } = {}) => {
    if (rewind) start = 0;
    const mine = ++asked;
    table.wait();
    node.setAttribute("aria-busy", "true");
    try {
      const { items, total } = await load(start, options.counted === false ? limit + 1 : limit);
      if (mine !== asked) return;
      if (items.length === 0 && start > 0) {
        start = Math.max(0, start - limit);
        return await node.reload();
      }
      const shown = items.slice(0, limit);
      const more = total === null ? items.length > limit : start + shown.length < total;
      table.show(shown);
      words.textContent = total === null ? `${count(start + 1)} – ${count(start + shown.length)}` : `${count(start + 1)} – ${count(start + shown.length)} of ${count(total)}`;
      pager.hidden = start === 0 && !more;
      back.disabled = start === 0;
      on.disabled = !more;
    } catch (error) {
      if (error.name === "AbortError" || mine !== asked) return;
      if (!options.failed?.(error)) table.fail(error, () => node.reload());
    } finally {
      if (mine === asked) node.removeAttribute("aria-busy");
    }
  };
  return node;
}

/** Calls `look` now and then every so often while the page is open and seen. */
export async function refresh(signal, milliseconds, look) {
  await look();
  const tick = async () => {
    if (signal.aborted) return;
    try {
      if (!document.hidden) await look();
    } catch (error) {
      // Whoever leaves the page ends what was being asked.
      if (!signal.aborted) throw error;
    }
    if (!signal.aborted) timer = setTimeout(tick, milliseconds);
  };
  let timer = setTimeout(tick, milliseconds);
  signal.addEventListener("abort", () => clearTimeout(timer));
}
