"""Sessions, codes, limits and the way of a request: what begins, what ends, and who is believed."""

from collections.abc import Mapping, Sequence
from typing import Any

import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from artifactstore.http import limits, sessions
from artifactstore.http.api.problems import Problem
from artifactstore.http.limits import FAILURES_FREE, Failures, Requests
from artifactstore.http.peers import Peer, Peers, parse_proxies, parse_public_url
from artifactstore.http.sessions import CODE_S, SESSION_S, SESSIONS_EACH_MAX, Sessions, login_grant
from artifactstore_protocols.errors import InvalidValue
from artifactstore_protocols.tokens import Secret

GRANT = login_grant("ada")


async def test_a_code_begins_one_session_within_its_time(autojump_clock: trio.testing.MockClock) -> None:
    assert autojump_clock.rate == 0
    found = Sessions()
    code, late = found.issue_code(GRANT), found.issue_code(GRANT)
    assert found.redeem(code[:-1]) is None
    await trio.sleep(CODE_S - 1)
    assert found.redeem(code) == GRANT
    assert found.redeem(code) is None, "it is used up"
    await trio.sleep(1)
    assert found.redeem(late) is None
    assert GRANT.principal == "login:ada"


async def test_a_session_ends_by_itself_or_when_it_is_ended(autojump_clock: trio.testing.MockClock) -> None:
    assert autojump_clock.rate == 0
    found = Sessions()
    cookie, other = found.begin(grant=GRANT), found.begin(secret=Secret("ast_x"))
    first, second = found.find(cookie), found.find(other)
    assert first is not None
    assert second is not None
    assert first.csrf != second.csrf
    assert cookie not in repr(first), "memory keeps a digest of the cookie only"
    found.end(first)
    assert (found.find(cookie), found.has(first)) == (None, False)
    await trio.sleep(SESSION_S)
    assert not found.has(second)
    assert found.find(other) is None


async def test_one_token_ends_only_its_own_sessions() -> None:
    found = Sessions()
    of_others = found.begin(grant=GRANT)
    cookies = [found.begin(secret=Secret("ast_1")) for _ in range(SESSIONS_EACH_MAX + 1)]
    assert found.find(cookies[0]) is None
    assert all(found.find(each) is not None for each in (of_others, *cookies[1:]))


async def test_there_are_only_so_many_sessions_and_codes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions, "SESSIONS_MAX", 2)
    monkeypatch.setattr(sessions, "_CODES_MAX", 2)
    found = Sessions()
    cookies = [found.begin(grant=GRANT) for _ in range(3)]
    assert [found.find(each) is not None for each in cookies] == [False, True, True]
    codes = [found.issue_code(GRANT) for _ in range(3)]
    assert [found.redeem(each) is not None for each in codes] == [False, True, True]


def test_failures_are_slowed_down_by_address_in_bounded_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "_ADDRESSES_MAX", 2)
    found = Failures()
    assert [found.pause_s("a", 0.0) for _ in range(FAILURES_FREE)] == [0.0] * FAILURES_FREE
    assert found.pause_s("a", 0.0) > 0
    assert found.pause_s("b", 0.0) == 0.0, "another address is as before"
    assert found.pause_s("a", 10.0) == 0.0, "and with time so is this one"
    for each in ("b", "c"):
        found.pause_s(each, 10.0)
    assert found.pause_s("a", 10.0) == 0.0, "the address that failed first is forgotten"


async def test_a_failure_waits_and_beyond_a_number_is_refused(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert autojump_clock.rate == 0
    monkeypatch.setattr(limits, "FAILURES_FREE", 0)
    monkeypatch.setattr(limits, "_WAITING_MAX", 1)
    found, began = Failures(), trio.current_time()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(found.slow_down, "a")
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(Problem) as refused:
            await found.slow_down("b")
    assert (refused.value.status, refused.value.code) == (429, "too_many_failures")
    assert int(refused.value.headers["Retry-After"]) > 0
    assert trio.current_time() > began


def test_a_principal_has_only_so_many_requests_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "REQUESTS_EACH_MAX", 1)
    found = Requests()
    with found.counted("token:a"):
        with found.counted("token:b"), pytest.raises(Problem) as refused, found.counted("token:a"):
            pass
        assert (refused.value.status, refused.value.code) == (429, "too_many_requests")
    with found.counted("token:a"):
        pass


def scope(client: tuple[str, int] | None, scheme: str = "http", **headers: str) -> Mapping[str, Any]:
    named = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return {"client": client, "scheme": scheme, "headers": named}


