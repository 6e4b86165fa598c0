// The reading view: one document, page by page, with what was searched for marked.

import { deleteDocument, fileUrl, getDocument, getText } from "./api.js";
import { announce, badge, h, marked, plural, size } from "./dom.js";
import { changes, describe, forget, isBusy, retryButton } from "./library.js";

const date = new Intl.DateTimeFormat("en", { dateStyle: "medium", timeStyle: "short" });
let shown = null; // {id, query, isBusy} of the document on the page

/** Builds the view of document `id`; `at` is the sentence to show first. */
export async function read(id, query, at, view) {
  const doc = await getDocument(id);
  shown = { id, query, view, updated: doc.updated_ms };
  document.title = `${doc.name} · Discovery`;
  const body = h("div", { class: "text" });
  view.replaceChildren(
    h("p", { class: "back" },
      h("a", { href: query ? `#/search?q=${encodeURIComponent(query)}` : "#/" },
        query ? `← Results for “${query}”` : "← All documents")),
    h("article", {}, head(doc), notice(doc), picture(doc), body));
  if (doc.sentences > 0) await addText(doc, query, 0, at, body);
  const target = at === null ? null : document.getElementById(`s${at}`);
  if (target) {
    target.classList.add("target");
    target.scrollIntoView({ block: "center" });
  } else {
    scrollTo(0, 0);
  }
}

changes.addEventListener("change", ({ detail: doc }) => {
  if (shown?.id === doc.id && shown.view.isConnected && shown.updated !== doc.updated_ms
    && location.hash.includes(doc.id)) {
    read(doc.id, shown.query, null, shown.view).catch((problem) => announce(problem.message));
  }
});

function head(doc) {
  const arrived = date.format(new Date(doc.created_ms));
  const facts = [badge(doc.media_type), size(doc.bytes)];
  if (doc.sentences > 0) facts.push(plural(doc.pages_total, "page"), plural(doc.sentences, "sentence"));
  facts.push(`added ${arrived}`);
  return h("header", {},
    h("h1", {}, doc.name),
    h("p", { class: "meta" }, facts.join(" · ")),
    h("p", { class: "actions" },
      h("a", { class: "button", href: fileUrl(doc.id), target: "_blank", rel: "noopener" }, "Open original"),
      h("button", { type: "button", class: "quiet", onclick: () => confirmDelete(doc) }, "Delete")));
}

function notice(doc) {
  if (isBusy(doc)) {
    return h("div", { class: "notice" },
      h("p", {}, `${describe(doc)} …`),
      h("progress", { "aria-label": describe(doc), max: doc.pages_total > 1 ? doc.pages_total : null,
        value: doc.pages_total > 1 ? doc.pages_done : null }));
  }
  if (doc.status === "failed" || doc.status === "needs_ocr") {
    return h("div", { class: "notice warning" },
      h("p", {}, h("strong", {}, `${describe(doc)}. `), doc.note), retryButton(doc));
  }
  return doc.note !== "" && h("p", { class: "notice" }, doc.note);
}

function picture(doc) {
  const isShown = ["image/png", "image/jpeg", "image/webp"].includes(doc.media_type);
  return isShown && h("figure", {},
    h("img", { src: fileUrl(doc.id), alt: `The picture ${doc.name}; its text follows.`, loading: "lazy" }));
}

/** Adds sentences from `from` on; goes on until sentence `at` is there. */
async function addText(doc, query, from, at, body) {
  const { lines, next } = await getText(doc.id, from, query);
  let page = body.lastElementChild;
  let paragraph = page?.lastElementChild;
  for (const line of lines) {
    if (Number(page?.dataset.page) !== line.page) {
      page = h("section", { "data-page": line.page, "aria-label": `Page ${line.page}` });
      if (doc.pages_total > 1) page.append(h("h2", {}, `Page ${line.page}`));
      body.append(page);
      paragraph = null;
    }
    if (Number(paragraph?.dataset.block ?? -1) !== line.block) {
      paragraph = h("p", { "data-block": line.block });
      page.append(paragraph);
    }
    paragraph.append(h("span", { id: `s${line.position}` }, ...marked(line.text, line.marks)), " ");
  }
  if (next === null) return;
  if (at !== null && at >= next) return addText(doc, query, next, at, body);
  const button = h("button", {
    type: "button",
    onclick: () => {
      button.remove();
      addText(doc, query, next, null, body).catch((problem) => announce(problem.message));
    },
  }, "Continue reading");
  body.after(button);
}

function confirmDelete(doc) {
  const dialog = document.querySelector("#confirm");
  document.querySelector("#confirm-text").textContent =
    `“${doc.name}” and its text will be gone. This cannot be undone.`;
  const [keep, remove] = dialog.querySelectorAll("button");
  keep.onclick = () => dialog.close();
  remove.onclick = async () => {
    dialog.close();
    try {
      await deleteDocument(doc.id);
      shown = null;
      forget(doc.id);
      announce(`${doc.name} is deleted`);
      location.hash = "#/";
    } catch (problem) {
      announce(problem.message);
    }
  };
  dialog.showModal();
}
