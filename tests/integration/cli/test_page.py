"""The page for people, in a browser: it shows what is stored, changes by itself, and everybody can read it."""

import re
import shutil
import signal
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from integration.cli.harness import Cli
from integration.cli.test_service import SERVICE_COMPONENTS, cookie_of, serving

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
ARGUMENTS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
AXE = files("axe_playwright_python").joinpath("axe.min.js").read_text()
FLAWS = """axe.run({rules: {'target-size': {enabled: true}}}).then(found => found.violations.map(
    each => `${each.help}: ${each.nodes.map(node => node.html).slice(0, 3).join(' ')}`))"""
GUARD_MS = 60_000
HOSTILE = "<img src=x onerror=document.title='taken'><script>"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="there is no browser: install Chromium to run this test"),
]


@dataclass
class Visit:
    """A page that is open, and what it complained of."""

    page: Page
    complaints: list[str] = field(default_factory=list[str])

    def shows(self, text: str, *, within: str = "body") -> None:
        """Wait until a text is there; the page is not loaded again for it."""
        self.page.locator(within).get_by_text(text).first.wait_for(timeout=GUARD_MS)

    def is_accessible(self) -> None:
        """Whether nobody is kept out, by the rules of WCAG 2.2 AA that a program can check."""
        self.page.evaluate(AXE)
        assert self.page.evaluate(FLAWS) == []


@contextmanager
def browsing() -> Generator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def visiting(browser: Browser, base: str, *, scheme: str = "light", width: int = 1280) -> Generator[Visit]:
    context = browser.new_context(
        color_scheme="dark" if scheme == "dark" else "light", viewport={"width": width, "height": 844}
    )
    sign_in(context, base)
    visit = Visit(context.new_page())
    visit.page.set_default_timeout(GUARD_MS)
    visit.page.on("console", lambda message: visit.complaints.append(message.text))
    visit.page.on("pageerror", lambda error: visit.complaints.append(str(error)))
    try:
        visit.page.goto(base)
        yield visit
    finally:
        context.close()


def sign_in(context: BrowserContext, base: str) -> None:
    """Give a browser the cookie of the user who started the service."""
    name, value = cookie_of(base)
    context.add_cookies([{"name": name, "value": value, "url": base, "httpOnly": True, "sameSite": "Strict"}])


def stored(page: Page) -> dict[str, str]:
    """What the page says is stored."""
    labels, texts = page.locator(".stored dt").all_inner_texts(), page.locator(".stored dd").all_inner_texts()
    return dict(zip(labels, texts, strict=True))


def test_the_page_leads_with_what_is_stored_and_changes_without_being_loaded_again(cli: Cli, tree: Path) -> None:
    cli.ok("package", "create", "before")
    with serving(cli) as (_process, base), browsing() as browser, visiting(browser, base) as visit:
        page = visit.page
        page.evaluate("window.loadedOnce = true")
        assert page.locator("main h2").all_inner_texts()[:3] == ["What is stored", "Latest packages", "Latest events"]
        assert stored(page) == {
            "packages": "1, 1 of them open",
            "content": "0 files",
            "logical size": "0 B",
            "stored size": "0 B in 0 objects",
            "deduplication": "nothing stored",
            "to collect": "0 B in 0 objects",
            "gone": "0 packages deleted, 0 expired",
            "collected": "0 B in 0 objects so far",
            "last collection": "never recorded",
            "last backup": "never recorded",
            "last verification": "never recorded",
        }
        visit.shows("before", within=".packages")
        shown = [each.split("\n")[0].split(" ")[0] for each in page.locator(".parts h3").all_inner_texts()]
        assert shown == [name for name in SERVICE_COMPONENTS if not name.startswith("actor:")]

        cli.ok("ingest", tree, "--name", HOSTILE)
        cli.ok("backup", "kept")
        visit.shows(HOSTILE, within=".packages")
        visit.shows(HOSTILE, within="#log")
        page.locator(".stored dd", has_text="ago, up to event").wait_for()
        assert stored(page)["packages"] == "2, 1 of them open"
        newest = page.locator(".packages li").first.inner_text()
        assert "finalized" in newest
        assert "by tester" in newest
        assert "5 files" in newest
        assert page.locator("#log img, #log script, .packages img, .packages script").count() == 0

        cli.database.rename(cli.database.with_name("aside"))
        visit.shows("unhealthy", within="#status")
        visit.shows("was deleted while it was open", within=".reasons")
        visit.shows("The contents cannot be shown now", within=".unread")
        visit.is_accessible()
        cli.database.with_name("aside").rename(cli.database)
        page.locator("#status.good").wait_for()
        page.locator(".stored").wait_for()
        assert page.locator(".reasons").count() == 0
        assert page.evaluate("window.loadedOnce") is True
        assert visit.complaints == []


