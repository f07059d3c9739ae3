"""Supervised actors on trio: typed requests, bounded mailboxes that outlive crashes, restarts decided by a pure table.

Example::

    ref = ActorRef[StorageRole]("storage")
    spec = SupervisorSpec(name="root", children=(ActorSpec(ref=ref, factory=lambda: StorageActor(plane)),))
    async with open_tree(spec):
        results = await ref.ask(VerifyObjects((known,)))

`docs/SUPERVISION.md` describes the behavior; `artifactstore_protocols.supervision` has the values and the decisions.
"""

from artifactstore.supervision.actor import Actor
from artifactstore.supervision.context import ActorContext
from artifactstore.supervision.handlers import handles
from artifactstore.supervision.host import open_tree
from artifactstore.supervision.ref import DEFAULT_TIMEOUT_S, NO_TIME_LIMIT, ActorRef
from artifactstore.supervision.reports import CrashReport, LoopBlocked, Report, StallReport
from artifactstore.supervision.specs import ActorSpec, ChildSpec, SupervisorSpec
from artifactstore.supervision.tasks import TaskHandle
from artifactstore.supervision.tree import Tree
from artifactstore_protocols.supervision import (
    ActorCrashed,
    ActorSnapshot,
    ActorStopped,
    AskCycle,
    AskError,
    AskTimeout,
    Backoff,
    Batched,
    Block,
    ChildBusy,
    ChildExists,
    ChildState,
    Concurrent,
    DeadLetter,
    DeadLetterReason,
    Failure,
    Intensity,
    MailboxFull,
    MailboxLimits,
    MailboxSnapshot,
    Message,
    OnCancel,
    OnTaskCrash,
    Phase,
    Reading,
    Refusal,
    Request,
    Restart,
    Serial,
    Stall,
    StartFailed,
    Strategy,
    SupervisorGaveUp,
    SupervisorNotRunning,
    SupervisorSnapshot,
    UnhandledMessage,
    UnknownChild,
    WorkSnapshot,
)

__all__ = [
    "DEFAULT_TIMEOUT_S",
    "NO_TIME_LIMIT",
    "Actor",
    "ActorContext",
    "ActorCrashed",
    "ActorRef",
    "ActorSnapshot",
    "ActorSpec",
    "ActorStopped",
    "AskCycle",
    "AskError",
    "AskTimeout",
    "Backoff",
    "Batched",
    "Block",
    "ChildBusy",
    "ChildExists",
    "ChildSpec",
    "ChildState",
    "Concurrent",
    "CrashReport",
    "DeadLetter",
    "DeadLetterReason",
    "Failure",
    "Intensity",
    "LoopBlocked",
    "MailboxFull",
    "MailboxLimits",
    "MailboxSnapshot",
    "Message",
    "OnCancel",
    "OnTaskCrash",
    "Phase",
    "Reading",
    "Refusal",
    "Report",
    "Request",
    "Restart",
    "Serial",
    "Stall",
    "StallReport",
    "StartFailed",
    "Strategy",
    "SupervisorGaveUp",
    "SupervisorNotRunning",
    "SupervisorSnapshot",
    "SupervisorSpec",
    "TaskHandle",
    "Tree",
    "UnhandledMessage",
    "UnknownChild",
    "WorkSnapshot",
    "handles",
    "open_tree",
]
