"""Paths of this machine as text: UTF-8 whatever the locale and the interpreter's modes say.

Python decodes file names and arguments with an encoding that depends on `LC_ALL`, `PYTHONUTF8` and more, so the same
name can be another string in another process. Inside the store a path is always the UTF-8 text of its bytes; a byte
that is not UTF-8 is a lone surrogate (PEP 383). System calls get the bytes back.
"""

import os

__all__ = ["path_bytes", "path_text"]


def path_text(path: str | bytes | os.PathLike[str]) -> str:
    """Return the UTF-8 text of a path that this process was given or made, in whatever encoding it decodes names."""
    try:
        return os.fsencode(path).decode(errors="surrogateescape")
    except UnicodeEncodeError:  # the locale has no such character, so the text never came from it
        return str(path)


def path_bytes(text: str) -> bytes:
    """Return the bytes of a path that `path_text` made text of.

    Raises:
        UnicodeEncodeError: it holds a surrogate that stands for no byte.
    """
    return text.encode(errors="surrogateescape")
