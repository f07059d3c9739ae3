"""A browser opens the link of a service, and a hostile page on another port of the same host gets nothing from it."""

import threading
from collections.abc import Generator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import override

import pytest
from playwright.sync_api import Response

from integration.cli.harness import Cli
from integration.cli.test_page import CHROMIUM, GUARD_MS, browsing

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="there is no browser: install Chromium to run this test"),
]

HOSTILE = """<!doctype html><title>hostile</title><body><script>
const target = TARGET;
window.read = [];
const tell = (what) => window.read.push(what);
async function attack() {
  const headers = { "Content-Type": "application/x-www-form-urlencoded" };
  for (const path of ["/", "/tree", "/metrics", "/health", "/v1/packages", "/v1/events", "/openapi.json"])
    for (const mode of ["cors", "no-cors"])
      for (const credentials of ["include", "omit"])
        await fetch(target + path, { mode, credentials }).then((got) => got.text())
          .then((text) => { if (text) tell(path + " " + text.slice(0, 80)); }, () => {});
  for (const path of ["/logout", "/login", "/v1/packages"])
    await fetch(target + path, { method: "POST", mode: "no-cors", credentials: "include", headers, body: "csrf=x" })
      .catch(() => {});
  await fetch(target + "/v1/packages/nightly", { method: "DELETE", credentials: "include" }).catch(() => {});
  await new Promise((done) => {
    const stream = new EventSource(target + "/events/stream", { withCredentials: true });
    stream.onmessage = (message) => { tell(message.data); done(); };
    stream.onerror = () => { stream.close(); done(); };
  });
  await new Promise((done) => {
    const image = new Image();
    image.onload = () => { tell("image"); done(); };
    image.onerror = done;
    image.src = target + "/tree";
  });
  const frame = document.createElement("iframe");
  frame.name = "inside";
  document.body.append(frame);
  const form = document.createElement("form");
  Object.assign(form, { method: "post", action: target + "/logout", target: "inside" });
  document.body.append(form);
  const loaded = new Promise((done) => { frame.onload = done; });
  form.submit();
  await loaded;
  window.finished = true;
}
attack();
</script>"""


@contextmanager
def hostile_site(target: str) -> Generator[str]:
    """A site on another port of this machine."""
    page = HOSTILE.replace("TARGET", repr(target)).encode()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(page)

        @override
        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/"
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def linked(cli: Cli) -> Generator[tuple[str, str]]:
    """A running service: its base URL, and its link."""
    with cli.started("serve", "--bind", "127.0.0.1:0", "--login-link") as process:
        assert process.stderr is not None
        base = process.stderr.readline().decode().split()[-1].removesuffix("/health")
        said = process.stderr.readline().decode()
        assert said.startswith(f"artifactstore opens {base}/login#"), said
        yield base, said.split()[2]


def test_a_link_opens_the_page_once_and_no_other_page_gets_anything(cli: Cli, tree: Path) -> None:
    cli.ok("ingest", tree, "--name", "nightly")
    with linked(cli) as (base, link), browsing() as browser, hostile_site(base) as evil:
        context = browser.new_context()
        page = context.new_page()
        page.set_default_timeout(GUARD_MS)
        page.goto(base)
        assert page.get_by_role("heading", name="Sign in").is_visible(), "nothing is shown before"
        page.goto(link)
        page.locator(".packages").get_by_text("nightly").wait_for()
        assert page.url == f"{base}/"
        page.evaluate("window.loadedOnce = true")
        [cookie] = context.cookies()
        assert (cookie.get("httpOnly"), cookie.get("sameSite")) == (True, "Strict")
        assert page.evaluate("document.cookie") == ""

        answers: list[Response] = []
        tab = context.new_page()
        tab.set_default_timeout(GUARD_MS)
        tab.on("response", lambda each: answers.append(each))  # noqa: PLW0108 - a method cannot be marked by Playwright
        tab.goto(evil)
        tab.wait_for_function("window.finished === true")
        assert tab.evaluate("window.read") == []
        statuses = {each.status for each in answers if each.url.startswith(base)}
        assert statuses <= {401, 403}, [(each.status, each.url) for each in answers]
        assert 403 in statuses
        tab.goto(link)  # the same code again
        tab.get_by_role("alert").wait_for()

        cli.ok("ingest", tree, "--name", "later")
        page.locator(".packages").get_by_text("later").wait_for()
        page.locator("#log").get_by_text("later").wait_for()
        assert page.evaluate("window.loadedOnce") is True, "it is still signed in, and was not loaded again"
        assert [each["name"] for each in cli.json_lines("package", "list")] == ["later", "nightly"]

        page.get_by_role("button", name="Sign out").click()
        page.get_by_role("heading", name="Sign in").wait_for()
        assert context.cookies() == []


def test_a_token_that_is_pasted_opens_the_page_until_it_is_revoked(cli: Cli) -> None:
    with linked(cli) as (base, _link), browsing() as browser:
        secret = cli.run("token", "create", "ada", "--scope", "admin").text.strip()
        page = browser.new_context(java_script_enabled=False).new_page()
        page.set_default_timeout(GUARD_MS)
        page.goto(base)
        page.get_by_label("Token, or one-time code").fill(secret)
        page.get_by_role("button", name="Sign in").click()
        page.locator("#status").wait_for()
        cli.ok("token", "revoke", "ada", "--reason", "a test")
        page.goto(base)
        page.get_by_role("alert").get_by_text("This session has ended").wait_for()
