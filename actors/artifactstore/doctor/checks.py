"""The checks of the doctor. Each is a pure function from an `Inspection` to problems with their remedies."""

import shlex
from collections.abc import Callable, Iterator, Sequence
from types import MappingProxyType

from msgspec import Struct

from artifactstore.database.errors import SchemaTooNew, SchemaTooOld
from artifactstore.database.schema import SCHEMA_REVISION, SCHEMA_REVISIONS
from artifactstore.dataplane import MARKER, DeniedPath
from artifactstore.doctor.inspection import Inspection
from artifactstore.json_output import flagged_text
from artifactstore_protocols.event_store import Location
from artifactstore_protocols.expiry import ClockDoubtful, check_clock
from artifactstore_protocols.moments import age_text
from artifactstore_protocols.root_markers import CollectionCode, collection_refusal
from artifactstore_protocols.system_errors import in_words, remedy_of

__all__ = ["CHECKS", "Diagnosis", "examine"]

_FREE_BYTES_MIN = 64 << 20
_FREE_INODES_MIN = 1000
_CLOCK_BEHIND_US = 60_000_000
_LEFT_US = 24 * 3600 * 1_000_000
"""The time without a change after which an open package counts as left behind: one day."""
_UNVERIFIED_US = 90 * 24 * 3600 * 1_000_000
"""The time without a verification after which damage is likely to be found too late: longer than backups are kept."""
_SHOWN_MAX = 3


class Diagnosis(Struct, frozen=True):
    """A problem that a check found.

    Attributes:
        check: name of the check.
        problem: description of the problem.
        remedy: what the operator should do.
    """

    check: str
    problem: str
    remedy: str


type Findings = Iterator[tuple[str, str]]
"""Pairs of a problem and its remedy."""


def examine(seen: Inspection) -> tuple[Diagnosis, ...]:
    """Return all problems, in the order of the checks."""
    return tuple(Diagnosis(name, problem, remedy) for name, check in CHECKS.items() for problem, remedy in check(seen))


def unknown_settings(seen: Inspection) -> Findings:
    """Report variables that begin with `ARTIFACTSTORE_` but are not settings, and suggest the intended setting."""
    for name, meant in seen.suggested_settings.items():
        yield f"{name} is set, and there is no such setting", f"use {meant}; until then every command refuses to run"
    for name in seen.unknown_variables:
        yield f"{name} is set, and there is no such setting", "unset it; every command warns of it"


def settings(seen: Inspection) -> Findings:
    """Report settings whose values cannot be used."""
    if seen.settings_refusal is not None:
        yield seen.settings_refusal, "set it right; nothing else could be looked at"


def database(seen: Inspection) -> Findings:
    """Report a database that cannot be reached, read or written, or whose relative path fits a parent directory."""
    if seen.database_failure is not None:
        remedy = "check that it runs and accepts this user" if seen.database_file is None else "check the file"
        yield (
            f"database {seen.database} cannot be read: {seen.database_failure}",
            f"{remedy}, and the setting",
        )
    elif seen.database_found is not None and seen.database_found.read_only is not None:
        yield (
            f"the store is read-only because {seen.database_found.read_only}",
            (
                "mount it writable, free room, or give its files to this user (as root, "
                f"`chown {seen.user} {shlex.quote(seen.database)}*`); until then only reading works"
            ),
        )
    elif seen.database_elsewhere is not None:
        yield (
            f"there is no database {seen.database}, but there is {seen.database_elsewhere}",
            "run it from there, or set ARTIFACTSTORE_DATABASE_URL and ARTIFACTSTORE_STORAGE_LOCAL_ROOT to full paths",
        )


def store(seen: Inspection) -> Findings:
    """Report that there is no store at the configured place."""
    found, root = seen.database_found, seen.root_found
    explained = seen.database_failure or seen.database_elsewhere or (root is not None and root.holds_objects)
    if seen.settings_refusal is None and not explained and (found is None or found.revision is None):
        yield (
            f"there is no store at {seen.database}",
            "name one with --store DIR or the settings above, or create one with `artifactstore ingest`",
        )


