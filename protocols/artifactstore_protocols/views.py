"""The tables of the projection, and the row operations that events imply.

The operations depend only on the event, not on a table, a clock or a random source. There are two exceptions. The
row of totals and the numbers of references depend on those before the event. `MarkVerified` changes the rows that a
range has then. Every operation sets absolute values. So a log that is applied in
batches of any size, or to another database, results in the same rows. A `ViewWriter` writes the rows: to the live
tables, to the temporary tables of a replay, or to a dictionary in a test.

A row is a plain tuple of cells in the order of its table's columns, of which the first are the key. `coalesce` folds
the operations of a batch. So a thousand files become one operation, and the version of their package is written once.
"""

from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from typing import Protocol

import blake3
import cbor2
from msgspec import Struct, field

from artifactstore_protocols.identity import Digest
from artifactstore_protocols.verification import DueKey

__all__ = [
    "CLASSES",
    "CLOCK",
    "CONTENTS",
    "FILES",
    "HOLDS",
    "KEEP_POLICIES",
    "KIND_DIRECTORY",
    "KIND_FILE",
    "KIND_LINK",
    "LOCATIONS",
    "PACKAGES",
    "PARENTS",
    "PURGED",
    "REQUIREMENTS",
    "RETENTION",
    "SCHEMAS",
    "TAGS",
    "TOKENS",
    "TOTALS",
    "VALUES",
    "VIEWS",
    "Cell",
    "Delete",
    "DeleteRange",
    "MarkVerified",
    "NamedCells",
    "Put",
    "PutIfAbsent",
    "Row",
    "RowOperation",
    "Update",
    "ViewDigest",
    "ViewTable",
    "ViewWriter",
    "coalesce",
]

type Cell = str | int | bytes | None
type Row = tuple[Cell, ...]
type NamedCells = Mapping[str, Cell]
"""Some or all cells of a row, by the names of their columns."""


class ViewTable(Struct, frozen=True, eq=False):
    """A projected table. Its columns are in the order of the projection digest. The first `key_columns` are its key."""

    name: str
    columns: tuple[str, ...]
    key_columns: int = 1

    @property
    def key(self) -> tuple[str, ...]:
        """The names of the key's columns."""
        return self.columns[: self.key_columns]

    def key_of(self, row: Row) -> Row:
        """Return the key of a row."""
        return row[: self.key_columns]

    def named(self, row: Row) -> NamedCells:
        """Return the cells of a row by the names of their columns."""
        return dict(zip(self.columns, row, strict=True))

    def changed(self, row: Row, values: NamedCells) -> Row:
        """Return a copy of a row with other values in some columns."""
        return tuple(values.get(name, cell) for name, cell in zip(self.columns, row, strict=True))


PACKAGES = ViewTable(
    "artifact_packages",
    (
        "package_id",
        "name",
        "status",
        "version",
        "file_count",
        "link_count",
        "directory_count",
        "total_bytes",
        "stored_bytes",
        "retention_class",
        "metadata",
        "created_by",
        "created_at",
        "finalized_at",
        "manifest_digest",
        "tree_digest",
        "created_sequence",
        "finalized_sequence",
        "metadata_schema",
        "gone_at",
        "gone_by",
        "gone_reason",
        "gone_sequence",
    ),
)
"""The packages. The columns with `gone` are null while a package is `open` or `finalized`."""

CONTENTS = ViewTable(
    "contents",
    ("digest_primary", "digest_algorithm", "digest_sha256", "size_bytes", "reference_count", "sequence"),
)
"""All contents that were ever stored. Other tables refer to a content by `digest_primary`.

`reference_count` is the number of entries that refer to the content. `totals.totals_rows` writes it from the log, so
that the entries themselves can be compared with it: a row of `FILES` that was lost never makes an object collectable.
`sequence` is the sequence of the event that first stored the content.
"""

FILES = ViewTable(
    "artifact_files",
    (
        "package_number",
        "path_key",
        "path",
        "kind",
        "executable",
        "media_type",
        "digest_primary",
        "link_target",
        "sequence",
    ),
    key_columns=2,
)
"""The entries of packages. The number of a package is the sequence of the event that created it.

`path` is null if it equals `path_key`. `digest_primary` is null if the entry is not a file.
"""

LOCATIONS = ViewTable(
    "storage_locations",
    (
        "digest_primary",
        "backend_id",
        "object_key",
        "retrieval_tier",
        "restore_status",
        "state",
        "integrity",
        "stored_at",
        "changed_at",
        "rule",
        "sequence",
        "verified_sequence",
    ),
    key_columns=3,
)
"""The objects: the backends and keys where contents are or were stored. A content can have several objects.

The row of a removed object stays. `changed_at` is the time when the object got its `state`, and `rule` is the reason;
both are null while the object is live. `stored_at` is null if no event stored the object. Such an object was found in a
backend when no row named it. `verified_sequence` is the event that stored the object or last verified it.
"""

RETENTION = ViewTable(
    "retention_state",
    ("package_id", "retention_class", "duration_us", "status", "retained_from", "expires_at", "sequence"),
)
"""The retention of packages as it is now. `status` is `open`, `retained`, `deleted` or `expired`.

`sequence` is the sequence of the event that last set the retention.
"""

