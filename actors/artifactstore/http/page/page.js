// Keeps the page true: what is now is fetched anew every two seconds, events come by themselves. Text that the service
// sent is only ever put in as text; the markup is its own, escaped where it was made.
"use strict";

const EVERY_MS = 2000;
const ANSWER_WITHIN_MS = 3 * EVERY_MS;
const EVENTS_MAX = 50;
const byId = (id) => document.getElementById(id);

// Make `old` the same as `fresh` with as few changes as can be, so that focus, selection and place are kept.
function renew(old, fresh) {
  if (old.nodeName !== fresh.nodeName) return old.replaceWith(fresh.cloneNode(true));
  if (old.nodeType === Node.TEXT_NODE) {
    if (old.data !== fresh.data) old.data = fresh.data;
    return;
  }
  for (const { name, value } of fresh.attributes) if (old.getAttribute(name) !== value) old.setAttribute(name, value);
  const [was, is] = [[...old.childNodes], [...fresh.childNodes]];
  is.forEach((node, i) => (i < was.length ? renew(was[i], node) : old.append(node.cloneNode(true))));
  was.slice(is.length).forEach((node) => node.remove());
}

// What was true when the service last answered may be so no longer: without an answer, nothing is green or red.
function age(stale, status, kind, title) {
  document.body.classList.toggle("stale", stale);
  const place = byId("status");
  if (place.className !== kind) place.className = kind;
  if (place.textContent !== status) place.textContent = status;
  if (document.title !== title) document.title = title;
}

let looking = false;

async function look() {
  if (looking) return;
  looking = true;
  try {
    const answer = await fetch("/", { signal: AbortSignal.timeout(ANSWER_WITHIN_MS) });
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    for (const id of ["now", "meta"]) renew(byId(id), page.getElementById(id));
    const status = page.getElementById("status");
    age(false, status.textContent, status.className, page.title);
  } catch {
    age(true, "no answer", "unknown", "artifactstore: no answer");
  } finally {
    looking = false;
  }
}

function element(name, text, attributes = {}) {
  const made = document.createElement(name);
  made.textContent = text;
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}

function show(event) {
  const { sequence, recorded_at, actor, type, detail } = JSON.parse(event.data);
  const line = document.createElement("li");
  line.append(
    element("b", sequence),
    element("time", recorded_at.slice(11, 19), { datetime: recorded_at }),
    element("span", `${detail} `),
    element("span", `${type} by ${actor}`, { class: "note" }),
  );
  const list = document.querySelector("#log ol");
  list.prepend(line);
  while (list.childElementCount > EVENTS_MAX) list.lastElementChild.remove();
  byId("none").hidden = true;
}

new EventSource(`/events/stream?since=${byId("log").dataset.since}`).onmessage = show;
setInterval(() => document.hidden || look(), EVERY_MS);
document.addEventListener("visibilitychange", () => document.hidden || look());
