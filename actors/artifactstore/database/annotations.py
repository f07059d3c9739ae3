"""The annotations, parents and schemas of packages as the database has them."""

from sqlalchemy import ColumnElement, Label, func, select

from artifactstore.database.cells import DamagedCell
from artifactstore.database.schema import LIVE
from artifactstore_protocols.errors import InvalidValue
from artifactstore_protocols.metadata import Metadata, MetadataValue, value_from_json
from artifactstore_protocols.views import PARENTS, VALUES

__all__ = ["annotation_in", "annotations_column", "annotations_in", "parents_column", "parents_in", "text_in"]

_KEY_END, _END = "\t", "\n"
"""Characters that no key contains, and that RFC 8785 escapes."""


def annotations_column(number: ColumnElement[int]) -> "Label[str]":
    """Return a column with the annotations of the package with this number, for `annotations_in`."""
    values = LIVE[VALUES].alias("annotated")
    each = values.c.key.concat(_KEY_END).concat(values.c.annotation)
    selected = select(func.aggregate_strings(each, _END)).where(
        values.c.package_number == number, values.c.annotation.is_not(None)
    )
    return selected.scalar_subquery().label("annotations")


def annotations_in(cell: str | None) -> Metadata:
    """Return the annotations in a cell of `annotations_column`, sorted by key.

    Raises:
        DamagedCell: artifactstore cannot have written them.
    """
    if cell is None:
        return {}
    pairs = (each.partition(_KEY_END) for each in sorted(cell.split(_END)))
    return {key: annotation_in(key, value) for key, _separator, value in pairs}


def parents_column(number: ColumnElement[int]) -> "Label[str]":
    """Return a column with the parents of the package with this number, for `parents_in`."""
    parents = LIVE[PARENTS].alias("lineage")
    each = parents.c.parent_id.concat(_KEY_END).concat(parents.c.manifest_digest)
    selected = select(func.aggregate_strings(each, _END)).where(parents.c.package_number == number)
    return selected.scalar_subquery().label("parents")


def parents_in(cell: str | None) -> dict[str, str]:
    """Return the manifest digests of parents by their ids, sorted, in a cell of `parents_column`."""
    if cell is None:
        return {}
    pairs = (each.partition(_KEY_END) for each in sorted(cell.split(_END)))
    return {parent_id: digest for parent_id, _separator, digest in pairs}


def text_in(name: str, schema: bytes) -> str:
    """Return the JSON of a metadata schema.

    Raises:
        DamagedCell: it is no text.
    """
    try:
        return schema.decode()
    except UnicodeDecodeError as error:
        raise DamagedCell(f"metadata schema {name!r} is not UTF-8") from error


def annotation_in(key: str, cell: str) -> MetadataValue:
    """Return the value of an annotation.

    Raises:
        DamagedCell: artifactstore cannot have written it.
    """
    try:
        return value_from_json(cell)
    except InvalidValue as error:
        raise DamagedCell(f"the annotation {key[:60]!r} is {error}") from error
