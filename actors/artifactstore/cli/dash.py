"""Paths on the command line of which `-` is a standard stream, and `./-` a file of that name."""

import os
from pathlib import PurePath
from typing import Final, Self

__all__ = ["DASH", "DashText"]

DASH: Final = PurePath("-")


class DashText(str):
    """The text of a path, with the current directory before `./-`: `pathlib` would make that `-`."""

    __slots__ = ()

    def __new__(cls, text: str) -> Self:
        """Take the text as it was typed."""
        return super().__new__(cls, f"{os.getcwd()}/-" if text != "-" and PurePath(text) == DASH else text)  # noqa: PTH109
