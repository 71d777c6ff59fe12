// Opens the page of `sidekey dev` in Chromium, and uses it as a person does.
//
// `node browser.mjs check URL VALUE` runs the steps below. For each step, it prints one line: the name
// of the step, and `ok` or the problem. VALUE is the text that no response may contain.
//
// `node browser.mjs screenshot URL FILE` writes a screenshot, one minute after the start.

import assert from "node:assert/strict";
import { chromium } from "playwright-core";

const [mode, url, last] = process.argv.slice(2);
const browser = await chromium.launch({
  executablePath: "/usr/bin/chromium",
  args: ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic"],
});
const context = await browser.newContext({
  viewport: { width: 1320, height: 900 },
  deviceScaleFactor: mode === "screenshot" ? 1.4 : 1,
  colorScheme: "light",
});
context.setDefaultTimeout(60_000);
const page = await context.newPage();
const complaints = [], requested = [], received = [];
page.on("console", (message) => {
  if (["error", "warning"].includes(message.type())) complaints.push(message.text());
});
page.on("pageerror", (error) => complaints.push(error.stack));
page.on("request", (request) => requested.push(request.url()));
page.on("response", async (response) => received.push(await response.text().catch(() => "")));

const control = (role, name) => page.getByRole(role, { name, exact: true });
const button = (name) => control("button", name);
const row = (name) => page.getByRole("row").filter({ has: page.getByTitle(name, { exact: true }) });
const happens = (text) => page.getByRole("log").getByText(text).first().waitFor();
const pressed = (name) => page.locator(`button[aria-pressed="true"]:text-is("${name}")`).waitFor();
const shown = (selector, pattern) =>
  page.waitForFunction(([selector, source]) => new RegExp(source).test(document.querySelector(selector).textContent), [selector, pattern]);

// Presses the Tab key until a button or a switch has the focus, and then presses `key`.
async function type(name, key, role = "button") {
  for (let presses = 0; presses < 50; presses++) {
    if (await control(role, name).evaluate((element) => element === document.activeElement)) {
      return page.keyboard.press(key);
    }
    await page.keyboard.press("Tab");
  }
  assert.fail(`the Tab key does not reach the button ${name}`);
}

// The buttons that change the calls to AWS, and what the log of the page then contains.
const troubles = [
  ["Throttle", "ThrottlingException"],
  ["Deny", "AccessDeniedException"],
  ["Slow", "calls take 1.5 s"],
  ["Fail", "InternalServiceError"],
];

