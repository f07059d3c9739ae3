"""What the registry refuses, beyond what packages, storage and database refuse themselves."""

from dataclasses import dataclass
from typing import override

from artifactstore_protocols.errors import ArtifactStoreError

__all__ = ["AmbiguousPackage", "FileNotInPackage", "NotBuiltYet", "NotFinalized", "TargetRefused"]


@dataclass(eq=False)
class AmbiguousPackage(ArtifactStoreError):
    """A name that several packages share, where one package is meant."""

    name: str
    package_ids: tuple[str, ...]

    @override
    def __str__(self) -> str:
        shown = ", ".join(self.package_ids[:3])
        more = f" and {len(self.package_ids) - 3} more" if len(self.package_ids) > 3 else ""  # noqa: PLR2004
        return (
            f"{len(self.package_ids)} packages are named {self.name!r}; use the id of one: {shown}{more} (newest first)"
        )


@dataclass(eq=False)
class FileNotInPackage(ArtifactStoreError):
    """A path that the package does not have."""

    package_id: str
    path: str

    @override
    def __str__(self) -> str:
        return f"package {self.package_id} has no file {self.path!r}; `artifactstore package show` lists its files"


@dataclass(eq=False)
class NotFinalized(ArtifactStoreError):
    """Something that only a sealed package has."""

    package_id: str

    @override
    def __str__(self) -> str:
        return f"package {self.package_id} is still open and has no manifest; finalise it first"


@dataclass(eq=False)
class NotBuiltYet(ArtifactStoreError):
    """An operation that this release does not have; nothing was done.

    Retention is recorded for every package, and this release never deletes anything because of it.
    """

    operation: str

    @override
    def __str__(self) -> str:
        return f"{self.operation} is not part of this release; packages and their retention are recorded and kept"


@dataclass(eq=False)
class TargetRefused(ArtifactStoreError):
    """A place that content cannot be written to."""

    path: str
    reason: str

    @override
    def __str__(self) -> str:
        return f"cannot write to {self.path!r}: {self.reason}"
