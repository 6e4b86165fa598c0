// The whole platform as a person meets it: a browser at the edge's address.
//
//   node run.mjs http://localhost:8000 [directory for screenshots]
//
// Chooses or drops each sample, waits until it is read, finds each by its own words, reads it,
// and looks at the page in both colour schemes and on a phone. Ends with 1 at the first thing
// that is not as it should be; the last screenshot then shows what was there instead.

import { strict as assert } from "node:assert";
import { mkdirSync, readFileSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { chromium } from "playwright-core";

const [base, shots = "shots"] = process.argv.slice(2);
if (!base) {
  console.error("usage: node run.mjs URL [DIRECTORY]");
  process.exit(2);
}
const here = dirname(fileURLToPath(import.meta.url));
const sample = (name) => join(here, "..", "samples", name);
mkdirSync(shots, { recursive: true });

const READ_LIMIT_MS = 120_000;
const DESKTOP = { width: 1280, height: 860 };
const PHONE = { width: 390, height: 844 };

/** Sample, a query in the spelling of someone in a hurry, what must be marked. */
const SAMPLES = [
  ["load-line-survey.pdf", "freeboard", "freeboard"],
  ["lighthouse-log-scan.pdf", "kittiwak", "kittiwakes"],
  ["harbour-notice.png", "kingfisher", "Kingfisher"],
  ["lettre-de-saint-malo.txt", "goelette", "goélette"],
];

const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  args: ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync"],
});
const context = await browser.newContext({ viewport: DESKTOP, colorScheme: "light" });
const page = await context.newPage();
page.setDefaultTimeout(30_000);
const complaints = [];
page.on("pageerror", (error) => complaints.push(`exception: ${error.message}`));
page.on("console", (message) => {
  if (message.type() === "error") complaints.push(`console: ${message.text()}`);
});
page.on("request", (request) => {
  if (new URL(request.url()).origin !== new URL(base).origin && !request.url().startsWith("data:")) {
    complaints.push(`request to elsewhere: ${request.url()}`);
  }
});

const shot = (name) => page.screenshot({ path: join(shots, `${name}.png`) });
const row = (name) => page.locator("#documents li", { hasText: name });

async function step(what, work) {
  const started = Date.now();
  try {
    await work();
    console.log(`ok      ${what} (${((Date.now() - started) / 1000).toFixed(1)} s)`);
  } catch (error) {
    console.log(`FAILED  ${what}\n        ${error.message}`);
    await shot("failed");
    await browser.close();
    process.exit(1);
  }
}

/** Drops a file in the middle of the page, as a file manager would. */
async function drop(path) {
  const data = await page.evaluateHandle(([name, base64]) => {
    const transfer = new DataTransfer();
    const bytes = Uint8Array.from(atob(base64), (c) => c.charCodeAt(0));
    transfer.items.add(new File([bytes], name));
    return transfer;
  }, [basename(path), readFileSync(path).toString("base64")]);
  await page.dispatchEvent("#view", "dragenter", { dataTransfer: data });
  await page.dispatchEvent("#view", "drop", { dataTransfer: data });
}

async function search(query) {
  await page.fill("#query", query);
  await page.waitForFunction((q) => document.title.startsWith(q), query);
}

await step("the page comes up", async () => {
  await page.goto(base);
  await page.getByRole("heading", { name: "Drop a document, find a sentence." }).waitFor();
  await shot("1-start");
});

await step("two samples are chosen, two are dropped", async () => {
  await page.setInputFiles("#files", SAMPLES.slice(0, 2).map(([name]) => sample(name)));
  for (const [name] of SAMPLES.slice(2)) await drop(sample(name));
  for (const [name] of SAMPLES) await row(name).first().waitFor();
  await shot("2-uploading");
});

await step("all of them are read", async () => {
  for (const [name] of SAMPLES) {
    await page.waitForFunction((name) => {
      const rows = [...document.querySelectorAll("#documents li")];
      const row = rows.find((row) => row.querySelector(".name").textContent === name);
      return row?.dataset.status === "ready";
    }, name, { timeout: READ_LIMIT_MS });
  }
  await shot("3-library");
});

for (const [name, query, marked] of SAMPLES) {
  await step(`"${query}" finds ${name}`, async () => {
    await search(query);
    const hit = page.locator(".hits li", { hasText: name });
    await hit.waitFor();
    assert.equal(await hit.locator("mark").first().textContent(), marked);
  });
}

await step("one question finds several documents", async () => {
  await search("the");
  await page.locator(".hits li").nth(2).waitFor();
  await shot("4-results");
});

await step("a result opens the document at the sentence", async () => {
  await search("windlass");
  await page.locator(".hits .snippet").first().click();
  await page.locator(".target mark", { hasText: "windlass" }).waitFor();
  await shot("5-reading");
  await page.locator(".back a").click();
  await page.locator(".hits").waitFor();
});

await step("a scan shows its text, a picture itself as well", async () => {
  await row("harbour-notice.png").locator("a").click();
  const image = page.locator("figure img");
  await image.waitFor();
  await page.waitForFunction(() => document.querySelector("figure img").naturalWidth > 0);
  await page.getByText("The swing bridge is closed").waitFor();
  await shot("6-picture");
});

await step("nothing found and a file that cannot be taken are explained", async () => {
  await search("zzzyzx");
  await page.locator(".summary", { hasText: "Nothing found" }).waitFor();
  await page.setInputFiles("#files", {
    name: "archive.zip", mimeType: "application/zip", buffer: Buffer.from("PK\x03\x04\0\0\0\0"),
  });
  await page.locator("#uploads .meta", { hasText: "can be read" }).waitFor();
  await shot("7-refused");
  complaints.splice(0, complaints.length, ...complaints.filter((text) => !text.includes("415")));
});

await step("a document can be deleted, from the keyboard", async () => {
  await page.setInputFiles("#files", {
    name: "ephemeral.txt", mimeType: "text/plain", buffer: Buffer.from(`Ephemeral ${Date.now()}.`),
  });
  await row("ephemeral.txt").locator("a").focus();
  await page.keyboard.press("Enter");
  await page.getByRole("button", { name: "Delete" }).first().focus();
  await page.keyboard.press("Enter");
  await page.locator("dialog[open]").waitFor();
  await shot("8-delete");
  await page.locator("dialog button.danger").focus();
  await page.keyboard.press("Enter");
  await row("ephemeral.txt").waitFor({ state: "detached" });
});

await step("it is good in the dark", async () => {
  await page.emulateMedia({ colorScheme: "dark" });
  await search("the");
  await page.locator(".hits li").nth(2).waitFor();
  await shot("9-dark");
});

await step("it fits a phone", async () => {
  await page.setViewportSize(PHONE);
  const fits = () => page.evaluate(() => document.documentElement.scrollWidth <= innerWidth);
  await shot("10-phone-results");
  assert(await fits(), "the results are wider than the screen");
  await page.emulateMedia({ colorScheme: "light" });
  await page.goto(`${base}/#/`);
  await page.fill("#query", "");
  await page.locator(".welcome").waitFor();
  await shot("11-phone-start");
  assert(await fits(), "the start page is wider than the screen");
  await row("load-line-survey.pdf").locator("a").click();
  await page.getByRole("heading", { name: "load-line-survey.pdf" }).waitFor();
  assert(!await page.locator("#library").isVisible(), "the list is in the way");
  await shot("12-phone-reading");
  assert(await fits(), "the reading view is wider than the screen");
});

await step("the browser had nothing to complain about", async () => {
  assert.deepEqual(complaints, []);
});

await browser.close();