// Returns the texts whose contrast to their background is too low to read (WCAG 2, level AA).
const illegible = () => page.evaluate(() => {
  const parts = (colour) => colour.match(/[0-9.]+/g).map(Number);
  const luminance = (colour) => {
    const [r, g, b] = parts(colour).slice(0, 3).map((part) => {
      const share = part / 255;
      return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const isOpaque = (colour) => parts(colour)[3] !== 0;
  const background = (element) => {
    for (let own = element; own; own = own.parentElement) {
      const { backgroundColor } = getComputedStyle(own);
      if (isOpaque(backgroundColor)) return backgroundColor;
    }
    return "rgb(255, 255, 255)";
  };
  const texts = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    if (!walker.currentNode.data.trim() || !element.checkVisibility()) continue;
    if (["SCRIPT", "STYLE"].includes(element.tagName)) continue;
    const { color } = getComputedStyle(element);
    const [low, high] = [luminance(color), luminance(background(element))].sort((a, b) => a - b);
    const contrast = (high + 0.05) / (low + 0.05);
    if (contrast < 4.5) texts.push(`${walker.currentNode.data.trim()}: ${contrast.toFixed(1)}`);
  }
  return texts;
});

const steps = {
  async loads() {
    await page.goto(url);
    await shown("#link", "^live$");
    for (const name of ["app/db", "ssm:/app/url"]) {
      await row(name).getByText("fresh", { exact: true }).waitFor();
      await button(`Rotate ${name}`).waitFor();
    }
    assert.equal(await page.title(), "sidekey dev");
  },

  async updates() {
    await shown("#read-median", "^[0-9.]+ m?s$");
    await shown("#call-median", "^[0-9.]+ m?s$");
    const length = () => row("app/db").locator(".bar i").evaluate((bar) => bar.style.transform);
    const before = await length();
    await page.waitForFunction(([before]) => document.querySelector(".bar i").style.transform !== before, [before]);
    // Some pixels of the time line have the colour of a read, and some that of a call.
    for (const colour of ["current", "call"]) {
      await page.waitForFunction((name) => {
        const canvas = document.querySelector("#rows canvas");
        const hex = getComputedStyle(document.documentElement).getPropertyValue("--" + name).trim();
        const wanted = [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16));
        const copy = new OffscreenCanvas(canvas.width, canvas.height).getContext("2d", { willReadFrequently: true });
        copy.drawImage(canvas, 0, 0);
        const { data } = copy.getImageData(0, 0, canvas.width, canvas.height);
        for (let at = 0; at < data.length; at += 4) {
          if (wanted.every((value, part) => data[at + part] === value)) return true;
        }
        return false;
      }, colour);
    }
  },

  async rotates() {
    for (const name of ["app/db", "ssm:/app/url"]) {
      await button(`Rotate ${name}`).click();
      await happens(`You rotated ${name}`);
      await happens(new RegExp(`^Readers get version \\w+ of ${name}, [0-9.]+ s after its rotation`));
    }
  },

  async fails() {
    for (const [name, event] of troubles) {
      await button(name).click();
      await pressed(name);
      await happens(event);
    }
    await row("app/db").getByText("stale", { exact: true }).waitFor();
    await row("app/db").getByText(/failed call/).waitFor();
    await shown("#share-text", "[1-9][0-9,]* stale");
    assert.deepEqual(await illegible(), []);
  },

  // Each button works without a mouse. The log begins anew, so that it has no events of the mouse.
  async keyboard() {
    await page.reload();
    await shown("#link", "^live$");
    for (const [name, event] of troubles) {
      await type(name, name === "Slow" ? "Space" : "Enter");
      await pressed(name);
      await happens(event);
    }
    await type("Normal", "Enter");
    await pressed("Normal");
    await happens("No value is stale any more.");
    const version = () => row("app/db").locator("small").first().textContent();
    const before = await version();
    await type("Rotate app/db", "Space");
    while (await version() === before) await page.waitForTimeout(50);
    await page.keyboard.press("Shift+Tab");
    await type("Reader", "Space", "switch");
    await shown("#reader-text", "^reads nothing$");
    await type("Reader", "Enter", "switch");
    await shown("#reader-text", "^reads each secret");
    const outline = await page.evaluate(() => getComputedStyle(document.activeElement).outlineStyle);
    assert.notEqual(outline, "none", "the button with the focus has no outline");
  },

  async dark() {
    const background = () => page.evaluate(() => getComputedStyle(document.body).backgroundColor);
    const light = await background();
    assert.deepEqual(await illegible(), [], "light");
    await page.emulateMedia({ colorScheme: "dark" });
    assert.notEqual(await background(), light);
    assert.deepEqual(await illegible(), [], "dark");
    await button("Rotate app/db").click();
    await happens("You rotated app/db");
    await page.emulateMedia({ colorScheme: "light", reducedMotion: "reduce" });
    await shown("#link", "^live$");
  },

  async quiet() {
    assert.deepEqual(complaints, []);
    const { origin } = new URL(url);
    const foreign = requested.filter((one) => !one.startsWith(origin + "/") && !one.startsWith("data:"));
    assert.deepEqual(foreign, []);
    assert.ok(received.length > 10, "the page must have polled");
    assert.ok(!received.some((body) => body.includes(last)), "a response contains a value");
    assert.ok(!(await page.content()).includes(last), "the page shows a value");
  },

  // A page of another port can send requests, but cannot press a button, even with the key.
  async protected() {
    const other = await context.newPage();
    const agent = (await page.locator("#agent").textContent()).trim().split(" ").at(-1);
    await other.goto(`http://${agent}/ping`);
    const target = new URL("/upstream?state=deny", url).href;
    const sent = await other.evaluate(async ([target, key]) => {
      const send = (options) => fetch(target, { method: "POST", ...options }).then(() => "answered", () => "refused");
      return [await send({ mode: "no-cors" }), await send({ headers: { "X-Sidekey-Page-Key": key } })];
    }, [target, new URL(url).hash.slice(1)]);
    assert.deepEqual(sent, ["refused", "refused"]);
    await shown("#upstream-text", "^calls succeed$");
    await other.goto(new URL("/#wrong", url).href);
    await other.getByRole("alert").getByText("This page needs the key").waitFor();
  },
};

async function check() {
  let problem = null;
  for (const [name, step] of Object.entries(steps)) {
    if (!problem) await step().catch((error) => { problem = error; });
    console.log(`${name}: ${problem ? String(problem.stack).replaceAll("\n", " ") : "ok"}`);
  }
}

async function screenshot() {
  const seconds = (count) => page.waitForTimeout(count * 1000);
  await page.goto(url);
  await seconds(9);
  // After a refresh, readers get the previous version for some seconds.
  await row("openai-api-key/sms").getByText("1 s of 10 s", { exact: true }).waitFor();
  await button("Rotate openai-api-key/sms").click();
  await seconds(14);
  await button("Fail").click();
  await seconds(17);
  await button("Normal").click();
  await seconds(14);
  await page.mouse.move(0, 0);
  await page.evaluate(() => document.activeElement.blur());
  await page.screenshot({ path: last, fullPage: true });
}

await (mode === "check" ? check() : screenshot());
await browser.close();