def schema(seen: Inspection) -> Findings:
    """Report a database schema of an earlier or a later release."""
    found = None if seen.database_found is None else seen.database_found.revision
    if found in {None, SCHEMA_REVISION}:
        return
    kind = SchemaTooOld if found in SCHEMA_REVISIONS else SchemaTooNew
    problem, _, remedy = str(kind(seen.database, str(found), SCHEMA_REVISION)).partition("; ")
    yield problem, remedy


def log(seen: Inspection) -> Findings:
    """Report a log whose head is not its last event. Nothing can be written to such a log."""
    damage = None if seen.database_found is None else seen.database_found.log_damage
    if damage is not None:
        problem, _, remedy = str(damage).partition("; ")
        yield problem, f"{remedy}: until then nothing can be written"


def unfinished_import(seen: Inspection) -> Findings:
    """Report an unfinished import or restore, and the command that finishes it. Until then all other writes fail."""
    found = None if seen.database_found is None else seen.database_found.unfinished_import
    if found is not None:
        yield (
            f"an import into this store is not finished: {found.head} of {found.end} events are here",
            (
                f"wait for it if it runs, or finish it by `{found.command}`; until then nothing else can be written. "
                "If its file or backup is lost, export this log and import it into a new database"
            ),
        )


def locks(seen: Inspection) -> Findings:
    """Report the process or session that holds the set-up lock or the head of the log for more than two seconds."""
    if seen.setup_lock is not None:
        yield (
            f"the set-up lock {seen.database}.lock is held by {_who(seen.setup_lock)}",
            "wait for it or end it: every other process that opens the store waits for 30 s and gives up",
        )
    head = None if seen.database_found is None else seen.database_found.head_lock
    if head is not None:
        yield (
            f"the head of the log is held by {_who(head)}",
            "end it if it is stuck: nobody else can write meanwhile, and what is not committed was not acknowledged",
        )


def _who(holders: tuple[str, ...]) -> str:
    return " and ".join(holders) or "somebody that the system does not name"


def storage(seen: Inspection) -> Findings:
    """Report a storage root that is not a directory or that this user cannot write to."""
    root = seen.root_found
    if root is None:
        return
    if root.failure is not None:
        remedy = remedy_of(root.failure, "check that it is a directory")
        yield f"the storage root {seen.root} cannot be looked at: {in_words(root.failure)}", remedy
    elif not root.writable:
        yield (
            f"the storage root {seen.root} cannot be {'written to' if root.exists else 'made'}",
            "mount its device writable and give it to this user; until then only reading works",
        )


def small_objects(seen: Inspection) -> Findings:
    """Report a file of small objects that is lost, damaged, not writable, or on a network file system."""
    root = seen.root_found
    if root is None or not root.exists or root.failure is not None:
        return
    small, setting = root.small, seen.settings.get("storage_small_max")
    if small.failure is not None:
        yield (
            f"the file of small objects {small.path} cannot be read: {in_words(small.failure)}",
            "stop every process of the store, put a sound copy in its place or move it away, and restore a backup",
        )
    elif small.missing and not small.exists and len(small.missing) < len(_looked_at(seen)):
        yield (
            f"the file of small objects {small.path} is not there, and the log names objects in it",
            "put it back, or run `artifactstore verify` and restore a backup",
        )
    elif small.obstacle is not None and root.writable and not root.closed:
        yield (
            f"small objects cannot be stored: {small.obstacle}",
            f"as root, run `chown {seen.user} {shlex.quote(small.path)}*`; until then only reading works",
        )
    if small.network is not None and setting is not None and setting.value:
        yield (
            f"{seen.root} is on {small.network}, a network file system, where small objects cannot be rows of a file",
            "set ARTIFACTSTORE_STORAGE_SMALL_MAX=0, or move the store to a local disk",
        )


def _looked_at(seen: Inspection) -> Sequence[Location]:
    return () if seen.database_found is None else seen.database_found.locations


