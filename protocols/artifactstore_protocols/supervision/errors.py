"""What an asker can be told instead of a reply, and what a supervisor refuses.

Two questions decide what a caller may do next: is it worth asking again, and may the message have taken effect?
The classes answer the first, `may_have_taken_effect` the second. All are `Refusal`s: a handler that lets one of
these through, because an actor that it depends on failed, has answered its own asker and has not crashed.
"""

from dataclasses import dataclass
from typing import ClassVar, override

__all__ = [
    "ActorCrashed",
    "ActorStopped",
    "AskCycle",
    "AskError",
    "AskTimeout",
    "ChildBusy",
    "ChildExists",
    "MailboxFull",
    "Refusal",
    "StartFailed",
    "SupervisorGaveUp",
    "SupervisorNotRunning",
    "UnhandledMessage",
    "UnknownChild",
]


class Refusal(Exception):
    """An error that is an answer: a handler raises it, the asker receives it, and the actor lives on.

    Everything else that leaves a handler is a crash, and the supervisor decides what follows. A class says its text in
    `template`, by attributes of `self`, or by a `__str__` of its own.
    """

    template: ClassVar[str] = ""

    @override
    def __str__(self) -> str:
        return self.template.format(self=self) if self.template else super().__str__()


@dataclass(eq=False)
class AskError(Refusal):
    """An ask that came to nothing.

    Attributes:
        actor: path of the actor that was asked, or its bare name when no tree has bound it.
        message: type name of the message.
        may_have_taken_effect: False only when no handler has seen the message and none ever will.
    """

    actor: str
    message: str
    may_have_taken_effect: bool

    @property
    def effect(self) -> str:
        """The clause of the error's text that says whether asking again is safe."""
        if self.may_have_taken_effect:
            return "it may have taken effect, so look before asking again"
        return "it has had no effect"


@dataclass(eq=False)
class AskTimeout(AskError):
    """No reply by the deadline.

    Attributes:
        timeout_s: the time that the asker allowed.
    """

    timeout_s: float
    template = "{self.actor} did not answer {self.message} within {self.timeout_s:g} s; {self.effect}"


@dataclass(eq=False)
class ActorCrashed(AskError):
    """The actor failed while it handled the message.

    Attributes:
        cause: what its handler raised.
    """

    cause: BaseException
    template = "{self.actor} crashed on {self.message} with {self.cause!r}; {self.effect}"


class ActorStopped(AskError):
    """The actor is not running, or was stopped before it could reply."""

    template = "{self.actor} is stopped and did not answer {self.message}; {self.effect}"


@dataclass(eq=False)
class MailboxFull(Refusal):
    """There is no room for the message now, or, when it alone exceeds the limit, there never will be.

    Attributes:
        actor: path of the receiver.
        message: type name of the message.
        size_bytes: what the message counts for.
        messages_limit: most messages the mailbox holds.
        bytes_limit: most bytes the mailbox holds.
    """

    actor: str
    message: str
    size_bytes: int
    messages_limit: int
    bytes_limit: int

    @override
    def __str__(self) -> str:
        if self.size_bytes > self.bytes_limit:
            return (
                f"{self.message} of {self.size_bytes} bytes can never enter the mailbox of {self.actor}, which holds"
                f" {self.bytes_limit}; split it"
            )
        return (
            f"the mailbox of {self.actor} is full ({self.messages_limit} messages or {self.bytes_limit} bytes);"
            f" {self.message} was not sent: wait, or shed load"
        )


@dataclass(eq=False)
class AskCycle(Refusal):
    """An ask to an actor that is itself, directly or not, waiting for the asker: it could never be answered.

    Attributes:
        chain: paths from the first asker to the repeated actor, which comes twice.
    """

    chain: tuple[str, ...]

    @override
    def __str__(self) -> str:
        return f"ask cycle {' -> '.join(self.chain)}: use tell, or let the caller pass on what is asked for"


@dataclass(eq=False)
class UnhandledMessage(Refusal):
    """The actor declares no handler for this type of message."""

    actor: str
    message: str
    template = "{self.actor} does not handle {self.message}: declare it with @handles"


@dataclass(eq=False)
class StartFailed(Refusal):
    """A child, or a whole tree, did not become ready; what had started before it has been stopped again.

    Attributes:
        path: the child whose start failed.
        cause: what its start raised.
    """

    path: str
    cause: BaseException
    template = "{self.path} did not start: {self.cause!r}"


@dataclass(eq=False)
class SupervisorGaveUp(Refusal):
    """A supervisor had to restart its children more often than its intensity allows, and has stopped them all.

    Attributes:
        path: the supervisor.
        child: path of the child whose last failure went over the limit.
        cause: that failure.
    """

    path: str
    child: str
    cause: BaseException | None
    template = "{self.path} gave up: {self.child} failed too often, last with {self.cause!r}"


@dataclass(eq=False)
class UnknownChild(Refusal):
    """No child of the tree has this path."""

    path: str
    template = "there is no {self.path} in this tree: see snapshot() for the paths that exist"


@dataclass(eq=False)
class ChildExists(Refusal):
    """The supervisor has a child of this name."""

    path: str
    state: str
    template = "{self.path} exists and is {self.state}: choose another name, or stop and remove it first"


@dataclass(eq=False)
class ChildBusy(Refusal):
    """The child's state does not allow this now."""

    path: str
    state: str
    template = "{self.path} is {self.state}: wait until that is over, or stop it first"


@dataclass(eq=False)
class SupervisorNotRunning(Refusal):
    """The supervisor is starting, stopping or down, and takes no orders about its children."""

    path: str
    phase: str
    template = "{self.path} is {self.phase}: its children can be changed only while it is running"