PROXY = Peers(*parse_proxies("proxies", "192.0.2.0/24, 2001:db8::1, unix"))
HERE, THERE, BY_PROXY = ("127.0.0.1", 1), ("198.51.100.7", 1), ("192.0.2.9", 1)
LIES = {"x_forwarded_proto": "https", "x_forwarded_for": "127.0.0.1"}
WAYS: Mapping[str, tuple[Peers, Mapping[str, Any], Peer]] = {
    "this machine": (Peers(), scope(HERE), Peer("127.0.0.1", "http", True)),
    "IPv6": (Peers(), scope(("::1", 1)), Peer("::1", "http", True)),
    "TLS": (Peers(), scope(THERE, "https"), Peer("198.51.100.7", "https", True)),
    "a Unix socket": (Peers(), scope(None), Peer("unix", "http", True)),
    "the network": (Peers(), scope(THERE), Peer("198.51.100.7", "http", False)),
    "the network, with lies": (Peers(), scope(THERE, **LIES), Peer("198.51.100.7", "http", False)),
    "beside a proxy, with lies": (PROXY, scope(THERE, **LIES), Peer("198.51.100.7", "http", False)),
    "a proxy that says nothing": (PROXY, scope(BY_PROXY), Peer("192.0.2.9", "http", False, True)),
    "a proxy after http": (
        PROXY,
        scope(BY_PROXY, x_forwarded_proto="http", x_forwarded_for="203.0.113.1"),
        Peer("203.0.113.1", "http", False, True),
    ),
    "a proxy after https": (
        PROXY,
        scope(BY_PROXY, x_forwarded_proto="https", x_forwarded_for="127.0.0.1, 203.0.113.1, 192.0.2.8"),
        Peer("203.0.113.1", "https", True, True),
    ),
    "a proxy that adds to a lie": (
        PROXY,
        scope(BY_PROXY, x_forwarded_proto="https, http"),
        Peer("192.0.2.9", "http", False, True),
    ),
    "a proxy on a Unix socket": (PROXY, scope(None, x_forwarded_proto="https"), Peer("unix", "https", True, True)),
    "a proxy on a Unix socket that says nothing": (PROXY, scope(None), Peer("unix", "http", False, True)),
}


@pytest.mark.parametrize(("peers", "asked", "expected"), WAYS.values(), ids=WAYS.keys())
def test_only_a_trusted_proxy_is_believed(peers: Peers, asked: Mapping[str, Any], expected: Peer) -> None:
    assert peers.peer_of(asked) == expected


@given(st.text(max_size=80), st.text(max_size=80))
def test_no_header_makes_an_open_connection_private(proto: str, forwarded: str) -> None:
    lines: Sequence[tuple[bytes, bytes]] = [
        (b"x-forwarded-proto", proto.encode(errors="replace")),
        (b"x-forwarded-for", forwarded.encode(errors="replace")),
        (b"forwarded", b"proto=https"),
    ]
    for client in (THERE, ("198.51.100.255", 2)):
        assert not PROXY.peer_of({"client": client, "scheme": "http", "headers": lines}).is_private


def test_an_origin_is_own_if_scheme_host_and_port_are() -> None:
    here, tls = Peer("127.0.0.1", "http", True), Peer("127.0.0.1", "https", True)
    public = Peers(public_url=parse_public_url("URL", "https://store.example/"))
    assert public.is_own("https://store.example:443", "10.0.0.1:8000", here)
    assert public.is_own("http://127.0.0.1:8000", "127.0.0.1:8000", here)
    assert Peers().is_own("https://localhost", "localhost:443", tls)
    for origin, host in (
        ("http://store.example", "10.0.0.1:8000"),
        ("https://127.0.0.1:8000", "127.0.0.1:8000"),
        ("http://127.0.0.1:3000", "127.0.0.1:8000"),
        ("http://localhost:8000", "127.0.0.1:8000"),
        ("null", "127.0.0.1:8000"),
        ("", "127.0.0.1:8000"),
        ("http://", ""),
    ):
        assert not public.is_own(origin, host, here), origin


@pytest.mark.parametrize("text", ["nothing", "10.0.0.1/8", "10.0.0.0/33", "unix,x", "192.0.2.1:80"])
def test_what_is_no_proxy_is_refused(text: str) -> None:
    with pytest.raises(InvalidValue, match="separated by commas"):
        parse_proxies("trusted proxies", text)


@pytest.mark.parametrize("text", ["store.example", "ftp://a", "https://", "https://a/b", "https://a@b", "https://a?b"])
def test_what_is_no_public_url_is_refused(text: str) -> None:
    with pytest.raises(InvalidValue, match="without a path"):
        parse_public_url("public URL", text)
