"""Where the service listens and for whom: loopback unless told otherwise, Unix sockets, TLS."""

import os
import socket
import ssl
import stat
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, override

import h11
import pytest
import trio
import trustme
from cryptography.hazmat.primitives import serialization

from artifactstore import Settings
from artifactstore.http.listening import AddressUnavailable, Listening, RemoteBindRefused, open_listeners
from artifactstore.http.tls import CertificateUnusable
from integration.http.serving import serving

EVERYWHERE = ["0.0.0.0:0", "0:0", "*:0", "[::]:0", ":::0", "[::ffff:0.0.0.0]:0", "[::ffff:192.0.2.1]:0"]


@pytest.mark.parametrize("bind", [*EVERYWHERE, "192.0.2.1:0", "[2001:db8::1]:0"])
async def test_an_address_that_others_can_reach_is_refused_and_it_is_said_what_to_do(
    bind: str,
) -> None:
    with pytest.raises(RemoteBindRefused, match=r"can reach\. Bind it to .* or say --allow-remote") as refused:
        await open_listeners(Listening(bind))
    assert refused.value.address == bind


class Resolver(trio.abc.HostnameResolver):
    """Has a name that means two machines."""

    @override
    async def getaddrinfo(self, host: bytes | None, port: object, *_arguments: object, **_options: object) -> Any:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in ("127.0.0.1", "192.0.2.1")]

    @override
    async def getnameinfo(self, sockaddr: object, flags: int) -> Any:
        raise NotImplementedError


async def test_every_address_of_a_name_counts() -> None:
    trio.socket.set_custom_hostname_resolver(Resolver())
    with pytest.raises(RemoteBindRefused):
        await open_listeners(Listening("two.example:0"))


async def test_it_listens_there_when_it_is_told_that_it_is_meant(settings: Settings) -> None:
    async with serving(settings, Listening("0.0.0.0:0", allow_remote=True)) as service:
        assert service.url.startswith("http://0.0.0.0:")
        assert (await service.ask("/livez")).status == 200


@pytest.mark.parametrize("bind", ["localhost:0", "127.0.0.2:0", "[::1]:0"])
async def test_loopback_has_many_names(settings: Settings, bind: str) -> None:
    if bind == "[::1]:0" and not _has_ipv6_loopback():
        pytest.skip("this machine has no IPv6 loopback")
    async with serving(settings, Listening(bind)) as service:
        assert (await service.ask("/livez")).status == 200


def _has_ipv6_loopback() -> bool:
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            return True
    except OSError:
        return False


UNAVAILABLE = {
    "an address of another machine": "192.0.2.1:0",
    "no such host": "no.such.host.invalid:0",
    "no name at all": ":0",
    "a name with an empty part": "a..b:0",
    "a name with a part that is too long": f"{'a' * 64}.example:0",
    "a name that no encoding knows": "\udcff:0",
    "a NUL in the name": "local\0host:0",
    "a NUL in the path": "unix:/tmp/a\0b",
    "a path that is too long": f"unix:/tmp/{'x' * 200}",
    "a path in no directory": "unix:/no/such/directory/s",
    "a path below a file": "unix:/dev/null/s",
}


@pytest.mark.parametrize("bind", UNAVAILABLE.values(), ids=UNAVAILABLE.keys())
async def test_an_address_that_is_not_there_is_refused(bind: str) -> None:
    with pytest.raises(AddressUnavailable) as refused:
        await open_listeners(Listening(bind, allow_remote=True))
    assert refused.value.address == bind


async def test_a_service_that_cannot_listen_is_a_refusal_and_no_crash(settings: Settings) -> None:
    with pytest.raises(AddressUnavailable, match=r"cannot listen on a\.\.b:0: "):
        async with serving(settings, Listening("a..b:0")):
            pass


async def test_a_unix_socket_is_for_its_owner_and_group_and_goes_with_the_service(
    settings: Settings, tmp_path: Path
) -> None:
    path = tmp_path / "http.sock"
    async with serving(settings, Listening(f"unix:{path}")) as service:
        assert service.url == f"unix:{path}"
        assert stat.S_IMODE(path.stat().st_mode) == 0o660
        report = await service.ask("/health")
        assert (report.status, report.json["status"]) == (200, "healthy")
    assert not path.exists()


async def test_what_has_come_in_the_place_of_its_socket_stays(settings: Settings, tmp_path: Path) -> None:
    path = tmp_path / "http.sock"
    async with serving(settings, Listening(f"unix:{path}")):
        path.unlink()
        path.write_text("somebody else's")
    assert path.read_text() == "somebody else's"


async def test_the_socket_of_a_service_that_was_killed_is_taken_over(settings: Settings, tmp_path: Path) -> None:
    path = tmp_path / "http.sock"
    with socket.socket(socket.AF_UNIX) as left_behind:
        left_behind.bind(str(path))
    async with serving(settings, Listening(f"unix:{path}")) as service:
        assert (await service.ask("/livez")).status == 200