def permissions(seen: Inspection) -> Findings:
    """Report directories that this user may not write to, objects that it may not read, and sticky directories."""
    by_problem: dict[str, list[DeniedPath]] = {}
    for closed in () if seen.root_found is None else seen.root_found.closed:
        by_problem.setdefault(closed.problem, []).append(closed)
    root = shlex.quote(seen.root)
    for problem, paths in by_problem.items():
        shown = ", ".join(f"{closed.path} (of {closed.owner})" for closed in paths[:_SHOWN_MAX])
        more = f" and {len(paths) - _SHOWN_MAX} more" if len(paths) > _SHOWN_MAX else ""
        sticky = f" and `chmod -R -t {root}`" if "sticky" in problem else ""
        yield (
            f"{len(paths)} directories or objects below {seen.root} cannot be {problem} by this user: {shown}{more}",
            (
                f"as root, run `chown -R {seen.user} {root}`{sticky}; where a group shares the store, run "
                f"`chmod -R g+rX {root} && find {root} -type d -exec chmod g+w {{}} +`, and use umask 002"
            ),
        )


def room(seen: Inspection) -> Findings:
    """Report less than 64 MiB or fewer than 1,000 files of room for objects, or less than 64 MiB for the database."""
    root = seen.root_found
    if root is not None and root.free_bytes is not None and root.free_bytes < _FREE_BYTES_MIN:
        yield f"only {root.free_bytes} bytes are free for objects below {seen.root}", "free room on its device"
    if root is not None and root.free_inodes is not None and root.free_inodes < _FREE_INODES_MIN:
        yield f"only {root.free_inodes} more files fit below {seen.root}", "remove files from its device"
    if seen.database_free_bytes is not None and seen.database_free_bytes < _FREE_BYTES_MIN:
        yield (
            f"only {seen.database_free_bytes} bytes are free for the database {seen.database}",
            "free room there",
        )


def leftovers(seen: Inspection) -> Findings:
    """Report temporary files, locks and SQLite side files of processes that have ended."""
    left = () if seen.root_found is None else seen.root_found.leftovers
    if left:
        yield (
            f"{len(left)} temp files or locks below {seen.root} are of processes that are gone",
            "the next command that opens the store, such as `artifactstore health`, removes them",
        )


def missing_objects(seen: Inspection) -> Findings:
    """Report objects without a log, and objects that the log names but that are missing from a sample of 100."""
    root, found = seen.root_found, seen.database_found
    if root is None or seen.database_failure is not None:
        return
    foreign = found is not None and found.revision not in {None, SCHEMA_REVISION}
    if root.holds_objects and not foreign and (found is None or found.last_recorded_at_us is None):
        yield (
            f"there are objects below {seen.root}, and no log in {seen.database}",
            (
                "check ARTIFACTSTORE_DATABASE_URL; if the log is lost, restore a backup into a new database, or see "
                "'When something is broken' in docs/how-to/backup.md"
            ),
        )
    looked = len(_looked_at(seen))
    if looked and len(root.missing) == looked:
        yield (
            f"of {looked} objects that the log names, none is below {seen.root}",
            "check ARTIFACTSTORE_STORAGE_LOCAL_ROOT and that its device is mounted",
        )
    elif root.missing:
        yield (
            f"of {looked} objects that the log names, {len(root.missing)} are not below {seen.root}",
            "run `artifactstore verify` for all of them, and restore them or ingest their content again",
        )


def collection(seen: Inspection) -> Findings:
    """Report a root where collection is refused: another store owns it, or the database is an earlier copy."""
    root, found = seen.root_found, seen.database_found
    if root is None:
        return
    path = shlex.quote(f"{seen.root}/{MARKER}")
    if root.marker_failure is not None:
        reason = in_words(root.marker_failure)
        yield (
            f"{path} cannot be read, which says whose objects those below {seen.root} are: {reason}",
            f"if no other database uses this root, run `rm {path}`; the next command on this store claims the root",
        )
    elif root.marker is not None and found is not None and found.store_id is not None:
        refusal = collection_refusal(found.store_id, found.head, root.marker, found.collected_event_id)
        if refusal is not None:
            yield refusal.reason, _REMEDIES[refusal.code].format(root=seen.root, marker=path)


