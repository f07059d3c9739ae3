"""Listeners of the service: on TCP or a Unix socket, with or without TLS.

An address that other machines can reach is refused unless the operator allows it: a mistake would show the service to a
network. The permissions of a Unix socket allow its owner and its group to connect.
"""

import errno
import os
import socket
import stat
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import cast

import trio
from msgspec import Struct

from artifactstore.http.hosts import Hosts, is_loopback, parse_authority
from artifactstore.http.peers import Peers
from artifactstore.http.tls import tls_context
from artifactstore_protocols.errors import ArtifactStoreError

__all__ = [
    "AddressUnavailable",
    "Listening",
    "RemoteBindRefused",
    "SocketFile",
    "check_listening",
    "open_listeners",
    "socket_file",
    "unlink_socket",
    "url_of",
]

_UNIX = "unix:"
_SOCKET_MODE = 0o660
_BACKLOG = 128
_VANISHED_AFTER_MS = 60_000
_NOT_HERE = frozenset({errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL})

type Listener = trio.SocketListener | trio.SSLListener[trio.SocketStream]


class AddressUnavailable(ArtifactStoreError):
    """The service cannot listen on the configured address."""

    address: str
    reason: str
    template = "cannot listen on {self.address}: {self.reason}; stop what uses it, or choose another with --bind"


class RemoteBindRefused(ArtifactStoreError):
    """Other machines could reach the address, and the operator has not allowed that."""

    address: str
    template = (
        "will not listen on {self.address}, which other machines can reach. Bind it to 127.0.0.1 or to unix:PATH, or "
        "say --allow-remote if they should; their tokens then need --certfile and --keyfile, or a --trusted-proxy"
    )


class Listening(Struct, frozen=True):
    """The configuration of the listeners.

    Attributes:
        bind: `HOST:PORT` or `unix:PATH`; port 0 takes a free port.
        allow_remote: whether other machines may reach the address.
        certfile: PEM file of the server's certificate chain. With `keyfile`, the service accepts only TLS.
        keyfile: PEM file of the server's private key.
        ca_certs: PEM file of certificate authorities. If given, a client must have a certificate of one of them.
        names: further names that clients may use for the service, in the form of `Authority.name`.
        peers: the trusted proxies and the public URL.
        anonymous_read: whether requests without a token may read packages.
    """

    bind: str
    allow_remote: bool = False
    certfile: Path | None = None
    keyfile: Path | None = None
    ca_certs: Path | None = None
    names: frozenset[str] = frozenset()
    peers: Peers = Peers()
    anonymous_read: bool = False

    @property
    def hosts(self) -> Hosts:
        """The names that a request may have in `Host`."""
        host, _, _port = self.bind.rpartition(":")
        bound = None if self.bind.startswith(_UNIX) else parse_authority(host)
        public = self.peers.public_url
        names = self.names if public is None else self.names | {public.authority.name}
        return Hosts(names, None if bound is None else bound.name)


async def open_listeners(listening: Listening) -> Sequence[Listener]:
    """Return open listeners, one for each address of the name.

    Raises:
        RemoteBindRefused, AddressUnavailable, CertificateUnusable: no listener stays open then.
    """
    context = None
    if listening.certfile is not None and listening.keyfile is not None:
        context = tls_context(listening.certfile, listening.keyfile, listening.ca_certs)
    try:
        if listening.bind.startswith(_UNIX):
            opened = [_open_unix(listening.bind)]
        else:
            opened = await _open_tcp(listening)
    except (OSError, ValueError) as error:  # a ValueError is a name or a path that cannot be encoded
        reason = error.strerror if isinstance(error, OSError) else None
        raise AddressUnavailable(listening.bind, reason or str(error)) from error
    if context is None:
        return opened
    return [trio.SSLListener(listener, context, https_compatible=True) for listener in opened]


async def check_listening(listening: Listening) -> None:
    """Check that `open_listeners` would succeed. Closes the listeners and removes their socket file.

    Raises:
        RemoteBindRefused, AddressUnavailable, CertificateUnusable: the service cannot listen.
    """
    for listener in await open_listeners(listening):
        file = socket_file(listener)
        await listener.aclose()
        if file is not None:
            unlink_socket(file)


