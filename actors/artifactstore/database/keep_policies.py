"""Keep policies and the packages that they judge, as the database has them."""

from collections.abc import Iterable
from functools import cache
from typing import Any, cast

from sqlalchemy import ColumnElement, Select, Table, select

from artifactstore.database.asyncio_core import AsyncConnection
from artifactstore.database.bulk import Query, Steps, lookup, query, run, wanted
from artifactstore.database.cells import DamagedCell, time_in
from artifactstore.database.schema import LIVE, ViewTables
from artifactstore_protocols import canonical
from artifactstore_protocols.canonical import NotCanonical
from artifactstore_protocols.errors import InvalidValue
from artifactstore_protocols.globs import beginning_of, end_of_texts, is_literal
from artifactstore_protocols.keep_policies import GroupMember, KeepPolicy
from artifactstore_protocols.keep_rules import Candidate, KeepRules
from artifactstore_protocols.metadata import Metadata, is_metadata
from artifactstore_protocols.state import LogState, Needs
from artifactstore_protocols.views import KEEP_POLICIES, PACKAGES, RETENTION, TAGS

__all__ = ["group", "keep_policies", "load_keep_policies", "next_group", "next_name_query"]

_packages, _policies, _retention = LIVE[PACKAGES], LIVE[KEEP_POLICIES], LIVE[RETENTION]


async def keep_policies(connection: AsyncConnection) -> list[KeepPolicy]:
    """Return all keep policies in the order of their groups."""
    rows = await connection.execute(select(_policies).order_by(_policies.c.package_group))
    return [
        KeepPolicy(group, _rules_in(group, rules), set_by, time_in("set_at", set_at_us), sequence)
        for group, rules, set_by, set_at_us, sequence in rows
    ]


def load_keep_policies(state: LogState, tables: ViewTables, needs: Needs, database: str) -> Steps[None]:
    """Load all keep policies, and the packages of the needed names that they judge."""
    if needs.keep_policies:
        for group, rules in (yield lookup(_all_policies(tables[KEEP_POLICIES], database), [()])):
            state.keep_policies[group] = _rules_in(group, rules)
    state.groups.update((name, {}) for name in needs.groups)
    for name, candidate in (yield from _candidates(needs.groups, tables, database)):
        state.groups[name][candidate.package_id] = candidate


def _candidates(names: Iterable[str], tables: ViewTables, database: str) -> Steps[list[tuple[str, Candidate]]]:
    """Return the finalized packages of these names that are there, each with its name."""
    keys = [(name,) for name in sorted(names)]
    if not keys:
        return []
    tags: dict[str, list[str]] = {}
    for package_id, tag in (yield lookup(_tags_of_name(tables[PACKAGES], tables[TAGS], database), keys)):
        tags.setdefault(package_id, []).append(tag)
    rows = yield lookup(_finalized(tables[PACKAGES], database), keys)
    return [
        (name, Candidate(package_id, time_in("finalized_at", at_us), sequence, tuple(sorted(tags.get(package_id, ())))))
        for name, package_id, at_us, sequence in rows
    ]


def _members(name: str, database: str) -> Steps[list[GroupMember]]:
    """Return the finalized packages of a name that are there."""
    candidates = yield from _candidates([name], LIVE, database)
    rows = yield lookup(_described(database), [(name,)])
    described = {
        package_id: (size, kept, None if end_us is None else time_in("expires_at", end_us))
        for package_id, size, kept, end_us in rows
    }
    # One that went between both queries is left out.
    return [
        GroupMember(name, each, *described[each.package_id]) for _, each in candidates if each.package_id in described
    ]


async def next_group(connection: AsyncConnection, name: str | None, after: str) -> list[GroupMember]:
    """Return the finalized packages that are there of the first name after a name; none after the last name.

    Args:
        connection: the connection.
        name: a glob, which narrows the names and does not decide; None for all.
        after: the name after which the next one begins.
    """
    found = (await connection.execute(next_name_query(name, after))).one_or_none()
    return [] if found is None else await group(connection, found[0])


async def group(connection: AsyncConnection, name: str) -> list[GroupMember]:
    """Return the finalized packages of a name that are there."""
    return await run(connection, _members(name, connection.dialect.name))


def next_name_query(name: str | None, after: str) -> Select[*tuple[Any, ...]]:
    """Return the query for the first name after a name that has a finalized package."""
    query = select(_packages.c.name).where(_packages.c.name > after, _is_candidate(_packages))
    if name is not None and is_literal(name):
        query = query.where(_packages.c.name == name)
    elif name is not None and (start := beginning_of(name)):
        query = query.where(_packages.c.name >= start)
        if (end := end_of_texts(start)) is not None:
            query = query.where(_packages.c.name < end)
    return query.order_by(_packages.c.name).limit(1)


def _is_candidate(packages: Table) -> ColumnElement[bool]:
    return packages.c.finalized_sequence.is_not(None) & packages.c.gone_at.is_(None)


@cache
def _all_policies(policies: Table, database: str) -> Query:
    return query(select(policies.c.package_group, policies.c.rules), {}, database)


@cache
def _finalized(packages: Table, database: str) -> Query:
    values = wanted(database, name=str)
    columns = packages.c
    cells = (columns.name, columns.package_id, columns.finalized_at, columns.finalized_sequence)
    return query(select(*cells).where(columns.name == values["name"], _is_candidate(packages)), values, database)


@cache
def _described(database: str) -> Query:
    values = wanted(database, name=str)
    joined = _packages.join(_retention, _retention.c.package_id == _packages.c.package_id)
    cells = (_packages.c.package_id, _packages.c.total_bytes, _retention.c.retention_class, _retention.c.expires_at)
    selected = select(*cells).select_from(joined).where(_packages.c.name == values["name"], _is_candidate(_packages))
    return query(selected, values, database)


@cache
def _tags_of_name(packages: Table, tags: Table, database: str) -> Query:
    values = wanted(database, name=str)
    joined = packages.join(tags, tags.c.package_id == packages.c.package_id)
    selected = select(tags.c.package_id, tags.c.tag).select_from(joined).where(packages.c.name == values["name"])
    return query(selected, values, database)


def _rules_in(group: str, cell: bytes) -> KeepRules:
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
