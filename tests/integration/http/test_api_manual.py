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
        run = partial(subprocess.run, capture_output=True, cwd=tmp_path, env=environment, check=False)
        with trio.fail_after(GUARD_S):
            done = await trio.to_thread.run_sync(run, ["sh", "-eu", "-c", code])
        assert (done.returncode, done.stderr) == (0, b""), name
        said = done.stdout
        if name == "api-stream.sh":
            events = [json.loads(line.removeprefix(b"data: ")) for line in said.splitlines() if b"data: " in line]
            assert [each["type"] for each in events[:2]] == ["v1.package.created", "v1.files.ingested"]
            continue
        assert said, name
        media_type = "application/jsonl" if name == "api-events.sh" else "application/json"
        nightly.check(Answer(200, {"content-type": media_type}, said), targets(code)[0], "GET")
        assert b'"items": []' not in said, name
    assert (tmp_path / "nightly.cbor").read_bytes() == await nightly.service.registry.get_manifest_bytes("nightly")


def test_every_route_has_an_example() -> None:
    assert {each.name for each in blocks(MANUAL) if each.run} == set(EXAMPLES)
    asked = [target.partition("?")[0] for name in EXAMPLES for target in targets(named(MANUAL, name).code)]
    found = {openapi_path(route.template) for path in asked for route, _values in match(ROUTES, path).values()}
    # The routes for bytes have a manual of their own; see `test_files_manual`.
    reading = {openapi_path(route.template) for route in ROUTES if route.method == "GET" and route.tag != "bytes"}
    assert reading - found == set()
    assert OPENAPI_PATH in asked
