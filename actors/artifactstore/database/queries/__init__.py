"""Queries of the views for packages, files and objects. Every function reads in the caller's snapshot."""

from artifactstore.database.queries.entries import (
    differences,
    differing_entries,
    entries_query,
    file,
    file_page,
    file_page_query,
    files_with_content,
    find_entries,
    list_files,
    searched_query,
)
from artifactstore.database.queries.glob_conditions import glob_condition
from artifactstore.database.queries.listing import listing_query, packages
from artifactstore.database.queries.lookup import find_package, manifest_bytes, package, queries_for, readable_package
from artifactstore.database.queries.names import (
    metadata_schema,
    metadata_schemas,
    schema_requirements,
    tag,
    tag_in,
    tags,
    tags_query,
)
from artifactstore.database.queries.objects import (
    IS_CURRENT,
    contents_with_sha256,
    deduplicated_bytes,
    flagged_counts,
    flagged_objects,
    known_objects,
    location_totals,
    locations,
)

__all__ = [
    "IS_CURRENT",
    "contents_with_sha256",
    "deduplicated_bytes",
    "differences",
    "differing_entries",
    "entries_query",
    "file",
    "file_page",
    "file_page_query",
    "files_with_content",
    "find_entries",
    "find_package",
    "flagged_counts",
    "flagged_objects",
    "glob_condition",
    "known_objects",
    "list_files",
    "listing_query",
    "location_totals",
    "locations",
    "manifest_bytes",
    "metadata_schema",
    "metadata_schemas",
    "package",
    "packages",
    "queries_for",
    "readable_package",
    "schema_requirements",
    "searched_query",
    "tag",
    "tag_in",
    "tags",
    "tags_query",
]
