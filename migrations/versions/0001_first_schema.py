"""The first schema: the log, its head, reference data and the projections."""

import uuid

import sqlalchemy as sa
from alembic import op

from artifactstore_protocols.retention import RETENTION_CLASSES

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
SEQUENCE = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def text(name: str, *, nullable: bool = False) -> sa.Column[str]:
    return sa.Column(name, TEXT, nullable=nullable)


def integer(name: str, *, nullable: bool = False) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger(), nullable=nullable, autoincrement=False)


def octets(name: str, *, nullable: bool = False) -> sa.Column[bytes]:
    return sa.Column(name, sa.LargeBinary(), nullable=nullable)


def _create_schemas() -> None:
    op.create_table(
        "metadata_schemas",
        text("name"),
        integer("version"),
        octets("schema"),
        integer("registered_at"),
        integer("sequence"),
        sa.PrimaryKeyConstraint("name", "version", name="pk_metadata_schemas"),
    )
    op.create_table(
        "schema_requirements",
        text("glob"),
        text("schema"),
        text("set_by"),
        integer("set_at"),
        integer("sequence"),
        sa.PrimaryKeyConstraint("glob", name="pk_schema_requirements"),
    )


def _create_tokens() -> None:
    op.create_table(
        "access_tokens",
        text("name"),
        text("scopes"),
        octets("packages"),
        integer("expires_at", nullable=True),
        octets("digest"),
        text("store_id"),
        text("created_by"),
        integer("created_at"),
        integer("revoked_at", nullable=True),
        text("revoked_by", nullable=True),
        text("revoked_reason", nullable=True),
        integer("sequence"),
        sa.PrimaryKeyConstraint("name", name="pk_access_tokens"),
    )
    op.create_index("ix_access_tokens_digest", "access_tokens", ["digest"])


def _create_rules() -> None:
    op.create_table(
        "keep_policies",
        text("package_group"),
        octets("rules"),
        text("set_by"),
        integer("set_at"),
        integer("sequence"),
        sa.PrimaryKeyConstraint("package_group", name="pk_keep_policies"),
    )
    op.create_table(
        "added_retention_classes",
        text("name"),
        integer("duration_us"),
        text("added_by"),
        integer("added_at"),
        integer("sequence"),
        sa.PrimaryKeyConstraint("name", name="pk_added_retention_classes"),
    )


def _create_purged() -> None:
    op.create_table(
        "purged_contents",
        octets("digest_primary"),
        text("reason"),
        text("purged_by"),
        integer("purged_at"),
        integer("sequence"),
        sa.PrimaryKeyConstraint("digest_primary", name="pk_purged_contents"),
        sqlite_with_rowid=False,
    )