def test_actors_that_are_well_are_one_line_that_opens(cli: Cli) -> None:
    with serving(cli) as (_process, base), browsing() as browser, visiting(browser, base) as visit:
        page = visit.page
        assert page.locator("details summary").inner_text() == "All 8 actors run."
        assert not page.locator(".tree").is_visible()
        page.locator("summary").focus()
        page.keyboard.press("Enter")
        page.locator(".tree").wait_for()
        names = page.locator(".tree b").all_inner_texts()
        core = ["database", "storage", "event-writer", "projection", "ingest"]
        assert names == ["root", "core", *core, "health", "http", "maintenance"]
        assert page.locator(".tree .pill").all_inner_texts() == ["running"] * len(names)
        before = page.locator("#meta").inner_text()
        page.wait_for_function("text => document.getElementById('meta').innerText !== text", arg=before)
        assert page.locator(".tree").is_visible(), "what a visitor opened stays open"
        visit.is_accessible()


def test_an_ingest_is_one_row_of_the_log(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "many").mkdir()
    for number in range(600):
        (tmp_path / "many" / f"{number}").write_text(f"{number}")
    with serving(cli) as (_process, base), browsing() as browser, visiting(browser, base) as visit:
        page = visit.page
        cli.ok("ingest", tmp_path / "many", "--name", "nightly")
        cli.ok("tag", "set", "release", "nightly")
        row = page.locator("#log li", has_text="nightly")
        row.get_by_text("finalized, 600 files").wait_for()
        visit.shows("set tag 'release'", within="#log")
        head = cli.json("stats")
        assert head["files"] == 600
        events = cli.json_lines("history", "nightly")
        about_objects = [event for event in cli.json_lines("history") if event["type"] == "v1.objects.stored"]
        count, last = len(events) + len(about_objects), events[-1]["sequence"]
        assert f"{count} events up to {last}, by tester" in row.inner_text()
        assert row.count() == 1
        assert [text.split("\n")[1] for text in page.locator("#log li").all_inner_texts()][1:2] == ["nightly"]
        assert page.locator("#log li").count() == 3, "the tag, the package, and how the log began"


def test_digests_and_ids_are_short_and_are_copied_by_click_and_by_key(cli: Cli, tree: Path) -> None:
    digest = cli.json("ingest", tree, "--name", "nightly")["manifest_digest"]
    package = cli.json("package", "show", "nightly")["package_id"]
    with serving(cli) as (_process, base), browsing() as browser, visiting(browser, base) as visit:
        page = visit.page
        page.context.grant_permissions(["clipboard-read", "clipboard-write"])
        button = page.locator(".packages").get_by_role("button", name=f"Copy manifest digest {digest[:19]}…")
        assert digest not in button.inner_text()
        button.click()
        visit.shows(f"Copied {digest[:19]}…", within="#said")
        assert page.evaluate("navigator.clipboard.readText()") == digest
        page.locator(".packages").get_by_role("button", name=f"Copy package id …{package[-8:]}").focus()
        page.keyboard.press("Enter")
        visit.shows(f"Copied …{package[-8:]}", within="#said")
        assert page.evaluate("navigator.clipboard.readText()") == package
        in_log = page.locator("#log").get_by_role("button", name="Copy manifest digest")
        in_log.focus()
        page.keyboard.press("Space")
        visit.shows(f"Copied {digest[:19]}…", within="#said")
        assert page.evaluate("navigator.clipboard.readText()") == digest
        visit.is_accessible()
        assert visit.complaints == []


