"""The manual of the API: each example runs against a service, as it stands there, and every route has one."""

import json
import re
import subprocess
from functools import partial
from pathlib import Path

import pytest
import trio

from artifactstore.http.api.routing import OPENAPI_PATH, match, openapi_path
from artifactstore.http.api.table import ROUTES
from documents import ROOT, blocks, named
from integration.http.described import Described
from integration.http.serving import GUARD_S, Answer
from integration.registry.samples import plant

MANUAL = ROOT / "docs" / "how-to" / "http-api.md"
EXAMPLES = (
    "api-document.sh",
    "api-packages.sh",
    "api-package.sh",
    "api-files.sh",
    "api-entry.sh",
    "api-find.sh",
    "api-manifest.sh",
    "api-retention.sh",
    "api-holds.sh",
    "api-history.sh",
    "api-tags.sh",
    "api-tag.sh",
    "api-events.sh",
    "api-stream.sh",
    "api-stats.sh",
    "api-fresh.sh",
)


def targets(code: str) -> list[str]:
    """The paths and queries that an example asks for."""
    return re.findall(r'"\$URL(/[^"]*)"', code)


async def output_of(process: trio.Process, mark: bytes | None) -> bytes:
    """All that a process prints, or what it prints until a line has a mark."""
    said = b""
    assert process.stdout is not None
    async for part in process.stdout:
        said += part
        if mark is not None and mark in said and said.endswith(b"\n\n"):
            return said
    await process.wait()
    return said


@pytest.fixture
async def nightly(api: Described, tmp_path: Path) -> Described:
    """A store with what the examples name."""
    tree = plant(tmp_path / "reports", {"index.html": b"<h1>all well</h1>", "log.txt": b"ok"})
    registry = api.service.registry
    summary = await registry.ingest_tree(tree, name="nightly", metadata={"branch": "main"})
    await registry.set_tag("release", summary.package_id)
    await registry.place_hold(summary.package_id, reason="an audit")
    api.secrets["reader"] = str(await registry.create_token("reader", scopes=("read",), packages=["nightly*"]))
    return api


@pytest.mark.slow
async def test_every_example_runs_and_prints_what_the_document_says(nightly: Described, tmp_path: Path) -> None:
    environment = {
        "PATH": "/usr/bin:/bin",
        "URL": nightly.service.url,
        "TOKEN": nightly.secrets["reader"],
        "ADMIN_TOKEN": nightly.secrets["all"],
    }
    for name in EXAMPLES:
        code = named(MANUAL, name).code
        command = ["sh", "-eu", "-c", f"exec {code}" if name == "api-stream.sh" else code]
        start = partial(trio.run_process, command, stdout=subprocess.PIPE, cwd=tmp_path, env=environment)
        async with trio.open_nursery() as nursery:
            with trio.fail_after(GUARD_S):
                process: trio.Process = await nursery.start(start)
                said = await output_of(process, b"v1.package.finalized" if name == "api-stream.sh" else None)
            nursery.cancel_scope.cancel()
        if name == "api-stream.sh":
            events = [json.loads(line.removeprefix(b"data: ")) for line in said.splitlines() if b"data: " in line]
            assert [each["type"] for each in events[:2]] == ["v1.package.created", "v1.files.ingested"]
            continue
        assert process.returncode == 0, name
        if name == "api-document.sh":
            assert json.loads(said) == nightly.document
            continue
        media_type = "application/jsonl" if name == "api-events.sh" else "application/json"
        nightly.check(Answer(200, {"content-type": media_type}, said), targets(code)[0], "GET")
        assert b'"items": []' not in said, name
    assert (tmp_path / "nightly.cbor").read_bytes() == await nightly.service.registry.get_manifest_bytes("nightly")


def test_every_route_has_an_example() -> None:
    assert {each.name for each in blocks(MANUAL) if each.run} == set(EXAMPLES)
    asked = [target.partition("?")[0] for name in EXAMPLES for target in targets(named(MANUAL, name).code)]
    found = {openapi_path(route.template) for path in asked for route, _values in match(ROUTES, path).values()}
    # The routes for bytes, uploads and pages have manuals of their own; see `test_files_manual` and others.
    others = {"bytes", "uploads", "pages"}
    reading = {openapi_path(route.template) for route in ROUTES if route.method == "GET" and route.tag not in others}
    assert reading - found == set()
    assert OPENAPI_PATH in asked
