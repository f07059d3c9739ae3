"""What the check of a whole log says about ids and keys that come twice, in one batch and across batches."""

import pytest
from msgspec.structs import replace

from artifactstore.database.log_validator import LogValidator
from artifactstore_protocols.events import EventRefused, StoredEvent
from long_log import long_log

KEY, DIGEST = "once", f"blake3:{'0' * 64}"


def with_key(stored: StoredEvent) -> StoredEvent:
    """This event, of a command with the key."""
    stamp = replace(stored.event.command, idempotency_key=KEY, digest=DIGEST)
    return StoredEvent(stored.sequence, replace(stored.event, command=stamp))


@pytest.mark.parametrize("earlier", [2, 3])
@pytest.mark.parametrize("what", ["event id", "key"])
async def test_the_event_that_repeats_an_id_or_a_key_is_named(earlier: int, what: str) -> None:
    log = list(long_log(5))  # events 2, 3 and 5 are the first ones of commands
    if what == "event id":
        log[4] = StoredEvent(5, replace(log[4].event, event_id=log[earlier - 1].event.event_id))
    else:
        log[earlier - 1], log[4] = with_key(log[earlier - 1]), with_key(log[4])
    async with LogValidator.opened() as validator:
        await validator.validate(log[:2])
        with pytest.raises(EventRefused, match=r"event 5 .*an earlier event has the same event id or idempotency key"):
            await validator.validate(log[2:])
        assert validator.sequence == 2
