"""Telling systemd that the service is up or going down: one datagram each, by the protocol of sd_notify(3)."""

import os
import socket
from contextlib import suppress

__all__ = ["notify"]

_ABSTRACT = "@"


def notify(state: str) -> None:
    """Say `READY=1` or `STOPPING=1` to the service manager, if one listens; a service never fails because of it."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if address.startswith(_ABSTRACT):
        address = "\0" + address.removeprefix(_ABSTRACT)
    if address:
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as teller:
            teller.sendto(state.encode(), address)
