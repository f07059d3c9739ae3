"""Checks of the event loop that runs the calling code.

Without these checks, a call from the wrong loop ends in an error deep inside trio or asyncio, or in a deadlock.
"""

import asyncio
from typing import Literal

import trio

from artifactstore.refusals import BlocksEventLoop, WrongEventLoop

__all__ = ["Loop", "check_may_block", "loop_here", "must_be_asyncio", "must_be_trio"]

type Loop = Literal["trio", "asyncio", "no event loop"]


def loop_here() -> Loop:
    """Return the event loop that runs the caller. In trio's guest mode on asyncio, that is the loop of its task."""
    if trio.lowlevel.in_trio_task():
        return "trio"
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return "trio" if trio.lowlevel.in_trio_run() else "no event loop"
    return "asyncio"


def must_be_trio() -> trio.lowlevel.TrioToken:
    """Return the token of the trio run that the caller is part of.

    Raises:
        WrongEventLoop: trio does not run the caller.
    """
    here = loop_here()
    if here != "trio":
        raise WrongEventLoop("trio", here)
    return trio.lowlevel.current_trio_token()


def must_be_asyncio() -> asyncio.AbstractEventLoop:
    """Return the asyncio loop that runs the caller.

    Raises:
        WrongEventLoop: asyncio does not run the caller.
    """
    here = loop_here()
    if here != "asyncio":
        raise WrongEventLoop("asyncio", here)
    return asyncio.get_running_loop()


def check_may_block() -> None:
    """Check that the caller may block.

    Raises:
        BlocksEventLoop: an event loop runs the caller, and the call would block that loop.
    """
    here = loop_here()
    if here != "no event loop":
        raise BlocksEventLoop(here)
