"""The project file, `artifactstore.toml`: settings for its directory and everything below.

artifactstore looks for it in the current directory and its parents, as git looks for a repository. The search ends at
the home directory or at a file system boundary. The file decides where data goes, so the current user must own it.
"""

import os
import stat
import tomllib
from collections.abc import Collection, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final

from msgspec import Struct

from artifactstore_protocols.errors import InvalidValue

__all__ = ["PROJECT_FILE", "ProjectFile", "find_project_file", "read_project_file"]

PROJECT_FILE: Final = "artifactstore.toml"

_BYTES_MAX: Final = 64 << 10
"""Most bytes of a project file. A real one has a few lines, so a larger file is something else."""


class ProjectFile(Struct, frozen=True):
    """A project file.

    Attributes:
        path: its absolute path.
        values: its values by setting name, not validated yet.
    """

    path: Path
    values: Mapping[str, Any]


def find_project_file(environment: Mapping[str, str]) -> Path | None:
    """Return the nearest project file at or above the current directory; None if there is none.

    Args:
        environment: environment variables. The search ends at `HOME`, because other users own the directories above it.
    """
    try:
        here = Path.cwd()
        device = here.stat().st_dev
    except OSError:  # the current directory was deleted
        return None
    home = os.path.realpath(environment.get("HOME") or here.root)
    for directory in (here, *here.parents):
        try:
            if directory.stat().st_dev != device:
                return None
            (directory / PROJECT_FILE).lstat()
        except OSError:  # the file does not exist, or this user cannot see it
            pass
        else:
            return directory / PROJECT_FILE
        if str(directory) == home:
            return None
    return None


def read_project_file(path: Path, settings: Collection[str]) -> ProjectFile:
    """Read a project file.

    Args:
        path: the file.
        settings: the setting names that it may use.

    Raises:
        InvalidValue: another user owns the file, its link or its directory; it cannot be read or parsed; or it uses an
            unknown setting.
    """
    try:
        values = tomllib.loads(_text(path))
    except OSError as error:
        raise _refused(path, f"it cannot be read: {error.strerror or error}") from error
    except UnicodeDecodeError:
        raise _refused(path, "it is not valid UTF-8") from None
    except tomllib.TOMLDecodeError as error:
        raise _refused(path, f"it is not valid TOML: {error}") from error
    except (RecursionError, ValueError) as error:  # limits of the Python interpreter
        raise _refused(path, "it is nested too deeply, or a number in it has too many digits") from error
    for name in values.keys() - set(settings):
        near = get_close_matches(name, settings, n=1)
        meant = f"did you mean {near[0]}?" if near else f"the settings are {', '.join(settings)}"
        raise _refused(path, f"it has no setting {name[:40]!r}; {meant}")
    return ProjectFile(path, values)


def _text(path: Path) -> str:
    # O_NONBLOCK: without it, opening a FIFO blocks.
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    with os.fdopen(descriptor, "rb") as file:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise _refused(path, "it is no regular file; move it away")
        for owned, owner in (
            ("it", found.st_uid),
            ("the link", path.lstat().st_uid),
            ("its directory", path.parent.stat().st_uid),
        ):
            if owner != os.geteuid():
                raise _refused(
                    path,
                    f"{owned} belongs to another user (uid {owner}), who could send your data anywhere; "
                    "run as its owner, make it yours (chown), or work in a directory that is not below it",
                )
        content = file.read(_BYTES_MAX + 1)
    if len(content) > _BYTES_MAX:
        raise _refused(path, f"it is larger than {_BYTES_MAX} bytes")
    return content.decode()


def _refused(path: Path, reason: str) -> InvalidValue:
    return InvalidValue("project file", str(path), reason)
