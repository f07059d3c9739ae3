"""Functions that run one command: they read the settings, open the store, do the work and close the store."""

import getpass
import os
import sys
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from artifactstore import signals
from artifactstore.cli.output import output_held
from artifactstore.cli.remote import AnyRegistry, check_local, on_service, service_named
from artifactstore.cli.store_option import named_store
from artifactstore_protocols.errors import ArtifactStoreError
from artifactstore_protocols.retention import RETENTION_CLASSES, UnknownRetentionClass

if TYPE_CHECKING:
    from artifactstore.config import Settings
    from artifactstore.registry import Registry
    from artifactstore_protocols.metadata import Metadata
    from artifactstore_protocols.records import IngestPreview
    from artifactstore_protocols.sources import SourceTree

__all__ = [
    "CONTINUES",
    "EXIT_DIFFERENT",
    "EXIT_FAILED",
    "MAY_BE_DONE",
    "NonzeroExit",
    "check_package",
    "class_named",
    "invoker",
    "logged",
    "on_either",
    "on_store",
    "on_trio",
    "preview",
]

EXIT_FAILED = 1
EXIT_DIFFERENT = 3

CONTINUES = "run the same command again to continue"
MAY_BE_DONE = "it may have taken effect; `artifactstore history` shows what was recorded"
"""Advice to a user who interrupts a command."""


class NonzeroExit(Exception):
    """A command completed, and its exit code reports what it found."""

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
    """Open the configured store, call `work` with its registry, close the store and return the result.

    Args:
        work: the work of the command.
        create: whether to create a missing store. If False, a missing store is an error and nothing is written, so
            that a user who reads in the wrong directory notices it.
        check: validates the source before the store is opened, so that an invalid source leaves no new store behind.
        interrupted: advice to the user after a signal.

    Raises:
        StoreNotFound: the store does not exist, and `create` is False.
        Interrupted: a signal arrived. Acknowledged data is kept.
    """
    # Imported here because a command that opens no store, such as `version`, must start fast.
    import outcome  # noqa: PLC0415

    from artifactstore.open import open_registry  # noqa: PLC0415

    async def on_registry(settings: "Settings") -> T:
        if check is not None:
            await check()
        async with open_registry(settings, create=create) as registry:
            # An error of the work leaves the block as a value, so that it does not look like an error of the store.
            done = await outcome.acapture(work, registry)
        return done.unwrap()

    with logged() as settings:
        return on_trio(lambda: on_registry(settings), interrupted=interrupted)


def on_either[T](work: Callable[[AnyRegistry], Awaitable[T]], *, interrupted: str = "") -> T:
    """Call `work` with the service that `ARTIFACTSTORE_URL` names, or with the configured store. See `on_store`."""
    url = service_named()
    if url is None:
        return on_store(work, interrupted=interrupted)
    with logged(needs_store=False):
        return on_trio(lambda: on_service(url, work), interrupted=interrupted)


def on_trio[T](work: Callable[[], Awaitable[T]], *, interrupted: str = "") -> T:
    """Run `work` under trio until it ends or a signal arrives, and return its result.

    Raises:
        Interrupted: SIGINT, SIGTERM or SIGHUP arrived before the work was complete.
    """
    import outcome  # noqa: PLC0415 - as above
    import trio  # noqa: PLC0415

    async def go(stops: signals.StopSignals) -> "outcome.Outcome[T]":
        # A signal cancels the work, so the store stops in order. An exception could interrupt any statement.
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
        # Work that was complete before the signal returns its result, and the signal is ignored.
        if done is None or (came and isinstance(done, outcome.Error)):
            return outcome.Error(signals.Interrupted(came[0], interrupted))
        return done

    with output_held():
        return signals.run(go).unwrap()


def preview(tree: "SourceTree") -> "IngestPreview":
    """Return what an ingest would store. No store is needed, and none is opened.

    Raises:
        Exception: the errors of `Registry.preview_ingest`.
    """
    from artifactstore.environment import check_cancelled, in_thread  # noqa: PLC0415 - as above
    from artifactstore.ingest.own_files import OwnFiles  # noqa: PLC0415
    from artifactstore.ingest.results import preview_of  # noqa: PLC0415
    from artifactstore.ingest.sources import gather  # noqa: PLC0415
    from artifactstore.open import places_of  # noqa: PLC0415

    with logged() as settings:

        def scan() -> "IngestPreview":
            own = OwnFiles.of(places_of(settings))
            limit = settings.package_files_max
            return preview_of(gather(tree, files_max=limit, own=own, check_cancelled=check_cancelled).scan)

        return on_trio(lambda: in_thread(scan))


@contextmanager
def logged(*, needs_store: bool = True) -> "Generator[Settings]":
    """Read the settings, and write log messages of the block to stderr as part of one request.

    Args:
        needs_store: whether the block uses the store of these settings.

    Raises:
        InvalidValue: a setting is invalid.
        NotRemote: it needs a store, and commands use a service.
    """
    if needs_store:
        check_local()
    from artifactstore.cli.logging_setup import logging_to, passwords_in  # noqa: PLC0415 - it loads actors, as above
    from artifactstore.config import find_settings  # noqa: PLC0415
    from artifactstore.supervision.requests import request_named  # noqa: PLC0415

    found = find_settings(store=named_store())
    secrets = passwords_in(found.settings.database_url)
    with logging_to(sys.stderr, found.settings.log_level, secrets=secrets), request_named():
        found.warn()
        yield found.settings


async def check_package(name: str, retention: str, metadata: "Metadata", key: str | None) -> None:
    """Reject an invalid package before a store is created for it."""
    from artifactstore.ingest import check_creation  # noqa: PLC0415 - as above
    from artifactstore_protocols.messages import OpenPackage  # noqa: PLC0415

    check_creation(OpenPackage(name, retention, metadata, invoker(), key))


@contextmanager
def class_named(retention: str) -> "Generator[None]":
    """Say that a retention class is unknown, if there is no store that could have added it."""
    try:
        yield
    except ArtifactStoreError as error:
        from artifactstore.database.errors import StoreNotFound  # noqa: PLC0415 - as above

        if isinstance(error, StoreNotFound) and retention not in RETENTION_CLASSES:
            raise UnknownRetentionClass(retention) from None
        raise


def invoker() -> str:
    """Return the principal that the log records: the user's login name, or the uid if there is no name."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return f"uid {os.getuid()}"
