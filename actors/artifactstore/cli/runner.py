"""Running one command against a store: open it, do the work, close it, hand over what came of it."""

import getpass
import logging
import os
import signal
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from artifactstore.registry import Registry

__all__ = ["EXIT_DIFFERENT", "EXIT_FAILED", "EXIT_INTERRUPTED", "Finding", "invoker", "on_store"]

EXIT_FAILED = 1
EXIT_DIFFERENT = 3
EXIT_INTERRUPTED = 130


class Finding(Exception):
    """A command that did its work and found something that its exit code must say."""

    def __init__(self, exit_code: int) -> None:
        super().__init__(exit_code)
        self.exit_code = exit_code


def on_store[T](work: "Callable[[Registry], Awaitable[T]]") -> T:
    """Open the configured store, do `work` with its registry, close it."""
    # A command that opens no store, such as `version`, must not pay for loading one.
    import outcome  # noqa: PLC0415
    import trio  # noqa: PLC0415

    from artifactstore.config import Settings  # noqa: PLC0415
    from artifactstore.open import open_registry  # noqa: PLC0415

    settings = Settings.from_environment()
    logging.getLogger("artifactstore").setLevel(settings.log_level)

    async def on_registry() -> T:
        async with open_registry(settings) as registry:
            # Carried out of the block as a value: a refusal of the work must not look like one of the store.
            done = await outcome.acapture(work, registry)
        return done.unwrap()

    async def run() -> "outcome.Outcome[T] | None":
        # An interrupt cancels the work, and the store stops in order; as a KeyboardInterrupt it would strike anywhere.
        with trio.open_signal_receiver(signal.SIGINT) as interrupts:
            async with trio.open_nursery() as nursery:
                scope = trio.CancelScope()

                async def listen() -> None:
                    await anext(interrupts)
                    scope.cancel(reason="interrupted")

                nursery.start_soon(listen)
                done: outcome.Outcome[T] | None = None
                with scope:
                    done = await outcome.acapture(on_registry)
                nursery.cancel_scope.cancel()
        return None if scope.cancel_called else done

    finished = trio.run(run)
    if finished is None:
        raise KeyboardInterrupt
    return finished.unwrap()


def invoker() -> str:
    """Who runs the command, for the log: people are known by their login."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return f"uid {os.getuid()}"
