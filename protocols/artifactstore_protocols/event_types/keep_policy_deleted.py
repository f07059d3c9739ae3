"""`v1.keep_policy.deleted`: the keep policy of a group was deleted. The packages stay."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from artifactstore_protocols.commands import DeleteKeepPolicy
from artifactstore_protocols.event_types.base import EventType, record_codec
from artifactstore_protocols.event_types.keep_policy_set import keep_policy_subject
from artifactstore_protocols.keep_policies import KeepPolicyNotFound
from artifactstore_protocols.state import LogState, Needs
from artifactstore_protocols.views import KEEP_POLICIES, Delete, RowOperation

if TYPE_CHECKING:
    from artifactstore_protocols.events import Event, StoredEvent

__all__ = ["KEEP_POLICY_DELETED", "KeepPolicyDeleted", "delete_keep_policy"]


class KeepPolicyDeleted(Struct, frozen=True):
    """The keep policy of a group of packages was deleted. The subject is `keep-policy:` and the group.

    Attributes:
        group: the package name, or the glob of names.
    """

    group: str


def delete_keep_policy(command: DeleteKeepPolicy, state: LogState) -> KeepPolicyDeleted:
    """Return the payload that deletes a keep policy.

    Raises:
        KeepPolicyNotFound: the group has none.
    """
    if command.group not in state.keep_policies:
        raise KeepPolicyNotFound(command.group)
    return KeepPolicyDeleted(command.group)


def _check(payload: KeepPolicyDeleted, _event: "Event") -> None:
    DeleteKeepPolicy(payload.group)


def _judge(payload: KeepPolicyDeleted, _stored: "StoredEvent", state: LogState) -> None:
    delete_keep_policy(DeleteKeepPolicy(payload.group), state)


def _evolve(payload: KeepPolicyDeleted, _stored: "StoredEvent", state: LogState) -> None:
    del state.keep_policies[payload.group]


def _rows(payload: KeepPolicyDeleted, _stored: "StoredEvent") -> Iterable[RowOperation]:
    return (Delete(KEEP_POLICIES, ((payload.group,),)),)


_NAME: Final = "v1.keep_policy.deleted"
KEEP_POLICY_DELETED: Final = EventType(
    name=_NAME,
    codec=record_codec(_NAME, KeepPolicyDeleted),
    subject=lambda payload: keep_policy_subject(payload.group),
    needs=lambda _payload: Needs(keep_policies=True),
    check=_check,
    judge=_judge,
    evolve=_evolve,
    rows=_rows,
    describe=lambda payload: f"deleted keep policy of {payload.group!r}",
)
