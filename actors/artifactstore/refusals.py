"""What the registry itself refuses; `artifactstore.errors` is where callers import these, and all other errors, from.

The second half is for programs that embed a store: a registry that is used after its end, or from where it cannot be.
"""

from dataclasses import dataclass
from typing import ClassVar, override

from artifactstore_protocols.errors import ArtifactStoreError
from artifactstore_protocols.records import ExportReport

__all__ = [
    "AmbiguousPackage",
    "BackupRefused",
    "BlocksEventLoop",
    "ExportIncomplete",
    "FileNotInPackage",
    "LogFilePartial",
    "NoThreadLeft",
    "NotAFile",
    "NotFinalized",
    "StoreClosed",
    "TargetRefused",
    "WaitsForItself",
    "WrongEventLoop",
    "WrongProcess",
    "WrongStorageRoot",
]


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
    template = "package {self.package_id} has no file {self.path!r}; `artifactstore package show` lists its files"


@dataclass(eq=False)
class NotAFile(ArtifactStoreError):
    """A path of a package that has no bytes: a symbolic link, or an empty directory.

    Attributes:
        package_id: the package.
        path: as it was asked for.
        kind: `link` or `directory`.
        target: what the link says.
    """

    package_id: str
    path: str
    kind: str
    target: str

    code: ClassVar[str] = "not_a_file"

    @override
    def __str__(self) -> str:
        what = f"a symbolic link to {self.target!r}" if self.kind == "link" else "an empty directory"
        return f"{self.path!r} in package {self.package_id} is {what}, not a file; export the package to restore it"


class NoThreadLeft(ArtifactStoreError):
    """The system gives this process no further thread. Nothing was done."""

    template = (
        "the system gives this process no more threads; end other work or raise its limit (`ulimit -u`, or "
        "TasksMax of a systemd unit), then try again"
    )


@dataclass(eq=False)
class NotFinalized(ArtifactStoreError):
    """Something that only a finalized package has."""

    package_id: str
    template = "package {self.package_id} is still open and has no manifest; finalize it first"


@dataclass(eq=False)
class TargetRefused(ArtifactStoreError):
    """A place that content cannot be written to."""

    path: str
    reason: str
    template = "cannot write to {self.path!r}: {self.reason}"


@dataclass(eq=False)
class ExportIncomplete(ArtifactStoreError):
    """An export whose target did not take some of the files; all others are there.

    Attributes:
        report: what was written, and each refused file with the reason.
    """

    report: ExportReport

    @override
    def __str__(self) -> str:
        refused = self.report.refused
        shown = "; ".join(f"{each.path!r}: {each.reason}" for each in refused[:3])
        more = f"; and {len(refused) - 3} more" if len(refused) > 3 else ""  # noqa: PLR2004
        count = f"{len(refused)} of {len(refused) + self.report.files} files"
        return (
            f"{count} were not written to {self.report.directory!r}: "
            f"{shown}{more}; export to another file system, or get these files by `artifactstore get`"
        )


class StoreClosed(ArtifactStoreError):
    """The store was closed, or is being closed."""

    template = "this store is closed; open it again with open_registry"


class WaitsForItself(ArtifactStoreError):
    """A callback of the store wanted to wait for the store, which waits for the callback."""

    template = "a callback runs in the store's thread and cannot wait for the store; hand the work to another thread"


@dataclass(eq=False)
class WrongEventLoop(ArtifactStoreError):
    """A registry that was opened or called where its event loop does not run; nothing was done.

    Attributes:
        wanted: the kind of event loop that it needs.
        found: what runs the caller: `trio`, which is another run than the store's if that is wanted, `asyncio`, or
            `no event loop`.
    """

    wanted: str
    found: str

    @override
    def __str__(self) -> str:
        if self.found == self.wanted:
            return "this registry belongs to another run of trio; open one there, or come by trio.from_thread.run"
        module = {"trio": "artifactstore", "asyncio": "artifactstore.aio"}.get(self.found, "artifactstore.blocking")
        helped = "; a worker thread of the store's own program comes by trio.from_thread.run"
        return (
            f"this registry needs {self.wanted} and was called from {self.found}; use open_registry of {module} there"
            f"{helped if (self.wanted, self.found) == ('trio', 'no event loop') else ''}"
        )


@dataclass(eq=False)
class BlocksEventLoop(ArtifactStoreError):
    """A blocking registry that was opened or called by an event loop, which would stand still; nothing was done.

    Attributes:
        loop: the kind of loop, `trio` or `asyncio`.
    """

    loop: str

    @override
    def __str__(self) -> str:
        module = {"trio": "artifactstore"}.get(self.loop, "artifactstore.aio")
        return (
            f"artifactstore.blocking would hold up the {self.loop} loop that runs this code; use open_registry of "
            f"{module} there, or call from a worker thread"
        )


@dataclass(eq=False)
class WrongProcess(ArtifactStoreError):
    """A registry that another process opened, before a fork; what runs the store stayed there. Nothing was done.

    Attributes:
        opened_in: id of the process that opened it.
    """

    opened_in: int
    template = "this store was opened by process {self.opened_in}, before a fork; open one after the fork"


@dataclass(eq=False)
class LogFilePartial(ArtifactStoreError):
    """A log file that holds a later part of a log, where one that begins with the first event is needed.

    Attributes:
        file: the file.
        after: the sequence before its first event.
    """

    file: str
    after: int
    template = (
        "log file {self.file} continues after sequence {self.after} of its log; "
        "a file of a backup is restored together with the others, by `artifactstore restore`"
    )


@dataclass(eq=False)
class BackupRefused(ArtifactStoreError):
    """A directory that is no backup, or not one that can be used for this.

    Attributes:
        directory: the directory.
        reason: what is wrong with it, and what to do.
    """

    directory: str
    reason: str
    template = "cannot use {self.directory!r} as a backup: {self.reason}"


@dataclass(eq=False)
class WrongStorageRoot(ArtifactStoreError):
    """Nearly every object that the log names is missing, as if the store looked in another store's place."""

    missing: int
    looked_for: int
    template = (
        "{self.missing} of {self.looked_for} objects are missing: this is probably not the store's object root. "
        "Nothing was recorded; check ARTIFACTSTORE_STORAGE_LOCAL_ROOT and that its device is mounted, "
        "or, if the objects are lost, restore a backup or ingest their content again"
    )