def upgrade() -> None:  # noqa: PLR0915 - one statement for each table and index
    op.create_table(
        "events",
        sa.Column("sequence", SEQUENCE, nullable=False, autoincrement=False),
        text("event_id"),
        text("type"),
        text("subject"),
        text("principal"),
        integer("recorded_at"),
        text("command_id"),
        text("command_digest", nullable=True),
        text("idempotency_key", nullable=True),
        text("payload_digest"),
        octets("payload"),
        integer("redacted_by", nullable=True),
        text("substitute_digest", nullable=True),
        sa.PrimaryKeyConstraint("sequence", name="pk_events"),
    )
    op.create_index("ix_events_event_id", "events", ["event_id"], unique=True)
    op.create_index("ix_events_idempotency_key", "events", ["idempotency_key"], unique=True)
    op.create_index("ix_events_command_id", "events", ["command_id"])
    op.create_index("ix_events_subject_sequence", "events", ["subject", "sequence"])
    redacted = sa.text("redacted_by IS NOT NULL")
    op.create_index(
        "ix_events_redacted_by", "events", ["redacted_by"], sqlite_where=redacted, postgresql_where=redacted
    )

    head = op.create_table(
        "log_head",
        integer("id"),
        integer("sequence"),
        integer("import_end", nullable=True),
        text("import_event_id", nullable=True),
        text("import_command", nullable=True),
        text("store_id"),
        text("restored_store_id", nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_log_head"),
        sa.CheckConstraint("id = 1", name=op.f("ck_log_head_single_row")),
    )
    op.bulk_insert(head, [{"id": 1, "sequence": 0, "store_id": str(uuid.uuid4())}])

    classes = op.create_table(
        "retention_classes",
        text("name"),
        integer("duration_us", nullable=True),
        text("description"),
        sa.PrimaryKeyConstraint("name", name="pk_retention_classes"),
    )
    op.bulk_insert(
        classes,
        [
            {"name": kept.name, "duration_us": kept.duration_us, "description": kept.description}
            for kept in RETENTION_CLASSES.values()
        ],
    )

    op.create_table(
        "last_runs",
        text("kind"),
        integer("ended_at"),
        integer("sequence"),
        integer("objects"),
        integer("flaws"),
        sa.PrimaryKeyConstraint("kind", name="pk_last_runs"),
    )

    op.create_table(
        "upload_receipts",
        text("principal"),
        text("package_id"),
        octets("digest_primary"),
        integer("expires_at"),
        sa.PrimaryKeyConstraint("principal", "package_id", "digest_primary", name="pk_upload_receipts"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_upload_receipts_digest_primary_expires_at", "upload_receipts", ["digest_primary", "expires_at"])
    op.create_index("ix_upload_receipts_expires_at", "upload_receipts", ["expires_at"])

    op.create_table(
        "artifact_packages",
        text("package_id"),
        text("name"),
        text("status"),
        integer("version"),
        integer("file_count"),
        integer("link_count"),
        integer("directory_count"),
        integer("total_bytes"),
        integer("stored_bytes"),
        text("retention_class"),
        octets("metadata"),
        text("created_by"),
        integer("created_at"),
        integer("finalized_at", nullable=True),
        text("manifest_digest", nullable=True),
        text("tree_digest", nullable=True),
        integer("created_sequence"),
        integer("finalized_sequence", nullable=True),
        text("metadata_schema", nullable=True),
        integer("gone_at", nullable=True),
        text("gone_by", nullable=True),
        text("gone_reason", nullable=True),
        integer("gone_sequence", nullable=True),
        sa.PrimaryKeyConstraint("package_id", name="pk_artifact_packages"),
    )
    not_gone = sa.text("gone_at IS NULL")
    op.create_index(
        "ix_artifact_packages_name_finalized_sequence",
        "artifact_packages",
        ["name", "finalized_sequence"],
        sqlite_where=not_gone,
        postgresql_where=not_gone,
    )
    op.create_index("ix_artifact_packages_manifest_digest", "artifact_packages", ["manifest_digest"])
    op.create_index(
        "ix_artifact_packages_tree_digest_finalized_sequence",
        "artifact_packages",
        ["tree_digest", "finalized_sequence"],
    )
    op.create_index("ix_artifact_packages_id_end", "artifact_packages", [sa.text("substr(package_id, 31)")])
    unreleased = sa.text("gone_at IS NOT NULL AND (file_count > 0 OR link_count > 0 OR directory_count > 0)")
    op.create_index(
        "ix_artifact_packages_unreleased",
        "artifact_packages",
        ["created_sequence"],
        sqlite_where=unreleased,
        postgresql_where=unreleased,
    )
    op.create_index("ix_artifact_packages_created_sequence", "artifact_packages", ["created_sequence"])
    for column in ("name", "created_by", "retention_class", "status", "total_bytes"):
        op.create_index(
            f"ix_artifact_packages_{column}_created_sequence", "artifact_packages", [column, "created_sequence"]
        )

    op.create_table(
        "artifact_tags",
        text("tag"),
        text("package_id"),
        integer("protected"),
        text("set_by"),
        integer("set_at"),
        integer("sequence"),
        sa.PrimaryKeyConstraint("tag", name="pk_artifact_tags"),
    )
    op.create_index("ix_artifact_tags_package_id", "artifact_tags", ["package_id"])

    op.create_table(
        "contents",
        octets("digest_primary"),
        text("digest_algorithm"),
        octets("digest_sha256"),
        integer("size_bytes"),
        integer("reference_count"),
        integer("sequence"),
        sa.PrimaryKeyConstraint("digest_primary", name="pk_contents"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_contents_sha256_start", "contents", [sa.text("substr(digest_sha256, 1, 8)")])

    op.create_table(
        "artifact_files",
        integer("package_number"),
        text("path_key"),
        text("path", nullable=True),
        integer("kind"),
        integer("executable"),
        text("media_type", nullable=True),
        octets("digest_primary", nullable=True),
        text("link_target", nullable=True),
        integer("sequence"),
        sa.PrimaryKeyConstraint("package_number", "path_key", name="pk_artifact_files"),
        sqlite_with_rowid=False,
    )
    op.create_index(
        "ix_artifact_files_digest_primary_package_number", "artifact_files", ["digest_primary", "package_number"]
    )
    above = "rtrim(path_key, replace(path_key, '/', ''))"
    before_ending = "rtrim(path_key, replace(replace(path_key, '/', ''), '.', ''))"
    ending = f"substr('/' || path_key, length({before_ending}) + 1)"
    name_key = f"(({ending} || '/') || substr({before_ending}, length({above}) + 1))"
    op.create_index("ix_artifact_files_name", "artifact_files", [sa.text(name_key), sa.text("package_number")])

    op.create_table(
        "storage_locations",
        octets("digest_primary"),
        text("backend_id"),
        text("object_key"),
        integer("retrieval_tier"),
        integer("restore_status"),
        text("state"),
        text("integrity"),
        integer("stored_at", nullable=True),
        integer("changed_at", nullable=True),
        text("rule", nullable=True),
        integer("sequence"),
        integer("verified_sequence"),
    )
    op.create_index(
        "ix_storage_locations_key",
        "storage_locations",
        ["digest_primary", "backend_id", sa.text("substr(object_key, 78)")],
        unique=True,
    )
    current = "state <> 'retired' AND state <> 'removed'"
    op.create_index(
        "ix_storage_locations_verified",
        "storage_locations",
        ["verified_sequence"],
        sqlite_where=sa.text(current),
        postgresql_where=sa.text(current),
    )
    flagged = sa.text(f"integrity <> 'intact' AND {current}")
    op.create_index(
        "ix_storage_locations_flagged",
        "storage_locations",
        ["integrity"],
        sqlite_where=flagged,
        postgresql_where=flagged,
    )
    collectable = sa.text("state = 'condemned' OR state = 'retired'")
    op.create_index(
        "ix_storage_locations_collectable",
        "storage_locations",
        ["state", "changed_at", "digest_primary", "backend_id", "object_key"],
        sqlite_where=collectable,
        postgresql_where=collectable,
    )

    op.create_table(
        "retention_state",
        text("package_id"),
        text("retention_class"),
        integer("duration_us", nullable=True),
        text("status"),
        integer("retained_from", nullable=True),
        integer("expires_at", nullable=True),
        integer("sequence"),
        sa.PrimaryKeyConstraint("package_id", name="pk_retention_state"),
    )
    retained = sa.text("status = 'retained'")
    op.create_index(
        "ix_retention_state_expires_at_package_id",
        "retention_state",
        ["expires_at", "package_id"],
        sqlite_where=retained,
        postgresql_where=retained,
    )
    op.create_table(
        "artifact_holds",
        text("hold_id"),
        text("package_id"),
        text("reason"),
        text("placed_by"),
        integer("placed_at"),
        integer("sequence"),
        sa.PrimaryKeyConstraint("hold_id", name="pk_artifact_holds"),
    )
    op.create_index("ix_artifact_holds_package_id_hold_id", "artifact_holds", ["package_id", "hold_id"])

    _create_schemas()

    totals = (
        "packages finalized files links directories total_bytes objects object_bytes condemned condemned_bytes "
        "unreleased unreleased_bytes deleted expired retired retired_bytes removed"
    )
    op.create_table(
        "store_totals",
        integer("id"),
        *map(integer, totals.split()),
        sa.PrimaryKeyConstraint("id", name="pk_store_totals"),
    )
    _create_purged()
    op.create_table(
        "store_clock",
        integer("id"),
        integer("observed_at"),
        integer("sequence"),
        sa.PrimaryKeyConstraint("id", name="pk_store_clock"),
    )
    op.create_table(
        "artifact_values",
        integer("package_number"),
        text("key"),
        text("annotation", nullable=True),
        text("term", nullable=True),
        integer("sequence"),
        sa.PrimaryKeyConstraint("package_number", "key", name="pk_artifact_values"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_artifact_values_term_package_number", "artifact_values", ["term", "package_number"])
    op.create_index("ix_artifact_values_key_package_number", "artifact_values", ["key", "package_number"])

    op.create_table(
        "artifact_parents",
        integer("package_number"),
        text("parent_id"),
        text("manifest_digest"),
        sa.PrimaryKeyConstraint("package_number", "parent_id", name="pk_artifact_parents"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_artifact_parents_parent_id_package_number", "artifact_parents", ["parent_id", "package_number"])

    _create_rules()
    _create_tokens()


def downgrade() -> None:
    for table in (
        "store_totals",
        "access_tokens",
        "purged_contents",
        "keep_policies",
        "added_retention_classes",
        "store_clock",
        "artifact_parents",
        "artifact_values",
        "artifact_tags",
        "schema_requirements",
        "metadata_schemas",
        "artifact_holds",
        "retention_state",
        "storage_locations",
        "artifact_files",
        "contents",
        "artifact_packages",
        "upload_receipts",
        "last_runs",
        "retention_classes",
        "log_head",
        "events",
    ):
        op.drop_table(table)
