"""The pages of packages and of the log in a browser: live, with the keyboard, on any screen, and without a script."""

from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Error, Page

from integration.cli.harness import Cli
from integration.cli.test_page import CHROMIUM, GUARD_MS, Visit, browsing
from integration.cli.test_service import serving
from integration.registry.samples import plant

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="there is no browser: install Chromium to run this test"),
]

PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010804000000b51c0c02"
    "0000000b4944415478da6364f80f00010501012718e3660000000049454e44ae426082"
)
ACTS = "<script>parent.document.title = document.title = 'taken'; fetch('/v1/packages/taken')</script>"
FILES = {
    "index.html": ACTS.encode(),
    "x.svg": f"<svg xmlns='http://www.w3.org/2000/svg'>{ACTS}</svg>".encode(),
    "dot.png": PNG,
    "log.txt": b"one line\n" * 20_000,
    "deep/er/file": b"here",
    "name " + "x" * 120: b"a long name",
}


@contextmanager
def reading(
    browser: Browser, secret: str, *, scheme: str = "light", width: int = 1280, script: bool = True
) -> Generator[Visit]:
    """A tab that sends a token with every request."""
    context: BrowserContext = browser.new_context(
        color_scheme="dark" if scheme == "dark" else "light",
        viewport={"width": width, "height": 844},
        java_script_enabled=script,
        extra_http_headers={"Authorization": f"Bearer {secret}"},
    )
    visit = Visit(context.new_page())
    visit.page.set_default_timeout(GUARD_MS)
    visit.page.on("console", lambda message: visit.complaints.append(message.text))
    visit.page.on("pageerror", lambda error: visit.complaints.append(str(error)))
    try:
        yield visit
    finally:
        context.close()


def token(cli: Cli, *globs: str) -> str:
    """The secret of a new token that reads packages of these names."""
    options = [part for glob in globs for part in ("--packages", glob)]
    secret: str = cli.json("token", "create", "reader", "--scope", "read", *options)["secret"]
    return secret


def stored(cli: Cli, tmp_path: Path, name: str) -> str:
    """A package with the files; its id."""
    root = plant(tmp_path / name, FILES)
    if not (root / "to").is_symlink():
        (root / "to").symlink_to("deep/er")
    package_id: str = cli.json("ingest", root, "--name", name, "--meta", "branch=main")["package_id"]
    return package_id


def test_a_list_and_the_log_change_without_being_loaded_again_and_keep_the_focus(cli: Cli, tmp_path: Path) -> None:
    cli.ok("package", "create", "a-first")
    secret = token(cli, "a-*")
    with serving(cli) as (_process, base), browsing() as browser, reading(browser, secret) as visit:
        page = visit.page
        page.goto(f"{base}/packages")
        page.evaluate("window.loadedOnce = true")
        first = page.get_by_role("link", name="a-first")
        first.focus()
        cli.ok("package", "create", "b-hidden")
        stored(cli, tmp_path, "a-second")
        page.locator(".packages li", has_text="a-second").get_by_text("finalized").wait_for()
        assert page.locator(".packages b").all_inner_texts() == ["a-second", "a-first"]
        assert first.evaluate("each => each === document.activeElement")
        assert page.evaluate("window.loadedOnce") is True
        page.goto(f"{base}/log")
        page.evaluate("window.loadedOnce = true")
        cli.ok("package", "create", "b-other")
        cli.ok("package", "create", "a-third")
        page.locator(".events li").first.get_by_text("'a-third'").wait_for()
        assert "b-" not in page.locator(".events").inner_text()
        assert page.evaluate("window.loadedOnce") is True
        assert visit.complaints == []


def test_what_is_stored_never_acts_for_its_viewer(cli: Cli, tmp_path: Path) -> None:
    package_id = stored(cli, tmp_path, "a-1")
    secret = token(cli, "a-*")
    with serving(cli) as (_process, base), browsing() as browser, reading(browser, secret) as visit:
        page = visit.page
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        for name in ("index.html", "x.svg"):
            page.goto(f"{base}/packages/{package_id}/files/{name}")
            assert ACTS in page.locator("pre").inner_text()
            assert page.title() == f"{name} in a-1 · artifactstore"
            source = page.get_by_role("link", name="Download").get_attribute("href")
            with page.expect_download(), suppress(Error):  # it is no page that the browser could go to
                page.goto(f"{base}{source}")
            for inside in ("img", "iframe", "object", "embed"):
                page.evaluate(
                    """([kind, address]) => new Promise(done => {
                        const made = document.createElement(kind);
                        made.onload = made.onerror = done;
                        made[kind === 'object' ? 'data' : 'src'] = address;
                        document.body.append(made);
                        setTimeout(done, 2000);
                    })""",
                    [inside, source],
                )
            assert page.title() == f"{name} in a-1 · artifactstore"
        assert not any(each.endswith("/taken") for each in asked)
        page.goto(f"{base}/packages/{package_id}/files/dot.png")
        assert page.locator("img.picture").evaluate("each => each.decode().then(() => each.naturalWidth)") == 1


