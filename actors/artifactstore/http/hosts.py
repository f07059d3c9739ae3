"""The names that clients may use for the service: loopback names, the address they reached, and configured names.

A page of another site can map its own host name to 127.0.0.1 (DNS rebinding) and then read answers as its own. The
browser still sends that name in `Host`. So the service answers only if it knows the name.
"""

import re
from ipaddress import IPv4Address, IPv6Address, ip_address

from msgspec import Struct

__all__ = ["Authority", "Hosts", "is_loopback", "parse_authority"]

_AUTHORITY = re.compile(r"(?P<name>\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9._-]{1,253})(?::(?P<port>[0-9]{0,5}))?", re.ASCII)
_LOCALHOST = "localhost"
_DEFAULT_PORTS = {"http": "80", "https": "443"}


class Authority(Struct, frozen=True):
    """A host and an optional port, as in the `Host` header.

    Attributes:
        name: the host in lower case, without a final dot. IP addresses are normalized and have no brackets.
        port: the digits of the port; empty if there is none.
    """

    name: str
    port: str

    def same_as(self, other: "Authority", scheme: str) -> bool:
        """Return whether both have the same host and port. A missing port is the default port of `scheme`."""
        default = _DEFAULT_PORTS.get(scheme, "")
        return (self.name, self.port or default) == (other.name, other.port or default)


def parse_authority(text: str) -> Authority | None:
    """Return the parts of `HOST`, `HOST:PORT` or `[IPv6]:PORT`; None for anything else."""
    found = _AUTHORITY.fullmatch(text)
    if found is None:
        return None
    name, port = found["name"], found["port"] or ""
    if name.startswith("["):
        address = _address(name[1:-1])
        return None if address is None else Authority(str(address), port)
    name = name.lower().removesuffix(".")
    return Authority(str(_address(name) or name), port) if name else None


def is_loopback(name: str) -> bool:
    """Return whether a parsed name, or an IP address as text, is `localhost` or a loopback address."""
    address = _address(name)
    return name == _LOCALHOST if address is None else address.is_loopback


class Hosts(Struct, frozen=True):
    """The names that `Host` may contain, besides loopback names and the address that the client reached.

    Attributes:
        names: configured names, in the form of `Authority.name`.
        bound: the host that the service listens on, in the same form; None for a Unix socket.
    """

    names: frozenset[str] = frozenset()
    bound: str | None = None

    def admits(self, authority: Authority, reached: str) -> bool:
        """Return whether a request with this `Host`, on a connection to the address `reached`, is for this service."""
        local = _address(reached.partition("%")[0])
        own = {*self.names, self.bound, str(local)}
        return authority.name in own or is_loopback(authority.name)


def _address(text: str) -> IPv4Address | IPv6Address | None:
    try:
        address = ip_address(text)
    except ValueError:
        return None
    return (address.ipv4_mapped or address) if isinstance(address, IPv6Address) else address
