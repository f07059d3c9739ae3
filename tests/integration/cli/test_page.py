"""The page for people, in a browser: it shows the tree, changes by itself, and everybody can read it."""

import re
import shutil
import signal
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.resources import files

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from integration.cli.harness import Cli
from integration.cli.test_service import SERVICE_COMPONENTS, serving

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
        self.page.evaluate(AXE)
        assert self.page.evaluate("axe.run().then(found => found.violations.map(each => each.help))") == []


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
    visit = Visit(context.new_page())
    visit.page.set_default_timeout(GUARD_MS)
    visit.page.on("console", lambda message: visit.complaints.append(message.text))
    visit.page.on("pageerror", lambda error: visit.complaints.append(str(error)))
    try:
        visit.page.goto(base)
        yield visit
    finally:
        context.close()


def test_the_page_shows_the_tree_and_what_happens_without_being_loaded_again(cli: Cli) -> None:
    cli.ok("package", "create", "before")
    with serving(cli) as (_process, base), browsing() as browser, visiting(browser, base) as visit:
        page = visit.page
        page.evaluate("window.loadedOnce = true")
        names = page.locator(".tree b").all_inner_texts()
        core = ["database", "storage", "event-writer", "projection", "ingest"]
        assert names == ["root", "core", *core, "health", "http"]
        assert page.locator(".tree .pill").all_inner_texts() == ["running"] * len(names)
        shown = [each.split("\n")[0].split(" ")[0] for each in page.locator(".parts h3").all_inner_texts()]
        assert shown == SERVICE_COMPONENTS
        visit.shows("created 'before'", within="#log")

        cli.ok("package", "create", HOSTILE)
        visit.shows(f"created {HOSTILE!r}", within="#log")
        assert page.locator("#log img, #log script").count() == 0

        cli.database.rename(cli.database.with_name("aside"))
        visit.shows("unhealthy", within="#status")
        visit.shows("was deleted while it was open", within=".reasons")
        visit.is_accessible()
        cli.database.with_name("aside").rename(cli.database)
        page.locator("#status.good").wait_for()
        assert page.locator(".reasons").count() == 0
        assert page.evaluate("window.loadedOnce") is True
        assert visit.complaints == []


COLOURS = """[...document.querySelectorAll("#status, .pill, .failure, .parts > li")].flatMap(each => {
    const {color, backgroundColor, borderColor} = getComputedStyle(each);
    return [color, backgroundColor, borderColor];
})"""


def coloured(page: Page) -> bool:
    """Whether anything says with its colour how the service is: red, green and blue differ much."""
    channels = [[int(part) for part in re.findall(r"\d+", colour)[:3]] for colour in set(page.evaluate(COLOURS))]
    return any(max(each) - min(each) > 40 for each in channels)


def test_a_page_whose_service_does_not_answer_is_grey(cli: Cli) -> None:
    with serving(cli) as (process, base), browsing() as browser, visiting(browser, base) as visit:
        page = visit.page
        page.locator("#status.good").wait_for()
        assert coloured(page)
        process.send_signal(signal.SIGSTOP)
        visit.shows("no answer", within="#status")
        assert not coloured(page)
        process.send_signal(signal.SIGCONT)
        page.locator("#status.good").wait_for()
        assert coloured(page)
        process.kill()
        visit.shows("no answer", within="#status")
        assert not coloured(page)
        assert page.title() == "artifactstore: no answer"
        visit.is_accessible()


def test_everybody_can_read_it(cli: Cli) -> None:
    cli.ok("package", "create", "x" * 200)
    with serving(cli) as (_process, base), browsing() as browser:
        for scheme, width in (("light", 1280), ("dark", 1280), ("light", 360)):
            with visiting(browser, base, scheme=scheme, width=width) as visit:
                visit.shows("xxx", within="#log")
                visit.is_accessible()
                assert visit.page.evaluate("document.documentElement.scrollWidth") <= width, "it fits"
                assert visit.page.locator("header, main, footer, nav").count() == 4
                assert visit.page.locator("h1").count() == 1
                assert visit.page.locator("#log").get_attribute("aria-live") == "polite"
                assert visit.complaints == []
        without_script = browser.new_context(java_script_enabled=False).new_page()
        without_script.goto(base)
        assert without_script.locator("#status").inner_text() == "healthy"
        assert without_script.locator(".tree b").count() == 9
        assert "artifactstore events --follow" in without_script.locator("noscript").inner_text()