HOLDS = ViewTable("artifact_holds", ("hold_id", "package_id", "reason", "placed_by", "placed_at", "sequence"))
"""The holds on packages that were not released."""

SCHEMAS = ViewTable(
    "metadata_schemas",
    ("name", "version", "schema", "registered_at", "sequence"),
    key_columns=2,
)
REQUIREMENTS = ViewTable("schema_requirements", ("glob", "schema", "set_by", "set_at", "sequence"))
"""The schemas that packages must have, as `NAME@VERSION`, by globs for their names."""

TAGS = ViewTable("artifact_tags", ("tag", "package_id", "protected", "set_by", "set_at", "sequence"))
"""The tags that exist. The events of a tag, with the subject `tag:` and the tag, are its history."""

CLASSES = ViewTable("added_retention_classes", ("name", "duration_us", "added_by", "added_at", "sequence"))
"""The retention classes that the store has besides those of every store."""

KEEP_POLICIES = ViewTable("keep_policies", ("package_group", "rules", "set_by", "set_at", "sequence"))
"""The keep policies. `package_group` is a package name or a glob of names, and `rules` a CBOR map."""

CLOCK = ViewTable("store_clock", ("id", "observed_at", "sequence"))
"""The time that was observed or confirmed last, in one row with the id 1; no row before the first."""

TOTALS = ViewTable(
    "store_totals",
    (
        "id",
        "packages",
        "finalized",
        "files",
        "links",
        "directories",
        "total_bytes",
        "objects",
        "object_bytes",
        "condemned",
        "condemned_bytes",
        "unreleased",
        "unreleased_bytes",
        "deleted",
        "expired",
        "retired",
        "retired_bytes",
        "removed",
    ),
)
"""The totals of the store, in one row with the id 1, so that nobody counts rows. `totals.totals_rows` writes it."""

VALUES = ViewTable("artifact_values", ("package_number", "key", "annotation", "term", "sequence"), key_columns=2)
"""The annotations of packages, and the metadata that is searched: text, integers and booleans.

`annotation` is the JSON (RFC 8785) of an annotation's value; it is null for metadata, which `artifact_packages` has.
`term` is the `metadata.search_term` of key and value; it is null for lists and maps.
"""

PARENTS = ViewTable("artifact_parents", ("package_number", "parent_id", "manifest_digest"), key_columns=2)
"""The packages that packages are made from."""

PURGED = ViewTable("purged_contents", ("digest_primary", "reason", "purged_by", "purged_at", "sequence"))
"""The contents that were purged. `contents` keeps their rows."""

TOKENS = ViewTable(
    "access_tokens",
    (
        "name",
        "scopes",
        "packages",
        "expires_at",
        "digest",
        "store_id",
        "created_by",
        "created_at",
        "revoked_at",
        "revoked_by",
        "revoked_reason",
        "sequence",
    ),
)
"""All tokens that were ever created. `scopes` has commas between them, and `packages` is a CBOR array of globs.

`digest` is SHA-256 over `store_id` and the secret. The columns with `revoked` are null unless the token was revoked.
"""

VIEWS: tuple[ViewTable, ...] = (
    PACKAGES,
    CONTENTS,
    FILES,
    LOCATIONS,
    RETENTION,
    SCHEMAS,
    REQUIREMENTS,
    TAGS,
    VALUES,
    PARENTS,
    KEEP_POLICIES,
    CLASSES,
    HOLDS,
    CLOCK,
    PURGED,
    TOKENS,
    TOTALS,
)

_HEADS = ((24, 1), (1 << 8, 2), (1 << 16, 3), (1 << 32, 5))

KIND_FILE, KIND_LINK, KIND_DIRECTORY = 0, 1, 2
"""The values of `kind`: a file, a symbolic link, or an empty directory."""


class Put(Struct, frozen=True):
    """Write whole rows, and replace existing rows with the same keys."""

    table: ViewTable
    rows: Sequence[Row]


class PutIfAbsent(Struct, frozen=True):
    """Write whole rows, except rows whose key exists. So the first event that stores a content determines its row."""

    table: ViewTable
    rows: Sequence[Row]


class Update(Struct, frozen=True):
    """Set some columns of the row at `key`. Does nothing if the row does not exist."""

    table: ViewTable
    key: Row
    values: NamedCells


class Delete(Struct, frozen=True):
    """Remove the rows at these keys. Ignores keys without a row."""

    table: ViewTable
    keys: Sequence[Row]


class MarkVerified(Struct, frozen=True):
    """Set `verified_sequence` of the live and condemned objects in a range of the order of verification.

    Attributes:
        first: the position of the first object.
        last: the position of the last object.
        arcs: if not empty, only objects whose digest ends within one of these first and last ends.
        sequence: the new value, which is after the range.
    """

    first: DueKey
    last: DueKey
    arcs: tuple[tuple[bytes, bytes], ...]
    sequence: int

    @property
    def table(self) -> ViewTable:
        """The table of the objects."""
        return LOCATIONS


