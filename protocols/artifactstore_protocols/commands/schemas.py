"""Commands for metadata schemas."""

from msgspec import Struct

from artifactstore_protocols.errors import InvalidValue
from artifactstore_protocols.globs import check_glob
from artifactstore_protocols.manifest import NotCanonicalJson, read_jcs
from artifactstore_protocols.metadata_schema import SCHEMA_BYTES_MAX, check_schema, parse_reference
from artifactstore_protocols.names import check_name
from artifactstore_protocols.typed import check_fields

__all__ = ["RegisterMetadataSchema", "RequireSchema", "SchemaCommand", "UnrequireSchema"]


class RegisterMetadataSchema(Struct, frozen=True):
    """A command that adds the next version of a named metadata schema. `schema` is canonical JSON text (RFC 8785)."""

    name: str
    schema: str

    def __post_init__(self) -> None:
        check_fields(self)
        check_name("metadata schema name", self.name)
        if "@" in self.name:
            raise InvalidValue("metadata schema name", self.name[:60], "leave out @, which selects a version")
        try:
            check_schema(read_jcs(self.schema.encode(), max_bytes=SCHEMA_BYTES_MAX))
        except (UnicodeEncodeError, NotCanonicalJson) as error:
            raise InvalidValue("metadata schema", self.schema[:60], str(error)) from error


class RequireSchema(Struct, frozen=True):
    """A command that requires a schema for new packages of a name.

    Attributes:
        glob: the glob for the names of packages; see `globs`.
        schema: the schema, as `NAME` (the version that is the latest one now) or `NAME@VERSION`.
    """

    glob: str
    schema: str

    def __post_init__(self) -> None:
        check_fields(self)
        _check_name_glob(self.glob)
        check_name("metadata schema name", parse_reference(self.schema)[0])


class UnrequireSchema(Struct, frozen=True):
    """A command that no longer requires a schema for the packages that a glob names."""

    glob: str

    def __post_init__(self) -> None:
        check_fields(self)
        _check_name_glob(self.glob)


def _check_name_glob(glob: str) -> None:
    check_name("package name glob", glob)
    check_glob(glob)


type SchemaCommand = RegisterMetadataSchema | RequireSchema | UnrequireSchema
