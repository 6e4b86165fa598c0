// Elements without a framework. Text is always text: nothing here reads markup.

/** `h("a", {href: "#", onclick}, "text", child)`; `null` and `false` are left out. */
export function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (typeof value === "function") element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== false));
  return element;
}

/** `text` with the ranges `marks` (in characters, as the API counts them) in `<mark>`. */
export function marked(text, marks) {
  if (marks.length === 0) return [text];
  const characters = [...text];
  const slice = (from, to) => characters.slice(from, to).join("");
  const parts = [];
  let end = 0;
  for (const [from, to] of marks) {
    parts.push(slice(end, from), h("mark", {}, slice(from, to)));
    end = to;
  }
  parts.push(slice(end));
  return parts.filter((part) => part !== "");
}

/** Says something to those who listen to the page instead of looking at it. */
export function announce(text) {
  document.querySelector("#status").textContent = text;
}

export function plural(n, one, many = `${one}s`) {
  return `${n.toLocaleString("en")} ${n === 1 ? one : many}`;
}

export function size(bytes) {
  if (bytes < 1000) return `${bytes} B`;
  if (bytes < 1e6) return `${Math.round(bytes / 1e3)} kB`;
  return `${(bytes / 1e6).toFixed(1)} MB`;
}

/** `PDF`, `PNG`, `TXT`: what the badge of a document says. */
export function badge(mediaType) {
  const name = mediaType.split("/")[1];
  return { plain: "TXT", jpeg: "JPG", tiff: "TIF" }[name] ?? name.toUpperCase();
}