class DeleteRange(Struct, frozen=True):
    """Remove the rows whose key begins with the cells of `key`, and continues with one from `first` to `last`."""

    table: ViewTable
    key: Row
    first: Cell
    last: Cell


type RowOperation = Put | PutIfAbsent | Update | Delete | DeleteRange | MarkVerified


class ViewWriter(Protocol):
    """The destination of projected rows. `apply` gets the operations of a batch of events, in log order."""

    async def apply(self, operations: Sequence[RowOperation]) -> None:
        """Write all operations. If this raises an error, none of them is kept."""
        ...


class _Fold(Struct):
    """Folded operations on one table, by key. They are applied in the order of the attributes."""

    puts: dict[Row, Row] = field(default_factory=dict[Row, Row])
    puts_if_absent: dict[Row, Row] = field(default_factory=dict[Row, Row])
    updates: dict[Row, NamedCells] = field(default_factory=dict[Row, NamedCells])

    def operations(self, table: ViewTable) -> Iterable[RowOperation]:
        """Yield the folded operations."""
        if self.puts:
            yield Put(table, tuple(self.puts.values()))
        if self.puts_if_absent:
            yield PutIfAbsent(table, tuple(self.puts_if_absent.values()))
        for key, values in self.updates.items():
            yield Update(table, key, values)

    def put(self, keys: Sequence[Row], rows: Sequence[Row]) -> None:
        """Fold in a `Put`."""
        for later in (self.puts_if_absent, self.updates):
            if later:
                for key in keys:
                    later.pop(key, None)
        self.puts.update(zip(keys, rows, strict=True))

    def put_if_absent(self, keys: Sequence[Row], rows: Sequence[Row]) -> None:
        """Fold in a `PutIfAbsent`. It must have no key in common with the updates."""
        puts, keep = self.puts, self.puts_if_absent.setdefault
        for key, row in zip(keys, rows, strict=True):
            if key not in puts:
                keep(key, row)

    def update(self, update: Update) -> None:
        """Fold in an `Update`."""
        if (row := self.puts.get(update.key)) is not None:
            self.puts[update.key] = update.table.changed(row, update.values)
        else:
            self.updates[update.key] = {**self.updates.get(update.key, {}), **update.values}


def coalesce(operations: Iterable[RowOperation]) -> tuple[RowOperation, ...]:
    """Fold operations into fewer operations with the same effect, to be applied in order.

    No operation has two rows with the same key. A table gets at most one `Put` and one `PutIfAbsent`, with two
    exceptions: a `Delete`, `DeleteRange` or `MarkVerified` ends the folding of earlier operations, and so does a
    `PutIfAbsent` that follows an update of one of its keys, since its effect depends on whether the row exists.
    """
    folds: dict[ViewTable, _Fold] = {}
    folded: list[RowOperation] = []
    for operation in operations:
        table = operation.table
        if (fold := folds.get(table)) is None:
            fold = folds[table] = _Fold()
        if isinstance(operation, Update):
            fold.update(operation)
            continue
        if isinstance(operation, Delete | DeleteRange | MarkVerified):  # rare, so operations are not folded across them
            folded += [*fold.operations(table), operation]
            del folds[table]
            continue
        rows, width = operation.rows, table.key_columns
        keys = [row[:width] for row in rows]
        if isinstance(operation, Put):
            fold.put(keys, rows)
        else:
            if fold.updates and not fold.updates.keys().isdisjoint(keys):
                folded += fold.operations(table)
                fold = folds[table] = _Fold()
            fold.put_if_absent(keys, rows)
    for table, fold in folds.items():
        folded += fold.operations(table)
    return tuple(folded)


class ViewDigest:
    """A digest over the whole projection, computed from batches of rows.

    The digest is BLAKE3 over a sequence of canonical CBOR items. For each table, the sequence has the cells, row by
    row, and then the array of the table's name and the number of its rows. Tables are in the order of `VIEWS`, rows in
    the bytewise order of their keys, and cells in the order of the columns. Byte cells are byte strings. No cell is an
    array, so different projections have different sequences.
    """

    def __init__(self) -> None:
        self._hasher = blake3.blake3()

    def add(self, rows: Iterable[Sequence[Cell]]) -> None:
        """Add rows of a table. Cells can have every type that a database can hold."""
        # One call encodes all cells as an array. An array's encoding is its head, followed by its items.
        cells = list(chain.from_iterable(rows))
        encoded = cbor2.dumps(cells)
        self._hasher.update(memoryview(encoded)[_head_bytes(len(cells)) :])

    def end(self, table: ViewTable, rows: int) -> None:
        """End a table that has this number of rows."""
        self._hasher.update(cbor2.dumps([table.name, rows]))

    def result(self) -> Digest:
        """Return the digest of all rows so far."""
        return Digest("blake3", self._hasher.hexdigest())


def _head_bytes(count: int) -> int:
    """Return the length of the head of a CBOR array with this number of items, in bytes."""
    for limit, head_bytes in _HEADS:
        if count < limit:
            return head_bytes
    raise OverflowError(count)
