"""The manual of writing: its examples run with curl, in their order, from an empty store to a tagged package."""

import subprocess
from pathlib import Path

import pytest
import trio

from artifactstore.http.api.bodies import JSON_BYTES_MAX
from artifactstore.http.api.routing import match
from artifactstore.http.api.sending import PLACE_WAIT_S
from artifactstore.http.api.uploading import UPLOADS_MAX
from artifactstore.http.api.write_table import WRITE_ROUTES
from documents import ROOT, blocks, named, rows
from integration.http.serving import GUARD_S, Service
from integration.http.test_api_manual import targets

MANUAL = ROOT / "docs" / "how-to" / "http-writing.md"
EXAMPLES = ("write-create.sh", "write-files.sh", "write-finalize.sh")


@pytest.mark.slow
async def test_the_examples_fill_and_change_a_package(service: Service, tmp_path: Path) -> None:
    registry = service.registry
    secret = await registry.create_token("ci", scopes=["read", "write", "tag", "delete"], packages=["nightly*"])
    (tmp_path / "index.html").write_bytes(b"<h1>all well</h1>\n")
    (tmp_path / "run.sh").write_bytes(b"#!/bin/sh\n")
    code = "\n".join(named(MANUAL, name).code for name in EXAMPLES)
    environment = {"PATH": "/usr/bin:/bin", "URL": service.url, "TOKEN": str(secret)}

    def run() -> subprocess.CompletedProcess[bytes]:
        command = ["sh", "-eux", "-c", code]
        return subprocess.run(command, capture_output=True, cwd=tmp_path, env=environment, check=False)

    with trio.fail_after(GUARD_S):
        done = await trio.to_thread.run_sync(run)
    assert done.returncode == 0, (done.stdout, done.stderr)
    package = await registry.get_package("nightly")
    assert (package.metadata, package.files) == ({"branch": "main", "run": 7}, 2)
    files = {each.path: each.executable for each in await registry.list_files("nightly")}
    assert files == {"reports/index.html": False, "run.sh": True}


def test_every_route_that_writes_has_an_example() -> None:
    assert {each.name for each in blocks(MANUAL) if each.run} == set(EXAMPLES)
    asked = [target.partition("?")[0] for name in EXAMPLES for target in targets(named(MANUAL, name).code)]
    found = {route.template for path in asked for route, _values in match(WRITE_ROUTES, path).values()}
    assert {route.template for route in WRITE_ROUTES} == found


def test_the_limits_are_those_of_the_code() -> None:
    limits = {name: (value, beyond) for name, value, beyond in rows(MANUAL, "Limits")}
    value, beyond = limits["files that are received at once"]
    assert value == str(UPLOADS_MAX)
    assert f"waits {PLACE_WAIT_S:g} s" in beyond
    assert limits["body in JSON"][0] == f"{JSON_BYTES_MAX >> 20} MiB"