def test_digests_are_copied_and_files_reached_with_the_keyboard(cli: Cli, tmp_path: Path) -> None:
    package_id = stored(cli, tmp_path, "a-1")
    digest = cli.json("package", "show", package_id)["manifest_digest"]
    secret = token(cli, "a-*")
    with serving(cli) as (_process, base), browsing() as browser, reading(browser, secret) as visit:
        page = visit.page
        page.context.grant_permissions(["clipboard-read", "clipboard-write"])
        page.goto(f"{base}/packages")
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
        page.keyboard.press("Enter")
        assert page.evaluate("document.activeElement.id") == "main"
        page.get_by_label("Name", exact=True).fill("a-")
        page.keyboard.press("Enter")
        page.wait_for_url("**/packages?search=a-*")
        page.get_by_role("link", name="a-1").press("Enter")
        page.get_by_role("button", name="Copy manifest digest").press("Enter")
        visit.shows("Copied blake3:", within="#said")
        assert page.evaluate("navigator.clipboard.readText()") == digest
        for name in ("deep/", "er/", "file"):
            page.get_by_role("link", name=name, exact=True).press("Enter")
        page.locator("pre", has_text="here").wait_for()
        page.get_by_role("link", name="a-1").press("Enter")
        page.get_by_role("link", name="to", exact=True).press("Enter")
        page.get_by_role("link", name="deep/er").press("Enter")
        page.get_by_role("heading", name="er/").wait_for()
        assert visit.complaints == []


def addresses(package_id: str, other: str) -> list[str]:
    """Every kind of page."""
    here = f"/packages/{package_id}"
    files = ["log.txt", "dot.png", "index.html", "to", "deep", "deep/er/file"]
    lists = ["/packages", "/packages?search=none", "/packages?since=soon", "/packages?meta=branch%3Dmain", "/log"]
    return [*lists, here, f"{here}/history", f"{here}/compare", f"{here}/compare?with={other}", "/packages/nothing"] + [
        f"{here}/files/{each}" for each in files
    ]


def fits(page: Page, width: int) -> bool:
    """Whether nothing of a page is beside the screen."""
    found: int = page.evaluate("document.documentElement.scrollWidth")
    return found <= width


def test_everybody_can_read_every_page(cli: Cli, tmp_path: Path) -> None:
    package_id, other = stored(cli, tmp_path, "a-1"), stored(cli, tmp_path, "a-" + "y" * 150)
    cli.ok("ingest", tmp_path / "a-1" / "deep", "--name", "a-3", "--from", package_id)
    cli.ok("tag", "set", "on-a", package_id)
    cli.ok("hold", "place", package_id, "--reason", "an audit " + "z" * 150)
    secret = token(cli, "a-*")
    with serving(cli) as (_process, base), browsing() as browser:
        for scheme, width in (("dark", 1280), ("light", 320)):
            with reading(browser, secret, scheme=scheme, width=width) as visit:
                for address in addresses(package_id, other):
                    visit.page.goto(f"{base}{address}")
                    visit.is_accessible()
                    assert fits(visit.page, width), (address, width)
                    assert visit.page.locator("h1").count() == 1, address
                wrong = "Failed to load resource: the server responded with a status of 40"
                assert [each for each in visit.complaints if not each.startswith(wrong)] == []
        with reading(browser, secret, script=False) as visit:
            page = visit.page
            page.goto(f"{base}/packages")
            page.get_by_label("Name", exact=True).fill("a-1")
            page.get_by_role("button", name="Search").click()
            page.get_by_role("link", name="a-1").click()
            page.get_by_role("link", name="Compare").click()
            page.get_by_label("Compare with").fill(other)
            page.get_by_role("button", name="Compare").click()
            page.get_by_text("they have the same tree").wait_for()
            page.get_by_role("link", name="Log").click()
            page.get_by_text("placed hold").wait_for()
