"""Two services and two commands on one store at once, on either database: all work, and all see the same log."""

import signal
import urllib.request
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from artifactstore.database.location import DatabaseLocation
from integration.cli.harness import Cli, make_tree, sequences
from integration.cli.test_service import cookie_of, get, serving

FILES = 40
EVENTS = 1 + 2 * 4
"""The log begins. Of each tree: its package is created, new contents are stored, files are put in, it is finalized."""
GUARD_S = 60


@contextmanager
def watching(base: str) -> Generator[list[int]]:
    """The events of a service's live stream: filled from the first to the last when the block ends."""
    seen: list[int] = []
    asked = urllib.request.Request(f"{base}/events/stream?since=0", headers={"Cookie": "=".join(cookie_of(base))})
    with urllib.request.urlopen(asked, timeout=GUARD_S) as stream:
        yield seen
        while len(seen) < EVENTS:
            field, _, value = stream.readline().decode().partition(":")
            if field == "id":
                seen.append(int(value))


def test_two_services_and_two_commands_share_one_store(
    location: DatabaseLocation,
    tmp_path: Path,
    capsysbinary: pytest.CaptureFixture[bytes],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cli = Cli(tmp_path, capsysbinary)
    monkeypatch.setenv("ARTIFACTSTORE_DATABASE_URL", location.url.render_as_string(hide_password=False))
    monkeypatch.setenv("ARTIFACTSTORE_STORAGE_LOCAL_ROOT", str(cli.objects))
    one = make_tree(tmp_path / "one", {f"{number}": b"%d" % number for number in range(FILES)})
    two = make_tree(tmp_path / "two", {f"{number}": b"%d" % (number + FILES // 2) for number in range(FILES)})
    with ExitStack() as stack:
        services = [stack.enter_context(serving(cli)) for _ in range(2)]
        with ExitStack() as streams:
            seen = [streams.enter_context(watching(base)) for _process, base in services]
            with cli.started("ingest", one, "--json") as beside:
                here = cli.json("ingest", two)
                out, err = beside.communicate()
            assert (beside.returncode, err) == (0, b""), err
        assert seen == [list(range(1, EVENTS + 1))] * 2
        for _process, base in services:
            status, report = get(f"{base}/health")
            assert (status, report["components"]["database"]["details"]["head"]) == (200, EVENTS)
        for process, _base in services:
            process.send_signal(signal.SIGTERM)
            assert process.wait() == 0
    assert b'"files": 40' in out
    assert here["files"] == FILES
    assert sequences(cli.json_lines("events")) == list(range(1, EVENTS + 1))
    checked = cli.json("verify")
    assert (checked["objects"], checked["missing"], checked["mismatches"]) == (FILES * 3 // 2, [], [])
    assert cli.json("replay", "--check")["identical"]
    assert all(path.startswith("blake3/") for path in cli.stored_files()), "a temp file or a lock is left"
