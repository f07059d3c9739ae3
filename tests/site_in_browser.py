"""Looks at the built documentation site in a browser: diagrams are drawn, nothing is fetched, nothing complains.

Usage: python tests/site_in_browser.py    (after `make docs`; says so and ends well where there is no browser)
"""

import shutil
import sys
from pathlib import Path

from playwright.sync_api import Error, Page, Request, sync_playwright

SITE = Path(__file__).parents[1] / "site"
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
WIDTHS = (1280, 390)
DRAWN = "[...document.querySelectorAll('pre.mermaid')].every(each => each.querySelector('svg'))"
TOO_WIDE = "document.documentElement.scrollWidth > window.innerWidth + 1"


def look_at(page: Page, path: Path) -> list[str]:
    """What is wrong with one page."""
    flaws: list[str] = []
    page.goto(path.as_uri())
    diagrams = page.locator("pre.mermaid").count()
    if diagrams:
        page.wait_for_function(DRAWN, timeout=60_000)
        if failed := page.locator("pre.mermaid svg[aria-roledescription=error]").count():
            flaws.append(f"{failed} of {diagrams} diagrams cannot be drawn")
    if page.evaluate(TOO_WIDE):
        flaws.append("it is wider than the window")
    return flaws


def main() -> int:
    """Print what is wrong; 1 if anything is."""
    if CHROMIUM is None:
        print("there is no browser: the site was built and not looked at")  # noqa: T201
        return 0
    # Generated lists and source listings are Sphinx's own.
    paths = [path for path in sorted(SITE.rglob("*.html")) if "_modules" not in path.parts and path.stem != "genindex"]
    flaws: list[str] = []

    def failed(error: Error) -> None:
        flaws.append(f"a script fails: {error}")

    def fetched(request: Request) -> None:
        if not request.url.startswith(("file:", "data:", "blob:")):
            flaws.append(f"it fetches {request.url}")

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--headless", "--no-sandbox"])
        for width in WIDTHS:
            page = browser.new_page(viewport={"width": width, "height": 900})
            page.on("pageerror", failed)
            page.on("request", fetched)
            for path in paths:
                known = len(flaws)
                flaws += look_at(page, path)
                flaws[known:] = [f"{path.relative_to(SITE)} at {width} px: {flaw}" for flaw in flaws[known:]]
        browser.close()
    print("\n".join(flaws) or f"{len(paths)} pages, each at {' and '.join(map(str, WIDTHS))} px: all well")  # noqa: T201
    return int(bool(flaws))


if __name__ == "__main__":
    sys.exit(main())
