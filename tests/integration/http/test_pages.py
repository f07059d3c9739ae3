"""The pages of packages and of the log: who sees what, what they show, and that what is stored is only ever text."""

import json
import re
from html import escape, unescape
from html.parser import HTMLParser
from pathlib import Path
from typing import override
from urllib.parse import quote

import pytest

from artifactstore import Settings
from artifactstore.http.api.model import HTML
from artifactstore.http.api.pages import comparing, directory, file, listing, log
from artifactstore.http.api.pages.html import html_text
from artifactstore.http.api.table import ROUTES
from artifactstore.registry import Registry
from artifactstore_protocols.package_diff import diff_totals
from integration.http.described import Described, path_of
from integration.http.serving import Answer
from integration.registry.samples import add, object_file, plant, whole_log
from stored_objects import overwrite

BROWSER = [("Accept", "text/html,application/xhtml+xml,*/*;q=0.8")]
HOSTILE = "<img src=x onerror=alert(1)>\"'&amp;{{12345*67890}}"
PNG = bytes.fromhex("89504e470d0a1a0a0000000d49484452000000010000000108060000001f15c489")
pytestmark = pytest.mark.slow

PAGES = [route for route in ROUTES if route.tag == "pages"]


class Markup(HTMLParser):
    """The text of a page, its links, and its elements with their attributes."""

    def __init__(self, answer: Answer) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self._texts: list[str] = []
        self.feed(answer.body.decode())
        self.text = " ".join(" ".join(self._texts).split())

    @override
    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    @override
    def handle_data(self, data: str) -> None:
        self._texts.append(data)

    def all(self, tag: str, name: str) -> list[str]:
        """The values of an attribute of all elements of a kind."""
        return [found for each, attributes in self.elements if each == tag and (found := attributes.get(name))]

    @property
    def links(self) -> list[str]:
        return self.all("a", "href")

    @property
    def next(self) -> str | None:
        """Where the next part is."""
        return next((each["href"] for _tag, each in self.elements if each.get("rel") == "next"), None)

    @property
    def keys(self) -> list[str]:
        """What the rows of its lists are."""
        return self.all("li", "data-key")


async def visit(api: Described, target: str, who: str = "read", status: int = 200) -> Markup:
    """A page, as a browser asks for it."""
    answer = await api.ask(target, who, headers=BROWSER)
    assert (answer.status, answer.headers["content-type"]) == (status, "text/html; charset=utf-8"), answer.body
    assert answer.headers["content-security-policy"].startswith("default-src 'none'; script-src 'self'")
    return Markup(answer)


async def visit_all(api: Described, target: str, who: str = "read") -> list[Markup]:
    """A page and all that follow it."""
    pages = [await visit(api, target, who)]
    while (after := pages[-1].next) is not None:
        pages.append(await visit(api, after, who))
    return pages


async def stored(registry: Registry, name: str, files: dict[str, bytes] | None = None, **about: object) -> str:
    """A finalized package; its id."""
    package_id = (await registry.create_package(name, **about)).package_id  # type: ignore[arg-type]
    for path, content in (files or {"x/y.txt": b"the same", "z": name.encode()}).items():
        await add(registry, package_id, path, content)
    await registry.finalize_package(package_id)
    return package_id


@pytest.fixture
async def filled(api: Described) -> Described:
    """A store with packages `a-1` and `b-1`, and a token `read` for `a-*`."""
    registry = api.service.registry
    for name, tag in (("a-1", "on-a"), ("b-1", "on-b")):
        await registry.set_tag(tag, await stored(registry, name))
    api.secrets["read"] = str(await registry.create_token("read", scopes=("read",), packages=["a-*"]))
    return api


