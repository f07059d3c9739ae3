"""The names by which a client may call the service: loopback names, the address it reached, and configured names.

A page on another site can give its own name the address 127.0.0.1 (DNS rebinding) and then read answers as its own. Its
browser still sends the name of that site in `Host`, so the service answers only to names that it knows.
"""

import re
from ipaddress import IPv4Address, IPv6Address, ip_address

from msgspec import Struct

__all__ = ["Authority", "Hosts", "is_loopback", "parse_authority"]

_AUTHORITY = re.compile(r"(?P<name>\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9._-]{1,253})(?::(?P<port>[0-9]{0,5}))?", re.ASCII)
_LOCALHOST = "localhost"
_DEFAULT_PORTS = {"http": "80", "https": "443"}


class Authority(Struct, frozen=True):
    """A host and perhaps a port, as in `Host`.

    Attributes:
        name: in lower case, without a final dot; addresses in their usual form and without brackets.
        port: digits; empty where there is none.
    """

    name: str
    port: str

    def same_as(self, other: "Authority", scheme: str) -> bool:
        """Return whether both are the same place for a URL of this scheme."""
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
    """Return whether a parsed name, or an address, is this machine's own and nobody else's."""
    address = _address(name)
    return name == _LOCALHOST if address is None else address.is_loopback


class Hosts(Struct, frozen=True):
    """Names that a request may have in `Host`, beside loopback names and the address that it reached.

    Attributes:
        names: that are configured, as `parse_authority` has them.
        bound: the name that it was told to listen on, likewise; None for a Unix socket.
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