_REMEDIES: MappingProxyType[CollectionCode, str] = MappingProxyType(
    {
        "root-of-another-store": (
            "everything but collection works. If both databases are used, give this one a root of its own: back it up, "
            "and restore the backup into a new store. If the other one is gone for good, run `rm {marker}`; the next "
            "command on this store claims {root}"
        ),
        "root-shared": (
            "everything but collection works. Give each database a root of its own: back one up, and restore the "
            "backup into a new store. When one database alone uses {root}, run `rm {marker}`; its next command claims "
            "the root"
        ),
        "store-rewound": (
            "everything but collection works, but objects that this log names may have been collected. Restore the "
            "latest backup; if there is none, run `artifactstore verify`, and then `rm {marker}`: the next command on "
            "this store claims {root} again"
        ),
    }
)


def flagged_objects(seen: Inspection) -> Findings:
    """Report objects that `verify` found damaged or missing and that are not repaired."""
    found = None if seen.database_found is None else seen.database_found.flagged
    if found:
        yield (
            f"`artifactstore verify` found objects that are not whole: {flagged_text(found)}",
            "run `artifactstore repair` to see their files, and repair them with `artifactstore repair --from SOURCE`",
        )


def unverified_objects(seen: Inspection) -> Findings:
    """Report that an object was not read for more than 90 days."""
    since = None if seen.database_found is None else seen.database_found.unverified_since_us
    if since is not None and seen.now_us - since > _UNVERIFIED_US:
        yield (
            f"some objects were not read for {age_text(seen.now_us - since)}, so damage in them is not known",
            "run `artifactstore verify --max-age 30d`, for example every night",
        )


def clock(seen: Inspection) -> Findings:
    """Report a clock that is more than one minute behind the last event."""
    last = None if seen.database_found is None else seen.database_found.last_recorded_at_us
    if last is not None and last - seen.now_us > _CLOCK_BEHIND_US:
        behind_s = (last - seen.now_us) // 1_000_000
        yield (
            f"this machine's clock is {behind_s} s behind the last event",
            "set the clock: times of events would go backwards, though their order would not",
        )


def expiry_clock(seen: Inspection) -> Findings:
    """Report a clock by which nothing expires: it differs too much from the time that the store saw last."""
    found = seen.database_found
    if found is None:
        return
    try:
        for seen_us in (found.observed_clock_us, found.last_recorded_at_us):
            check_clock(seen.now_us, seen_us)
    except ClockDoubtful as doubt:
        yield f"nothing expires: {doubt}", "set the clock, or run `artifactstore clock confirm` if it is right"


def stale_packages(seen: Inspection) -> Findings:
    """Report open packages that have not grown for a day."""
    packages = () if seen.database_found is None else seen.database_found.open_packages
    left = [package.package_id for package in packages if seen.now_us - package.changed_at_us > _LEFT_US]
    if left:
        more = f" and {len(left) - _SHOWN_MAX} more" if len(left) > _SHOWN_MAX else ""
        yield (
            f"{len(left)} packages are open and have not grown for a day: {', '.join(left[:_SHOWN_MAX])}{more}",
            "run the interrupted `artifactstore ingest` again, or finalize them by `artifactstore package finalize`",
        )


CHECKS: MappingProxyType[str, Callable[[Inspection], Findings]] = MappingProxyType(
    {
        "unknown settings": unknown_settings,
        "settings": settings,
        "database": database,
        "store": store,
        "schema": schema,
        "log": log,
        "unfinished import": unfinished_import,
        "locks": locks,
        "storage": storage,
        "small objects": small_objects,
        "permissions": permissions,
        "room": room,
        "leftovers": leftovers,
        "missing_objects": missing_objects,
        "collection": collection,
        "flagged objects": flagged_objects,
        "unverified objects": unverified_objects,
        "clock": clock,
        "clock of expiry": expiry_clock,
        "left packages": stale_packages,
    }
)
"""All checks by name, in the order of the report."""