async def test_a_page_shows_nothing_of_packages_that_its_token_may_not_read(filled: Described) -> None:
    registry = filled.service.registry
    mine, hidden = [await registry.get_package(name) for name in ("a-1", "b-1")]
    made = await stored(registry, "a-made", parents=[mine.package_id, hidden.package_id])
    secret_child = await stored(registry, "b-child", parents=[mine.package_id])
    for target in (
        "/packages",
        f"/packages?from={mine.package_id}",
        f"/packages/{mine.package_id}",
        f"/packages/{made}",
        f"/packages/{made}/history",
        "/packages/a-1/compare?with=a-made",
        "/log",
    ):
        body = (await filled.ask(target, "read", headers=BROWSER)).body
        for word in (hidden.package_id, secret_child, str(hidden.manifest_digest), "b-1", "b-child", "on-b"):
            assert word.encode() not in body, (target, word)
    assert f"/packages/{mine.package_id}" in (await visit(filled, f"/packages/{made}")).links
    everything = await visit(filled, f"/packages/{mine.package_id}", "all")
    assert {made, secret_child} <= set(everything.keys)


async def test_what_is_out_of_sight_is_as_if_it_were_not_there(filled: Described) -> None:
    for route in PAGES:
        places = [path_of(route.template, {"package": name, "path": "x/y.txt"}) for name in ("b-1", "c-1")]
        if places[0] == places[1]:
            continue
        for headers in (BROWSER, []):
            hidden, missing = [await filled.ask(each, "read", headers=headers) for each in places]
            assert (hidden.status, missing.status) == (404, 404), route.template
            assert hidden.body == missing.body.replace(b"c-1", b"b-1"), route.template
            assert hidden.headers["content-type"].startswith(HTML if headers else "application/problem+json")
    for headers in (BROWSER, []):
        hidden, missing = [
            await filled.ask(f"/packages/a-1/compare?with={name}", "read", headers=headers) for name in ("b-1", "c-1")
        ]
        assert hidden.status == 404
        assert hidden.body == missing.body.replace(b"c-1", b"b-1")
    assert "No package fits" in (await visit(filled, "/packages?search=b-1")).text
    assert (await visit(filled, "/packages?from=b-1", status=400)).text.replace("b-1", "c-1") == (
        await visit(filled, "/packages?from=c-1", status=400)
    ).text


async def test_an_error_is_a_page_for_browsers_and_a_problem_for_programs(filled: Described) -> None:
    for target, who, status, code in (
        ("/packages", None, 401, "token_missing"),
        ("/packages", "ast_0", 401, "token_invalid"),
        ("/packages/nothing", "all", 404, "package_not_found"),
        ("/packages/a-1/files/nothing", "all", 404, "file_not_in_package"),
        ("/packages?x=1", "all", 400, "invalid_value"),
        ("/log/nothing", "all", 404, "not_found"),
    ):
        shown = await filled.ask(target, who, headers=BROWSER)
        assert (shown.status, shown.headers["content-type"]) == (status, "text/html; charset=utf-8"), target
        said = await filled.ask(target, who)
        assert (said.status, said.json["code"]) == (status, code)
        assert {code, said.json["detail"]} <= {
            each.strip() for each in re.split(r"[<>]|\d\d\d, ", unescape(shown.body.decode()))
        }
        assert ("www-authenticate" in shown.headers) == (status == 401)


