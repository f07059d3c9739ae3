"""The decisions of the commands of the life cycle of packages, and the state that each of them needs."""

from typing import assert_never

from artifactstore_protocols.event_types import Payload
from artifactstore_protocols.event_types.ending import ending_needs
from artifactstore_protocols.event_types.package_deleted import delete_package
from artifactstore_protocols.event_types.package_expired import expire_package
from artifactstore_protocols.life_cycle import DeletePackage, ExpirePackage
from artifactstore_protocols.state import LogState, Needs

__all__ = ["decide_life_cycle", "life_cycle_needs"]

type _Command = DeletePackage | ExpirePackage


def life_cycle_needs(command: _Command) -> Needs:
    """Return the state that `decide_life_cycle` needs to judge a command."""
    match command:
        case DeletePackage() | ExpirePackage():
            return ending_needs(command.package_id)
        case _:
            assert_never(command)


def decide_life_cycle(command: _Command, state: LogState) -> Payload | None:
    """Return the payload of a command's event; None if the command changes nothing.

    Raises:
        ArtifactStoreError: the command is rejected.
    """
    match command:
        case DeletePackage():
            return delete_package(command, state)
        case ExpirePackage():
            return expire_package(command, state)
        case _:
            assert_never(command)
