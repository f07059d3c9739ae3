"""`serve` as a process: what it says, how it ends, and that its health is measured and never a constant."""

import functools
import json
import shutil
import signal
import socket
import subprocess
import threading
import urllib.error
import urllib.request
from collections.abc import Generator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import override

import pytest

from artifactstore.http.notify import notify
from artifactstore_protocols.tokens import make_secret
from integration.cli.harness import Cli, Facts

pytestmark = pytest.mark.slow

COMPONENTS = [
    "registry",
    "database",
    "storage",
    "objects",
    "tails",
    "actor:database",
    "actor:storage",
    "actor:event-writer",
    "actor:projection",
    "actor:ingest",
    "actor:health",
]
SERVICE_COMPONENTS = [*COMPONENTS, "actor:http", "actor:maintenance"]


_cookies: dict[str, str] = {}


class _Here(urllib.request.HTTPRedirectHandler):
    """Follows no redirect."""

    @override
    def redirect_request(self, *_args: object, **_kwargs: object) -> None:
        """Return None, so that the answer itself is an error that has its headers."""


def logged_in(link: str) -> str:
    """The cookie, as `NAME=VALUE`, that a link with a one-time code is exchanged for."""
    url, _, code = link.partition("#")
    base = url.removesuffix("/login")
    asked = urllib.request.Request(url, f"secret={code}".encode(), {"Origin": base})
    with pytest.raises(urllib.error.HTTPError, match="303") as answer:
        urllib.request.build_opener(_Here(), urllib.request.ProxyHandler({})).open(asked)
    with answer.value as found:
        return str(found.headers["Set-Cookie"]).partition(";")[0]


def cookie_of(base: str) -> tuple[str, str]:
    """Name and value of the cookie of the user who started the service at a URL."""
    name, _, value = _cookies[base].partition("=")
    return name, value


@contextmanager
def serving(cli: Cli) -> Generator[tuple[subprocess.Popen[bytes], str]]:
    """A running service on a free port, and its base URL. The user who started it has signed in."""
    with cli.started("serve", "--bind", "127.0.0.1:0", "--login-link") as process:
        assert process.stderr is not None
        line = process.stderr.readline().decode()
        assert line.startswith("artifactstore serves http://127.0.0.1:"), line
        base = line.split()[-1].removesuffix("/health")
        _cookies[base] = logged_in(process.stderr.readline().decode().split()[2])
        yield process, base


def get(url: str) -> tuple[int, Facts]:
    """Status and JSON of an answer, whatever the status, for the user who started the service."""
    base = "/".join(url.split("/")[:3])
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers={"Cookie": _cookies[base]})) as response:
            assert response.headers["content-type"] == "application/json"
            return response.status, json.load(response)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)


