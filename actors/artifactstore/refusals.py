"""Errors that the registry raises. Callers import them, like all other errors, from `artifactstore.errors`.

The errors from `StoreClosed` to `WrongProcess` concern programs that embed a store: they use a registry after it was
closed, or from a thread, event loop or process that cannot use it.
"""

import shlex
from typing import ClassVar, override

from artifactstore_protocols.errors import ArtifactStoreError
from artifactstore_protocols.records import ExportReport

__all__ = [
    "BackupRefused",
    "BlocksEventLoop",
    "ExportIncomplete",
    "FileNotInPackage",
    "LinkLeadsNowhere",
    "LogFileOvertaken",
    "LogFilePartial",
    "NoThreadLeft",
    "NotADirectory",
    "NotAFile",
    "RepairSourceRefused",
    "StoreClosed",
    "TargetRefused",
    "WaitsForItself",
    "WrongEventLoop",
    "WrongProcess",
    "WrongStorageRoot",
]


class FileNotInPackage(ArtifactStoreError):
    """The package has no such file, or no such path."""

    package_id: str
    path: str
    template = "package {self.package_id} has no {self.path!r}; `artifactstore tree {self.package_id}` lists its paths"


class LinkLeadsNowhere(ArtifactStoreError):
    """A symbolic link on the way of a path leads to nothing in the package.

    Attributes:
        package_id: the package.
        path: the path as the caller gave it.
        link: the path of the last link that was followed.
        is_loop: whether following it would never end, or take more links than a file system follows.
    """

    package_id: str
    path: str
    link: str
    is_loop: bool

    @override
    def __str__(self) -> str:
        why = "is part of a loop" if self.is_loop else "has no target there"
        return (
            f"{self.path!r} in package {self.package_id} leads to nothing: the symbolic link {self.link!r} {why}; "
            f"`artifactstore tree {self.package_id}` shows the links with their targets"
        )


class NotADirectory(ArtifactStoreError):
    """The path in a package leads to a file, which has no items."""

    package_id: str
    path: str
    template = "{self.path!r} is a file of package {self.package_id}, not a directory"


class NotAFile(ArtifactStoreError):
    """The path is a directory, or a symbolic link to nothing in the package; neither has bytes.

    Attributes:
        package_id: the package.
        path: the path; of a directory, the one that links lead to.
        kind: `link` or `directory`.
        target: the target of the link; empty for a directory.
    """

    package_id: str
    path: str
    kind: str
    target: str

    code: ClassVar[str] = "not_a_file"

    @override
    def __str__(self) -> str:
        where = f"{self.path!r} in package {self.package_id}"
        if self.kind == "link":
            return f"{where} is a symbolic link to {self.target!r}, which leads to nothing in the package"
        part = shlex.quote(f"{self.package_id}:{self.path}")
        return f"{where} is a directory, not a file; use `artifactstore export {part} DIR` for it"


class NoThreadLeft(ArtifactStoreError):
    """The system refuses to start another thread for this process. Nothing was done."""

    template = (
        "the system gives this process no more threads; end other work or raise its limit (`ulimit -u`, or "
        "TasksMax of a systemd unit), then try again"
    )


class TargetRefused(ArtifactStoreError):
    """Content cannot be written to this path."""

    path: str
    reason: str
    template = "cannot write to {self.path!r}: {self.reason}"


class ExportIncomplete(ArtifactStoreError):
    """Some of the entries of an export were not written. All other entries were.

    Attributes:
        report: what was written, and each other entry with the reason.
    """

    report: ExportReport

    @override
    def __str__(self) -> str:
        report = self.report
        links = (f"{path!r}: it leads out of what is exported" for path in report.left_out)
        reasons = [*(f"{each.path!r}: {each.reason}" for each in (*report.unreadable, *report.refused)), *links]
        shown = "; ".join(reasons[:3])
        more = f"; and {len(reasons) - 3} more" if len(reasons) > 3 else ""  # noqa: PLR2004
        advice = "; export to another file system, or get these files by `artifactstore get`" if report.refused else ""
        return f"{len(reasons)} entries were not written to {report.directory!r}: {shown}{more}{advice}"


class StoreClosed(ArtifactStoreError):
    """The store is closed or is being closed."""

    template = "this store is closed; open it again with open_registry"


class WaitsForItself(ArtifactStoreError):
    """A callback of the store called the store and would wait for itself: it runs in the store's own thread."""

    template = "a callback runs in the store's thread and cannot wait for the store; hand the work to another thread"


class WrongEventLoop(ArtifactStoreError):
    """A registry was opened or called where its event loop does not run. Nothing was done.

    Attributes:
        wanted: the kind of event loop that the registry needs.
        found: what runs the caller: `trio`, `asyncio` or `no event loop`. If `wanted` is `trio` too, the caller runs in
            another run of trio than the store.
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


class BlocksEventLoop(ArtifactStoreError):
    """A blocking registry was opened or called in an event loop, which it would block. Nothing was done.

    Attributes:
        loop: the kind of event loop, `trio` or `asyncio`.
    """

    loop: str

    @override
    def __str__(self) -> str:
        module = {"trio": "artifactstore"}.get(self.loop, "artifactstore.aio")
        return (
            f"artifactstore.blocking would hold up the {self.loop} loop that runs this code; use open_registry of "
            f"{module} there, or call from a worker thread"
        )


class WrongProcess(ArtifactStoreError):
    """The registry was opened before a fork, by another process, whose threads run the store. Nothing was done.

    Attributes:
        opened_in: id of the process that opened the registry.
    """

    opened_in: int
    template = "this store was opened by process {self.opened_in}, before a fork; open one after the fork"


class LogFileOvertaken(ArtifactStoreError):
    """A part of the log was redacted while the log was streamed. The stream is incomplete.

    Attributes:
        head: the last event that the stream was to have.
        redacting: the later event that redacts one of them.
    """

    head: int
    redacting: int
    template = (
        "event {self.redacting} redacted a part of the log while events up to {self.head} were exported; "
        "discard what was written, and export the log again"
    )


class LogFilePartial(ArtifactStoreError):
    """A log file begins with a later event, and the call needs a file that begins with the first event of the log.

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


class BackupRefused(ArtifactStoreError):
    """The directory is not a backup, or is a backup that cannot be used for this call.

    Attributes:
        directory: the directory.
        reason: the problem and its remedy.
    """

    directory: str
    reason: str
    template = "cannot use {self.directory!r} as a backup: {self.reason}"


class RepairSourceRefused(ArtifactStoreError):
    """The source of a repair is not there, or is no directory.

    Attributes:
        source: the path.
        reason: what is wrong with it.
    """

    source: str
    reason: str
    template = "cannot repair from {self.source!r}: {self.reason}"


class WrongStorageRoot(ArtifactStoreError):
    """Nearly every object that the log names is missing, so this is probably another store's object root.

    Attributes:
        missing: number of missing objects.
        looked_for: number of objects that were looked for.
    """

    missing: int
    looked_for: int
    template = (
        "{self.missing} of {self.looked_for} objects are missing: this is probably not the store's object root. "
        "Nothing was recorded; check ARTIFACTSTORE_STORAGE_LOCAL_ROOT and that its device is mounted, "
        "or, if the objects are lost, restore a backup or ingest their content again"
    )
