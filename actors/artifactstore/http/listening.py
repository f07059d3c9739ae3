"""Where and how the service listens: TCP or a Unix socket, with TLS or without, and never beyond this machine unasked.

There is no authentication yet, so an address that others can reach is refused unless the operator says that it is
meant. Whoever may connect to a Unix socket is said by its permissions: its owner and its group.
"""

import errno
import os
import socket
import stat
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import trio
from msgspec import Struct

from artifactstore.http.hosts import Hosts, is_loopback, parse_authority
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


@dataclass(eq=False)
class AddressUnavailable(ArtifactStoreError):
    """The service cannot listen where it was told to."""

    address: str
    reason: str
    template = "cannot listen on {self.address}: {self.reason}; stop what uses it, or choose another with --bind"


@dataclass(eq=False)
class RemoteBindRefused(ArtifactStoreError):
    """Other machines could reach the address, and nobody said that they may."""

    address: str
    template = (
        "will not listen on {self.address}, which other machines can reach: the service has no authentication. "
        "Bind it to 127.0.0.1 or to unix:PATH, or say --allow-remote if your network keeps strangers away"
    )


class Listening(Struct, frozen=True):
    """Where and how to listen.

    Attributes:
        bind: `HOST:PORT`, where port 0 takes a free one, or `unix:PATH`.
        allow_remote: whether an address that other machines can reach is meant.
        certfile: chain of the server's certificate, and
        keyfile: its key, both PEM; with them, TLS is spoken and nothing else.
        ca_certs: PEM file of the authorities one of whose certificates a client must show.
        names: further names by which clients may call the service, as `parse_authority` has them.
    """

    bind: str
    allow_remote: bool = False
    certfile: Path | None = None
    keyfile: Path | None = None
    ca_certs: Path | None = None
    names: frozenset[str] = frozenset()

    @property
    def hosts(self) -> Hosts:
        """Names that a request may have in `Host`."""
        host, _, _port = self.bind.rpartition(":")
        bound = None if self.bind.startswith(_UNIX) else parse_authority(host)
        return Hosts(self.names, None if bound is None else bound.name)


async def open_listeners(listening: Listening) -> Sequence[Listener]:
    """Listen; several times where a name has several addresses.

    Raises:
        RemoteBindRefused, AddressUnavailable, CertificateUnusable: and nothing is left open.
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
    """See that `open_listeners` can listen there, and leave the place as it was.

    Raises:
        RemoteBindRefused, AddressUnavailable, CertificateUnusable: it cannot.
    """
    for listener in await open_listeners(listening):
        file = socket_file(listener)
        await listener.aclose()
        if file is not None:
            unlink_socket(file)


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


class SocketFile(Struct, frozen=True):
    """The file of a Unix socket: where it is, and which one it is."""

    path: Path
    identity: tuple[int, int]


def socket_file(listener: Listener) -> SocketFile | None:
    """The file of a listener that has just been opened; None if it has none."""
    url = url_of(listener)
    if not url.startswith(_UNIX):
        return None
    path = Path(url.removeprefix(_UNIX))
    return SocketFile(path, _identity(path))


def unlink_socket(file: SocketFile) -> None:
    """Remove a socket that was listened on, unless something else has come to be in its place."""
    with suppress(OSError):
        if _identity(file.path) == file.identity:
            file.path.unlink()


def _identity(path: Path) -> tuple[int, int]:
    found = os.lstat(path)
    return found.st_dev, found.st_ino


async def _open_tcp(listening: Listening) -> list[trio.SocketListener]:
    """Bind every address of the name, look at what was really bound, and only then listen."""
    host, _, port = listening.bind.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    # With AI_PASSIVE, which is how `*` comes to mean every interface; so it has to be there when addresses are judged.
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
                not_here = error  # as ::1 for localhost on a machine without IPv6
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
        # A client's machine that vanished keeps a stream of events for no longer than this; connections inherit it.
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