def give_token(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the commands that follow show a token of a monitor."""
    monkeypatch.setenv("ARTIFACTSTORE_TOKEN", cli.run("token", "create", "monitor", "--scope", "read").text.strip())


def test_a_service_says_where_it_is_answers_and_drains(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(cli) as (process, base):
        status, report = get(f"{base}/health")
        assert (status, report["status"], report["reasons"]) == (200, "healthy", [])
        assert list(report["components"]) == SERVICE_COMPONENTS
        database = report["components"]["database"]["details"]
        measured = {name: database.pop(name) for name in ("free_bytes", "store_id")}
        assert database == {"database": str(cli.database), "head": 0}
        assert all(measured.values())
        assert report["components"]["storage"]["details"]["local_free_bytes"] > 0
        assert {part["healthy"] for part in report["components"].values()} == {True}
        assert get(f"{base}/livez")[0] == get(f"{base}/readyz")[0] == 200
        assert get(f"{base}/tree")[1]["name"] == "root"

        assert cli.ok("health", "--url", base).text == "healthy\n"
        assert "Send a token" in cli.refused("actors", "--url", base)
        give_token(cli, monkeypatch)
        assert list(cli.json("health", "--url", base)) == list(report)
        for url in (f"{base}/", f"{base}/health", f"{base}/health/"):
            shown = cli.ok("health", "--url", url).text.splitlines()
            assert shown == ["healthy", *(f"  ok   {name:22} ok" for name in SERVICE_COMPONENTS)]
        assert cli.json("actors", "--url", base)["name"] == "root"

        taken = base.removeprefix("http://")
        assert cli.refused("serve", "--bind", taken) == (
            f"cannot listen on {taken}: Address already in use; stop what uses it, or choose another with --bind"
        )
        cli.ok("package", "create", "beside the service")

        process.send_signal(signal.SIGTERM)
        out, err = process.communicate()
    assert (process.returncode, out, err) == (0, b"", b"artifactstore stops: SIGTERM\n")
    assert cli.stored_files() == []  # no canary, no lock


def test_clients_that_read_nothing_do_not_hold_up_a_stop(cli: Cli) -> None:
    """One follows the log, one has sent half a request, one asked for much and takes nothing of it."""
    with serving(cli) as (process, base), ExitStack() as stack:
        host, _, port = base.removeprefix("http://").rpartition(":")

        def say(words: bytes, *, room: int | None = None) -> socket.socket:
            client = stack.enter_context(socket.socket())
            if room is not None:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, room)
            client.connect((host, int(port)))
            client.sendall(words)
            return client

        head = f"Host: {host}:{port}\r\nCookie: {'='.join(cookie_of(base))}\r\n\r\n".encode()
        following = say(b"GET /events/stream HTTP/1.1\r\n" + head)
        assert b"200" in following.recv(1 << 12)
        say(b"GET /repair")
        stalled = say((b"GET /metrics HTTP/1.1\r\n" + head) * 300, room=1)
        assert stalled.recv(1, socket.MSG_PEEK)  # it is being answered
        process.send_signal(signal.SIGTERM)
        _out, err = process.communicate()
    assert (process.returncode, err) == (0, b"artifactstore stops: SIGTERM\n")


def test_a_service_manager_is_told_when_it_is_ready_and_when_it_stops(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    place, http = tmp_path / "notify.sock", tmp_path / "http.sock"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(place))
        monkeypatch.setenv("NOTIFY_SOCKET", str(place))
        with cli.started("serve", "--bind", f"unix:{http}") as process:
            assert manager.recv(64) == b"READY=1"
            assert process.stderr is not None
            assert process.stderr.readline().decode() == f"artifactstore serves unix:{http}\n"
            with socket.socket(socket.AF_UNIX) as client:
                client.connect(str(http))
                client.sendall(b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n")
                assert client.recv(1 << 12).startswith(b"HTTP/1.1 200")
            process.send_signal(signal.SIGTERM)
            assert manager.recv(64) == b"STOPPING=1"
            assert process.wait() == 0
    assert not http.exists()


@pytest.mark.parametrize("address", ["@somewhere", "/nowhere/at/all"])
def test_a_service_manager_that_does_not_listen_is_no_reason_to_fail(
    monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", address)
    notify("READY=1")


OPTIONS = {
    "nowhere": ("--bind", "8000"),
    "no path": ("--bind", "unix:"),
    "a port that there is not": ("--bind", "127.0.0.1:65536"),
    "a certificate without its key": ("--certfile", "c.pem"),
    "a key without its certificate": ("--keyfile", "k.pem"),
    "authorities alone": ("--ca-certs", "a.pem"),
    "no host": ("--bind", ":8000"),
    "5,000 digits of a port": ("--bind", f"127.0.0.1:{'9' * 5000}"),
    "a port in another script": ("--bind", "127.0.0.1:\u0661"),
    "a host with a port": ("--allow-host", "store.example:8000"),
    "no host name": ("--allow-host", "a b"),
    "time that goes back": ("--drain", "-1"),
    "time without end": ("--drain", "inf"),
    "no time": ("--drain", "nan"),
}


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS.keys())
def test_options_that_do_not_go_together_are_wrong_usage(cli: Cli, options: tuple[str, ...]) -> None:
    assert cli.run("serve", *options).code == 2
    assert not cli.database.exists()


def test_a_service_stays_on_its_machine_unless_told_otherwise(cli: Cli) -> None:
    assert cli.refused("serve", "--bind", "0.0.0.0:0") == (
        "will not listen on 0.0.0.0:0, which other machines can reach. Bind it to 127.0.0.1 or to unix:PATH, or "
        "say --allow-remote if they should; their tokens then need --certfile and --keyfile, or a --trusted-proxy"
    )


def test_health_turns_when_the_database_and_the_objects_are_gone(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(cli) as (process, base):
        cli.database.unlink()
        shutil.rmtree(cli.objects)
        status, report = get(f"{base}/health")  # the first report, so that it cannot be an older one
        assert (status, report["status"]) == (503, "unhealthy")
        registry, database, storage, objects = report["reasons"]
        assert objects.startswith("objects: database ")
        assert registry == f"registry: {database.removeprefix('database: ')}"
        assert database.startswith(f"database: database {cli.database} was deleted while it was open")
        assert (
            storage
            == "storage: backend local: the root cannot be used: no such file or directory; check its path and its disk"
        )
        assert get(f"{base}/readyz")[0] == 503
        assert get(f"{base}/livez")[0] == 200
        monkeypatch.setenv("ARTIFACTSTORE_TOKEN", make_secret(bytes(32)))
        shown = cli.run("health", "--url", base)
        assert (shown.code, shown.err, shown.text) == (1, "", "unhealthy\n"), "nobody can be identified"
        process.send_signal(signal.SIGINT)
        assert process.wait() == 0


def test_health_without_a_service_opens_the_store(cli: Cli) -> None:
    cli.ok("package", "create", "p")
    report = cli.json("health")
    assert list(report) == ["status", "reasons", "version", "components"]
    assert list(report["components"]) == COMPONENTS
    assert all(
        list(part) == ["healthy", "detail", "details", "latency_s", "measured_at", "age_s"]
        for part in report["components"].values()
    )
    assert cli.ok("health").text.splitlines()[0] == "healthy"


FORMS = "a URL begins with http://, https:// or unix:"
URLS = {
    "nobody there": ("http://127.0.0.1:1", "Connection refused"),
    "no scheme": ("127.0.0.1:8000", FORMS),
    "another scheme": ("ftp://127.0.0.1", FORMS),
    "a file": ("file:///etc/passwd", FORMS),
    "no host": ("http://", FORMS),
    "no host but a port": ("http://:8000", FORMS),
    "no number for a port": ("http://127.0.0.1:http", "Port could not be cast to integer"),
    "a port that there is not": ("http://127.0.0.1:99999", "Port out of range 0-65535"),
    "half an address": ("http://[::1", "Invalid IPv6 URL"),
    "a name that no encoding knows": (f"http://{'a' * 64}.example", "too long"),
    "a space": ("http://127.0.0.1:1/a b", "can't contain control characters"),
    "nothing": ("", FORMS),
    "no path of a socket": ("unix:", "unix: needs a path"),
    "no socket": ("unix:/no/such/socket", "No such file or directory"),
    "no socket but a file": ("unix:/dev/null", "Connection refused"),
    "a path that is too long": (f"unix:/{'x' * 200}", "AF_UNIX path too long"),
}


@pytest.mark.parametrize(("url", "reason"), URLS.values(), ids=URLS.keys())
@pytest.mark.parametrize("command", ["health", "actors"])
def test_a_url_where_no_service_is(cli: Cli, command: str, url: str, reason: str) -> None:
    line = cli.refused(command, "--url", url)
    assert line.startswith("no report from ")
    assert reason in line
    assert not cli.database.exists()


def test_a_service_on_this_machine_is_asked_without_a_proxy(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with somebody_else(http_answer(200, b'{"status": "healthy", "components": {}}')) as proxy:
        monkeypatch.setenv("http_proxy", proxy)
        with serving(cli) as (_process, base):
            give_token(cli, monkeypatch)
            assert len(cli.json("health", "--url", base)["components"]) == len(SERVICE_COMPONENTS)
            here = base.replace("127.0.0.1", "localhost")
            assert cli.json("actors", "--url", here)["name"] == "root"
        assert "by https only" in cli.refused("health", "--url", "http://store.invalid")
        monkeypatch.delenv("ARTIFACTSTORE_TOKEN")
        assert cli.json("health", "--url", "http://store.invalid")["components"] == {}, "others are asked through it"


def test_a_service_on_a_unix_socket_is_asked(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url = f"unix:{tmp_path / 'http.sock'}"
    with cli.started("serve", "--bind", url) as process:
        assert process.stderr is not None
        assert process.stderr.readline().decode() == f"artifactstore serves {url}\n"
        assert cli.json("health", "--url", url)["status"] == "healthy"
        assert cli.ok("health", "--url", url).text == "healthy\n"
        give_token(cli, monkeypatch)
        assert cli.json("actors", "--url", url)["name"] == "root"


@contextmanager
def somebody_else(answer: bytes, again: bytes = b"") -> Generator[str]:
    """A server that answers any request with the same bytes, and hangs up; or continues for ever."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def answer_once() -> None:
            connection, _address = listening.accept()
            with connection, suppress(ConnectionError):
                connection.recv(1 << 16)
                connection.sendall(answer)
                while again:
                    connection.sendall(again)

        thread = threading.Thread(target=answer_once)
        thread.start()
        yield "http://{}:{}".format(*listening.getsockname())
        thread.join()


def http_answer(status: int, body: bytes) -> bytes:
    return b"HTTP/1.1 %d X\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s" % (status, len(body), body)


ANSWERS = {
    "not found": (http_answer(404, b"{}"), "it answers HTTP 404"),
    "an error": (http_answer(500, b""), "it answers HTTP 500"),
    "a page": (http_answer(200, b"<html>"), "its answer is not JSON"),
    "a page that says it is unavailable": (http_answer(503, b"<html>"), "its answer is not JSON"),
    "no text": (http_answer(200, b"\xff\xfe\xfd"), "its answer is not JSON"),
    "a list": (http_answer(200, b"[1]"), "its answer is something else"),
    "nested beyond measure": (http_answer(200, b"[" * 100_000), "its answer is not JSON"),
    "a number beyond measure": (http_answer(200, b"9" * 5000), "its answer is not JSON"),
    "components of another kind": (http_answer(200, b'{"status": 1, "components": 1}'), "its answer is something else"),
    "a component of another kind": (
        http_answer(200, b'{"status": 1, "components": {"a": {}}}'),
        "its answer is something else",
    ),
    "other facts": (http_answer(200, b'{"version": 1}'), "its answer is something else"),
    "nothing": (b"", "closed connection without response"),
    "no HTTP": (b"220 mail ready\r\n", "it does not speak HTTP"),
    "less than was promised": (
        b'HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{"status": "healthy"}',
        "its answer breaks off",
    ),
    "half a chunk": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n10\r\n{", "its answer breaks off"),
    "too much": (http_answer(200, b" " * (1 << 20) + b"{}"), "its answer has more than 1048576 bytes"),
    "a way to elsewhere": (
        b"HTTP/1.1 302 X\r\nLocation: ftp://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n",
        "it answers HTTP 302",
    ),
    "a status of another kind": (http_answer(200, b'{"status": {}}'), "its answer is something else"),
    "no number that JSON has": (http_answer(200, b'{"status": NaN}'), "its answer is not JSON"),
}


@pytest.mark.parametrize(("answer", "reason"), ANSWERS.values(), ids=ANSWERS.keys())
def test_somebody_else_answers(cli: Cli, answer: bytes, reason: str) -> None:
    with somebody_else(answer) as url:
        line = cli.refused("health", "--url", url)
    assert line.startswith(f"no report from {url}/health: ")
    assert reason in line


ROOT = {"name": "root", "state": "running", "starts": 1}
NO_TREES: dict[str, object] = {
    "nothing but a state": {"state": "running"},
    "a name of another kind": ROOT | {"name": None},
    "a count of another kind": ROOT | {"starts": "1"},
    "children of another kind": ROOT | {"children": 5},
    "a child of another kind": ROOT | {"children": [ROOT, 1]},
    "a mailbox of another kind": ROOT | {"mailbox": {}},
    "work of another kind": ROOT | {"work": [{"message": "M"}]},
    "a stall of another kind": ROOT | {"stall": 1},
    "a failure of another kind": ROOT | {"last_failure": {"kind": "K"}},
    "too deep": functools.reduce(lambda below, _: ROOT | {"children": [below]}, range(32), ROOT),
}


@pytest.mark.parametrize("answer", NO_TREES.values(), ids=NO_TREES.keys())
def test_somebody_else_answers_with_no_tree(cli: Cli, answer: object) -> None:
    with somebody_else(http_answer(200, json.dumps(answer).encode())) as url:
        line = cli.refused("actors", "--url", url)
    assert "its answer is something else" in line


def test_nothing_in_a_tree_is_a_command_to_a_terminal(cli: Cli) -> None:
    evil = "\x1b[2J"
    tree = {
        **ROOT,
        "name": evil,
        "state": evil,
        "strategy": evil,
        "mailbox": {"depth": evil, "depth_peak": evil},
        "work": [{"message": evil, "age_s": 1}],
        "stall": {"since": evil},
        "last_failure": {"kind": evil, "text": evil},
    }
    with somebody_else(http_answer(200, json.dumps(tree).encode())) as url:
        shown = cli.ok("actors", "--url", url).text
    assert "\\x1b[2J" in shown
    assert "\x1b" not in shown


ENDLESS = {
    "lines before the answer": (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    "lines after the answer": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n", b"X: y\r\n"),
}


@pytest.mark.parametrize(("beginning", "again"), ENDLESS.values(), ids=ENDLESS.keys())
def test_an_answer_that_does_not_end_is_given_up(cli: Cli, beginning: bytes, again: bytes) -> None:
    with somebody_else(beginning, again * 1000) as url, cli.started("health", "--url", url) as process:
        _out, err = process.communicate()
    assert process.returncode == 1
    assert b"the answer took longer than 10 s" in err
