// Keeps the page true: what is now is fetched anew every two seconds, events come by themselves. It needs
// common.js.
"use strict";

const EVERY_MS = 2000;
const ANSWER_WITHIN_MS = 3 * EVERY_MS;
const TOGETHER_MS = 300;
const STREAM_AGAIN_MS = 5000;
const ROWS_MAX = 50;
const clock = () => `${new Date().toISOString().slice(11, 19)} UTC`;

// What was true when the service last answered may be so no longer: without an answer, nothing is green or red.
function age(stale, status, kind) {
  document.body.classList.toggle("stale", stale);
  const place = byId("status");
  if (place.className !== kind) place.className = kind;
  put("status", status);
}

let looking = false;
let answered = clock();

async function look() {
  if (looking) return;
  looking = true;
  try {
    const answer = await fetch("/", { signal: AbortSignal.timeout(ANSWER_WITHIN_MS) });
    if (answer.status === 401 || answer.status === 403) return location.reload(); // the session has ended
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    for (const id of ["now", "works", "meta"]) renew(byId(id), page.getElementById(id));
    const status = page.getElementById("status");
    age(false, status.textContent, status.className);
    if (document.title !== page.title) document.title = page.title;
    answered = clock();
  } catch {
    age(true, `no answer since ${answered}`, "unknown");
    document.title = "artifactstore: no answer";
  } finally {
    looking = false;
  }
}

function copyButton(what, full) {
  const [algorithm, digits] = full.split(":");
  const button = element("button", "", { type: "button", class: "copy", "data-copy": full, title: full });
  button.append(element("span", `Copy ${what} `, { class: "unseen" }), `${algorithm}:${digits.slice(0, 12)}…`);
  return button;
}

// One row of the log is one package, or one command that is about none.
const rows = new Map();

function place(event) {
  const { sequence, recorded_at, principal, type, detail, command_id, subject, package: facts } = event;
  const key = facts ? subject : command_id;
  const row = rows.get(key) ?? { count: 0, first: sequence, facts: {}, line: document.createElement("li") };
  rows.set(key, row);
  row.count += 1 + (event.joined ?? 0);
  row.first = Math.min(row.first, sequence - (event.joined ?? 0));
  for (const [name, value] of Object.entries(facts ?? {})) if (value !== null) row.facts[name] = value;
  const { name, content, manifest_digest: digest } = row.facts;
  const known = name ?? document.querySelector(`[data-package="${CSS.escape(subject)}"] b`)?.textContent;
  const parts = [element("time", recorded_at.slice(11, 19), { datetime: recorded_at })];
  if (facts) parts.push(element("b", known ?? `…${subject.slice(-8)}`));
  const state = row.facts.state ?? (digest ? "finalized" : "open");
  parts.push(element("span", facts ? [state, content].filter(Boolean).join(", ") : detail, { title: detail }));
  if (digest) parts.push(copyButton("manifest digest", digest));
  const range = row.first === sequence ? `event ${sequence}` : `${row.count} events up to ${sequence}`;
  parts.push(element("span", `${facts ? range : `${range}, ${type}`}, by ${principal}`, { class: "note" }));
  const list = document.querySelector("#log ol");
  const focused = row.line.contains(document.activeElement) && document.activeElement.dataset.copy;
  row.line.replaceChildren(...parts);
  if (list.firstElementChild !== row.line) list.prepend(row.line);
  if (focused) row.line.querySelector(`[data-copy="${CSS.escape(focused)}"]`)?.focus();
  for (const [old, { line }] of [...rows].filter(([, each]) => each.line === list.children[ROWS_MAX])) {
    rows.delete(old);
    line.remove();
  }
  byId("none").hidden = true;
}

// The events of a command stand together, and those about objects come first: they wait for the one about their package.
let held = [];
let owner = {};
let waiting;

function release() {
  held.forEach(place);
  held = [];
}

function show(message) {
  const event = JSON.parse(message.data);
  clearTimeout(waiting);
  if (held.length && held[0].command_id !== event.command_id) release();
  if (event.package) {
    owner = event;
    place({ ...event, joined: held.length });
    held = [];
  } else if (owner.command_id === event.command_id) {
    place({ ...event, subject: owner.subject, package: {} });
  } else if (event.subject === "objects") {
    held.push(event);
    waiting = setTimeout(release, TOGETHER_MS);
  } else {
    place(event);
  }
}

// A stream that the service refuses, because there are too many, is not opened again by the browser.
let last = byId("log").dataset.since;

function follow() {
  const stream = new EventSource(`/events/stream?since=${last}`);
  const broken = (text) => {
    byId("live").classList.toggle("stale", text !== "");
    put("broken", text);
  };
  stream.onopen = () => broken("");
  stream.onmessage = (message) => {
    last = message.lastEventId;
    show(message);
  };
  stream.onerror = () => {
    if (!byId("broken").textContent) broken(`No new events since ${clock()}: the stream is broken, and is tried again.`);
    if (stream.readyState === EventSource.CLOSED) setTimeout(follow, STREAM_AGAIN_MS);
  };
}

follow();
setInterval(() => document.hidden || look(), EVERY_MS);
document.addEventListener("visibilitychange", () => document.hidden || look());
