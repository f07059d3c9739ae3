"""Events as the HTTP API shows them, as frozen values."""

from msgspec import Struct

__all__ = ["ShownEvent"]


class ShownEvent(Struct, frozen=True):
    """An event of the log, as JSON shows it.

    Attributes:
        sequence: its sequence.
        event_id: its id.
        type: its type, such as `v1.package.finalized`.
        subject: what it is about.
        principal: who caused it.
        recorded_at_us: when it was recorded.
        payload: what it says; the fields depend on its type. Of a manifest, the package and its provenance.
    """

    sequence: int
    event_id: str
    type: str
    subject: str
    principal: str
    recorded_at_us: int
    payload: object
