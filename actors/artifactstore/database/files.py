"""Reading rows that refer to a content, joined with the row of `contents`."""

from typing import Any

from sqlalchemy import BigInteger, ColumnElement, LargeBinary, Table, Text, func, type_coerce

from artifactstore.database.cells import CheckedBigInteger, CheckedBytes, CheckedText, DamagedCell
from artifactstore_protocols import views
from artifactstore_protocols.entries import Entry

__all__ = ["address_in", "content_columns", "entry_in", "path_of"]


def path_of(files: Table) -> ColumnElement[str]:
    """Return the column of an entry's path as the caller gave it, before normalization."""
    return func.coalesce(files.c.path, files.c.path_key).label("path")


def content_columns(contents: Table) -> tuple[ColumnElement[Any], ...]:
    """Return the columns to select of a content. They are NULL if its row is missing, which counts as damage."""
    algorithm = Text().with_variant(CheckedText("digest_algorithm", nullable=True), "sqlite")
    sha256 = LargeBinary().with_variant(CheckedBytes("digest_sha256", nullable=True), "sqlite")
    size = BigInteger().with_variant(CheckedBigInteger("size_bytes", nullable=True), "sqlite")
    return (
        type_coerce(contents.c.digest_algorithm, algorithm).label("digest_algorithm"),
        type_coerce(contents.c.digest_sha256, sha256).label("digest_sha256"),
        type_coerce(contents.c.size_bytes, size).label("size_bytes"),
    )


def entry_in(
    number: int,
    path: str,
    kind: int,
    executable: int,
    media_type: str | None,
    digest: bytes | None,
    target: str | None,
    size_bytes: int | None,
) -> Entry:
    """Return the entry that the cells of a row describe; `size_bytes` is the size of its content.

    Raises:
        DamagedCell: a file has no content, a link has no target, or the kind is unknown.
    """
    match kind:
        case views.KIND_FILE if size_bytes is not None and digest is not None:
            return Entry("file", path, bool(executable), media_type or "", size_bytes, digest)
        case views.KIND_LINK if target is not None:
            return Entry("link", path, target=target)
        case views.KIND_DIRECTORY:
            return Entry("directory", path)
        case _:
            raise DamagedCell(f"entry {path!r} of package number {number} has no content, or no kind")


def address_in(algorithm: str | None, digest: bytes | None, size_bytes: int | None) -> str:
    """Return the content address of a row that refers to a content.

    Raises:
        DamagedCell: the row refers to no content, or the row of the content is missing.
    """
    if size_bytes is None or digest is None:
        raise DamagedCell(f"a row refers to content {'none' if digest is None else digest.hex()}, which has no row")
    return f"{algorithm}:{digest.hex()}"
