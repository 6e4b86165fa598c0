// The API, on the page's own origin.

/** An error that the server explained. */
export class Problem extends Error {}

async function request(path, options) {
  let response;
  try {
    response = await fetch(path, options);
  } catch {
    throw new Problem("The server cannot be reached.");
  }
  if (response.status === 204) return null;
  const body = await response.json().catch(() => null);
  if (!response.ok) throw new Problem(sentence(body?.detail ?? `The server answered ${response.status}.`));
  return body;
}

const path = (id) => `/v1/documents/${encodeURIComponent(id)}`;

export const listDocuments = (after) =>
  request(`/v1/documents?limit=50${after ? `&after=${encodeURIComponent(after)}` : ""}`);
export const getDocument = (id) => request(path(id));
export const getText = (id, from, q) =>
  request(`${path(id)}/text?from=${from}&q=${encodeURIComponent(q)}`);
export const search = (q, offset, signal) =>
  request(`/v1/search?q=${encodeURIComponent(q)}&offset=${offset}`, { signal });
export const deleteDocument = (id) => request(path(id), { method: "DELETE" });
export const retryDocument = (id) => request(`${path(id)}/retry`, { method: "POST" });
export const fileUrl = (id) => `${path(id)}/file`;

/** Uploads a file; `onProgress` gets a share from 0 to 1. Gives `{document, isNew}`. */
export function upload(file, onProgress) {
  // XMLHttpRequest, because fetch does not tell how far an upload has come.
  return new Promise((resolve, reject) => {
    const xhr = new XMLHttpRequest();
    xhr.open("POST", `/v1/documents?name=${encodeURIComponent(file.name)}`);
    xhr.responseType = "json";
    xhr.upload.addEventListener("progress", (event) => {
      if (event.lengthComputable) onProgress(event.loaded / event.total);
    });
    xhr.addEventListener("load", () => {
      if (xhr.status < 300) resolve({ document: xhr.response, isNew: xhr.status === 201 });
      else reject(new Problem(sentence(xhr.response?.detail ?? `The server answered ${xhr.status}.`)));
    });
    xhr.addEventListener("error", () => reject(new Problem("The upload broke off.")));
    xhr.send(file);
  });
}

function sentence(detail) {
  const text = detail.charAt(0).toUpperCase() + detail.slice(1);
  return /[.!?]$/.test(text) ? text : `${text}.`;
}