async def test_a_search_finds_what_the_api_finds_page_by_page(
    filled: Described, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry = filled.service.registry
    for number in range(5):
        await stored(registry, f"a-x{number}", {"z": b"x" * number}, metadata={"branch": "dev", "n": number})
    gone = await stored(registry, "a-gone")
    await registry.delete_package(gone, reason="a test", before_expiry=True)
    monkeypatch.setattr(listing, "PAGE", 2)
    empty = "&state=&tag=&by=&since=&until=&retention=&meta=&has=&from=&sort=&reverse="
    for search, same in {
        "": "",
        f"search={empty}": "",
        "search=x": "name=*x*",
        "search=a-x[0-2]&sort=name": "name=a-x[0-2]&sort=name",
        "sort=size&reverse=true": "sort=size&reverse=true",
        "state=deleted": "state=deleted",
        "tag=on-*": "tag=on-*",
        "meta=branch%3Ddev&has=n&meta=": "meta=branch%3Ddev&has=n",
        "meta=branch%3Ddev&meta=n%3A%3D3": "meta=branch%3Ddev&meta=n%3A%3D3",
        "since=2999-01-01": "since=2999-01-01",
        "by=nobody&until=2999-01-01": "by=nobody",
    }.items():
        expected = (await filled.ask(f"/v1/packages?{same}" if same else "/v1/packages", "read")).json["items"]
        pages = await visit_all(filled, f"/packages?{search}" if search else "/packages")
        assert [key for page in pages for key in page.keys] == [each["package_id"] for each in expected], search
        assert all(len(page.keys) <= 2 for page in pages)
    for wrong in ("since=soon", "state=odd", "sort=odd", "meta=x", "search=%5B", "after=nothing", "reverse=x"):
        page = await visit(filled, f"/packages?{wrong}", status=400)
        assert ("p", {"role": "alert", "class": "wrong"}) in page.elements, wrong
        assert page.all("form", "action") == ["/packages"]


async def test_a_package_shows_what_is_known_of_it(filled: Described) -> None:
    registry = filled.service.registry
    package_id = await stored(registry, "a-2", metadata={"branch": "main", "list": [1, "two"]})
    await registry.annotate_package(package_id, {"verdict": "good"})
    await registry.set_tag("fine", package_id)
    await registry.place_hold(package_id, reason="an audit")
    record, why = await registry.get_package(package_id), await registry.explain_retention(package_id)
    page = await visit(filled, "/packages/a-2")
    for word in ("a-2", "branch", "main", '[1, "two"]', "verdict", "good", "fine", "an audit", *why.reasons):
        assert word in page.text, word
    assert {package_id, record.manifest_digest, record.tree_digest} <= set(page.all("button", "data-copy"))
    base = f"/v1/packages/{package_id}"
    assert {f"{base}/archive.tar", f"{base}/archive.zip", f"{base}/manifest"} <= set(page.links)
    local = [each for each in page.links if each.startswith("/") and each != "/"]
    for link in local:
        assert (await filled.ask(link, "read", headers=BROWSER)).status == 200, link
    await registry.release_hold((await filled.ask(f"{base}/holds", "read")).json["items"][0]["hold_id"])
    await registry.delete_package(package_id, reason="no more", before_expiry=True)
    gone = await visit(filled, f"/packages/{package_id}")
    assert "It is gone." in gone.text
    assert "no more" in gone.text
    assert not any("archive" in each for each in gone.links)


async def test_every_file_is_reached_by_links(
    filled: Described, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(directory.list_items, "__kwdefaults__", {"after": "", "limit": 2})
    names = ["a", "b/c/d", "b/c.txt", "b-c", "odd/?#%&+ .txt", "ü/e\u0301", "long/1", "long/2", "long/3"]
    root = plant(tmp_path / "tree", {name: name.encode() for name in names})
    (root / "to").symlink_to("b/c")
    (root / "none").mkdir()
    package_id = (await filled.service.registry.ingest_tree(root, name="a-tree")).package_id
    waiting, seen, contents = [f"/packages/{package_id}"], set[str](), set[str]()
    while waiting:
        if (at := waiting.pop()) in seen:
            continue
        seen.add(at)
        page = await visit(filled, at)
        waiting += [each for each in page.links if each.startswith(f"/packages/{package_id}/files/")]
        waiting += [page.next] if page.next and page.next.startswith(f"/packages/{package_id}") else []
        contents |= {each for each in page.links if each.startswith(f"/v1/packages/{package_id}/files/")}
    assert {(await filled.ask(each, "read")).body.decode() for each in contents} == set(names)
    assert f"/packages/{package_id}/files/none" in seen
    assert f"/packages/{package_id}/files/to" in seen


async def test_what_is_stored_is_only_ever_text(filled: Described) -> None:
    registry = filled.service.registry
    name = f"a-{HOSTILE}".replace("{", "").replace("}", "")
    path = f"dir {HOSTILE}".replace("/", "")
    files = {f"{path}/page.html": HOSTILE.encode(), f"{path}/x.svg": b"<svg onload='alert(1)'/>", f"{path}/p.png": PNG}
    package_id = await stored(registry, name, files, metadata={"k<b>": HOSTILE})
    await registry.annotate_package(package_id, {"note<b>": HOSTILE})
    await registry.set_tag("on-hostile", package_id)
    await registry.place_hold(package_id, reason=HOSTILE)
    for target in (
        "/packages",
        f"/packages?search={quote(HOSTILE)}&meta={quote('x=' + HOSTILE)}",
        f"/packages?since={quote(HOSTILE)}",
        f"/packages/{package_id}",
        f"/packages/{package_id}/history",
        f"/packages/{package_id}/files/{quote(path)}",
        *(f"/packages/{package_id}/files/{quote(each)}" for each in files),
        f"/packages/{package_id}/files/{quote(HOSTILE)}",
        f"/packages/{package_id}/compare?with=a-1",
        f"/packages/{package_id}/compare?with={quote(HOSTILE)}",
        "/log",
    ):
        answer = await filled.ask(target, "read", headers=BROWSER)
        page = Markup(answer)
        assert answer.status in {200, 400, 404}, target
        assert [each for each, _found in page.elements if each in {"img", "svg"}] == (
            ["img"] if target.endswith("p.png") else []
        ), target
        assert all(set(found) <= {"src", "defer"} for each, found in page.elements if each == "script")
        assert not any(name.startswith("on") for _tag, found in page.elements for name in found)
        assert "838102050" not in page.text, target
        assert all(re.match(r"/(?!/)|#", each) for each in page.links), target
    shown = await visit(filled, f"/packages/{package_id}/files/{quote(path)}/page.html")
    assert " ".join(HOSTILE.split()) in shown.text
    stored_page = await filled.ask(f"/v1/packages/{package_id}/files/{quote(path)}/x.svg", "read")
    assert stored_page.headers["content-disposition"].startswith("attachment")
    assert "sandbox" in stored_page.headers["content-security-policy"]


def test_a_template_without_a_value_fails() -> None:
    with pytest.raises(Exception, match="'detail' is undefined"):
        html_text("error.html", title="x", status=1, code="x")
    assert escape(HOSTILE, quote=False) in html_text(
        "error.html", title="x", detail=HOSTILE, status=1, code="x"
    ).replace("&#34;", '"').replace("&#39;", "'")


async def test_a_file_shows_the_beginning_of_its_text_or_its_picture(filled: Described, settings: Settings) -> None:
    registry = filled.service.registry
    most = file.TEXT_BYTES_MAX
    package_id = (await registry.create_package("a-files")).package_id
    files = {
        "short.txt": b"\n  first\n",
        "whole.txt": b"a" * most,
        "long.log": b"a" * (most - 1) + "é".encode() * 2_000_000,
        "empty": b"",
        "binary": bytes(range(256)),
        "p.png": PNG,
        "x.svg": b"<svg/>",
        "broken.txt": b"it was whole",
    }
    for path, content in files.items():
        await add(registry, package_id, path, content)
    pages = {path: await filled.ask(f"/packages/{package_id}/files/{path}", "read", headers=BROWSER) for path in files}
    shown = {
        path: unescape(found[1].decode())
        if (found := re.search(rb"<pre[^>]*>\n(.*)</pre>", page.body, re.DOTALL))
        else None
        for path, page in pages.items()
    }
    assert shown == {
        "short.txt": "\n  first\n",
        "whole.txt": "a" * most,
        "long.log": "a" * (most - 1),
        "empty": None,
        "binary": None,
        "p.png": None,
        "x.svg": "<svg/>",
        "broken.txt": "it was whole",
    }
    assert [path for path, page in pages.items() if b"This is the beginning" in page.body] == ["long.log"]
    images = {path: Markup(page).all("img", "src") for path, page in pages.items()}
    assert {path: each for path, each in images.items() if each} == {
        "p.png": [f"/v1/packages/{package_id}/files/p.png"]
    }
    record = await registry.get_file_record(package_id, "broken.txt")
    assert record.content_address in pages["broken.txt"].body.decode()
    overwrite(object_file(settings, record.content_address), b"it is broken")
    broken = await visit(filled, f"/packages/{package_id}/files/broken.txt")
    assert "It cannot be shown." in broken.text
    assert str(settings.storage_local_root) not in broken.text


async def test_two_packages_are_compared_as_diff_does_within_bounds(
    filled: Described, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry = filled.service.registry
    old = {"same": b"s", "gone": b"g", "moved/from": b"m" * 100, **{f"many/{n}": b"old" for n in range(5)}}
    new = {"same": b"s", "new": b"n", "moved/to": b"m" * 100, **{f"many/{n}": b"new!" for n in range(5)}}
    before, after = await stored(registry, "a-old", old), await stored(registry, "a-new", new)
    changes = await registry.diff_packages(before, after)
    totals = diff_totals(changes)
    address = f"/packages/{before}/compare?with=a-new"
    page = await visit(filled, address)
    for kind in ("added", "removed", "changed", "renamed"):
        assert f"{getattr(totals, kind)} {kind}" in page.text
    named = [each.rpartition("/files/")[2] for each in page.links if "/files/" in each]
    assert named == [each.path for change in changes for each in (change.before, change.after) if each]
    assert "the same tree" in (await visit(filled, f"/packages/{before}/compare?with={before}")).text
    assert (await visit(filled, f"/packages/{before}/compare")).all("input", "name") == ["with"]
    monkeypatch.setattr(comparing, "CHANGES_MAX", 3)
    few = await visit(filled, address)
    assert f"the first 3 of {len(changes)}" in few.text
    monkeypatch.setattr(comparing, "COMPARED_MAX", len(old) + len(new) - 1)
    none = await visit(filled, address)
    assert f"artifactstore diff {before} {after}" in none.text
    assert not any("/files/" in each for each in none.links)
    await registry.delete_package(before, reason="a test", before_expiry=True)
    assert (await filled.ask(address.replace("a-new", before).replace(before, after, 1), "read")).status == 410


async def test_the_log_goes_back_to_its_first_event_window_by_window(
    filled: Described, monkeypatch: pytest.MonkeyPatch
) -> None:
    for who in ("read", "all"):
        expected = [json.loads(line)["sequence"] for line in (await filled.ask("/v1/events", who)).body.splitlines()]
        for window in (1, 4, 1000):
            monkeypatch.setattr(log, "WINDOW", window)
            pages = await visit_all(filled, "/log", who)
            assert [int(key) for page in pages for key in page.keys] == expected[::-1]
    latest = await visit(filled, "/log", "all")
    head = (await whole_log(filled.service.registry))[-1].sequence
    assert [found["data-live"] for _tag, found in latest.elements if "data-live" in found] == [str(head)]
    assert (await visit(filled, f"/log?before={2**63 - 1}")).keys == (await visit(filled, "/log")).keys
    monkeypatch.setattr(log, "WINDOW", 2)
    history = await visit_all(filled, "/packages/a-1/history")
    said = (await filled.ask("/v1/packages/a-1/history", "read")).json["items"]
    assert [int(key) for page in history for key in page.keys] == [each["sequence"] for each in said]


async def test_no_page_answers_another_method_or_takes_a_body(filled: Described) -> None:
    for route in PAGES:
        path = path_of(route.template, {"package": "a-1", "path": "x/y.txt"})
        for method in ("POST", "PUT", "DELETE"):
            assert (await filled.ask(path, "all", method=method)).status == 405, path
        assert (await filled.ask(path, "all", body=b"x")).status == 413, path
