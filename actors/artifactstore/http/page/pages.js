// Keeps a list true while it is open: each event of the log that this visitor may see fetches the page anew.
"use strict";

const TOGETHER_MS = 300;
const STREAM_AGAIN_MS = 5000;
const now = byId("now");
let last = now?.dataset.live;
let waiting;

async function look() {
  waiting = undefined;
  const target = new URL(location.href);
  target.searchParams.set("min_sequence", last);
  const answer = await fetch(target).catch(() => undefined);
  if (!answer?.ok) return; // the next event asks again
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  renew(now, page.getElementById("now"));
  say(`Up to date with event ${last}`);
}

function follow() {
  const stream = new EventSource(`/v1/events?after=${last}`);
  stream.onmessage = (message) => {
    last = message.lastEventId;
    waiting ??= setTimeout(look, TOGETHER_MS);
  };
  // A stream that the service refuses, because there are too many, is not opened again by the browser.
  stream.onerror = () => {
    if (stream.readyState === EventSource.CLOSED) setTimeout(follow, STREAM_AGAIN_MS);
  };
}

if (last !== undefined) follow();
