"""The manual of uploads: its examples run one after the other with curl, as they stand there."""

import json
import re
import subprocess
from pathlib import Path

import pytest
import trio

from artifactstore.http.api.routing import match, openapi_path
from artifactstore.http.api.table import ROUTES
from artifactstore_protocols.resumable_uploads import RESUMABLE_LIMITS
from documents import ROOT, blocks, named, prose
from integration.http.serving import GUARD_S, Service

MANUAL = ROOT / "docs" / "how-to" / "http-uploads.md"
EXAMPLES = (
    "uploads-begin.sh",
    "uploads-send.sh",
    "uploads-continue.sh",
    "uploads-remove.sh",
    "uploads-options.sh",
)
MODEL = bytes(range(256)) * 20


@pytest.mark.slow
async def test_the_examples_upload_a_file(service: Service, tmp_path: Path) -> None:
    await service.registry.create_package("nightly")
    secret = await service.registry.create_token("ci", scopes=["write"], packages=["nightly*"])
    environment = {"PATH": "/usr/bin:/bin", "URL": service.url, "TOKEN": str(secret)}
    (tmp_path / "model.bin").write_bytes(MODEL)
    said: dict[str, str] = {}
    for name in EXAMPLES:
        command = ["sh", "-eu", "-c", named(MANUAL, name).code]

        def run(command: list[str] = command) -> subprocess.CompletedProcess[str]:
            return subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=environment, check=False)

        with trio.fail_after(GUARD_S):
            done = await trio.to_thread.run_sync(run)
        assert (done.returncode, done.stderr) == (0, ""), name
        said[name] = done.stdout
    assert said["uploads-begin.sh"].startswith("/v1/uploads/")
    assert "upload-offset: 1000" in said["uploads-send.sh"]
    assert json.loads(said["uploads-continue.sh"])["file"]["path"] == "models/model.bin"
    assert f"tus-max-size: {RESUMABLE_LIMITS.upload_bytes_max}" in said["uploads-options.sh"]
    async with service.registry.get_file("nightly", "models/model.bin") as chunks:
        assert b"".join([chunk async for chunk in chunks]) == MODEL


def test_every_route_of_uploads_has_an_example() -> None:
    assert {each.name for each in blocks(MANUAL) if each.run} == set(EXAMPLES)
    code = (
        "".join(named(MANUAL, name).code for name in EXAMPLES)
        .replace("\\\n", "")
        .replace("$(cat location.txt)", "/v1/uploads/x")
    )
    asked = set[tuple[str, str]]()
    for line in code.splitlines():
        for target in re.findall(r'"\$URL(/[^"$]*)"', line):
            method = "GET" if (found := re.search(r"-X ([A-Z]+)", line)) is None else found[1]
            asked |= {(method, openapi_path(route.template)) for route, _values in match(ROUTES, target).values()}
    assert asked == {(route.method, openapi_path(route.template)) for route in ROUTES if route.tag == "uploads"}


def test_the_manual_tells_the_limits() -> None:
    text = " ".join(prose(MANUAL).split())
    for value, said in (
        (RESUMABLE_LIMITS.deferred_bytes_max, f"at most {RESUMABLE_LIMITS.deferred_bytes_max >> 30} GiB"),
        (RESUMABLE_LIMITS.upload_bytes_max, f"which is {RESUMABLE_LIMITS.upload_bytes_max >> 40} TiB"),
        (RESUMABLE_LIMITS.uploads_max, f"at most {RESUMABLE_LIMITS.uploads_max:,} uploads"),
        (RESUMABLE_LIMITS.bytes_max, f"at most {RESUMABLE_LIMITS.bytes_max >> 40} TiB"),
        (RESUMABLE_LIMITS.kept_us, f"{RESUMABLE_LIMITS.kept_us // 3_600_000_000} hours"),
    ):
        assert said in text, value
