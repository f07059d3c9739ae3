"""All output of a command arrives, or the command fails: whatever stdout is, and whether it is there at all."""

import array
import fcntl
import json
import os
import resource
import select
import signal
import subprocess
import termios
import urllib.request
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path

import pytest

from integration.cli.harness import COMMAND, Cli, Ran

pytestmark = pytest.mark.slow

GRACE_S = 60
"""Only a guard."""
SIZE = 3_000_000


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with a package `p` of one large file and many small ones."""
    large = tmp_path_factory.mktemp("large")
    (large / "blob").write_bytes(os.urandom(SIZE))
    for number in range(450):
        (large / f"file {number}").touch()
    directory = tmp_path_factory.mktemp("store")
    subprocess.run([*COMMAND, "--store", directory, "ingest", large, "--name", "p", "--quiet"], check=True)
    return directory


@pytest.fixture
def filled(cli: Cli, store: Path, monkeypatch: pytest.MonkeyPatch) -> Cli:
    """The command line on that store, which no test changes."""
    monkeypatch.setenv("ARTIFACTSTORE_DATABASE_URL", f"sqlite:///{store / 'artifactstore.db'}")
    monkeypatch.setenv("ARTIFACTSTORE_STORAGE_LOCAL_ROOT", str(store / "objects"))
    return cli


def ran_by_shell(script: str, *arguments: str) -> Ran:
    """A command as a shell starts it with the redirections of `script`, which runs it by `"$@"`."""
    done = subprocess.run(["/bin/sh", "-c", script, "sh", *COMMAND, *arguments], capture_output=True, check=False)
    return Ran(done.returncode, done.stdout, done.stderr.decode())


LONG_ANSWERS = [
    ("get", "p", "blob"),
    ("manifest", "p"),
    ("manifest", "p", "-o", "/dev/stdout"),
    ("package", "show", "p", "--json"),
    ("events", "--export", "-"),
    ("events", "--json"),
]


@pytest.mark.parametrize("unbuffered", ["", "1"], ids=["buffered", "unbuffered"])
@pytest.mark.parametrize("command", LONG_ANSWERS, ids=" ".join)
def test_an_answer_that_does_not_fit_is_an_error(
    filled: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...], unbuffered: str
) -> None:
    """A limit on the size of a file stands for a full disk: it takes a part, and then nothing."""
    monkeypatch.setenv("PYTHONUNBUFFERED", unbuffered)
    limit = 51_200  # SQLite needs a part of it

    def limited() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    with (tmp_path / "part").open("wb") as part:
        done = subprocess.run(
            [*COMMAND, *command], stdout=part, stderr=subprocess.PIPE, preexec_fn=limited, check=False
        )
    assert (done.returncode, done.stderr) == (1, b"artifactstore: cannot write the answer: File too large\n")
    assert (tmp_path / "part").stat().st_size == limit


def unread(pipe: int) -> int:
    """How many bytes wait in a pipe."""
    count = array.array("i", [0])
    fcntl.ioctl(pipe, termios.FIONREAD, count)
    return count[0]


@contextmanager
def into_a_full_pipe(*arguments: str, blocking: bool) -> Generator[tuple[subprocess.Popen[bytes], int]]:
    """A command that waits for the reader of its stdout, and the end that nobody has read from yet."""
    reader, writer = os.pipe()
    os.set_blocking(writer, blocking)
    fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 4096)
    room = select.poll()
    room.register(writer, select.POLLOUT)
    try:
        with subprocess.Popen([*COMMAND, *arguments], stdout=writer, stderr=subprocess.PIPE) as process:
            try:
                while room.poll(0) and process.poll() is None:
                    os.sched_yield()
                os.close(writer)
                yield process, reader
            finally:
                process.kill()
    finally:
        os.close(reader)


@pytest.mark.parametrize("command", LONG_ANSWERS, ids=" ".join)
def test_a_non_blocking_reader_gets_everything(filled: Cli, command: tuple[str, ...]) -> None:
    whole = filled.process(*command).out
    got = bytearray()
    with into_a_full_pipe(*command, blocking=False) as (process, reader):
        while piece := os.read(reader, 1 << 16):
            got += piece
        _, err = process.communicate(timeout=GRACE_S)
    assert (process.returncode, err) == (0, b"")
    assert bytes(got) == whole


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP], ids=lambda number: number.name)
@pytest.mark.parametrize("command", [LONG_ANSWERS[0], LONG_ANSWERS[3]], ids=" ".join)
def test_a_signal_ends_a_command_whose_reader_waits(
    filled: Cli, command: tuple[str, ...], number: signal.Signals
) -> None:
    with into_a_full_pipe(*command, blocking=True) as (process, _reader):
        process.send_signal(number)
        _, err = process.communicate(timeout=GRACE_S)
    assert process.returncode == 128 + number
    assert err.startswith(b"artifactstore: interrupted")
    assert err.count(b"\n") == 1


def test_a_signal_ends_a_command_that_waits_for_stdin(cli: Cli, tmp_path: Path) -> None:
    cli.ok("package", "create", "p")
    log = cli.ok("events", "--export", "-").out
    reader, writer = os.pipe()
    with subprocess.Popen([*COMMAND, "events", "--import", "-"], stdin=reader, stderr=subprocess.PIPE) as process:
        try:
            os.write(writer, log)
            while unread(reader) and process.poll() is None:
                os.sched_yield()
            process.send_signal(signal.SIGTERM)
            _, err = process.communicate(timeout=GRACE_S)
        finally:
            process.kill()
            os.close(writer)
            os.close(reader)
    assert (process.returncode, err) == (143, b"artifactstore: interrupted\n")


def test_a_command_works_without_the_streams_that_its_caller_closed(cli: Cli, tree: Path) -> None:
    for name, closed in (("out", ">&-"), ("err", "2>&-"), ("all", "<&- >&- 2>&-")):
        ran = ran_by_shell(f'exec "$@" {closed}', "ingest", str(tree), "--name", name)
        assert (ran.code, ran.err) == (0, ""), name
        # A descriptor that is closed is that of the next file: the database must not get what is meant for people.
        assert cli.json("package", "show", name)["status"] == "finalized"
    assert cli.ok("verify").text.endswith("all sound\n")
    assert ran_by_shell('exec "$@" 2>&-', "get", "out", "nope").code == 1


@pytest.mark.parametrize("command", [("get", "tree", "README.md"), ("package", "list", "--json")], ids=" ".join)
def test_data_for_a_stdout_that_is_closed_is_an_error(cli: Cli, tree: Path, command: tuple[str, ...]) -> None:
    cli.ok("ingest", tree)
    ran = ran_by_shell('exec "$@" >&-', *command)
    assert (ran.code, ran.err) == (1, "artifactstore: cannot write the answer: stdout is closed\n")


@pytest.mark.parametrize(
    ("command", "target"),
    [
        (("get", "tree", "README.md", "-o"), "-"),
        (("get", "tree", "README.md", "-o"), "/dev/stdout"),
        (("get", "tree", "README.md", "-o"), "/proc/self/fd/1"),
        (("manifest", "tree", "-o"), "-"),
        (("manifest", "tree", "--format", "cbor", "-o"), "/dev/fd/1"),
        (("events", "--export"), "-"),
        (("events", "--export"), "/dev/stdout"),
        (("get", "tree", "README.md", "-o"), "/dev/fd/5"),
        (("events", "--export"), "/dev/fd/5"),
    ],
    ids=str,
)
def test_a_path_that_means_a_descriptor_writes_to_what_it_is(
    cli: Cli, tree: Path, tmp_path: Path, command: tuple[str, ...], target: str
) -> None:
    """A file that a shell appends to keeps what is in it, and is not replaced."""
    cli.ok("ingest", tree)
    cli.ok(*command, "plain")
    place = tmp_path / "place"
    place.write_bytes(b"before\n")
    inode = place.stat().st_ino
    number = "5" if target.endswith("5") else "1"
    ran = ran_by_shell(f'exec "$@" {number}>> place', *command, target)
    assert (ran.code, ran.err) == (0, "")
    assert place.read_bytes() == b"before\n" + (tmp_path / "plain").read_bytes()
    assert place.stat().st_ino == inode
    assert not Path("-").exists()


def test_a_descriptor_that_is_not_open_is_refused(cli: Cli, tree: Path) -> None:
    """Once the store is open, the number may be that of its database."""
    cli.ok("ingest", tree)
    for number in (7, 12):
        ran = ran_by_shell('exec "$@"', "get", "tree", "README.md", "-o", f"/dev/fd/{number}")
        told = f"artifactstore: cannot write to '/dev/fd/{number}': this descriptor is not open\n"
        assert (ran.code, ran.err) == (1, told)
    assert cli.ok("verify").text.endswith("all sound\n")


def test_a_service_stops_in_order_when_nobody_reads_its_log(cli: Cli) -> None:
    with cli.started("serve", "--bind", "127.0.0.1:0") as process:
        assert process.stderr is not None
        process.stderr.readline()
        process.stderr.close()
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=GRACE_S) == 0


def test_a_watched_tree_comes_through_a_pipe(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    with cli.started("serve", "--bind", "127.0.0.1:0") as service:
        assert service.stderr is not None
        url = service.stderr.readline().decode().split()[-1].removesuffix("/health")
        token = cli.run("token", "create", "monitor", "--scope", "read").text.strip()
        monkeypatch.setenv("ARTIFACTSTORE_TOKEN", token)
        request = urllib.request.Request(f"{url}/tree", headers={"Authorization": f"Bearer {token}"})
        assert json.load(urllib.request.urlopen(request))["name"] == "root"
        with cli.started("actors", "--url", url, "--watch") as watch:
            assert watch.stdout is not None
            seen = [watch.stdout.readline() for _ in range(60)]
            watch.send_signal(signal.SIGTERM)
            _, err = watch.communicate(timeout=GRACE_S)
    assert len([line for line in seen if line.startswith(b"root")]) > 1
    assert (watch.returncode, err) == (143, b"artifactstore: interrupted\n")


@pytest.mark.parametrize(
    "command", [("manifest", "tree", "--format", "cbor"), ("events", "--export", "-")], ids=lambda c: c[0]
)
def test_no_cbor_goes_to_a_terminal_unasked(
    cli: Cli, tree: Path, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...]
) -> None:
    cli.ok("ingest", tree)
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    ran = cli.run(*command)
    assert (ran.code, ran.out) == (2, b"")
    assert "is not for a terminal" in ran.err
    assert cli.ok("manifest", "tree", "--format", "cbor", "-o", "-").out != b""


def test_names_that_are_no_utf_8_are_shown_escaped(cli: Cli, tree: Path) -> None:
    cli.ok("ingest", tree)
    place = os.fsdecode(b"out\xff")
    assert cli.ok("export", "tree", place).text.splitlines()[0].endswith(r"to out\udcff")
    assert cli.json("export", "tree", f"{place}2")["directory"] == f"{place}2"
    assert cli.json("events", "--export", f"{place}/log")["file"] == f"{place}/log"
    assert r"\udcff" in cli.refused("ingest", os.fsdecode(b"nowhere\xff"))
    ran = cli.process("export", "tree", f"{place}3")
    assert (ran.code, ran.err) == (0, "")


def in_a_directory_that_is_gone(directory: Path) -> Callable[[], None]:
    def leave() -> None:
        os.chdir(directory)
        directory.rmdir()

    return leave


def test_an_error_of_the_system_is_told_as_what_it_is(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cli.ok("package", "create", "p")
    name = "x" * 300
    assert cli.refused("package", "add", "p", name) == f"cannot use '{name}': File name too long"
    for variable in ("ARTIFACTSTORE_DATABASE_URL", "ARTIFACTSTORE_STORAGE_LOCAL_ROOT"):
        monkeypatch.delenv(variable)
    for number, command in enumerate([("doctor",), ("verify",), ("ingest", "x")]):
        gone = tmp_path / f"gone {number}"
        gone.mkdir()
        done = subprocess.run(
            [*COMMAND, *command], preexec_fn=in_a_directory_that_is_gone(gone), capture_output=True, check=False
        )
        told = done.stdout + done.stderr
        assert done.returncode == 1
        assert b"directory" in told
        assert b"Traceback" not in told
        assert b"cannot write the answer" not in told
