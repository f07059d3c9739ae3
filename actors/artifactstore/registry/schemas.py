"""Methods of the registry for metadata and its schemas."""

from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import cast

import rfc8785
from msgspec.structs import replace

from artifactstore.arguments import checked
from artifactstore.package_preview import find_schema
from artifactstore.registry.base import DEFAULT_PRINCIPAL, PAGE, StoreCalls
from artifactstore_protocols import canonical
from artifactstore_protocols.canonical import CanonicalValue
from artifactstore_protocols.commands import AnnotatePackage, RegisterMetadataSchema, RequireSchema, UnrequireSchema
from artifactstore_protocols.event_types import MetadataSchemaRegistered, SchemaRequirementSet
from artifactstore_protocols.metadata import Metadata
from artifactstore_protocols.records import MetadataSchema, PackageRecord

__all__ = ["SchemaCalls"]


class SchemaCalls(StoreCalls):
    """The methods for metadata and its schemas."""

    @checked
    async def register_metadata_schema(
        self,
        name: str,
        schema: Mapping[str, CanonicalValue],
        *,
        principal: str = DEFAULT_PRINCIPAL,
        idempotency_key: str | None = None,
    ) -> MetadataSchema:
        """Add the next version of a named JSON Schema, which packages that name it must fit.

        A part of JSON Schema 2020-12 is supported; see `artifactstore_protocols.metadata_schema`.

        Raises:
            InvalidValue: the schema has a keyword that is not supported, such as `pattern`. The error has its place.
            NotEncodable: the schema holds a float or a value that JSON cannot represent.
        """
        value = dict(schema)
        canonical.encode(value)
        command = RegisterMetadataSchema(name, rfc8785.dumps(value).decode())
        committed = await self._commit(command, principal, idempotency_key)
        # From the event, not from the table: a repeated call returns the version that the first call created.
        registered = cast("MetadataSchemaRegistered", committed.payloads()[0])
        return MetadataSchema(registered.name, registered.version, registered.schema)

    @checked
    async def get_metadata_schema(self, schema: str) -> MetadataSchema:
        """Return a metadata schema: `NAME` is its latest version, and `NAME@VERSION` another one.

        Raises:
            SchemaNotFound: there is no such schema.
        """
        found = await find_schema(self._store, schema)
        return _required(found, await self._store.schema_requirements())

    @checked
    async def list_metadata_schemas(self) -> AsyncGenerator[MetadataSchema]:
        """Yield every version of every metadata schema in the order of names and versions, read in pages."""
        after = ("", 0)
        while page := await self._store.metadata_schemas(after=after, limit=PAGE):
            requirements = await self._store.schema_requirements()
            for each in page:
                yield _required(each, requirements)
            after = (page[-1].name, page[-1].version)

    @checked
    async def require_schema(self, glob: str, schema: str, *, principal: str = DEFAULT_PRINCIPAL) -> MetadataSchema:
        """Require a schema for new packages whose name matches a glob, and return the schema.

        A package that is created without a schema gets it, and one with another schema is refused. Packages that exist
        keep what they have. A glob that has a requirement gets this one instead.

        Args:
            glob: a glob for names of packages; see `artifactstore_protocols.globs`.
            schema: the schema, as `NAME` (the version that is the latest one now) or `NAME@VERSION`.
            principal: the principal.

        Raises:
            SchemaNotFound: there is no such schema.
            InvalidValue: the glob is invalid, or there are 100 already.
        """
        committed = await self._commit(RequireSchema(glob, schema), principal, None)
        for payload in committed.payloads():
            schema = cast("SchemaRequirementSet", payload).schema
        found = await find_schema(self._store, schema)
        return _required(found, await self._store.schema_requirements())

    @checked
    async def unrequire_schema(self, glob: str, *, principal: str = DEFAULT_PRINCIPAL) -> None:
        """No longer require a schema for new packages whose name matches a glob. Packages keep their schemas.

        Raises:
            SchemaNotRequired: no schema is required for exactly this glob.
        """
        await self._commit(UnrequireSchema(glob), principal, None)

    @checked
    async def annotate_package(
        self,
        package: str,
        annotations: Metadata | None = None,
        *,
        remove: Sequence[str] = (),
        principal: str = DEFAULT_PRINCIPAL,
    ) -> PackageRecord:
        """Set and remove annotations of an open or finalized package, and return the package.

        Annotations stand beside the manifest, which does not change. Their history is in `history`.

        Args:
            package: the package; see the class.
            annotations: values by key, as metadata has them. No key may be one of the metadata.
            remove: the keys of annotations to remove.
            principal: the principal.

        Raises:
            PackageNotFound, AmbiguousPackage: no package matches, or several do.
            MetadataKeyTaken: the package's metadata has one of the keys.
            AnnotationNotFound: the package lacks an annotation that should be removed.
        """
        package_id = await self._package_id(package)
        return await self._changed(AnnotatePackage(package_id, annotations or {}, tuple(remove)), principal, None)


def _required(schema: MetadataSchema, requirements: Mapping[str, str]) -> MetadataSchema:
    """Return a schema with the globs that require this version."""
    reference = f"{schema.name}@{schema.version}"
    return replace(schema, required_for=tuple(glob for glob, each in requirements.items() if each == reference))
