"""The URL of a service, and whether a token may travel to it."""

from ipaddress import ip_address
from urllib.parse import urlsplit

from artifactstore_protocols.errors import InvalidValue

__all__ = ["check_token", "is_loopback", "service_url"]

_SHOWN_CHARACTERS = 100


def service_url(text: str, what: str = "service URL") -> str:
    """Return the URL of a service in its plain form, without a slash at its end.

    Args:
        text: `https://HOST[:PORT]`, or `http://` for this machine alone.
        what: what an error calls it.

    Raises:
        InvalidValue: it is no such URL, or a token would travel to another machine in plain text.
    """
    try:
        parts = urlsplit(text)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise InvalidValue(what, text[:_SHOWN_CHARACTERS], "write https://HOST or https://HOST:PORT") from error
    if parts.username is not None or parts.password is not None:
        raise InvalidValue(what, "a URL with a password", "a service takes a token, which is no part of the URL")
    if parts.scheme not in {"http", "https"} or not host or port == 0 or not text.isascii() or not text.isprintable():
        raise InvalidValue(what, text[:_SHOWN_CHARACTERS], "write https://HOST or https://HOST:PORT")
    if parts.path not in {"", "/"} or parts.query or parts.fragment:
        raise InvalidValue(what, text[:_SHOWN_CHARACTERS], "write it without a path; the API is below /v1 there")
    if parts.scheme == "http" and not is_loopback(host):
        reason = "a token travels over plain HTTP only on this machine; write https://, or connect through a tunnel"
        raise InvalidValue(what, text[:_SHOWN_CHARACTERS], reason)
    shown = f"[{host}]" if ":" in host else host
    return f"{parts.scheme}://{shown}{'' if port is None else f':{port}'}"


def is_loopback(host: str) -> bool:
    """Return whether a host is this machine by its name alone. A name server could say that of any other name."""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def check_token(text: str) -> str:
    """Return a token without white space around it.

    Raises:
        InvalidValue: it cannot be one. The error does not show it.
    """
    token = text.strip()
    if not token or not token.isascii() or not token.isprintable() or " " in token:
        raise InvalidValue("token", "", "give what `artifactstore token create` printed, on one line")
    return token
