"""Queries that load the state that a batch of commands or events needs. Each is compiled once."""

from collections import Counter
from collections.abc import Collection, Iterable
from functools import cache
from typing import Any

from sqlalchemy import ColumnElement, Select, Table, func, literal_column, select, type_coerce

from artifactstore.database.annotations import annotation_in, text_in
from artifactstore.database.bulk import Query, Steps, lookup, query, wanted
from artifactstore.database.files import content_columns, entry_in, path_of
from artifactstore.database.keep_policies import load_keep_policies
from artifactstore.database.keeping import load_keeping
from artifactstore.database.purged import load_purged
from artifactstore.database.retention_classes import load_classes
from artifactstore.database.schema import LIVE, ViewTables
from artifactstore.database.tokens import load_tokens
from artifactstore_protocols.entries import Place
from artifactstore_protocols.metadata_schema import parse_reference
from artifactstore_protocols.releasing import RELEASED_MAX
from artifactstore_protocols.schema_requirements import requirements_of
from artifactstore_protocols.state import (
    ContentState,
    Gone,
    LogState,
    Needs,
    PackageState,
    PlaceState,
    StoreTotals,
    TagState,
)
from artifactstore_protocols.totals import TOTALS_ID
from artifactstore_protocols.views import (
    CONTENTS,
    FILES,
    LOCATIONS,
    PACKAGES,
    PARENTS,
    REQUIREMENTS,
    SCHEMAS,
    TAGS,
    TOTALS,
    VALUES,
)

__all__ = ["load_state"]


def load_state(needs: Needs, database: str, tables: ViewTables = LIVE) -> Steps[LogState]:
    """Return the state that `needs` names, read from `tables` in the current transaction."""
    state = LogState()
    if needs.packages or needs.contents:  # nothing else changes the totals
        yield from _load_totals(state, tables[TOTALS], database)
    yield from _load_packages(state, tables[PACKAGES], needs.packages, database)
    if needs.schemas:
        state.schema_versions.update(
            (yield lookup(_latest_schemas(tables[SCHEMAS], database), [(name,) for name in sorted(needs.schemas)]))
        )
    if needs.tags:
        for tag, package_id, protected in (
            yield lookup(_tags(tables[TAGS], database), [(tag,) for tag in sorted(needs.tags)])
        ):
            state.tags[tag] = TagState(package_id, bool(protected))
    yield from load_tokens(state, tables, needs, database)
    yield from load_classes(state, tables, needs, database)
    yield from load_keep_policies(state, tables, needs, database)
    yield from _load_descriptions(state, tables, needs.described, database)
    yield from load_keeping(state, tables, needs, database)
    if needs.requirements or needs.names:
        state.requirements.update((yield lookup(_requirements(tables[REQUIREMENTS], database), [()])))
    yield from _load_schemas(state, tables[SCHEMAS], needs, database)
    yield from _load_contents(state, tables, needs.contents, database)
    yield from _load_references(state, tables[FILES], needs.references, database)
    filled = {package_id: package for package_id, package in state.packages.items() if not package.is_empty}
    if filled:  # an empty package has no entries to load
        yield from _load_entries(tables, needs, filled, database)
        yield from _load_occupants(state, tables, needs, database)
        yield from _load_ranges(state, tables, needs, filled, database)
    return state


def _load_totals(state: LogState, table: Table, database: str) -> Steps[None]:
    for totals in (yield lookup(_store_totals(table, database), [()])):
        state.totals = StoreTotals(*totals)


def _load_packages(state: LogState, packages: Table, package_ids: Iterable[str], database: str) -> Steps[None]:
    keys = [(package_id,) for package_id in sorted(package_ids)]
    if not keys:
        return
    for package_id, number, name, retention, metadata, created_at_us, status, *totals, gone_at, gone_by, reason in (
        yield lookup(_packages(packages, database), keys)
    ):
        *_counts, manifest_digest, _schema = totals
        is_finalized = manifest_digest is not None
        package = PackageState(package_id, number, name, retention, metadata, created_at_us, is_finalized, *totals)
        package.gone = None if gone_at is None else Gone(status, gone_at, gone_by, reason)
        state.packages[package_id] = package


def _load_descriptions(state: LogState, tables: ViewTables, package_ids: Iterable[str], database: str) -> Steps[None]:
    """Load the annotations and the parents of packages."""
    packages = {each.number: each for package_id in package_ids if (each := state.packages.get(package_id))}
    if not packages:
        return
    keys = [(number,) for number in sorted(packages)]
    for number, key, annotation in (yield lookup(_annotations(tables[VALUES], database), keys)):
        packages[number].annotations[key] = annotation_in(key, annotation)
    for number, parent_id, digest in (yield lookup(_parents(tables[PARENTS], database), keys)):
        packages[number].parents[parent_id] = digest


