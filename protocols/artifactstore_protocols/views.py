"""Projections as data: which rows an event implies, decided from the event alone.

A projection never reads a table, a clock or a random source. Every operation states absolute values, so that applying
a log twice, in batches of any size, or into another database gives the same rows. A `ViewWriter` writes the rows: into
the live tables, into their twins of a replay, or into a dictionary of a test.

A row is a plain tuple of cells in the order of its table's columns, which begin with the key. `coalesce` folds the
operations of a batch, so that a thousand files are one operation and move the version of their package once.
"""

from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from typing import Protocol

import blake3
import cbor2
from msgspec import Struct, field

from artifactstore_protocols.identity import Digest

__all__ = [
    "CONTENTS",
    "FILES",
    "KIND_DIRECTORY",
    "KIND_FILE",
    "KIND_LINK",
    "LOCATIONS",
    "PACKAGES",
    "RETENTION",
    "SCHEMAS",
    "VIEWS",
    "Cell",
    "Delete",
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
"""Cells by the names of their columns: some of a row, or all."""


class ViewTable(Struct, frozen=True, eq=False):
    """A projected table: its columns in the order of the projection digest; the first `key_columns` are its key."""

    name: str
    columns: tuple[str, ...]
    key_columns: int = 1

    @property
    def key(self) -> tuple[str, ...]:
        """Names of the key's columns."""
        return self.columns[: self.key_columns]

    def key_of(self, row: Row) -> Row:
        """The key of a row."""
        return row[: self.key_columns]

    def named(self, row: Row) -> NamedCells:
        """A row by the names of its columns."""
        return dict(zip(self.columns, row, strict=True))

    def changed(self, row: Row, values: NamedCells) -> Row:
        """A row with other values in some columns."""
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
        "retention_class",
        "metadata",
        "created_by",
        "created_at",
        "finalized_at",
        "manifest_digest",
        "tree_digest",
        "created_sequence",
        "finalized_sequence",
    ),
)
CONTENTS = ViewTable(
    "contents",
    ("digest_primary", "digest_algorithm", "digest_sha256", "size_bytes", "sequence"),
)
"""Every content that was ever stored. Other tables refer to it by `digest_primary`; `sequence` stored it first."""

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
"""Entries of packages, which are numbered by the sequence that created them.

`path` is null where it equals `path_key`, `digest_primary` where the entry is no file.
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
    ),
    key_columns=3,
)
"""Objects: under which key of which backend a content is, or was. One content may have several.

