// The list of documents: uploads, progress, what became of each.

import { listDocuments, retryDocument, upload } from "./api.js";
import { announce, badge, h, plural, size } from "./dom.js";

const UPLOADS_AT_ONCE = 3;
const POLL_BUSY_MS = 800;
const POLL_IDLE_MS = 10_000;
const KNOWN_SHOWN_MS = 6_000;

const list = document.querySelector("#documents");
const uploads = document.querySelector("#uploads");
const more = document.querySelector("#more");
const count = document.querySelector("#count");

/** Fires `change` with the document when one is new or different. */
export const changes = new EventTarget();

let documents = new Map(); // id -> document, newest first
let next = null; // where the list goes on
let timer = null;
const rows = new Map(); // id -> {signature, element}
const waiting = []; // files that wait for their turn
let nUploading = 0;

export const isBusy = (doc) => doc.status === "queued" || doc.status === "processing";

/** Asks for the newest documents, and again soon while one is being read. */
export async function refresh() {
  clearTimeout(timer);
  try {
    const page = await listDocuments();
    const oldest = page.documents.at(-1)?.created_ms ?? 0;
    const older = page.next ? [...documents.values()].filter((doc) => doc.created_ms < oldest) : [];
    if (older.length === 0) next = page.next;
    show([...page.documents, ...older]);
    document.body.classList.remove("offline");
  } catch {
    document.body.classList.add("offline");
  }
  const busy = [...documents.values()].some(isBusy) || nUploading > 0;
  timer = setTimeout(refresh, busy ? POLL_BUSY_MS : POLL_IDLE_MS);
}

/** Shows which document is open. */
export function select(id) {
  for (const [rowId, { element }] of rows) {
    const link = element.querySelector("a");
    if (rowId === id) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
}

export function forget(id) {
  documents.delete(id);
  show([...documents.values()]);
}

export function addFiles(files) {
  for (const file of files) waiting.push({ file, row: uploadRow(file) });
  startUploads();
}

more.addEventListener("click", async () => {
  const page = await listDocuments(next);
  next = page.next;
  show([...documents.values(), ...page.documents]);
});

document.addEventListener("visibilitychange", () => {
  if (document.visibilityState === "visible") refresh();
});

function show(all) {
  const before = documents;
  documents = new Map(all.map((doc) => [doc.id, doc]));
  const current = list.querySelector("[aria-current]")?.dataset.id;
  for (const [id, { element }] of rows) {
    if (!documents.has(id)) {
      element.remove();
      rows.delete(id);
    }
  }
  all.forEach((doc, index) => {
    const signature = JSON.stringify(doc);
    const old = rows.get(doc.id);
    if (old?.signature !== signature) {
      const element = documentRow(doc);
      old?.element.replaceWith(element);
      rows.set(doc.id, { signature, element });
    }
    const { element } = rows.get(doc.id);
    if (list.children[index] !== element) list.insertBefore(element, list.children[index] ?? null);
    const was = before.get(doc.id);
    if (was && was.updated_ms !== doc.updated_ms) {
      if (isBusy(was) && !isBusy(doc)) announce(`${doc.name}: ${describe(doc)}`);
      changes.dispatchEvent(new CustomEvent("change", { detail: doc }));
    }
  });
  if (current) select(current);
  count.textContent = all.length === 0 ? "" : `${all.length}${next ? "+" : ""}`;
  more.hidden = next === null;
  document.body.classList.toggle("empty", all.length === 0);
}

/** What became of a document, in words. */
export function describe(doc) {
  switch (doc.status) {
    case "queued": return doc.note ? "Waiting to be tried again" : "Waiting to be read";
    case "processing":
      return doc.pages_total > 1 ? `Reading page ${doc.pages_done + 1} of ${doc.pages_total}` : "Reading";
    case "needs_ocr": return "Needs Tesseract";
    case "failed": return "Could not be read";
    default: return `${plural(doc.pages_total, "page")}, ${plural(doc.sentences, "sentence")}`;
  }
}

function documentRow(doc) {
  const busy = isBusy(doc);
  const isSure = doc.status === "processing" && doc.pages_total > 1;
  return h("li", { "data-status": doc.status },
    h("a", { href: `#/document/${doc.id}`, "data-id": doc.id },
      h("span", { class: "badge", "aria-hidden": "true" }, badge(doc.media_type)),
      h("span", { class: "name" }, doc.name),
      h("span", { class: "meta" }, describe(doc)),
      busy && h("progress", {
        "aria-label": `Reading ${doc.name}`,
        max: isSure ? doc.pages_total : null,
        value: isSure ? doc.pages_done : null,
      })));
}

/** The button that tries a document again. */
export function retryButton(doc) {
  return h("button", {
    type: "button",
    onclick: async (event) => {
      event.target.disabled = true;
      try {
        await retryDocument(doc.id);
      } catch (problem) {
        announce(problem.message);
      }
      refresh();
    },
  }, "Try again");
}

function uploadRow(file) {
  const progress = h("progress", { max: 1, value: 0, "aria-label": `Uploading ${file.name}` });
  const meta = h("span", { class: "meta" }, `Waiting, ${size(file.size)}`);
  const element = h("li", {},
    h("span", { class: "row" },
      h("span", { class: "badge", "aria-hidden": "true" }, "↑"),
      h("span", { class: "name" }, file.name), meta, progress));
  uploads.append(element);
  return { element, progress, meta };
}

function startUploads() {
  while (nUploading < UPLOADS_AT_ONCE && waiting.length > 0) {
    nUploading += 1;
    const { file, row } = waiting.shift();
    send(file, row).finally(() => {
      nUploading -= 1;
      startUploads();
      refresh();
    });
  }
}

async function send(file, { element, progress, meta }) {
  try {
    const { isNew } = await upload(file, (share) => {
      progress.value = share;
      meta.textContent = share < 1 ? `Uploading, ${Math.round(share * 100)} %` : "Storing";
    });
    if (isNew) {
      element.remove();
      announce(`${file.name} is uploaded`);
    } else {
      settle(element, progress, meta, "Already here, byte for byte", "known");
      setTimeout(() => element.remove(), KNOWN_SHOWN_MS);
    }
  } catch (problem) {
    settle(element, progress, meta, problem.message, "failed");
  }
}

/** A row that stays until it is dismissed. */
function settle(element, progress, meta, text, status) {
  element.dataset.status = status;
  progress.remove();
  meta.textContent = text;
  announce(text);
  element.append(h("button", {
    type: "button", class: "dismiss", "aria-label": "Dismiss", onclick: () => element.remove(),
  }, "×"));
}