def _load_schemas(state: LogState, schemas: Table, needs: Needs, database: str) -> Steps[None]:
    """Load the needed schemas, those of packages whose description is needed, and those that new packages must have."""
    references = set(needs.schema_texts)
    for name in needs.names:
        references.update(requirements_of(name, state.requirements).values())
    for package_id in needs.described:
        package = state.packages.get(package_id)
        if package is not None and package.schema is not None:
            references.add(package.schema)
    keys = set[tuple[str, int]]()
    for name, version in map(parse_reference, references):
        keys.add((name, version or state.schema_versions.get(name, 0)))
    if keys:
        for name, version, schema in (yield lookup(_schemas(schemas, database), sorted(keys))):
            state.schemas[f"{name}@{version}"] = text_in(name, schema)


def _load_contents(state: LogState, tables: ViewTables, digests: Iterable[bytes], database: str) -> Steps[None]:
    keys = [(digest,) for digest in sorted(digests)]
    if not keys:
        return
    for digest, *content in (yield lookup(_contents(tables[CONTENTS], database), keys)):
        state.contents[digest] = ContentState(*content)
    for digest, backend_id, object_key, integrity, sequence, held, at_us in (
        yield lookup(_places(tables[LOCATIONS], database), keys)
    ):
        state.load_place(digest, Place(backend_id, object_key), PlaceState(integrity, sequence, held, at_us or 0))
    yield from load_purged(state, tables, [digest for (digest,) in keys], database)


def _load_references(state: LogState, files: Table, digests: Collection[bytes], database: str) -> Steps[None]:
    """Count the entries that refer to each content, by the index on contents."""
    keys = [(digest,) for digest in sorted(digests)]
    if keys:
        state.references.update(dict.fromkeys(digests, 0))
        state.references.update((yield lookup(_references(files, database), keys)))


def _load_occupants(state: LogState, tables: ViewTables, needs: Needs, database: str) -> Steps[None]:
    """Load the contents of entries that may be replaced."""
    packages = (state.packages[package_id] for package_id in needs.occupants if package_id in state.packages)
    held = {entry.digest for package in packages for entry in package.entries.values() if entry.digest}
    yield from _load_contents(state, tables, held - state.contents.keys(), database)


def _load_ranges(
    state: LogState, tables: ViewTables, needs: Needs, filled: dict[str, PackageState], database: str
) -> Steps[None]:
    """Load the entries of ranges to release, with their contents. If needed, count what can lose its last entry."""
    ranges = [(filled[each[0]].number, *each[1:]) for each in sorted(needs.ranges) if each[0] in filled]
    if not ranges:
        return
    by_number = {package.number: package for package in filled.values()}
    held = Counter[bytes]()
    for number, key, *cells in (yield lookup(_entries_in_range(tables[FILES], tables[CONTENTS], database), ranges)):
        entry = by_number[number].entries[key] = entry_in(number, *cells)
        if entry.digest:
            held[entry.digest] += 1
    yield from _load_contents(state, tables, held.keys() - state.contents.keys(), database)
    if not needs.counts:
        return
    last = {digest for digest, count in held.items() if state.references_to(digest) <= count}
    yield from _load_references(state, tables[FILES], last - state.references.keys(), database)


def _load_entries(tables: ViewTables, needs: Needs, filled: dict[str, PackageState], database: str) -> Steps[None]:
    files, contents = tables[FILES], tables[CONTENTS]
    by_number = {package.number: package for package in filled.values()}
    keys = [
        (filled[package_id].number, key) for package_id, key in sorted(needs.entries | needs.at) if package_id in filled
    ]
    if keys:
        for number, key, *cells in (yield lookup(_entries(files, contents, database), keys)):
            by_number[number].entries[key] = entry_in(number, *cells)
    paths = [(filled[package_id].number, key) for package_id, key in sorted(needs.entries) if package_id in filled]
    if paths:
        for number, key, below in (yield lookup(_directories(files, database), paths)):
            if below is not None:
                by_number[number].below[key] = below


@cache
def _store_totals(totals: Table, database: str) -> Query:
    selected = select(*(totals.c[name] for name in TOTALS.columns[1:]))
    return query(selected.where(totals.c.id == literal_column(str(TOTALS_ID))), {}, database)


@cache
def _packages(packages: Table, database: str) -> Query:
    values = wanted(database, package_id=str)
    columns = packages.c
    selected = select(
        columns.package_id,
        columns.created_sequence,
        columns.name,
        columns.retention_class,
        columns.metadata,
        columns.created_at,
        columns.status,
        columns.version,
        columns.file_count,
        columns.link_count,
        columns.directory_count,
        columns.total_bytes,
        columns.stored_bytes,
        columns.manifest_digest,
        columns.metadata_schema,
        columns.gone_at,
        columns.gone_by,
        columns.gone_reason,
    )
    return query(selected.where(columns.package_id == values["package_id"]), values, database)


