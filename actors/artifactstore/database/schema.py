"""The table definitions, used by queries and by the check that models and migrations agree.

`events` is the source of truth. `log_head` is its only lock and its counter. `retention_classes` is reference data.
`last_runs` has the last backup of this database, and `upload_receipts` who has stored which contents for a package that
does not refer to them yet. Neither changes anything that the log records.
The other tables are projections that a replay rebuilds from the log. They have no foreign keys and no defaults, since
every cell comes from an event. Text compares bytewise and times are int64 microseconds in UTC, so SQLite and
PostgreSQL store and order rows alike.
"""

from collections.abc import Mapping
from types import MappingProxyType

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    text,
)

from artifactstore.database.cells import CheckedBigInteger, CheckedBytes, CheckedText
from artifactstore.database.name_keys import name_key_sql
from artifactstore_protocols.views import TOTALS, VIEWS, ViewTable

__all__ = [
    "CHANNEL_PREFIX",
    "LIVE",
    "METADATA",
    "SCHEMA_REVISION",
    "SCHEMA_REVISIONS",
    "UNIQUE",
    "ViewTables",
    "events",
    "last_runs",
    "log_head",
    "retention_classes",
    "upload_receipts",
]

SCHEMA_REVISIONS: tuple[str, ...] = ("0001",)
"""The schema revisions that this release uses or upgrades, oldest first. A test compares them with the migrations."""

SCHEMA_REVISION = SCHEMA_REVISIONS[-1]
"""The schema revision that this release requires."""

UNIQUE = "unique"
"""The key of `Table.info` for what a unique index has, in a table without a primary key: names and expressions."""

METADATA = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "pk": "pk_%(table_name)s",
    }
)


def _text(name: str, *, key: bool = False, nullable: bool = False) -> Column[str]:
    text = Text(collation="C").with_variant(CheckedText(name, nullable=nullable), "sqlite")
    return Column(name, text, primary_key=key, nullable=nullable)


def _integer(name: str, *, key: bool = False, nullable: bool = False) -> Column[int]:
    number = BigInteger().with_variant(CheckedBigInteger(name, nullable=nullable), "sqlite")
    return Column(name, number, primary_key=key, nullable=nullable, autoincrement=False)


def _bytes(name: str, *, key: bool = False, nullable: bool = False) -> Column[bytes]:
    octets = LargeBinary().with_variant(CheckedBytes(name, nullable=nullable), "sqlite")
    return Column(name, octets, primary_key=key, nullable=nullable)


# Only an INTEGER primary key is SQLite's rowid, which needs no second index. The type must be exactly INTEGER.
_SEQUENCE = BigInteger().with_variant(Integer(), "sqlite")


events = Table(
    "events",
    METADATA,
    Column("sequence", _SEQUENCE, primary_key=True, autoincrement=False),
    _text("event_id"),
    _text("type"),
    _text("subject"),
    _text("principal"),
    _integer("recorded_at"),
    _text("command_id"),
    _text("command_digest", nullable=True),
    _text("idempotency_key", nullable=True),
    _text("payload_digest"),
    _bytes("payload"),
    _integer("redacted_by", nullable=True),
    _text("substitute_digest", nullable=True),
    Index(None, "event_id", unique=True),
    Index(None, "idempotency_key", unique=True),
    Index(None, "command_id"),
    Index(None, "subject", "sequence"),
    Index(None, "redacted_by", sqlite_where=text("redacted_by IS NOT NULL")),
)

log_head = Table(
    "log_head",
    METADATA,
    _integer("id", key=True),
    _integer("sequence"),
    _integer("import_end", nullable=True),
    _text("import_event_id", nullable=True),
    _text("import_command", nullable=True),
    _text("store_id"),
    _text("restored_store_id", nullable=True),
    CheckConstraint("id = 1", name="single_row"),
)

CHANNEL_PREFIX = "artifactstore_"
"""The prefix of the PostgreSQL channel that commits notify. The object id of `log_head` follows it."""

retention_classes = Table(
    "retention_classes",
    METADATA,
    _text("name", key=True),
    _integer("duration_us", nullable=True),
    _text("description"),
)

