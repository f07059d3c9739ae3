"""Where and how the service listens: TCP or a Unix socket, with TLS or without, and never beyond this machine unasked.

There is no authentication yet, so an address that others can reach is refused unless the operator says that it is
meant. Whoever may connect to a Unix socket is said by its permissions: its owner and its group.
"""

import os
import socket
import ssl
import stat
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import cast, override

import trio
from hypercorn.config import Config

from artifactstore_protocols.errors import ArtifactStoreError

__all__ = [
    "AddressUnavailable",
    "CertificateUnusable",
    "Listening",
    "RemoteBindRefused",
    "open_listeners",
    "unlink_socket",
    "url_of",
]

_UNIX = "unix:"
_SOCKET_MODE = 0o660
_BACKLOG = 128

type Listener = trio.SocketListener | trio.SSLListener[trio.SocketStream]


@dataclass(eq=False)
class AddressUnavailable(ArtifactStoreError):
    """The service cannot listen where it was told to."""

    address: str
    reason: str

    @override
    def __str__(self) -> str:
        return f"cannot listen on {self.address}: {self.reason}; stop what uses it, or choose another with --bind"


@dataclass(eq=False)
class RemoteBindRefused(ArtifactStoreError):
    """Other machines could reach the address, and nobody said that they may."""

    address: str

    @override
    def __str__(self) -> str:
        return (
            f"will not listen on {self.address}, which other machines can reach: the service has no authentication. "
            "Bind it to 127.0.0.1 or to unix:PATH, or say --allow-remote if your network keeps strangers away"
        )


@dataclass(eq=False)
class CertificateUnusable(ArtifactStoreError):
    """TLS was asked for and cannot be had with these files."""

    files: tuple[str, ...]
    reason: str

    @override
    def __str__(self) -> str:
        return f"cannot use {', '.join(self.files)} for TLS: {self.reason}; give PEM files that belong together"


@dataclass(frozen=True, slots=True)
class Listening:
    """Where and how to listen.

    Attributes:
        bind: `HOST:PORT`, where port 0 takes a free one, or `unix:PATH`.
        allow_remote: whether an address that other machines can reach is meant.
        certfile: chain of the server's certificate, and
        keyfile: its key, both PEM; with them, TLS is spoken and nothing else.
        ca_certs: PEM file of the authorities one of whose certificates a client must show.
    """

    bind: str
    allow_remote: bool = False
    certfile: Path | None = None
    keyfile: Path | None = None
    ca_certs: Path | None = None


async def open_listeners(listening: Listening, config: Config) -> Sequence[Listener]:
    """Listen; several times where a name has several addresses. `config` gets the TLS options.

    Raises:
        RemoteBindRefused, AddressUnavailable, CertificateUnusable: and nothing is left open.
    """
    context = _tls(listening, config)
    try:
        if listening.bind.startswith(_UNIX):
            opened = [_open_unix(listening.bind)]
        else:
            opened = await _open_tcp(listening)
    except OSError as error:
        raise AddressUnavailable(listening.bind, error.strerror or str(error)) from error
    if context is None:
        return opened
    return [trio.SSLListener(listener, context, https_compatible=True) for listener in opened]


def url_of(listener: Listener) -> str:
    """Where a listener is reached: `http://HOST:PORT`, the same with https, or `unix:PATH`."""
    plain = listener if isinstance(listener, trio.SocketListener) else listener.transport_listener
    if not isinstance(plain, trio.SocketListener):
        raise TypeError(f"{type(plain).__name__} is not a listener of this module")
    if plain.socket.family == socket.AF_UNIX:
        return f"{_UNIX}{plain.socket.getsockname()}"
    host, port = cast("tuple[str, int]", plain.socket.getsockname()[:2])
    scheme = "http" if isinstance(listener, trio.SocketListener) else "https"
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"


def unlink_socket(url: str) -> None:
    """Remove a Unix socket that was listened on."""
    if url.startswith(_UNIX):
        with suppress(OSError):
            Path(url.removeprefix(_UNIX)).unlink()


async def _open_tcp(listening: Listening) -> list[trio.SocketListener]:
    host, _, port = listening.bind.rpartition(":")
    host = host.strip("[]")
    found = await trio.socket.getaddrinfo(host, int(port), type=socket.SOCK_STREAM)
    addresses = {str(address[0]).partition("%")[0] for *_, address in found}
    if not listening.allow_remote and not all(ip_address(address).is_loopback for address in addresses):
        raise RemoteBindRefused(listening.bind)
    return await trio.open_tcp_listeners(int(port), host=host, backlog=_BACKLOG)


def _open_unix(bind: str) -> trio.SocketListener:
    path = Path(bind.removeprefix(_UNIX)).absolute()
    _remove_stale_socket(bind, path)
    opened = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        opened.bind(str(path))
        path.chmod(_SOCKET_MODE)  # nobody can connect before it listens
        opened.listen(_BACKLOG)
    except BaseException:
        opened.close()
        raise
    return trio.SocketListener(trio.socket.from_stdlib_socket(opened))


def _remove_stale_socket(bind: str, path: Path) -> None:
    """Remove what a server that was killed left behind, and nothing else."""
    try:
        mode = os.lstat(path).st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise AddressUnavailable(bind, "something else lies there")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as caller:
        caller.setblocking(False)  # a full backlog must not hold up this loop
        try:
            caller.connect(str(path))
        except ConnectionRefusedError:
            path.unlink()
            return
        except BlockingIOError:
            pass
    raise AddressUnavailable(bind, "Address already in use")


def _tls(listening: Listening, config: Config) -> ssl.SSLContext | None:
    if listening.certfile is None or listening.keyfile is None:
        return None
    config.certfile, config.keyfile = str(listening.certfile), str(listening.keyfile)
    files = [config.certfile, config.keyfile]
    if listening.ca_certs is not None:
        config.ca_certs = str(listening.ca_certs)
        config.verify_mode = ssl.CERT_REQUIRED
        files.append(config.ca_certs)
    try:
        return config.create_ssl_context()
    except (OSError, ValueError) as error:  # an ssl.SSLError is an OSError
        reason = error.strerror if isinstance(error, OSError) else None
        raise CertificateUnusable(tuple(files), reason or str(error)) from error
