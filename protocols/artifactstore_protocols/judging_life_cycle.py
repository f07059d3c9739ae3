"""The decisions of the commands of the life cycle of packages, and the state that each of them needs."""

from typing import assert_never

from artifactstore_protocols.event_types import Payload
from artifactstore_protocols.event_types.clock import confirm_clock, observe_clock
from artifactstore_protocols.event_types.contents_purged import purge_contents, purge_needs
from artifactstore_protocols.event_types.ending import ending_needs
from artifactstore_protocols.event_types.hold_placed import place_hold, placing_needs
from artifactstore_protocols.event_types.hold_released import release_hold
from artifactstore_protocols.event_types.package_deleted import delete_package
from artifactstore_protocols.event_types.package_expired import expire_package
from artifactstore_protocols.event_types.retention_changed import extend_retention, set_retention
from artifactstore_protocols.event_types.retention_class_added import add_retention_class
from artifactstore_protocols.event_types.token_created import create_token
from artifactstore_protocols.event_types.token_revoked import revoke_token
from artifactstore_protocols.life_cycle import (
    AddRetentionClass,
    ConfirmClock,
    DeletePackage,
    ExpirePackage,
    ExtendRetention,
    ObserveClock,
    PlaceHold,
    ReleaseHold,
    SetRetention,
)
from artifactstore_protocols.purging import PurgeContents
from artifactstore_protocols.retention import classes_to_load
from artifactstore_protocols.state import LogState, Needs
from artifactstore_protocols.token_records import CreateToken, RevokeToken

__all__ = ["decide_life_cycle", "life_cycle_needs"]

type _Command = (
    DeletePackage
    | ExpirePackage
    | PlaceHold
    | ReleaseHold
    | SetRetention
    | ExtendRetention
    | AddRetentionClass
    | ObserveClock
    | ConfirmClock
    | PurgeContents
    | CreateToken
    | RevokeToken
)


def life_cycle_needs(command: _Command) -> Needs:
    """Return the state that `decide_life_cycle` needs to judge a command."""
    match command:
        case PlaceHold():
            return placing_needs(command.hold_id, command.package_id)
        case ReleaseHold():
            return Needs(holds=frozenset({command.hold_id}))
        case AddRetentionClass():
            return Needs(classes=frozenset({command.name}))
        case ObserveClock():
            return Needs(clock=True)
        case ConfirmClock():
            return Needs()
        case PurgeContents():
            return purge_needs(command.contents)
        case DeletePackage():
            return ending_needs(command.package_id) | Needs(clock=True)
        case SetRetention():
            return ending_needs(command.package_id) | Needs(classes=classes_to_load(command.retention_class))
        case ExpirePackage() | ExtendRetention():
            return ending_needs(command.package_id)
        case CreateToken() | RevokeToken():
            return Needs(tokens=frozenset({command.name}))
        case _:
            assert_never(command)


def decide_life_cycle(  # noqa: C901, PLR0911, PLR0912 - one case for each command
    command: _Command, state: LogState
) -> Payload | None:
    """Return the payload of a command's event; None if the command changes nothing.

    Raises:
        ArtifactStoreError: the command is rejected.
    """
    match command:
        case DeletePackage():
            return delete_package(command, state)
        case ExpirePackage():
            return expire_package(command, state)
        case PlaceHold():
            return place_hold(command, state)
        case ReleaseHold():
            return release_hold(command, state)
        case SetRetention():
            return set_retention(command, state)
        case ExtendRetention():
            return extend_retention(command, state)
        case AddRetentionClass():
            return add_retention_class(command, state)
        case ObserveClock():
            return observe_clock(command, state)
        case ConfirmClock():
            return confirm_clock(command)
        case PurgeContents():
            return purge_contents(command, state)
        case CreateToken():
            return create_token(command, state)
        case RevokeToken():
            return revoke_token(command, state)
        case _:
            assert_never(command)
