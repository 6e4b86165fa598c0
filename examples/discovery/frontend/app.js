// Routes (the part of the address after `#`), the search box, dropping files.

import { Problem, search } from "./api.js";
import { announce, badge, h, marked, plural } from "./dom.js";
import { addFiles, refresh, select } from "./library.js";
import { read } from "./reader.js";

const TYPING_PAUSE_MS = 180;

const view = document.querySelector("#view");
const query = document.querySelector("#query");
let typing = null;
let asking = new AbortController();

function home() {
  document.title = "Discovery";
  view.replaceChildren(h("div", { class: "welcome" },
    h("h1", {}, "Drop a document, find a sentence."),
    h("p", {}, "Texts are read as they are. Scanned pages and pictures are read with Tesseract. "
      + "Every sentence can be found a moment later."),
    h("dl", {},
      h("dt", {}, h("kbd", {}, "keel")), h("dd", {}, "finds keel, keels and keelson"),
      h("dt", {}, h("kbd", {}, "“load line”")), h("dd", {}, "finds the two words side by side"),
      h("dt", {}, h("kbd", {}, "elan")), h("dd", {}, "finds Élan as well"))));
}

async function results(q) {
  asking.abort();
  asking = new AbortController();
  const found = await search(q, 0, asking.signal);
  const list = h("ol", { class: "hits" }, ...found.hits.map((hit) => resultItem(hit, q)));
  const summary = found.total === 0 ? "Nothing found" : plural(found.total, "document");
  announce(`${summary} for ${q}`);
  view.replaceChildren(
    h("h1", { class: "summary" }, summary, h("span", {}, ` for “${q}”`)),
    found.total === 0
      ? h("p", { class: "meta" }, "Words are found from their beginning, in any order. "
        + "A document must hold all of them.")
      : list);
  document.title = `${q} · Discovery`;
  addMore(found, q, list);
}

function addMore(found, q, list) {
  if (list.children.length >= found.total) return;
  const button = h("button", {
    type: "button",
    onclick: async () => {
      button.remove();
      const page = await search(q, list.children.length);
      list.append(...page.hits.map((hit) => resultItem(hit, q)));
      if (page.hits.length > 0) addMore(page, q, list);
    },
  }, "Show more results");
  list.after(button);
}

function resultItem(hit, q) {
  const link = (at) => `#/document/${hit.id}?q=${encodeURIComponent(q)}${at === null ? "" : `&at=${at}`}`;
  return h("li", {},
    h("h2", {}, h("span", { class: "badge", "aria-hidden": "true" }, badge(hit.media_type)),
      h("a", { href: link(hit.snippets[0]?.position ?? null) }, hit.name)),
    ...hit.snippets.map((snippet) =>
      h("a", { class: "snippet", href: link(snippet.position) },
        h("q", {}, ...marked(snippet.text, snippet.marks)),
        h("span", { class: "meta" }, `page ${snippet.page}`))));
}

/** Shows what the address says. */
async function route() {
  // Whoever goes elsewhere is done typing.
  clearTimeout(typing);
  const [path, parameters] = location.hash.slice(1).split("?");
  const given = new URLSearchParams(parameters);
  const q = given.get("q") ?? "";
  const id = path.match(/^\/document\/([0-9a-f]{64})$/)?.[1];
  const name = id ? "document" : path === "/search" && q.trim() !== "" ? "search" : "home";
  document.body.dataset.view = name;
  select(id ?? null);
  if (document.activeElement !== query) query.value = q;
  try {
    if (name === "document") {
      await read(id, q, given.has("at") ? Number(given.get("at")) : null, view);
    } else if (name === "search") {
      await results(q);
    } else {
      home();
    }
  } catch (error) {
    if (error.name === "AbortError") return;
    const text = error instanceof Problem ? error.message : "Something went wrong on this page.";
    view.replaceChildren(h("p", { class: "notice warning" }, text));
    announce(text);
    if (!(error instanceof Problem)) throw error;
  }
  if (document.activeElement !== query && name === "document") view.focus({ preventScroll: true });
}

function ask({ isNew }) {
  const q = query.value.trim();
  const hash = q === "" ? "#/" : `#/search?q=${encodeURIComponent(q)}`;
  if (hash === location.hash) return;
  // While typing, one step back leads to where one came from, not through every letter.
  if (isNew || document.body.dataset.view !== "search") location.hash = hash;
  else {
    history.replaceState(null, "", hash);
    route();
  }
}

query.addEventListener("input", () => {
  clearTimeout(typing);
  typing = setTimeout(() => ask({ isNew: false }), TYPING_PAUSE_MS);
});
document.querySelector("#search").addEventListener("submit", (event) => {
  event.preventDefault();
  clearTimeout(typing);
  ask({ isNew: true });
});
document.querySelector("#skip").addEventListener("click", (event) => {
  event.preventDefault();
  view.focus();
});
addEventListener("keydown", (event) => {
  const isTyping = /^(INPUT|TEXTAREA)$/.test(document.activeElement?.tagName ?? "");
  if (event.key === "/" && !isTyping && !event.ctrlKey && !event.metaKey) {
    event.preventDefault();
    query.focus();
    query.select();
  }
});

document.querySelector("#files").addEventListener("change", (event) => {
  addFiles(event.target.files);
  event.target.value = "";
});

// Anywhere on the page is a good place to drop a file.
let nEntered = 0;
const isFile = (event) => event.dataTransfer?.types.includes("Files");
addEventListener("dragenter", (event) => {
  if (!isFile(event)) return;
  nEntered += 1;
  document.body.classList.add("dropping");
});
addEventListener("dragleave", (event) => {
  if (!isFile(event)) return;
  nEntered = Math.max(0, nEntered - 1);
  document.body.classList.toggle("dropping", nEntered > 0);
});
addEventListener("dragover", (event) => {
  if (isFile(event)) event.preventDefault();
});
addEventListener("drop", (event) => {
  if (!isFile(event)) return;
  event.preventDefault();
  nEntered = 0;
  document.body.classList.remove("dropping");
  addFiles(event.dataTransfer.files);
});

addEventListener("hashchange", route);
route();
refresh();