The row of an object that was removed stays. `changed_at` and `rule` say since when it is in its state, and why; both
are null as long as it is live. `stored_at` is null where no event has stored it: it was found, and named by no row.
"""

RETENTION = ViewTable(
    "retention_state",
    ("package_id", "retention_class", "duration_us", "status", "retained_from", "expires_at"),
)
SCHEMAS = ViewTable(
    "metadata_schemas",
    ("name", "version", "schema", "registered_at", "sequence"),
    key_columns=2,
)
VIEWS: tuple[ViewTable, ...] = (PACKAGES, CONTENTS, FILES, LOCATIONS, RETENTION, SCHEMAS)

_HEADS = ((24, 1), (1 << 8, 2), (1 << 16, 3), (1 << 32, 5))

KIND_FILE, KIND_LINK, KIND_DIRECTORY = 0, 1, 2
"""What `kind` may be: a file, a symbolic link, or an empty directory."""


class Put(Struct, frozen=True):
    """Write whole rows, whatever was at their keys."""

    table: ViewTable
    rows: Sequence[Row]


class PutIfAbsent(Struct, frozen=True):
    """Write whole rows, except those whose key is taken: the first one to store a content keeps its row."""

    table: ViewTable
    rows: Sequence[Row]


class Update(Struct, frozen=True):
    """Set some columns of the row at `key`, if it is there."""

    table: ViewTable
    key: Row
    values: NamedCells


class Delete(Struct, frozen=True):
    """Remove the rows at these keys, if they are there."""

    table: ViewTable
    keys: Sequence[Row]


type RowOperation = Put | PutIfAbsent | Update | Delete


class ViewWriter(Protocol):
    """Where projected rows go. `apply` gets the operations of a run of events, in log order."""

    async def apply(self, operations: Sequence[RowOperation]) -> None:
        """Write all of them, or raise and have written none that will be kept."""
        ...


class _Fold(Struct):
    """Folded operations on one table, by key; they are applied in the order of the attributes."""

    puts: dict[Row, Row] = field(default_factory=dict[Row, Row])
    puts_if_absent: dict[Row, Row] = field(default_factory=dict[Row, Row])
    updates: dict[Row, NamedCells] = field(default_factory=dict[Row, NamedCells])

    def operations(self, table: ViewTable) -> Iterable[RowOperation]:
        """What is folded, as operations."""
        if self.puts:
            yield Put(table, tuple(self.puts.values()))
        if self.puts_if_absent:
            yield PutIfAbsent(table, tuple(self.puts_if_absent.values()))
        for key, values in self.updates.items():
            yield Update(table, key, values)

    def put(self, keys: Sequence[Row], rows: Sequence[Row]) -> None:
        """Take in a `Put`."""
        for later in (self.puts_if_absent, self.updates):
            if later:
                for key in keys:
                    later.pop(key, None)
        self.puts.update(zip(keys, rows, strict=True))

    def put_if_absent(self, keys: Sequence[Row], rows: Sequence[Row]) -> None:
        """Take in a `PutIfAbsent` that has no key in common with the updates."""
        puts, keep = self.puts, self.puts_if_absent.setdefault
        for key, row in zip(keys, rows, strict=True):
            if key not in puts:
                keep(key, row)

    def update(self, update: Update) -> None:
        """Take in an `Update`."""
        if (row := self.puts.get(update.key)) is not None:
            self.puts[update.key] = update.table.changed(row, update.values)
        else:
            self.updates[update.key] = {**self.updates.get(update.key, {}), **update.values}


def coalesce(operations: Iterable[RowOperation]) -> tuple[RowOperation, ...]:
    """Fold operations into as few as say the same, to be applied one after the other.

    No key stands twice in the rows of one operation. A table has one `Put` and one `PutIfAbsent` at most, unless a
    conditional put follows an update of its key: what that does depends on the table.
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
        if isinstance(operation, Delete):  # it is rare, so what comes before is not folded with what comes after
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
    """One digest over the whole projection, fed in runs of rows.

    BLAKE3 over a sequence of canonical CBOR items: for each table its cells, row by row, and then the array of its name
    and the number of its rows. Tables stand in the order of `VIEWS`, rows in the bytewise order of their keys, cells
    in the order of the columns; byte cells are byte strings. No cell is an array, so no two projections have the same
    sequence.
    """

    def __init__(self) -> None:
        self._hasher = blake3.blake3()

    def add(self, rows: Iterable[Sequence[Cell]]) -> None:
        """Take in rows of a table; cells of any type that a database can hold have an encoding."""
        # An array is its head and then its items: one call encodes them all.
        cells = list(chain.from_iterable(rows))
        encoded = cbor2.dumps(cells)
        self._hasher.update(memoryview(encoded)[_head_bytes(len(cells)) :])

    def end(self, table: ViewTable, rows: int) -> None:
        """End a table that has so many rows."""
        self._hasher.update(cbor2.dumps([table.name, rows]))

    def result(self) -> Digest:
        """The digest of all rows so far."""
        return Digest("blake3", self._hasher.hexdigest())


def _head_bytes(count: int) -> int:
    """How long the head of a CBOR array of so many items is."""
    for limit, head_bytes in _HEADS:
        if count < limit:
            return head_bytes
    raise OverflowError(count)