@cache
def _annotations(values_of: Table, database: str) -> Query:
    values = wanted(database, number=int)
    columns = values_of.c
    selected = select(columns.package_number, columns.key, columns.annotation)
    return query(
        selected.where(columns.package_number == values["number"], columns.annotation.is_not(None)), values, database
    )


@cache
def _parents(parents: Table, database: str) -> Query:
    values = wanted(database, number=int)
    columns = parents.c
    selected = select(columns.package_number, columns.parent_id, columns.manifest_digest)
    return query(selected.where(columns.package_number == values["number"]), values, database)


@cache
def _schemas(schemas: Table, database: str) -> Query:
    values = wanted(database, name=str, version=int)
    columns = schemas.c
    selected = select(columns.name, columns.version, columns.schema)
    return query(selected.where(columns.name == values["name"], columns.version == values["version"]), values, database)


@cache
def _latest_schemas(schemas: Table, database: str) -> Query:
    values = wanted(database, name=str)
    latest = select(schemas.c.name, func.max(schemas.c.version)).where(schemas.c.name == values["name"])
    return query(latest.group_by(schemas.c.name), values, database)


@cache
def _requirements(requirements: Table, database: str) -> Query:
    return query(select(requirements.c.glob, requirements.c.schema), {}, database)


@cache
def _tags(tags: Table, database: str) -> Query:
    values = wanted(database, tag=str)
    return query(
        select(tags.c.tag, tags.c.package_id, tags.c.protected).where(tags.c.tag == values["tag"]), values, database
    )


@cache
def _contents(contents: Table, database: str) -> Query:
    values = wanted(database, digest=bytes)
    selected = select(
        contents.c.digest_primary,
        contents.c.digest_algorithm,
        contents.c.digest_sha256,
        contents.c.size_bytes,
        contents.c.reference_count,
    )
    return query(selected.where(contents.c.digest_primary == values["digest"]), values, database)


@cache
def _places(locations: Table, database: str) -> Query:
    values = wanted(database, digest=bytes)
    selected = select(
        locations.c.digest_primary,
        locations.c.backend_id,
        locations.c.object_key,
        locations.c.integrity,
        locations.c.sequence,
        locations.c.state,
        locations.c.changed_at,
    )
    return query(selected.where(locations.c.digest_primary == values["digest"]), values, database)


@cache
def _references(files: Table, database: str) -> Query:
    values = wanted(database, digest=bytes)
    selected = select(files.c.digest_primary, func.count()).where(files.c.digest_primary == values["digest"])
    return query(selected.group_by(files.c.digest_primary), values, database)


@cache
def _entries(files: Table, contents: Table, database: str) -> Query:
    values = wanted(database, number=int, path_key=str)
    selected = _entries_of(files, contents, values["number"]).where(files.c.path_key == values["path_key"])
    return query(selected, values, database)


@cache
def _entries_in_range(files: Table, contents: Table, database: str) -> Query:
    values = wanted(database, number=int, first=str, last=str)
    in_range = (files.c.path_key >= values["first"]) & (files.c.path_key <= values["last"])
    # An event from outside can name a wide range. One entry more than may be released is enough to refuse it.
    others = files.alias()
    beyond = (
        select(others.c.path_key)
        .where(others.c.package_number == values["number"], others.c.path_key >= values["first"])
        .order_by(others.c.path_key)
        .limit(literal_column("1"))
        .offset(literal_column(str(RELEASED_MAX)))
        .scalar_subquery()
    )
    in_range &= files.c.path_key <= func.coalesce(beyond, values["last"])
    return query(_entries_of(files, contents, values["number"]).where(in_range), values, database)


def _entries_of(files: Table, contents: Table, number: ColumnElement[int]) -> Select[*tuple[Any, ...]]:
    *_others, size_bytes = content_columns(contents)
    # A subquery, because SQLite does not move the table of wanted keys before an outer join: it would scan all entries.
    size_of_content = select(size_bytes).where(contents.c.digest_primary == files.c.digest_primary).scalar_subquery()
    return select(
        files.c.package_number,
        files.c.path_key,
        path_of(files),
        files.c.kind,
        files.c.executable,
        files.c.media_type,
        files.c.digest_primary,
        files.c.link_target,
        type_coerce(size_of_content, size_bytes.type).label("size_bytes"),
    ).where(files.c.package_number == number)


@cache
def _directories(files: Table, database: str) -> Query:
    """Return the query for the first entry below each path, if any, by one index search. Such a path is a directory."""
    values = wanted(database, number=int, path_key=str)
    number, key = values["number"], values["path_key"]
    below = (
        select(path_of(files))
        .where(
            files.c.package_number == number,
            files.c.path_key > key.concat(literal_column("'/'")),
            files.c.path_key < key.concat(literal_column("'0'")),  # the character after the slash
        )
        .limit(literal_column("1"))
        .offset(literal_column("0"))
        .scalar_subquery()
    )
    return query(select(number.label("number"), key.label("path_key"), below.label("below")), values, database)
