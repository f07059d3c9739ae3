"""Who may ask: requests by the service's own names, and not from pages of other sites."""

from collections.abc import Sequence
from pathlib import Path

from artifactstore import Settings
from artifactstore.http.listening import Listening
from integration.http.serving import VIEWER, Service, serving, talk


async def status_of(service: Service, *lines: str, target: str = "/tree", method: str = "HEAD") -> int:
    """The status of a request with these headers, and that of a viewer, and no others."""
    head = [f"{method} {target} HTTP/1.1", ": ".join(VIEWER), *lines, "Connection: close", "", ""]
    received = await talk(service.url, "\r\n".join(head).encode("latin-1"))
    return int(received.split(b" ")[1])


OWN = ["localhost", "LocalHost:8000", "localhost.", "localhost:", "127.0.0.1", "127.1.2.3:1", "[::1]", "[0:0::1]:80"]
FOREIGN = [
    "attacker.example",
    "localhost.attacker.example",
    "127.0.0.1.nip.io",
    "0.0.0.0",  # noqa: S104 - a name that somebody may use
    "192.0.2.1",
    "[2001:db8::1]",
]
MALFORMED = [
    "",
    "a b",
    "localhost:http",
    "localhost:1:2",
    "[::1",
    "::1",
    "[127.0.0.1]x",
    "u@localhost",
    "a/b",
    "\xff",
    "[::g]",
]


async def test_only_names_of_this_service_are_answered(service: Service) -> None:
    assert {host: await status_of(service, f"Host: {host}") for host in OWN} == dict.fromkeys(OWN, 200)
    for target in ("/events/stream", "/", "/health", "/nothing"):  # one of them takes a way of its own
        found = {host: await status_of(service, f"Host: {host}", target=target) for host in FOREIGN}
        assert found == dict.fromkeys(FOREIGN, 421)
        found = {host: await status_of(service, f"Host: {host}", target=target) for host in MALFORMED}
        assert found == dict.fromkeys(MALFORMED, 400)
    assert await status_of(service) == 400, "there must be one"
    assert await status_of(service, "Host: localhost", "Host: localhost") == 400, "and only one"
    assert await status_of(service, "Host: evil.example", target="http://localhost/tree") == 421
    assert await status_of(service, "Host: localhost", target="http://evil.example/tree") == 421


async def test_further_names_are_configured(settings: Settings) -> None:
    names = frozenset({"store.example", "192.0.2.1"})
    async with serving(settings, Listening("127.0.0.1:0", names=names)) as service:
        for host in ("store.example", "Store.Example.:443", "192.0.2.1:8000", "localhost"):
            assert await status_of(service, f"Host: {host}") == 200
        assert await status_of(service, "Host: www.store.example") == 421


async def test_the_address_that_a_client_reached_is_a_name(settings: Settings) -> None:
    async with serving(settings, Listening("0.0.0.0:0", allow_remote=True)) as service:
        assert await status_of(service, "Host: 127.0.0.1") == 200
        assert await status_of(service, "Host: 0.0.0.0:8000") == 200, "as it was bound"
        assert await status_of(service, "Host: 192.0.2.1") == 421
        assert await status_of(service, "Host: attacker.example") == 421


async def test_a_unix_socket_takes_any_name_since_no_browser_reaches_it(settings: Settings, tmp_path: Path) -> None:
    async with serving(settings, Listening(f"unix:{tmp_path / 's'}")) as service:
        for host in (*OWN, *FOREIGN):
            assert await status_of(service, f"Host: {host}") == 200
        assert await status_of(service, "Host: store.example", "Origin: https://attacker.example") == 403


ORIGINS: Sequence[tuple[Sequence[str], int]] = [
    (["Host: localhost:8000", "Origin: http://localhost:8000"], 200),
    (["Host: localhost", "Origin: http://localhost:80"], 200),
    (["Host: localhost:8000", "Origin: http://localhost:3000"], 403),
    (["Host: localhost:8000", "Origin: http://attacker.example"], 403),
    (["Host: localhost:8000", "Origin: null"], 403),
    (["Host: localhost:8000", "Origin: "], 403),
    (["Host: localhost:8000", "Origin: https://store.example"], 200),
    (["Host: 127.0.0.1:8000", "Origin: http://127.0.0.1:8000"], 200),
    (["Host: 127.0.0.1:8000", "Origin: http://127.0.0.1:3000"], 403),  # another service of the machine it is bound on
]


async def test_pages_of_other_sites_get_nothing(settings: Settings) -> None:
    async with serving(settings, Listening("127.0.0.1:0", names=frozenset({"store.example"}))) as service:
        for target in ("/events/stream", "/health"):
            for lines, status in ORIGINS:
                assert await status_of(service, *lines, target=target) == status, lines
        # An image or a link of another site has no Origin, and must not take a stream's place.
        for site, status in {"same-origin": 200, "none": 200, "cross-site": 403, "same-site": 403}.items():
            fetched = await status_of(service, "Host: localhost", f"Sec-Fetch-Site: {site}", target="/events/stream")
            assert fetched == status
        assert await status_of(service, "Host: localhost", "Sec-Fetch-Site: cross-site", target="/") == 200, "a link"
