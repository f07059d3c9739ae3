"""Which event loop runs the calling code, and the refusals of code that is called from the wrong one.

Without them a misuse shows as an error from deep inside trio or asyncio, or as a program that stands still.
"""

import asyncio
from typing import Literal

import trio

from artifactstore.refusals import BlocksEventLoop, WrongEventLoop

__all__ = ["Loop", "loop_here", "must_be_asyncio", "must_be_trio", "must_not_block"]

type Loop = Literal["trio", "asyncio", "no event loop"]


def loop_here() -> Loop:
    """The event loop that runs the caller; where trio is asyncio's guest, the one whose task it is."""
    if trio.lowlevel.in_trio_task():
        return "trio"
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return "trio" if trio.lowlevel.in_trio_run() else "no event loop"
    return "asyncio"


def must_be_trio() -> trio.lowlevel.TrioToken:
    """Return the token of the run that the caller is part of.

    Raises:
        WrongEventLoop: it is part of none.
    """
    here = loop_here()
    if here != "trio":
        raise WrongEventLoop("trio", here)
    return trio.lowlevel.current_trio_token()


def must_be_asyncio() -> asyncio.AbstractEventLoop:
    """Return the asyncio loop that runs the caller.

    Raises:
        WrongEventLoop: it is run by another kind of loop, or by none.
    """
    here = loop_here()
    if here != "asyncio":
        raise WrongEventLoop("asyncio", here)
    return asyncio.get_running_loop()


def must_not_block() -> None:
    """Let pass whoever may wait for another thread.

    Raises:
        BlocksEventLoop: the caller is run by an event loop, which would stand still meanwhile.
    """
    here = loop_here()
    if here != "no event loop":
        raise BlocksEventLoop(here)