last_runs = Table(
    "last_runs",
    METADATA,
    _text("kind", key=True),
    _integer("ended_at"),
    _integer("sequence"),
    _integer("objects"),
    _integer("flaws"),
)

upload_receipts = Table(
    "upload_receipts",
    METADATA,
    _text("principal", key=True),
    _text("package_id", key=True),
    _bytes("digest_primary", key=True),
    _integer("expires_at"),
    Index(None, "digest_primary", "expires_at"),
    Index(None, "expires_at"),
    sqlite_with_rowid=False,
)

# For PostgreSQL, only the migration has the `where`: `postgresql_where` here would load its dialect for SQLite too.
_unreleased = text("gone_at IS NOT NULL AND (file_count > 0 OR link_count > 0 OR directory_count > 0)")

Table(
    "artifact_packages",
    METADATA,
    _text("package_id", key=True),
    _text("name"),
    _text("status"),
    _integer("version"),
    _integer("file_count"),
    _integer("link_count"),
    _integer("directory_count"),
    _integer("total_bytes"),
    _integer("stored_bytes"),
    _text("retention_class"),
    _bytes("metadata"),
    _text("created_by"),
    _integer("created_at"),
    _integer("finalized_at", nullable=True),
    _text("manifest_digest", nullable=True),
    _text("tree_digest", nullable=True),
    _integer("created_sequence"),
    _integer("finalized_sequence", nullable=True),
    _text("metadata_schema", nullable=True),
    _integer("gone_at", nullable=True),
    _text("gone_by", nullable=True),
    _text("gone_reason", nullable=True),
    _integer("gone_sequence", nullable=True),
    Index(None, "name", "finalized_sequence", sqlite_where=text("gone_at IS NULL")),
    Index(None, "name", "created_sequence"),
    Index(None, "created_by", "created_sequence"),
    Index(None, "retention_class", "created_sequence"),
    Index(None, "status", "created_sequence"),
    Index(None, "total_bytes", "created_sequence"),
    Index(None, "manifest_digest"),
    Index(None, "tree_digest", "finalized_sequence"),
    Index(None, "created_sequence"),
    Index("ix_artifact_packages_id_end", text("substr(package_id, 31)")),  # the last 6 of 36 characters
    Index("ix_artifact_packages_unreleased", "created_sequence", sqlite_where=_unreleased),
)

# Tables with a row per file and a short key have no rowid: the key is stored once, and one search finds the row.

Table(
    "contents",
    METADATA,
    _bytes("digest_primary", key=True),
    _text("digest_algorithm"),
    _bytes("digest_sha256"),
    _integer("size_bytes"),
    _integer("reference_count"),
    _integer("sequence"),
    Index("ix_contents_sha256_start", text("substr(digest_sha256, 1, 8)")),  # 8 of 32 bytes tell contents apart
    sqlite_with_rowid=False,
)

Table(
    "artifact_files",
    METADATA,
    _integer("package_number", key=True),
    _text("path_key", key=True),
    _text("path", nullable=True),
    _integer("kind"),
    _integer("executable"),
    _text("media_type", nullable=True),
    _bytes("digest_primary", nullable=True),
    _text("link_target", nullable=True),
    _integer("sequence"),
    Index(None, "digest_primary", "package_number"),
    # The last part of the path, with its ending first.
    Index("ix_artifact_files_name", text(name_key_sql()), text("package_number")),
    sqlite_with_rowid=False,
)

# For PostgreSQL, only the migration has the `where`: `postgresql_where` here would load its dialect for SQLite too.
_current = "state <> 'retired' AND state <> 'removed'"
_collectable = "state = 'condemned' OR state = 'retired'"

# What a key has after its digest: nothing, or its generation. The rest of the key repeats the digest in 77 characters.
_location_key = ("digest_primary", "backend_id", text("substr(object_key, 78)"))

# Without a primary key: SQLite's hidden row number then makes the entries of the other indexes short.

