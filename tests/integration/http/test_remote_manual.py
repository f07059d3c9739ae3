"""The manual of the remote client: its examples run against a service, as they stand there."""

import subprocess
import sys
from pathlib import Path

import pytest
import trio

from documents import ROOT, blocks, named
from integration.http.serving import GUARD_S, Service
from integration.registry.samples import plant

MANUAL = ROOT / "docs" / "how-to" / "remote.md"


@pytest.fixture
async def environment(service: Service, tmp_path: Path) -> dict[str, str]:
    """A service with what the examples name, and the variables of somebody who uses it."""
    for content in (b"<h1>before</h1>\n", b"<h1>all well</h1>\n"):
        await service.registry.ingest_tree(plant(tmp_path / "reports", {"index.html": content}), name="nightly")
    await service.registry.set_tag("release", "nightly")
    secret = await service.registry.create_token("reader", scopes=["read"], packages=["nightly*"])
    return {
        "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin",
        "HOME": str(tmp_path),
        "ARTIFACTSTORE_URL": service.url,
        "ARTIFACTSTORE_TOKEN": str(secret),
    }


def test_every_example_is_run() -> None:
    assert {each.name for each in blocks(MANUAL) if each.run} == {"remote.sh", "remote.py"}


@pytest.mark.slow
async def test_the_commands_read_the_service(environment: dict[str, str], tmp_path: Path) -> None:
    work = tmp_path / "work"
    work.mkdir()
    done = await run(["sh", "-eu", "-c", named(MANUAL, "remote.sh").code], work, environment)
    assert done.returncode == 0, done.stderr
    assert b"M  index.html\n" in done.stdout
    assert (work / "index.html").read_bytes() == (work / "restored/index.html").read_bytes() == b"<h1>all well</h1>\n"
    assert (work / "nightly.cbor").stat().st_size > 0
    assert not (work / "var").exists()


@pytest.mark.slow
async def test_the_program_reads_the_service(environment: dict[str, str], tmp_path: Path) -> None:
    done = await run([sys.executable, "-W", "error", "-c", named(MANUAL, "remote.py").code], tmp_path, environment)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"nightly 1\n<h1>all well</h1>\n\n", b"")


async def run(command: list[str], where: Path, environment: dict[str, str]) -> subprocess.CompletedProcess[bytes]:
    """Run a process beside the service, which this process serves."""

    def start() -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(command, capture_output=True, cwd=where, env=environment, check=False)

    with trio.fail_after(GUARD_S):
        return await trio.to_thread.run_sync(start)
