"""The choice of what a verification reads, from the arguments of a caller."""

from typing import Final

from artifactstore.environment import environment
from artifactstore.ids import now_us
from artifactstore.verify import Scope
from artifactstore_protocols.errors import InvalidValue
from artifactstore_protocols.event_store import EventStore
from artifactstore_protocols.verification import EVERY_OBJECT, SHARE_ALL_PPM, DueObjects, Sample

__all__ = ["check_scope", "scope_of"]

_SEED_BITS: Final = 32
_US: Final = 1_000_000


def check_scope(
    package: str | None,
    *,
    max_age_s: int | None,
    sample_ppm: int | None,
    seed: int | None,
    limit_rate: int | None,
) -> None:
    """Refuse arguments that cannot be combined.

    Raises:
        InvalidValue: the arguments cannot be combined, or a number is out of its range.
    """
    if package is not None and (max_age_s is not None or sample_ppm is not None):
        reason = "a maximum age or a sample chooses among all objects of the store; leave out the package"
        raise InvalidValue("package", package[:60], reason)
    if seed is not None and sample_ppm in {None, SHARE_ALL_PPM}:
        raise InvalidValue("seed", str(seed)[:60], "it selects a sample; give a sample of less than everything too")
    if sample_ppm is not None:
        Sample(sample_ppm, seed or 0)
    if limit_rate == 0:
        raise InvalidValue("limit_rate", "0", "give a number of bytes a second, or none for no limit")


async def scope_of(
    store: EventStore,
    package_id: str | None,
    *,
    max_age_s: int | None,
    sample_ppm: int | None,
    seed: int | None,
    limit_rate: int | None,
) -> Scope:
    """Return what a verification reads, by arguments that `check_scope` accepts."""
    as_of = up_to = (await store.probe()).head
    sample = EVERY_OBJECT
    if max_age_s is not None:
        up_to = min(as_of, await store.last_event_before(max(0, now_us() - max_age_s * _US)))
    if sample_ppm not in {None, SHARE_ALL_PPM}:
        sample = Sample(sample_ppm or 0, environment.get().random_bits(_SEED_BITS) if seed is None else seed)
    whole = max_age_s is None and sample_ppm is None
    return Scope(as_of, package_id, DueObjects(up_to, sample), whole, limit_rate)