@pytest.mark.parametrize("what", ["a service that listens", "a service with a full queue", "a file", "a directory"])
async def test_what_is_in_use_is_left_alone(settings: Settings, tmp_path: Path, what: str) -> None:
    path = tmp_path / "http.sock"
    with socket.socket(socket.AF_UNIX) as other, socket.socket(socket.AF_UNIX) as caller:
        if what == "a file":
            path.write_text("precious")
        elif what == "a directory":
            path.mkdir()
        else:
            other.bind(str(path))
            other.listen(0)
            if what == "a service with a full queue":
                caller.connect(str(path))
        before = os.lstat(path)
        with pytest.raises(AddressUnavailable, match=r"something else lies there|Address already in use"):
            async with serving(settings, Listening(f"unix:{path}")):
                pass
        assert os.lstat(path).st_ino == before.st_ino


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def encrypted(authority: trustme.CA, tmp_path: Path) -> Listening:
    issued = authority.issue_cert("localhost", "127.0.0.1")
    chain, key, trusted = (tmp_path / name for name in ("chain.pem", "key.pem", "ca.pem"))
    for blob in issued.cert_chain_pems:
        blob.write_to_path(chain, append=True)
    issued.private_key_pem.write_to_path(key)
    authority.cert_pem.write_to_path(trusted)
    return Listening("127.0.0.1:0", certfile=chain, keyfile=key, ca_certs=trusted)


def client_of(authority: trustme.CA, directory: Path, *, with_certificate: bool) -> ssl.SSLContext:
    context = ssl.create_default_context(cadata=authority.cert_pem.bytes().decode())
    if with_certificate:
        mine = directory / "client.pem"
        authority.issue_cert("client@example.org").private_key_and_cert_chain_pem.write_to_path(mine)
        context.load_cert_chain(mine)
    return context


async def test_with_a_certificate_it_speaks_tls_to_those_who_have_one_too(
    settings: Settings, encrypted: Listening, authority: trustme.CA, tmp_path: Path
) -> None:
    async with serving(settings, encrypted) as service:
        assert service.url.startswith("https://127.0.0.1:")
        known = client_of(authority, tmp_path, with_certificate=True)
        assert (await service.ask("/health", context=known)).json["status"] == "healthy"
        with pytest.raises((trio.BrokenResourceError, ssl.SSLError, h11.RemoteProtocolError)):
            await service.ask("/health", context=client_of(authority, tmp_path, with_certificate=False))


def _encrypt(key: Path) -> None:
    plain = serialization.load_pem_private_key(key.read_bytes(), None)
    secret = serialization.BestAvailableEncryption(b"secret")
    key.write_bytes(
        plain.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, secret)
    )


def _swap(one: Path, other: Path) -> None:
    content = one.read_bytes()
    one.write_bytes(other.read_bytes())
    other.write_bytes(content)


def _become_directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


UNUSABLE: Mapping[str, tuple[Callable[[Path, Path, Path], object], str, str]] = {
    "no file": (lambda chain, _key, _ca: chain.unlink(), "chain.pem", "it cannot be read (No such file or directory)"),
    "no key": (lambda _chain, key, _ca: key.unlink(), "key.pem", "it cannot be read (No such file or directory)"),
    "no authorities": (lambda _chain, _key, ca: ca.unlink(), "ca.pem", "it cannot be read (No such file"),
    "no certificate": (
        lambda chain, _key, _ca: chain.write_text("text"),
        "chain.pem",
        "it holds no certificate in PEM",
    ),
    "no authority": (lambda _chain, _key, ca: ca.write_text(""), "ca.pem", "it holds no certificate in PEM form"),
    "in the wrong order": (
        lambda chain, key, _ca: _swap(chain, key),
        "chain.pem",
        "it holds no certificate in PEM form",
    ),
    "no private key": (
        lambda chain, key, _ca: key.write_bytes(chain.read_bytes()),
        "key.pem",
        "it holds no private key in PEM form",
    ),
    "another key": (
        lambda _chain, key, _ca: trustme.CA().issue_cert("localhost").private_key_pem.write_to_path(key),
        "chain.pem, key.pem",
        "the key does not belong to the certificate",
    ),
    "a key with a passphrase": (lambda _chain, key, _ca: _encrypt(key), "key.pem", "the key is encrypted"),
    "a directory": (lambda _chain, key, _ca: _become_directory(key), "key.pem", "it cannot be read (Is a directory)"),
}


@pytest.mark.parametrize(("spoil", "named", "reason"), UNUSABLE.values(), ids=UNUSABLE.keys())
async def test_a_certificate_that_cannot_be_used_is_refused_with_its_reason(
    encrypted: Listening,
    tmp_path: Path,
    spoil: Callable[[Path, Path, Path], object],
    named: str,
    reason: str,
) -> None:
    spoil(*(tmp_path / name for name in ("chain.pem", "key.pem", "ca.pem")))
    with pytest.raises(CertificateUnusable) as refused:
        await open_listeners(encrypted)
    assert ", ".join(Path(each).name for each in refused.value.files) == named
    assert refused.value.reason.startswith(reason)
