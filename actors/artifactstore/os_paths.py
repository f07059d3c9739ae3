"""Paths of this machine as text: always UTF-8, independent of the locale and the interpreter's modes.

Python decodes file names and arguments with an encoding that depends on `LC_ALL`, `PYTHONUTF8` and more, so the same
name can be another string in another process. Inside the store, a path is always the UTF-8 text of its bytes. A byte
that is not UTF-8 becomes a lone surrogate (PEP 383). System calls receive the original bytes.
"""

import os

__all__ = ["path_bytes", "path_text"]


def path_text(path: str | bytes | os.PathLike[str]) -> str:
    """Return the UTF-8 text of a path, whatever encoding this process decodes file names with."""
    try:
        return os.fsencode(path).decode(errors="surrogateescape")
    except UnicodeEncodeError:  # the locale cannot encode the text, so Python did not decode it from a file name
        return str(path)


def path_bytes(text: str) -> bytes:
    """Return the bytes of a path that is the result of `path_text`.

    Raises:
        UnicodeEncodeError: the text holds a surrogate that stands for no byte.
    """
    return text.encode(errors="surrogateescape")
