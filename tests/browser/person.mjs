// A person in front of a browser: looks for what is written, presses what it is called.
// Everything is found by role and accessible name; nothing sleeps, every wait has its condition.

import assert from "node:assert/strict";
import { mkdir, readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const tools = process.env.STREAMGATE_TEST_TOOLS ?? fileURLToPath(new URL("../../target/tools", import.meta.url));
const require = createRequire(join(tools, "node_modules/"));
const puppeteer = require("puppeteer-core");
const axe = await readFile(require.resolve("axe-core/axe.min.js"), "utf8");

export const WebSocket = require("ws");

const SHOTS = fileURLToPath(new URL("../../target/screenshots", import.meta.url));
/** The longest that a person waits for anything, in milliseconds. */
const PATIENCE = 15_000;
const TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"];

/** Starts Chromium; whoever does so must close it. */
export function openBrowser() {
  const parameters = ["--disable-dev-shm-usage", "--disable-gpu", "--force-color-profile=srgb"];
  // Chromium refuses to run as root inside its own sandbox.
  if (process.getuid() === 0) parameters.push("--no-sandbox");
  return puppeteer.launch({ executablePath: process.env.STREAMGATE_TEST_CHROMIUM ?? "/usr/bin/chromium", args: parameters });
}

export class Person {
  page;
  #complaints = [];
  #expected = [];

  /** Somebody new, with no cookie yet, or with those of `context`. */
  static async come(browser, { width = 1280, scheme = "light", context } = {}) {
    const person = new Person();
    person.context = context ?? (await browser.createBrowserContext());
    const page = await person.context.newPage();
    person.page = page;
    page.setDefaultTimeout(PATIENCE);
    await page.setViewport({ width, height: 900 });
    await page.emulateMediaFeatures([{ name: "prefers-color-scheme", value: scheme }, { name: "prefers-reduced-motion", value: "reduce" }]);
    page.on("console", (message) => {
      if (["error", "warn"].includes(message.type())) person.#complaints.push(`${message.text()} (${message.location().url ?? ""})`);
    });
    page.on("pageerror", (error) => person.#complaints.push(String(error)));
    return person;
  }

  /** Another tab of the same browser. */
  another(browser) {
    return Person.come(browser, { context: this.context });
  }

  /** Says that the browser will complain about a refusal at addresses like this one. */
  expectRefusal(address) {
    this.#expected.push(address);
  }

  /** Asserts that the browser had nothing to complain about. */
  assertNoComplaints() {
    const left = this.#complaints.filter((text) => !this.#expected.some((address) => text.includes(address)));
    assert.deepEqual(left, []);
  }

  async visit(url) {
    await this.page.goto(url, { waitUntil: "load" });
  }

  /** Sees a heading of exactly these words. */
  heading(words) {
    return this.page.waitForSelector(named("heading", words));
  }

  /** Waits until something is to be read on the page. */
  async sees(words) {
    try {
      await this.page.waitForFunction((wanted) => document.body.innerText.includes(wanted), {}, words);
    } catch {
      assert.fail(`“${words}” was not to be seen in:\n${await this.text()}`);
    }
  }

  /** Waits until something is no longer to be read. */
  async seesNoMore(words) {
    await this.page.waitForFunction((gone) => !document.body.innerText.includes(gone), {}, words);
  }

  /** Waits until the row of a list that names one thing also has a text like this pattern. */
  async seesInRow(name, pattern) {
    const said = (wanted, source) => [...document.querySelectorAll('[role="row"]')]
      .some((row) => row.innerText.includes(wanted) && new RegExp(source).test(row.innerText));
    await this.page.waitForFunction(said, {}, name, pattern);
  }

  text() {
    return this.page.evaluate(() => document.body.innerText);
  }

  async press(words) {
    await this.page.locator(named("button", words)).click();
  }

  /** Presses what is called so within the dialog, where the page has the same. */
  async pressInDialog(words) {
    await this.page.locator(`dialog[open] ${named("button", words)}`).click();
  }

  /** Opens what is folded under these words. */
  async unfold(words) {
    await this.page.locator(`summary ::-p-text(${words})`).click();
  }

  async follow(words) {
    await this.page.locator(named("link", words)).click();
  }

  async openTab(words) {
    await this.page.locator(named("tab", words)).click();
  }

  async tick(words) {
    await this.page.locator(named("checkbox", words)).click();
  }

  /** Types into the field of this label, in place of what stood there. */
  async fill(label, text) {
    await this.page.locator(named("textbox", label)).fill(text);
  }

  /** Chooses from the list of this label what is called so. */
  async choose(label, words) {
    const list = await this.page.waitForSelector(named("combobox", label));
    const value = await list.evaluate((node, wanted) => [...node.options].find((option) => option.text === wanted)?.value, words);
    assert.notEqual(value, undefined, `${label} has no choice “${words}”`);
    await list.select(value);
  }

  /** The text of what stands in a dialog's element. */
  async inDialog(selector) {
    const node = await this.page.waitForSelector(`dialog[open] ${selector}`);
    return node.evaluate((found) => found.textContent);
  }

  /** A line to be copied, by its heading. */
  async command(heading) {
    const button = await this.page.waitForSelector(named("button", `Copy: ${heading}`));
    return button.evaluate((found) => found.closest(".command").querySelector("pre").textContent);
  }

  /** Offsets of the live tail's rows, the newest first. */
  tailOffsets() {
    return this.page.$$eval('[role="log"] summary .offset', (nodes) => nodes.map((node) => Number(node.textContent.slice(1))));
  }

  /** Asserts that axe finds nothing against WCAG 2.2 AA, and takes a picture. */
  async assertAccessible(name) {
    await this.page.evaluate(axe);
    const results = await this.page.evaluate((values) => globalThis.axe.run({ runOnly: { type: "tag", values } }), TAGS);
    const faults = results.violations.flatMap(({ id, help, nodes }) => nodes.map((node) => `${id}: ${help}: ${node.html}`));
    assert.deepEqual(faults, [], name);
    await mkdir(SHOTS, { recursive: true });
    await this.page.screenshot({ path: join(SHOTS, `${name}.png`), fullPage: true });
  }

  /** Asserts that nothing is wider than the window. */
  async assertFits() {
    const [wide, window] = await this.page.evaluate(() => [document.documentElement.scrollWidth, innerWidth]);
    assert.ok(wide <= window, `the page is ${wide} wide in a window of ${window}`);
  }
}

const named = (role, name) => `::-p-aria([name="${name.replaceAll('"', '\\"')}"][role="${role}"])`;

/** The password that everybody here has. */
export const PASSWORD = "a few words in a row";

/** Sets a first password through a link and is signed in. */
export async function welcome(person, server) {
  await person.visit(server.made.link);
  await person.heading(`Welcome, ${server.made.user}`);
  await person.fill("New password", PASSWORD);
  await person.fill("The same again", PASSWORD);
  await person.press("Set password and sign in");
  await person.heading("Overview");
}
