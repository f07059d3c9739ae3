"""Paths on the command line of which `-` is a standard stream, and `./-` a file of that name."""

import os
from pathlib import PurePath
from typing import Final, Self

import typer

__all__ = ["DASH", "DashText", "check_directory"]

DASH: Final = PurePath("-")


class DashText(str):
    """The text of a path, with the current directory before `./-`: `pathlib` would make that `-`."""

    __slots__ = ()

    def __new__(cls, text: str) -> Self:
        """Take the text as it was typed."""
        return super().__new__(cls, f"{os.getcwd()}/-" if text != "-" and PurePath(text) == DASH else text)  # noqa: PTH109


def check_directory(path: PurePath, what: str, param_hint: str, *, instead: str = "") -> None:
    """Refuse `-` as the name of a directory; `instead` is advice for those who want stdout.

    Raises:
        typer.BadParameter: it is `-`.
    """
    if path == DASH:
        advice = f"{instead}write ./- for a directory of this name"
        raise typer.BadParameter(f"{what} is not for stdout; {advice}", param_hint=param_hint)
