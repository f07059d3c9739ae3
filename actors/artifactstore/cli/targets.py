"""Messages about the limits of a target's file system."""

from collections.abc import Sequence
from typing import Final

from artifactstore.cli.output import say
from artifactstore_protocols.records import TargetLimit

__all__ = ["say_limits"]

_TEXTS: Final[dict[TargetLimit, str]] = {
    "directory_sync": "directories cannot be synced, so a loss of power can undo what was written last",
    "file_sync": "files cannot be synced, so a loss of power can undo what was written last",
    "locks": "files cannot be locked; let one command at a time write there",
    "modes": "permissions are not kept",
    "names": "some names are kept in another Unicode form",
}


def say_limits(limits: Sequence[TargetLimit]) -> None:
    """Print one line for each limit."""
    for limit in limits:
        say(f"the target's file system has limits: {_TEXTS[limit]}")