def url_of(listener: Listener) -> str:
    """Return the address of a listener: `http://HOST:PORT`, `https://HOST:PORT` or `unix:PATH`."""
    plain = listener if isinstance(listener, trio.SocketListener) else listener.transport_listener
    if not isinstance(plain, trio.SocketListener):
        raise TypeError(f"{type(plain).__name__} is not a listener of this module")
    if plain.socket.family == socket.AF_UNIX:
        return f"{_UNIX}{plain.socket.getsockname()}"
    host, port = cast("tuple[str, int]", plain.socket.getsockname()[:2])
    scheme = "http" if isinstance(listener, trio.SocketListener) else "https"
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"


class SocketFile(Struct, frozen=True):
    """The file of a Unix socket: its path, and its device and inode numbers."""

    path: Path
    identity: tuple[int, int]


def socket_file(listener: Listener) -> SocketFile | None:
    """Return the socket file of a listener that was just opened; None for TCP."""
    url = url_of(listener)
    if not url.startswith(_UNIX):
        return None
    path = Path(url.removeprefix(_UNIX))
    return SocketFile(path, _identity(path))


def unlink_socket(file: SocketFile) -> None:
    """Remove a socket file, unless another file has replaced it. Errors are ignored."""
    with suppress(OSError):
        if _identity(file.path) == file.identity:
            file.path.unlink()


def _identity(path: Path) -> tuple[int, int]:
    found = os.lstat(path)
    return found.st_dev, found.st_ino


async def _open_tcp(listening: Listening) -> list[trio.SocketListener]:
    """Bind every address of the name, check the bound addresses, and only then listen."""
    host, _, port = listening.bind.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    # With AI_PASSIVE, `*` means every interface. The flag is set here so that the remote check sees that address.
    found = await trio.socket.getaddrinfo(host, int(port), type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    _refuse_remote(listening, [address for *_, address in found])
    not_here: OSError | None = None
    bound: list[socket.socket] = []
    with ExitStack() as opened:
        for family, kind, protocol, _name, address in dict.fromkeys(found):
            try:
                bound.append(opened.enter_context(_bind(family, kind, protocol, address)))
            except OSError as error:
                if error.errno not in _NOT_HERE:
                    raise
                not_here = error  # such as ::1 for localhost on a machine without IPv6
        _refuse_remote(listening, [each.getsockname() for each in bound])
        for each in bound:
            each.listen(_BACKLOG)
        opened.pop_all()
    if not bound and not_here is not None:
        raise not_here
    return [trio.SocketListener(trio.socket.from_stdlib_socket(each)) for each in bound]


def _bind(family: int, kind: int, protocol: int, address: object) -> socket.socket:
    opened = socket.socket(family, kind, protocol)
    try:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        # Connections inherit this timeout, which ends the event streams of clients whose machine vanished.
        opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _VANISHED_AFTER_MS)
        opened.bind(cast("tuple[str, int]", address))
    except BaseException:
        opened.close()
        raise
    return opened


def _refuse_remote(listening: Listening, addresses: Sequence[tuple[object, ...]]) -> None:
    if not listening.allow_remote and not all(is_loopback(str(host).partition("%")[0]) for host, *_ in addresses):
        raise RemoteBindRefused(listening.bind)


def _open_unix(bind: str) -> trio.SocketListener:
    path = Path(bind.removeprefix(_UNIX)).absolute()
    _remove_stale_socket(bind, path)
    opened = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        opened.bind(str(path))
        path.chmod(_SOCKET_MODE)  # no client can connect before `listen`
        opened.listen(_BACKLOG)
    except BaseException:
        opened.close()
        raise
    return trio.SocketListener(trio.socket.from_stdlib_socket(opened))


def _remove_stale_socket(bind: str, path: Path) -> None:
    """Remove the socket file of a killed server. Any other file, or a socket in use, is an error."""
    try:
        mode = os.lstat(path).st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise AddressUnavailable(bind, "something else lies there")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as caller:
        caller.setblocking(False)  # a full backlog must not block the event loop
        try:
            caller.connect(str(path))
        except ConnectionRefusedError:
            path.unlink()
            return
        except BlockingIOError:
            pass
    raise AddressUnavailable(bind, "Address already in use")