Table(
    "storage_locations",
    METADATA,
    _bytes("digest_primary"),
    _text("backend_id"),
    _text("object_key"),
    _integer("retrieval_tier"),
    _integer("restore_status"),
    _text("state"),
    _text("integrity"),
    _integer("stored_at", nullable=True),
    _integer("changed_at", nullable=True),
    _text("rule", nullable=True),
    _integer("sequence"),
    _integer("verified_sequence"),
    Index("ix_storage_locations_key", *_location_key, unique=True),
    Index("ix_storage_locations_flagged", "integrity", sqlite_where=text(f"integrity <> 'intact' AND {_current}")),
    Index(
        "ix_storage_locations_collectable",
        "state",
        "changed_at",
        "digest_primary",
        "backend_id",
        "object_key",
        sqlite_where=text(_collectable),
    ),
    Index(
        "ix_storage_locations_verified",
        "verified_sequence",
        sqlite_where=text(_current),
    ),
    info={UNIQUE: _location_key},
)

Table(
    "retention_state",
    METADATA,
    _text("package_id", key=True),
    _text("retention_class"),
    _integer("duration_us", nullable=True),
    _text("status"),
    _integer("retained_from", nullable=True),
    _integer("expires_at", nullable=True),
    _integer("sequence"),
    Index(None, "expires_at", "package_id", sqlite_where=text("status = 'retained'")),
)

Table(
    "artifact_holds",
    METADATA,
    _text("hold_id", key=True),
    _text("package_id"),
    _text("reason"),
    _text("placed_by"),
    _integer("placed_at"),
    _integer("sequence"),
    Index(None, "package_id", "hold_id"),
)

Table(
    "metadata_schemas",
    METADATA,
    _text("name", key=True),
    _integer("version", key=True),
    _bytes("schema"),
    _integer("registered_at"),
    _integer("sequence"),
)

Table(
    "schema_requirements",
    METADATA,
    _text("glob", key=True),
    _text("schema"),
    _text("set_by"),
    _integer("set_at"),
    _integer("sequence"),
)

Table(
    "artifact_tags",
    METADATA,
    _text("tag", key=True),
    _text("package_id"),
    _integer("protected"),
    _text("set_by"),
    _integer("set_at"),
    _integer("sequence"),
    Index(None, "package_id"),
)

Table(
    "artifact_values",
    METADATA,
    _integer("package_number", key=True),
    _text("key", key=True),
    _text("annotation", nullable=True),
    _text("term", nullable=True),
    _integer("sequence"),
    Index(None, "term", "package_number"),
    Index(None, "key", "package_number"),
    sqlite_with_rowid=False,
)

Table(
    "artifact_parents",
    METADATA,
    _integer("package_number", key=True),
    _text("parent_id", key=True),
    _text("manifest_digest"),
    Index(None, "parent_id", "package_number"),
    sqlite_with_rowid=False,
)

Table(
    "keep_policies",
    METADATA,
    _text("package_group", key=True),
    _bytes("rules"),
    _text("set_by"),
    _integer("set_at"),
    _integer("sequence"),
)

Table(
    "added_retention_classes",
    METADATA,
    _text("name", key=True),
    _integer("duration_us"),
    _text("added_by"),
    _integer("added_at"),
    _integer("sequence"),
)

Table(
    "store_clock",
    METADATA,
    _integer("id", key=True),
    _integer("observed_at"),
    _integer("sequence"),
)

Table(
    "purged_contents",
    METADATA,
    _bytes("digest_primary", key=True),
    _text("reason"),
    _text("purged_by"),
    _integer("purged_at"),
    _integer("sequence"),
    sqlite_with_rowid=False,
)

Table(
    "access_tokens",
    METADATA,
    _text("name", key=True),
    _text("scopes"),
    _bytes("packages"),
    _integer("expires_at", nullable=True),
    _bytes("digest"),
    _text("store_id"),
    _text("created_by"),
    _integer("created_at"),
    _integer("revoked_at", nullable=True),
    _text("revoked_by", nullable=True),
    _text("revoked_reason", nullable=True),
    _integer("sequence"),
    Index(None, "digest"),
)

Table(
    "store_totals",
    METADATA,
    _integer("id", key=True),
    *(_integer(name) for name in TOTALS.columns[1:]),
)

type ViewTables = Mapping[ViewTable, Table]

LIVE: ViewTables = MappingProxyType({view: METADATA.tables[view.name] for view in VIEWS})
"""The tables that readers query, by view."""
