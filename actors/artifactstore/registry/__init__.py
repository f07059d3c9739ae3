"""Registry: everything that a program can do with a store, in one object.

Changes go to the actors and return once they are durable. Reads go to the tables and the object storage, and wait for
no writer. A registry is used by trio tasks of the run that opened it; `artifactstore.aio` and `artifactstore.blocking`
offer the same methods to other programs.

A method that needs a large module, such as export or backup, imports it when called, so that short commands start fast.
"""

from artifactstore.refusals import StoreClosed
from artifactstore.registry.base import DEFAULT_PRINCIPAL
from artifactstore.registry.contents import ContentCalls
from artifactstore.registry.finding import FindingCalls
from artifactstore.registry.history import HistoryCalls
from artifactstore.registry.ingesting import IngestCalls
from artifactstore.registry.keeping import KeepPolicyCalls
from artifactstore.registry.pushing import PushCalls
from artifactstore.registry.reads import PackageReads, event_store, object_root, package_reads
from artifactstore.registry.retention import RetentionCalls
from artifactstore.registry.schemas import SchemaCalls
from artifactstore.registry.space import SpaceCalls
from artifactstore.registry.tags import TagCalls, TagWrites, tag_writes
from artifactstore.registry.tokens import TokenCalls

__all__ = [
    "DEFAULT_PRINCIPAL",
    "PackageReads",
    "Registry",
    "StoreClosed",
    "TagWrites",
    "event_store",
    "object_root",
    "package_reads",
    "tag_writes",
]


class Registry(
    IngestCalls,
    PushCalls,
    SchemaCalls,
    RetentionCalls,
    TagCalls,
    KeepPolicyCalls,
    FindingCalls,
    ContentCalls,
    HistoryCalls,
    SpaceCalls,
    TokenCalls,
):
    """A running store. `open_registry` creates one.

    Every change takes `principal`, the one that its events record. Most changes take `idempotency_key`: a caller that
    does not know whether a call succeeded repeats it with the same key and gets the first call's answer. A `package`
    argument is a package's id or a part of it, a name, which means the newest finalized package of that name, or
    another form that `artifactstore_protocols.package_references` lists. Methods that change an open package prefer the
    open package of a name. An argument that has none of these forms raises `InvalidValue`.

    Every method checks its arguments first, and raises `InvalidValue` for a value that the annotation does not allow.
    In addition to the errors in its own documentation, every method except `snapshot` raises:

    - an `AskError` if an actor is down;
    - `DatabaseUnavailable` or a related error if the database is unavailable;
    - `StoreClosed` after the block that opened the store has ended;
    - `WrongEventLoop` if the caller does not run in the trio run that opened the store. A worker thread uses
      `trio.from_thread.run`.
    """
