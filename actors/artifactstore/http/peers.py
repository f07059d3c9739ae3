"""Who is at the other end of a connection: the address of the client, and whether secrets may travel on the way.

A token may come by TLS, by a Unix socket, or from this machine. Beyond that, only a proxy that the operator trusts can
say that its client used TLS. Forwarded headers of anybody else are ignored.
"""

from collections.abc import Mapping
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Any, Final

from msgspec import Struct

from artifactstore.http.hosts import Authority, is_loopback, parse_authority
from artifactstore_protocols.errors import InvalidValue

__all__ = ["UNIX", "Peer", "Peers", "PublicUrl", "parse_proxies", "parse_public_url"]

UNIX: Final = "unix"
"""The address of every client on a Unix socket."""

_FORWARDED_FOR: Final = b"x-forwarded-for"
_FORWARDED_PROTO: Final = b"x-forwarded-proto"
_ADDRESS_MAX: Final = 45
_HTTPS: Final = "https"

type Network = IPv4Network | IPv6Network


class PublicUrl(Struct, frozen=True):
    """The URL at which clients reach the service, through a proxy perhaps: a scheme and a host."""

    scheme: str
    authority: Authority
    text: str

    def is_origin(self, scheme: str, authority: Authority) -> bool:
        """Return whether an `Origin` is this URL."""
        return scheme == self.scheme and authority.same_as(self.authority, scheme)


class Peer(Struct, frozen=True):
    """The client of a request.

    Attributes:
        address: its IP address, or `unix`.
        scheme: `http` or `https`, as the client uses it.
        is_private: whether nobody between the client and the service can read what it sends.
        is_proxied: whether a trusted proxy passed the request on.
    """

    address: str
    scheme: str
    is_private: bool
    is_proxied: bool = False


class Peers(Struct, frozen=True):
    """What the operator says about the way of requests to the service.

    Attributes:
        proxies: the networks of the trusted proxies.
        trusts_unix: whether what comes by the Unix socket comes from a trusted proxy.
        public_url: the URL at which clients reach the service; None if it is the one that it listens on.
    """

    proxies: tuple[Network, ...] = ()
    trusts_unix: bool = False
    public_url: PublicUrl | None = None

    def peer_of(self, scope: Mapping[str, Any]) -> Peer:
        """Return the client of a request."""
        client = scope.get("client")
        address = UNIX if client is None else str(client[0])
        tls = scope["scheme"] == _HTTPS
        if not self._trusts(address):
            private = tls or address == UNIX or is_loopback(address)
            return Peer(address, _HTTPS if tls else "http", private)
        schemes = _values(scope, _FORWARDED_PROTO)
        secure = bool(schemes) and all(each.lower() == _HTTPS for each in schemes)
        return Peer(self._client_of(scope, address), _HTTPS if secure else "http", secure, is_proxied=True)

    def is_own(self, origin: str, host: str, peer: Peer) -> bool:
        """Return whether an `Origin` is this service, as the client calls it."""
        scheme, _, text = origin.partition("://")
        authority = parse_authority(text)
        if authority is None:
            return False
        if self.public_url is not None and self.public_url.is_origin(scheme, authority):
            return True
        own = parse_authority(host)
        return own is not None and scheme == peer.scheme and authority.same_as(own, scheme)

    def _trusts(self, address: str) -> bool:
        if address == UNIX:
            return self.trusts_unix
        found = _address(address)
        return found is not None and any(found in each for each in self.proxies)

    def _client_of(self, scope: Mapping[str, Any], address: str) -> str:
        """Return the last address that no trusted proxy has. What comes before it is said by the client itself."""
        for each in reversed(_values(scope, _FORWARDED_FOR)):
            if not self._trusts(each):
                return each[:_ADDRESS_MAX]
        return address


def parse_proxies(what: str, text: str) -> tuple[tuple[Network, ...], bool]:
    """Return the networks of trusted proxies, and whether one is on a Unix socket.

    Args:
        what: what the text is, for the message.
        text: addresses, networks and `unix`, separated by commas; or nothing.

    Raises:
        InvalidValue: a part is something else.
    """
    parts = [part for each in text.split(",") if (part := each.strip())]
    try:
        return tuple(ip_network(each) for each in parts if each != UNIX), UNIX in parts
    except ValueError as error:
        reason = "write IP addresses, networks such as 10.0.0.0/8, or unix, separated by commas"
        raise InvalidValue(what, text[:60], reason) from error


def parse_public_url(what: str, text: str) -> PublicUrl:
    """Return the parts of the URL of the service.

    Args:
        what: what the text is, for the message.
        text: the URL.

    Raises:
        InvalidValue: it is none, or has more than a scheme and a host.
    """
    scheme, _, rest = text.partition("://")
    host, _slash, path = rest.partition("/")
    authority = parse_authority(host)
    if scheme not in {"http", _HTTPS} or authority is None or path:
        reason = "write http:// or https:// and the host, such as https://store.example.net, without a path"
        raise InvalidValue(what, text[:60], reason)
    return PublicUrl(scheme, authority, f"{scheme}://{host}")


def _values(scope: Mapping[str, Any], name: bytes) -> list[str]:
    """Return the values of a header that is a list, in their order."""
    joined = ",".join(value.decode("latin-1") for key, value in scope["headers"] if key == name)
    return [part for each in joined.split(",") if (part := each.strip())]


def _address(text: str) -> IPv4Address | IPv6Address | None:
    try:
        found = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return (found.ipv4_mapped or found) if isinstance(found, IPv6Address) else found
