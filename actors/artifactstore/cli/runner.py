"""Running one command against a store: open it, do the work, close it, hand over what came of it."""

import getpass
import os
import sys
from collections.abc import Awaitable, Callable, Generator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

from artifactstore import signals
from artifactstore.cli.output import answer_held
from artifactstore.cli.store_option import named_store

if TYPE_CHECKING:
    from artifactstore.config import Settings
    from artifactstore.registry import Registry

__all__ = [
    "CONTINUES",
    "EXIT_DIFFERENT",
    "EXIT_FAILED",
    "MAY_BE_DONE",
    "Finding",
    "check_package",
    "invoker",
    "logged",
    "on_store",
    "on_trio",
]

EXIT_FAILED = 1
EXIT_DIFFERENT = 3

CONTINUES = "run the same command again to continue"
MAY_BE_DONE = "it may have taken effect; `artifactstore audit` shows what was recorded"
"""What to tell a user who interrupts a command."""


class Finding(Exception):
    """A command that did its work and found something that its exit code must say."""

    def __init__(self, exit_code: int) -> None:
        super().__init__(exit_code)
        self.exit_code = exit_code


def on_store[T](
    work: "Callable[[Registry], Awaitable[T]]",
    *,
    create: bool = False,
    check: Callable[[], Awaitable[object]] | None = None,
    interrupted: str = "",
) -> T:
    """Open the configured store, do `work` with its registry, close it.

    Args:
        work: what to do.
        create: set the store up if there is none. Without it a store that is not there is refused, and nothing is
            written: whoever reads in the wrong directory has to hear of it.
        check: looks at the source before the store is opened, so that a wrong one leaves no new store behind.
        interrupted: what its user can do after a signal.

    Raises:
        StoreNotFound: there is no store, and `create` is not wanted.
        Interrupted: a signal came; what was acknowledged by then is kept.
    """
    # A command that opens no store, such as `version`, must not pay for loading one.
    import outcome  # noqa: PLC0415

    from artifactstore.open import open_registry  # noqa: PLC0415

    async def on_registry(settings: "Settings") -> T:
        if check is not None:
            await check()
        async with open_registry(settings, create=create) as registry:
            # Carried out of the block as a value: a refusal of the work must not look like one of the store.
            done = await outcome.acapture(work, registry)
        return done.unwrap()

    with logged() as settings:
        return on_trio(lambda: on_registry(settings), interrupted=interrupted)


def on_trio[T](work: Callable[[], Awaitable[T]], *, interrupted: str = "") -> T:
    """Do `work` under trio, until it ends or a signal comes.

    Raises:
        Interrupted: SIGINT, SIGTERM or SIGHUP came.
    """
    import outcome  # noqa: PLC0415 - as above
    import trio  # noqa: PLC0415

    async def go(stops: signals.StopSignals) -> "outcome.Outcome[T]":
        # A signal cancels the work, and the store stops in order; as an exception it would strike anywhere.
        scope = trio.CancelScope()
        came: list[int] = []

        async def listen() -> None:
            came.append(await stops.receive())
            scope.cancel(reason="interrupted")

        async with trio.open_nursery() as nursery:
            nursery.start_soon(listen)
            done: outcome.Outcome[T] | None = None
            with scope:
                done = await outcome.acapture(work)
            nursery.cancel_scope.cancel()
        # Work that was complete before the signal has an answer, which is worth more than the signal.
        if done is None or (came and isinstance(done, outcome.Error)):
            return outcome.Error(signals.Interrupted(came[0], interrupted))
        return done

    with answer_held():
        return signals.run(go).unwrap()


@contextmanager
def logged() -> "Generator[Settings]":
    """Read the settings, and write to stderr what is logged in the block, as part of one request.

    Raises:
        InvalidValue: a setting is wrong.
    """
    from artifactstore.cli.logs import logging_to, passwords_in  # noqa: PLC0415 - it loads actors, as above
    from artifactstore.config import find_settings  # noqa: PLC0415
    from artifactstore.supervision.requests import request_named  # noqa: PLC0415

    found = find_settings(store=named_store())
    secrets = passwords_in(found.settings.database_url)
    with logging_to(sys.stderr, found.settings.log_level, secrets=secrets), request_named():
        found.warn()
        yield found.settings


async def check_package(name: str, retention: str, metadata: "Mapping[str, str]", key: str | None) -> None:
    """Refuse a package that cannot be, before a store is made for it."""
    from artifactstore.ingest import check_creation  # noqa: PLC0415 - as above
    from artifactstore_protocols.messages import OpenPackage  # noqa: PLC0415

    check_creation(OpenPackage(name, retention, metadata, invoker(), key))


def invoker() -> str:
    """Who runs the command, for the log: people are known by their login."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return f"uid {os.getuid()}"
