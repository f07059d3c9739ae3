"""Schemas that packages must have because of their names: globs for names, each with one version of a schema.

A package gets the schema of the globs that match its name when it is created. All of them must name the same version.
Nothing here reads a schema; `event_types.package_created` checks the metadata with the result.
"""

from collections.abc import Mapping
from typing import Final, override

from artifactstore_protocols.errors import ArtifactStoreError
from artifactstore_protocols.globs import glob_matcher

__all__ = ["REQUIREMENTS_MAX", "SchemaNotRequired", "SchemaRequired", "applied_schema", "requirements_of"]

REQUIREMENTS_MAX: Final = 100
"""The most globs that a store can have. All of them are read whenever a package is created."""


class SchemaRequired(ArtifactStoreError):
    """A package of this name must have another schema, or several that differ.

    Attributes:
        package: the name of the package.
        schema: the schema that was given, as `NAME@VERSION`; None for none.
        required: the schema that each matching glob requires, as `NAME@VERSION`.
    """

    package: str
    schema: str | None
    required: Mapping[str, str]

    @override
    def __str__(self) -> str:
        required = ", ".join(f"{schema} (for {glob!r})" for glob, schema in self.required.items())
        if len(set(self.required.values())) > 1:
            remedy = "change one with `artifactstore schema require`, or end it with `artifactstore schema unrequire`"
            return f"a package named {self.package!r} needs several schemas, {required}; {remedy}"
        return f"a package named {self.package!r} needs schema {required}, not {self.schema}; leave out the schema"


class SchemaNotRequired(ArtifactStoreError):
    """No schema is required for exactly this glob.

    Attributes:
        glob: the glob for names.
    """

    glob: str
    template = "no schema is required for {self.glob!r}; `artifactstore schema list` shows the globs"


def requirements_of(name: str, requirements: Mapping[str, str]) -> Mapping[str, str]:
    """Return the requirements whose globs match a package's name, in the order of the globs."""
    return {glob: schema for glob, schema in sorted(requirements.items()) if glob_matcher(glob)(name)}


def applied_schema(name: str, schema: str | None, requirements: Mapping[str, str]) -> str | None:
    """Return the schema of a new package, as `NAME@VERSION`; None for none.

    Args:
        name: the name of the package.
        schema: the schema that was given, as `NAME@VERSION`; None for none.
        requirements: all requirements: schemas, as `NAME@VERSION`, by globs for names.

    Raises:
        SchemaRequired: another schema is required, or the matching globs require several.
    """
    required = requirements_of(name, requirements)
    allowed = set(required.values()) | ({schema} if schema is not None else set[str]())
    if len(allowed) > 1:
        raise SchemaRequired(name, schema, required)
    return next(iter(allowed), None)