def test_a_page_without_a_clipboard_copies_what_is_selected(cli: Cli, tree: Path) -> None:
    """Browsers give the clipboard only to pages from this machine or by TLS."""
    digest = cli.json("ingest", tree, "--name", "nightly")["manifest_digest"]
    with serving(cli) as (_process, base), browsing() as browser, visiting(browser, base) as visit:
        page = visit.page
        page.add_init_script("Object.defineProperty(navigator, 'clipboard', {value: undefined})")
        page.reload()
        page.evaluate("addEventListener('copy', () => { window.copied = document.activeElement.value })")
        button = page.locator(".packages").get_by_role("button", name="Copy manifest digest")
        button.click()
        visit.shows("Copied blake3:", within="#said")
        assert page.evaluate("window.copied") == digest
        assert page.locator("textarea").count() == 0
        assert page.evaluate("document.activeElement.dataset.copy") == digest, "the focus is back"


COLOURS = """where => [...document.querySelectorAll(where)].flatMap(each => {
    const {color, backgroundColor, borderColor} = getComputedStyle(each);
    return [color, backgroundColor, borderColor];
})"""


def coloured(page: Page, where: str = "#now *, #works *, #log *, #status") -> bool:
    """Whether anything says with its colour how the service is: red, green and blue differ much."""
    channels = [[int(part) for part in re.findall(r"\d+", colour)[:3]] for colour in set(page.evaluate(COLOURS, where))]
    return any(max(each) - min(each) > 40 for each in channels)


def test_a_page_whose_service_does_not_answer_is_grey_and_says_since_when(cli: Cli, tree: Path) -> None:
    cli.ok("ingest", tree, "--name", "nightly")
    with serving(cli) as (process, base), browsing() as browser, visiting(browser, base) as visit:
        page = visit.page
        page.locator("#status.good").wait_for()
        visit.shows("nightly", within="#log")
        assert coloured(page)
        process.send_signal(signal.SIGSTOP)
        visit.shows("no answer since", within="#status")
        assert not coloured(page, "#now *, #works *, #status")
        process.send_signal(signal.SIGCONT)
        page.locator("#status.good").wait_for()
        assert coloured(page)
        process.kill()
        visit.shows("no answer since", within="#status")
        visit.shows("No new events since", within="#broken")
        assert re.fullmatch(r"no answer since \d\d:\d\d:\d\d UTC", page.locator("#status").inner_text())
        assert not coloured(page)
        assert page.title() == "artifactstore: no answer"
        visit.shows("nightly", within=".packages")
        visit.is_accessible()


def test_a_stream_that_is_refused_is_opened_again(cli: Cli) -> None:
    """A browser gives up a stream that gets 503, as the 33rd one does."""
    cli.ok("package", "create", "before")
    with serving(cli) as (_process, base), browsing() as browser:
        context = browser.new_context()
        sign_in(context, base)
        page = context.new_page()
        page.set_default_timeout(GUARD_MS)
        page.route("**/events/stream*", lambda route: route.fulfill(status=503))
        page.goto(base)
        page.locator("#live.stale #broken", has_text="No new events since").wait_for()
        page.unroute("**/events/stream*")
        page.locator("#log b", has_text="before").wait_for()
        page.locator("#live:not(.stale) #broken:empty").wait_for(state="attached")


def test_everybody_can_read_it(cli: Cli, tree: Path) -> None:
    cli.ok("package", "create", "x" * 200)
    cli.ok("ingest", tree, "--name", "nightly")
    with serving(cli) as (_process, base), browsing() as browser:
        for scheme, width in (("light", 1280), ("dark", 1280), ("light", 360)):
            with visiting(browser, base, scheme=scheme, width=width) as visit:
                visit.shows("xxx", within="#log")
                visit.is_accessible()
                assert visit.page.evaluate("document.documentElement.scrollWidth") <= width, "it fits"
                assert visit.page.locator("header, main, footer, nav").count() == 5
                assert visit.page.locator("h1").count() == 1
                assert visit.page.locator("#log").get_attribute("aria-live") == "polite"
                assert visit.complaints == []
        context = browser.new_context(java_script_enabled=False)
        sign_in(context, base)
        without_script = context.new_page()
        without_script.goto(base)
        assert without_script.locator("#status").inner_text() == "healthy"
        assert without_script.locator(".tree b").count() == 10
        assert "nightly" in without_script.locator(".packages").inner_text()
        assert stored(without_script)["packages"] == "2, 1 of them open"
        assert "artifactstore events --follow" in without_script.locator("noscript").inner_text()
