// What the scripts of all pages share. Text that the service sent is only ever put in as text; the markup is its own,
// escaped where it was made.
"use strict";

const SAID_MS = 4000;
const byId = (id) => document.getElementById(id);

function put(id, text) {
  if (byId(id).textContent !== text) byId(id).textContent = text;
}

// The children of a list with keys stay the elements that they are, so that focus stays on what has it.
function renewKeyed(old, fresh) {
  const known = new Map([...old.children].map((each) => [each.dataset.key, each]));
  [...fresh.children].forEach((node, i) => {
    const same = known.get(node.dataset.key);
    known.delete(node.dataset.key);
    const at = old.children[i] ?? null;
    if (!same) return old.insertBefore(node.cloneNode(true), at);
    if (same !== at) old.insertBefore(same, at);
    renew(same, node);
  });
  known.forEach((each) => each.remove());
}

// Make `old` the same as `fresh` with as few changes as can be, so that focus, selection and place are kept.
function renew(old, fresh) {
  if (old.nodeName !== fresh.nodeName) return old.replaceWith(fresh.cloneNode(true));
  if (old.nodeType === Node.TEXT_NODE) {
    if (old.data !== fresh.data) old.data = fresh.data;
    return;
  }
  for (const { name, value } of fresh.attributes) if (old.getAttribute(name) !== value) old.setAttribute(name, value);
  if (fresh.hasAttribute("data-keyed")) return renewKeyed(old, fresh);
  const [was, is] = [[...old.childNodes], [...fresh.childNodes]];
  is.forEach((node, i) => (i < was.length ? renew(was[i], node) : old.append(node.cloneNode(true))));
  was.slice(is.length).forEach((node) => node.remove());
}

function element(name, text, attributes = {}) {
  const made = document.createElement(name);
  made.textContent = text;
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}

let silence;

function say(text) {
  put("said", text);
  clearTimeout(silence);
  silence = setTimeout(() => put("said", ""), SAID_MS);
}

// Browsers give the clipboard only to pages by TLS or from this machine; others copy what is selected.
async function copy(text) {
  if (navigator.clipboard) return navigator.clipboard.writeText(text);
  const area = element("textarea", text, { class: "unseen", "aria-hidden": "true" });
  const before = document.activeElement;
  document.body.append(area);
  area.select();
  const done = document.execCommand("copy");
  area.remove();
  before.focus();
  if (!done) throw new Error("the browser refuses");
}

document.addEventListener("click", (click) => {
  const button = click.target.closest("[data-copy]");
  if (!button) return;
  const text = button.dataset.copy;
  const short = button.lastChild.textContent;
  copy(text).then(() => say(`Copied ${short}`), () => say(`The browser does not let this page copy. The text is ${text}`));
});
