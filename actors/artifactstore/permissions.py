"""What this user may do with a file, and whose it is."""

import os
import pwd

__all__ = ["may", "owner_of"]


def may(path: str, mode: int) -> bool:
    """Whether the process may access a path, as `os.access` says for the user that it acts as."""
    return os.access(path, mode, effective_ids=os.access in os.supports_effective_ids)


def owner_of(path: str) -> str:
    """The name of a file's owner; the number of one who has no name."""
    owner = os.stat(path, follow_symlinks=False).st_uid  # noqa: PTH116 - a name that is text
    try:
        return pwd.getpwuid(owner).pw_name
    except KeyError:
        return f"user {owner}"
