"""Notifications to systemd by the sd_notify(3) protocol: one datagram when the service is ready, one when it stops."""

import os
import socket
from contextlib import suppress

__all__ = ["notify"]

_ABSTRACT = "@"


def notify(state: str) -> None:
    """Send `READY=1` or `STOPPING=1` to the service manager, if there is one; ignore errors."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if address.startswith(_ABSTRACT):
        address = "\0" + address.removeprefix(_ABSTRACT)
    if address:
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as teller:
            teller.sendto(state.encode(), address)
