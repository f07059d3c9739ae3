"""The task by which a service records the clock every hour, so that a later clock can be compared with it."""

import logging
from typing import Final

import trio

from artifactstore.registry import Registry
from artifactstore_protocols.expiry import OBSERVED_EVERY_US
from artifactstore_protocols.supervision import Refusal

__all__ = ["observe_hourly"]

_PRINCIPAL: Final = "service"

_logger = logging.getLogger("artifactstore.clock")


async def observe_hourly(registry: Registry) -> None:
    """Record the clock now and every hour, until cancelled. What prevents it is logged."""
    while True:
        try:
            await registry.observe_clock(principal=_PRINCIPAL)
        except Refusal as reason:
            _logger.warning("the clock is not recorded: %s", reason)
        await trio.sleep(OBSERVED_EVERY_US / 1_000_000)
