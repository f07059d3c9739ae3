"""The manual of downloads: each example runs with curl against a service, as it stands there."""

import subprocess
import zipfile
from pathlib import Path

import pytest
import trio

from artifactstore.http.api.content import ARCHIVES_MAX, FILES_MAX
from artifactstore.http.api.routing import match, openapi_path
from artifactstore.http.api.sending import PLACE_WAIT_S
from artifactstore.http.api.table import ROUTES
from artifactstore_protocols.http_ranges import RANGES_MAX
from documents import ROOT, blocks, named, rows
from integration.http.serving import GUARD_S, Service
from integration.http.test_api_manual import targets
from integration.registry.samples import plant

MANUAL = ROOT / "docs" / "how-to" / "http-files.md"
FILES = {"index.html": b"<h1>all well</h1>\n", "img/dot.svg": b"<svg/>\n", "run.sh": b"#!/bin/sh\n"}
EXAMPLES = (
    "files-one.sh",
    "files-digest.sh",
    "files-part.sh",
    "files-changed.sh",
    "files-archive.sh",
)


@pytest.fixture
async def environment(service: Service, tmp_path: Path) -> dict[str, str]:
    """A service with the package of the examples, and what they find in their environment."""
    package = await service.registry.ingest_tree(plant(tmp_path / "reports", FILES), name="nightly")
    await service.registry.set_tag("release", package.package_id)
    secret = await service.registry.create_token("reader", scopes=["read"], packages=["nightly*"])
    return {"PATH": "/usr/bin:/bin", "URL": service.url, "TOKEN": str(secret)}


@pytest.mark.slow
@pytest.mark.parametrize("name", EXAMPLES)
async def test_an_example_does_what_the_manual_says(environment: dict[str, str], tmp_path: Path, name: str) -> None:
    work = tmp_path / "work"
    work.mkdir()
    command = ["sh", "-eu", "-c", named(MANUAL, name).code]

    def run() -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(command, capture_output=True, cwd=work, env=environment, check=False)

    with trio.fail_after(GUARD_S):
        done = await trio.to_thread.run_sync(run)
    assert (done.returncode, done.stderr) == (0, b"")

    def read(path: str) -> bytes:
        return (work / path).read_bytes()

    match name:
        case "files-one.sh":
            assert (read("run.sh"), read("dot.svg")) == (FILES["run.sh"], FILES["img/dot.svg"])
            assert b"content-length: 7" in done.stdout.lower()
        case "files-part.sh":
            assert (read("beginning"), read("end"), read("index.html")) == (b"<h1>", b"1>\n", FILES["index.html"])
            assert read("parts.txt").count(b"Content-Range: bytes") == 2
        case "files-changed.sh":
            assert (read("status.txt"), read("run.sh")) == (b"304", FILES["run.sh"])
        case "files-archive.sh":
            assert {path: read(path) for path in FILES} == FILES
            with zipfile.ZipFile(work / "img.zip") as zipped:
                assert zipped.namelist() == ["dot.svg"]
        case _:
            assert read("expected.txt") == read("found.txt") != b""


def test_every_route_for_bytes_has_an_example() -> None:
    assert {each.name for each in blocks(MANUAL) if each.run} == set(EXAMPLES)
    asked = [target.partition("?")[0] for name in EXAMPLES for target in targets(named(MANUAL, name).code)]
    found = {openapi_path(route.template) for path in asked for route, _values in match(ROUTES, path).values()}
    assert found == {openapi_path(route.template) for route in ROUTES if route.tag == "bytes"}


def test_the_limits_are_those_of_the_code() -> None:
    limits = {name: value for name, value, _beyond in rows(MANUAL, "Limits")}
    assert limits["files that are sent at once"] == str(FILES_MAX)
    assert limits["archives that are sent at once"] == str(ARCHIVES_MAX)
    assert limits["ranges of a request"] == str(RANGES_MAX)
    assert f"waits {PLACE_WAIT_S:g} s" in MANUAL.read_text()
