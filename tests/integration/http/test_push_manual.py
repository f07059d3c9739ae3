"""The manual of a push by reference: each example runs against a service, as it stands there."""

import json
import sys
from pathlib import Path

import pytest
import trio

from artifactstore.http.api.pushing import ENTRIES_AT_ONCE, OBJECTS_AT_ONCE, PUSH_ROUTES
from artifactstore.http.api.routing import match, openapi_path
from artifactstore.http.api.table import ROUTES
from artifactstore.testing.backend_conformance import address_of
from artifactstore_protocols.pushing import RECEIPT_US, UPLOADED_BYTES_MAX
from documents import ROOT, blocks, named, rows
from integration.http.serving import GUARD_S, Service
from integration.http.test_api_manual import targets
from integration.registry.samples import plant

MANUAL = ROOT / "docs" / "how-to" / "http-push.md"
FILES = {"index.html": b"<h1>all well</h1>\n", "img/dot.svg": b"<svg/>\n", "empty": b""}
EXAMPLES = ("push-missing.sh", "push-objects.sh", "push-entries.sh")


async def run(example: str, work: Path, environment: dict[str, str]) -> bytes:
    """Run an example, which says nothing of an error, and return what it prints."""
    command = ["sh", "-eu", "-c", named(MANUAL, example).code]
    with trio.fail_after(GUARD_S):
        done = await trio.run_process(command, capture_stdout=True, capture_stderr=True, cwd=work, env=environment)
    assert done.stderr == b""
    return bytes(done.stdout)


@pytest.fixture
async def environment(service: Service) -> dict[str, str]:
    """What the examples find in their environment: a service, and a token that may write and not read."""
    secret = await service.registry.create_token("pusher", scopes=["write"], packages=["nightly*"])
    package = await service.registry.create_package("nightly-2")
    path = f"{Path(sys.executable).parent}:/usr/bin:/bin"
    return {"PATH": path, "URL": service.url, "TOKEN": str(secret), "PACKAGE": package.package_id}


@pytest.mark.slow
async def test_the_program_pushes_a_directory(service: Service, environment: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "push.py").write_text(named(MANUAL, "push.py").code)
    tree = plant(tmp_path / "reports", FILES)
    printed = await run("push.sh", tmp_path, environment)
    here = await service.registry.ingest_tree(tree, name="here")
    assert printed.decode().strip() == here.tree_digest


@pytest.mark.slow
async def test_the_steps_do_what_the_manual_says(service: Service, environment: dict[str, str], tmp_path: Path) -> None:
    hello, empty = str(address_of(b"hello\n")), str(address_of(b""))
    said = [json.loads(await run(name, tmp_path, environment)) for name in EXAMPLES]
    assert said[0]["missing"][0] == empty
    assert [each["content_address"] for each in said[1]["items"]] == [hello, empty]
    assert said[2]["added"] == 3
    listed = await service.registry.list_files(environment["PACKAGE"])
    assert [each.path for each in listed] == ["empty.txt", "latest", "logs"]


def test_every_route_of_a_push_has_an_example() -> None:
    assert {each.name for each in blocks(MANUAL) if each.run} == {"push.py", "push.sh", *EXAMPLES}
    asked = [target for name in EXAMPLES for target in targets(named(MANUAL, name).code)]
    found = {openapi_path(route.template) for path in asked for route, _values in match(ROUTES, path).values()}
    assert found == {openapi_path(route.template) for route in PUSH_ROUTES}


def test_the_limits_are_those_of_the_code() -> None:
    limits = {name: int(value.replace(",", "")) for name, value, _beyond in rows(MANUAL, "Limits")}
    assert limits == {
        "addresses of a request": OBJECTS_AT_ONCE,
        "contents of a request": OBJECTS_AT_ONCE,
        "bytes of a content": UPLOADED_BYTES_MAX,
        "entries of a request": ENTRIES_AT_ONCE,
    }
    assert RECEIPT_US == 24 * 3600 * 1_000_000
