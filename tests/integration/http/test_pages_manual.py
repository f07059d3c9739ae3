"""The manual of the pages: each example runs with curl against a service, and every page has one."""

from pathlib import Path

import pytest
import trio

from artifactstore.http.api.pages import comparing, directory, file, listing, log, package
from artifactstore.http.api.routing import match, openapi_path
from artifactstore.http.api.table import ROUTES
from documents import ROOT, blocks, named, rows
from integration.http.serving import GUARD_S, Service
from integration.http.test_api_manual import targets
from integration.registry.samples import plant

MANUAL = ROOT / "docs" / "how-to" / "pages.md"
SHOWS = {
    "pages-packages.sh": {"packages.html": "nightly"},
    "pages-package.sh": {"package.html": "reports/", "history.html": "v1.package.finalized"},
    "pages-file.sh": {"file.html": "&lt;h1&gt;all well&lt;/h1&gt;"},
    "pages-compare.sh": {"compare.html": "1 added, 0 removed, 1 changed, 0 renamed"},
    "pages-log.sh": {"log.html": "v1.files.ingested"},
}


@pytest.mark.slow
async def test_every_example_gets_the_page_that_the_manual_describes(service: Service, tmp_path: Path) -> None:
    registry = service.registry
    for number, name in enumerate(("one", "two")):
        files = {"index.html": b"<h1>all well</h1>" + b"!" * number, f"reports/{number}": b"", "reports/0": b""}
        await registry.ingest_tree(plant(tmp_path / name, files), name="nightly", metadata={"branch": "main"})
    await registry.set_tag("release", "nightly")
    secret = await registry.create_token("reader", scopes=["read"], packages=["nightly*"])
    environment = {"PATH": "/usr/bin:/bin", "URL": service.url, "TOKEN": str(secret)}
    for name, pages in SHOWS.items():
        command = ["sh", "-eu", "-c", named(MANUAL, name).code]
        with trio.fail_after(GUARD_S):
            done = await trio.run_process(command, cwd=tmp_path, env=environment, capture_stderr=True, check=False)
        assert (done.returncode, done.stderr) == (0, b""), name
        for page, text in pages.items():
            assert text in (tmp_path / page).read_text(), page


def test_every_page_has_an_example() -> None:
    assert {each.name for each in blocks(MANUAL) if each.run} == set(SHOWS)
    asked = [target.partition("?")[0] for name in SHOWS for target in targets(named(MANUAL, name).code)]
    found = {openapi_path(route.template) for path in asked for route, _values in match(ROUTES, path).values()}
    assert found == {openapi_path(route.template) for route in ROUTES if route.tag == "pages"}


def test_the_limits_are_those_of_the_code() -> None:
    limits = {name: value for name, value, _beyond in rows(MANUAL, "Limits")}
    assert limits == {
        "packages of a page": str(listing.PAGE),
        "items of a directory": str(directory.BATCH),
        "bytes of a text": f"{file.TEXT_BYTES_MAX >> 10} KiB",
        "bytes of an image": f"{file.IMAGE_BYTES_MAX >> 20} MiB",
        "previews that are read at once": str(file.PREVIEWS_MAX),
        "entries that are compared": f"{comparing.COMPARED_MAX:,}",
        "changes that are shown": str(comparing.CHANGES_MAX),
        "packages in a lineage": str(package.LINEAGE_MAX),
        "events that a page looks at": str(log.WINDOW),
    }
