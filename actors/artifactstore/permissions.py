"""The permissions of this process on a file, and the owner of a file."""

import os
import pwd

__all__ = ["may", "owner_of"]


def may(path: str, mode: int) -> bool:
    """Return whether this process may access a path, by `os.access` for its effective user where that is supported."""
    return os.access(path, mode, effective_ids=os.access in os.supports_effective_ids)


def owner_of(path: str) -> str:
    """Return the name of a file's owner, or `user UID` if the owner has no name."""
    owner = os.stat(path, follow_symlinks=False).st_uid  # noqa: PTH116 - a name that is text
    try:
        return pwd.getpwuid(owner).pw_name
    except KeyError:
        return f"user {owner}"
