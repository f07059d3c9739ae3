"""`v1.keep_policy.set`: the keep policy of a group of packages was set."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Final, cast

from msgspec import Struct

from artifactstore_protocols import canonical
from artifactstore_protocols.canonical import CanonicalValue
from artifactstore_protocols.commands import SetKeepPolicy
from artifactstore_protocols.errors import InvalidValue
from artifactstore_protocols.event_types.base import EventType, record_codec
from artifactstore_protocols.keep_policies import KEEP_POLICIES_MAX
from artifactstore_protocols.keep_rules import KeepRules
from artifactstore_protocols.metadata import Metadata
from artifactstore_protocols.state import LogState, Needs
from artifactstore_protocols.views import KEEP_POLICIES, Put, Row, RowOperation

if TYPE_CHECKING:
    from artifactstore_protocols.events import Event, StoredEvent

__all__ = ["KEEP_POLICY_SET", "KeepPolicySet", "keep_policy_subject", "set_keep_policy"]


class KeepPolicySet(Struct, frozen=True):
    """The keep policy of a group of packages was set. The subject is `keep-policy:` and the group.

    Attributes:
        group: a package name, or a glob of names.
        rules: the rules by name, each with its number; `within_us` is in microseconds, and `tagged` a list of globs.
    """

    group: str
    rules: Metadata


def keep_policy_subject(group: str) -> str:
    """Return the subject of the events of a keep policy."""
    return f"keep-policy:{group}"


def set_keep_policy(command: SetKeepPolicy, state: LogState) -> KeepPolicySet | None:
    """Return the payload that sets a keep policy; None if the group has these rules already.

    Raises:
        InvalidValue: the store has the most keep policies that it can have.
    """
    if state.keep_policies.get(command.group) == command.rules:
        return None
    if command.group not in state.keep_policies and len(state.keep_policies) >= KEEP_POLICIES_MAX:
        reason = f"the store has {KEEP_POLICIES_MAX} keep policies, the most that are possible; delete some"
        raise InvalidValue("group", command.group, reason)
    return KeepPolicySet(command.group, command.rules.to_map())


def _command(payload: KeepPolicySet) -> SetKeepPolicy:
    return SetKeepPolicy(payload.group, KeepRules.of_map(payload.rules))


def _check(payload: KeepPolicySet, _event: "Event") -> None:
    _command(payload)


def _judge(payload: KeepPolicySet, _stored: "StoredEvent", state: LogState) -> None:
    if set_keep_policy(_command(payload), state) is None:
        raise InvalidValue("keep policy", payload.group, "it is set like this already")


def _evolve(payload: KeepPolicySet, _stored: "StoredEvent", state: LogState) -> None:
    state.keep_policies[payload.group] = KeepRules.of_map(payload.rules)


def _rows(payload: KeepPolicySet, stored: "StoredEvent") -> Iterable[RowOperation]:
    event = stored.event
    rules = canonical.encode(cast("dict[str, CanonicalValue]", dict(payload.rules)))
    row: Row = (payload.group, rules, event.principal, event.recorded_at_us, stored.sequence)
    return (Put(KEEP_POLICIES, (row,)),)


def _describe(payload: KeepPolicySet) -> str:
    return f"set keep policy of {payload.group!r}: {', '.join(KeepRules.of_map(payload.rules).texts())}"


_NAME: Final = "v1.keep_policy.set"
KEEP_POLICY_SET: Final = EventType(
    name=_NAME,
    codec=record_codec(_NAME, KeepPolicySet),
    subject=lambda payload: keep_policy_subject(payload.group),
    needs=lambda _payload: Needs(keep_policies=True),
    check=_check,
    judge=_judge,
    evolve=_evolve,
    rows=_rows,
    describe=_describe,
)
