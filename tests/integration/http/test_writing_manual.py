"""The manual of writing: its examples run with curl, in their order, from an empty store to a tagged package."""

import re
import subprocess
from pathlib import Path

import pytest
import trio

from artifactstore.http.api.bodies import JSON_BYTES_MAX
from artifactstore.http.api.routing import match
from artifactstore.http.api.sending import PLACE_WAIT_S
from artifactstore.http.api.uploading import UPLOADS_MAX
from artifactstore.http.api.write_table import WRITE_ROUTES
from artifactstore_protocols.package_listing import PackageFilter
from documents import ROOT, blocks, named, rows
from integration.http.serving import GUARD_S, Service
from integration.http.test_api_manual import targets

DAY_US = 86_400_000_000
MANUAL = ROOT / "docs" / "how-to" / "http-writing.md"
EXAMPLES = (
    "write-create.sh",
    "write-files.sh",
    "write-finalize.sh",
    "write-tag.sh",
    "write-untag.sh",
    "write-annotate.sh",
    "write-retention.sh",
    "write-hold.sh",
    "write-delete.sh",
)


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
    assert (list(package.tags), package.annotations) == (["nightly-good"], {"reviewed": True})
    assert (package.expires_at_us or 0) - (package.finalized_at_us or 0) == 37 * DAY_US
    assert [each async for each in registry.list_holds()] == []
    gone = [each async for each in registry.list_packages(PackageFilter(status="deleted"))]
    assert [(each.name, each.gone_reason) for each in gone] == [("nightly-draft", "a trial")]


def requests(code: str) -> list[tuple[str, str]]:
    """The methods and paths of the requests of an example."""
    found: list[tuple[str, str]] = []
    for command in re.split(r"^curl ", code, flags=re.MULTILINE)[1:]:
        named_method = re.search(r"-X ([A-Z]+)", command)
        method = "PUT" if "-T " in command else "POST" if named_method is None else named_method[1]
        found += [(method, target.partition("?")[0]) for target in targets(command)]
    return found


def test_every_route_that_writes_has_an_example() -> None:
    assert {each.name for each in blocks(MANUAL) if each.run} == set(EXAMPLES)
    asked = [each for name in EXAMPLES for each in requests(named(MANUAL, name).code)]
    found = [match(WRITE_ROUTES, path)[method][0] for method, path in asked]
    assert {(route.method, route.template) for route in WRITE_ROUTES} == {
        (each.method, each.template) for each in found
    }


def test_the_limits_are_those_of_the_code() -> None:
    limits = {name: (value, beyond) for name, value, beyond in rows(MANUAL, "Limits")}
    value, beyond = limits["files that are received at once"]
    assert value == str(UPLOADS_MAX)
    assert f"waits {PLACE_WAIT_S:g} s" in beyond
    assert limits["body in JSON"][0] == f"{JSON_BYTES_MAX >> 20} MiB"
