"""The errors that a caller of `ask` can get instead of a reply, and the errors of orders to a supervisor.

The class of an error says whether asking again is useful. `may_have_taken_effect` says whether the message may have
taken effect. All these errors are `Refusal`s. A handler can let one through if an actor that it depends on failed. Then
the handler's own caller gets the error, and the handler's actor does not crash.
"""

from typing import ClassVar, cast, dataclass_transform, get_origin, override

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


@dataclass_transform(eq_default=False)
class Refusal(Exception):
    """An error that is a reply. If a handler raises it, the caller receives it, and the actor continues.

    Any other exception from a handler is a crash, and the supervisor decides how to continue. A subclass sets its
    message in `template`, which can use attributes of `self`, or overrides `__str__`.

    The annotations of a subclass are its fields. An error without fields takes the arguments of `Exception`.
    """

    # Not dataclasses: each of those compiles its methods, and a hundred took a twentieth of the start of a command.

    template: ClassVar[str] = ""
    _fields: ClassVar[tuple[str, ...]] = ()

    @override
    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        annotations: dict[str, object] = cls.__annotations__
        own = [name for name, kind in annotations.items() if get_origin(kind) is not cast("object", ClassVar)]
        cls._fields = tuple(dict.fromkeys((*cls._fields, *own)))

    def __init__(self, *arguments: object, **named: object) -> None:
        fields = self._fields
        if not fields:
            super().__init__(*arguments, **named)
            return
        given = dict(zip(fields, arguments, strict=False))
        wrong = [*map(repr, arguments[len(fields) :]), *(name for name in named if name in given or name not in fields)]
        given |= named
        missing = [name for name in fields if name not in given and not hasattr(type(self), name)]
        if wrong or missing:
            raise TypeError(f"{type(self).__name__} has the fields {fields}; missing: {missing}, wrong: {wrong}")
        for name in fields:
            setattr(self, name, given[name] if name in given else getattr(type(self), name))

    def fields(self) -> dict[str, object]:
        """Return the fields with their values, in the order of the arguments."""
        return {name: getattr(self, name) for name in self._fields}

    @override
    def __repr__(self) -> str:
        if not self._fields:
            return super().__repr__()
        return f"{type(self).__qualname__}({', '.join(f'{name}={getattr(self, name)!r}' for name in self._fields)})"

    @override
    def __str__(self) -> str:
        return self.template.format(self=self) if self.template else super().__str__()


class AskError(Refusal):
    """An ask failed without a reply.

    Attributes:
        actor: the path of the actor that was asked, or its bare name if no tree has bound the actor.
        message: the type name of the message.
        may_have_taken_effect: False only if no handler has received the message and none ever will.
    """

    actor: str
    message: str
    may_have_taken_effect: bool

    @property
    def effect(self) -> str:
        """The clause of the error message that says whether asking again is safe."""
        if self.may_have_taken_effect:
            return "it may have taken effect, so look before asking again"
        return "it has had no effect"


class AskTimeout(AskError):
    """The actor did not reply before the deadline.

    Attributes:
        timeout_s: the time that the caller allowed, in seconds.
    """

    timeout_s: float
    template = "{self.actor} did not answer {self.message} within {self.timeout_s:g} s; {self.effect}"


class ActorCrashed(AskError):
    """The actor failed while it handled the message.

    Attributes:
        cause: the exception that the handler raised.
    """

    cause: BaseException
    template = "{self.actor} crashed on {self.message} with {self.cause!r}; {self.effect}"


class ActorStopped(AskError):
    """The actor is not running, or was stopped before it could reply."""

    template = "{self.actor} is stopped and did not answer {self.message}; {self.effect}"


class MailboxFull(Refusal):
    """The mailbox has no space for the message. A message that is larger than the bytes limit can never be sent.

    Attributes:
        actor: the path of the receiver.
        message: the type name of the message.
        size_bytes: the size of the message, by `Message.size_bytes`.
        messages_limit: the maximum number of messages in the mailbox.
        bytes_limit: the maximum number of bytes in the mailbox.
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


class AskCycle(Refusal):
    """The asked actor waits, directly or indirectly, for the actor that asks, so no reply is possible.

    Attributes:
        chain: the paths from the first asking actor to the repeated actor, which occurs twice.
    """

    chain: tuple[str, ...]

    @override
    def __str__(self) -> str:
        return f"ask cycle {' -> '.join(self.chain)}: use tell, or let the caller pass on what is asked for"


class UnhandledMessage(Refusal):
    """The actor declares no handler for this type of message."""

    actor: str
    message: str
    template = "{self.actor} does not handle {self.message}: declare it with @handles"


class StartFailed(Refusal):
    """A child, or a whole tree, did not become ready. The actors that had started before it were stopped again.

    Attributes:
        path: the path of the child whose start failed.
        cause: the exception that the start raised.
    """

    path: str
    cause: BaseException
    template = "{self.path} did not start: {self.cause!r}"


class SupervisorGaveUp(Refusal):
    """The children of a supervisor failed more often than its intensity allows, and it has stopped all of them.

    Attributes:
        path: the path of the supervisor.
        child: the path of the child whose failure exceeded the limit.
        cause: the exception of that failure.
    """

    path: str
    child: str
    cause: BaseException | None
    template = "{self.path} gave up: {self.child} failed too often, last with {self.cause!r}"


class UnknownChild(Refusal):
    """No child of the tree has this path."""

    path: str
    template = "there is no {self.path} in this tree: see snapshot() for the paths that exist"


class ChildExists(Refusal):
    """The supervisor already has a child with this name."""

    path: str
    state: str
    template = "{self.path} exists and is {self.state}: choose another name, or stop and remove it first"


class ChildBusy(Refusal):
    """The state of the child does not allow the order now."""

    path: str
    state: str
    template = "{self.path} is {self.state}: wait until that is over, or stop it first"


class SupervisorNotRunning(Refusal):
    """The supervisor is starting, stopping or down, and refuses orders about its children."""

    path: str
    phase: str
    template = "{self.path} is {self.phase}: its children can be changed only while it is running"
