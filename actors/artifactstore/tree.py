"""The supervision tree of a store: its actors, the order in which they start, and which of them restart together.

The root supervises the core, its monitor and, in a service, the HTTP server separately. So a crash in the core never
stops the actors that report it. In the core, each actor depends on those before it: if one crashes, it restarts
together with all actors after it.
"""

from collections.abc import Sequence
from typing import Any

from msgspec import Struct, field

from artifactstore.config import Settings
from artifactstore.database.actor import DatabaseActor
from artifactstore.database.engines import LOCK_TIMEOUT_S
from artifactstore.event_writer import EventWriter
from artifactstore.health import HealthActor
from artifactstore.ingest import NOWHERE, IngestActor, StorePlaces
from artifactstore.probes import probe_actor, probe_database, probe_objects, probe_registry, probe_storage, probe_tails
from artifactstore.projection import ProjectionActor
from artifactstore.storage import StorageActor
from artifactstore.supervision import ActorRef, ActorSpec, Intensity, MailboxLimits, Strategy, SupervisorSpec
from artifactstore_protocols.dataplane import DataPlane
from artifactstore_protocols.event_store import EventStore
from artifactstore_protocols.messages import (
    DatabaseRole,
    HealthRole,
    IngestRole,
    ProjectionRole,
    StorageRole,
    WriterRole,
)

__all__ = ["Actors", "tree_spec"]

_COMMIT_TIMEOUT_S = 60.0
"""How long a stop waits for a running commit: twice as long as a commit waits for the head of the log. A writer that is
busy for longer is unhealthy."""

_FLUSH_TIMEOUT_S = 60.0
"""How long a stop waits for threads that write, flush or list a directory. These calls cannot be interrupted."""

_OPENING_TIMEOUT_S = 4 * LOCK_TIMEOUT_S
"""How long the database may take to open. Its setup waits for three locks, one after the other."""

_COMMANDS_BYTES_MAX = 512 << 20
"""The most bytes of commands in the writer's mailbox. Commands hold no file contents, but `FinalizePackage` holds a
manifest, which can be large."""


class Actors(Struct, frozen=True):
    """The addresses of a store's actors."""

    database: ActorRef[DatabaseRole] = field(default_factory=lambda: ActorRef[DatabaseRole]("database"))
    storage: ActorRef[StorageRole] = field(default_factory=lambda: ActorRef[StorageRole]("storage"))
    writer: ActorRef[WriterRole] = field(default_factory=lambda: ActorRef[WriterRole]("event-writer"))
    projection: ActorRef[ProjectionRole] = field(default_factory=lambda: ActorRef[ProjectionRole]("projection"))
    ingest: ActorRef[IngestRole] = field(default_factory=lambda: ActorRef[IngestRole]("ingest"))
    health: ActorRef[HealthRole] = field(default_factory=lambda: ActorRef[HealthRole]("health"))


def tree_spec(
    actors: Actors,
    settings: Settings,
    store: EventStore,
    plane: DataPlane,
    services: Sequence[ActorSpec[Any]],
    *,
    places: StorePlaces = NOWHERE,
) -> SupervisorSpec:
    """Return the supervision tree of one store.

    Args:
        actors: the addresses of the actors in the tree.
        settings: the settings of the store.
        store: the event store. Its actor opens and closes it.
        plane: the data plane. It is open already, and the caller closes it after the tree has stopped.
        services: further actors, beside the core and its monitor.
        places: where the store's own files are.
    """
    files_max = settings.package_files_max
    core = SupervisorSpec(
        name="core",
        strategy=Strategy.REST_FOR_ONE,
        intensity=Intensity(max_restarts=5, period_s=30.0),
        children=(
            ActorSpec(
                ref=actors.database,
                factory=lambda: DatabaseActor(store),
                start_timeout_s=_OPENING_TIMEOUT_S,
                shutdown_timeout_s=_COMMIT_TIMEOUT_S,
            ),
            ActorSpec(ref=actors.storage, factory=lambda: StorageActor(plane), shutdown_timeout_s=_FLUSH_TIMEOUT_S),
            ActorSpec(
                ref=actors.writer,
                factory=lambda: EventWriter(store, actors.projection, files_per_package_max=files_max),
                mailbox=MailboxLimits(messages=1024, bytes=_COMMANDS_BYTES_MAX),
                shutdown_timeout_s=_COMMIT_TIMEOUT_S,
            ),
            ActorSpec(ref=actors.projection, factory=lambda: ProjectionActor(store)),
            ActorSpec(
                ref=actors.ingest,
                factory=lambda: IngestActor(
                    store, actors.storage, actors.writer, files_per_package_max=files_max, places=places
                ),
                shutdown_timeout_s=_FLUSH_TIMEOUT_S,
            ),
        ),
    )
    probes = {
        "registry": probe_registry(store),
        "database": probe_database(actors.database),
        "storage": probe_storage(actors.storage),
        "objects": probe_objects(store),
        "tails": probe_tails(actors.projection),
    }
    pings = {
        "actor:database": probe_actor(actors.database),
        "actor:storage": probe_actor(actors.storage),
        "actor:event-writer": probe_actor(actors.writer, busy_s_max=_COMMIT_TIMEOUT_S),
        "actor:projection": probe_actor(actors.projection),
        "actor:ingest": probe_actor(actors.ingest),
        "actor:health": probe_actor(actors.health),
        **{f"actor:{service.name}": probe_actor(service.ref) for service in services},
    }
    health = ActorSpec(ref=actors.health, factory=lambda: HealthActor(probes, pings))
    return SupervisorSpec(
        name="root", strategy=Strategy.ONE_FOR_ONE, children=(core, health, *services), intensity=None
    )
