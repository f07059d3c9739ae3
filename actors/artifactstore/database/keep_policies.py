"""Keep policies as the database has them."""

from typing import cast

from sqlalchemy import select

from artifactstore.database.asyncio_core import AsyncConnection
from artifactstore.database.cells import DamagedCell, time_in
from artifactstore.database.schema import LIVE
from artifactstore_protocols import canonical
from artifactstore_protocols.canonical import NotCanonical
from artifactstore_protocols.errors import InvalidValue
from artifactstore_protocols.keep_policies import KeepPolicy
from artifactstore_protocols.keep_rules import KeepRules
from artifactstore_protocols.metadata import Metadata, is_metadata
from artifactstore_protocols.views import KEEP_POLICIES

__all__ = ["keep_policies", "rules_in"]

_policies = LIVE[KEEP_POLICIES]


async def keep_policies(connection: AsyncConnection) -> list[KeepPolicy]:
    """Return all keep policies in the order of their groups."""
    rows = await connection.execute(select(_policies).order_by(_policies.c.package_group))
    return [
        KeepPolicy(group, rules_in(group, rules), set_by, time_in("set_at", set_at_us), sequence)
        for group, rules, set_by, set_at_us, sequence in rows
    ]


def rules_in(group: str, cell: bytes) -> KeepRules:
    """Return the rules in a cell.

    Raises:
        DamagedCell: artifactstore cannot have written them.
    """
    try:
        rules = canonical.decode(cell)
        if is_metadata(rules):
            return KeepRules.of_map(cast("Metadata", rules))
    except (NotCanonical, InvalidValue) as error:
        raise DamagedCell(f"the keep policy of {group} is {error}") from error
    raise DamagedCell(f"the keep policy of {group} is no map of rules")
