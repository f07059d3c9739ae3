"""`@handles`: declares which method of an actor handles which message, in which mode, and how to cancel it.

A type checker verifies that the method takes the declared message type and returns that type's reply. When the class is
created, `collect` checks what a type checker cannot see.
"""

import inspect
from collections.abc import Awaitable, Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Generic, TypeVar, overload

from msgspec import Struct

from artifactstore_protocols.supervision import (
    Batched,
    Concurrent,
    Message,
    Mode,
    OnCancel,
    Refusal,
    Request,
    Serial,
)

__all__ = ["Handler", "collect", "handles"]

# The decorators below are covariant in their message, so that `self` can be narrowed to the request's reply type.
# Inferred variance (PEP 695) would make them invariant, because the method appears in their result as well.
M_co = TypeVar("M_co", covariant=True)

_MARK = "__handles__"


class Handler(Struct, frozen=True):
    """One declared handler.

    Attributes:
        message: the exact type of message.
        mode: see `Serial`, `Concurrent` and `Batched`.
        on_cancel: what happens to a running handler when all its callers leave or its actor is stopped.
        method: name of the method; a subclass may override it.
    """

    message: type[Message[Any]]
    mode: Mode
    on_cancel: OnCancel
    method: str


class _Declaration(Generic[M_co]):  # noqa: UP046 - see M_co
    """The decorator that `handles` returns. Its subclasses define the signature of the decorated method."""

    def __init__(self, handler: Callable[[str], Handler]) -> None:
        self._handler = handler

    def _declare[F: Callable[..., Awaitable[object]]](self, method: F) -> F:
        is_async = inspect.iscoroutinefunction(method)
        if not is_async:
            raise TypeError(f"{method} is declared with @handles, so it must be an async function")
        vars(method)[_MARK] = self._handler(method.__name__)
        return method


class _Answers(_Declaration[M_co]):
    def __call__[A, R, To](
        self: "_Answers[Request[R, To]]", method: Callable[[A, M_co], Awaitable[R]], /
    ) -> Callable[[A, M_co], Awaitable[R]]:
        return self._declare(method)


class _AnswersBatch(_Declaration[M_co]):
    def __call__[A, R, To](
        self: "_AnswersBatch[Request[R, To]]",
        method: Callable[[A, Sequence[M_co]], Awaitable[Sequence[R | Refusal]]],
        /,
    ) -> Callable[[A, Sequence[M_co]], Awaitable[Sequence[R | Refusal]]]:
        return self._declare(method)


class _Takes(_Declaration[M_co]):
    def __call__[A](self, method: Callable[[A, M_co], Awaitable[None]], /) -> Callable[[A, M_co], Awaitable[None]]:
        return self._declare(method)


class _TakesBatch(_Declaration[M_co]):
    def __call__[A](
        self, method: Callable[[A, Sequence[M_co]], Awaitable[None]], /
    ) -> Callable[[A, Sequence[M_co]], Awaitable[None]]:
        return self._declare(method)


# A Request is also a Message, and the first matching overload must win. Hence the two ignores.
@overload
def handles[Q: Request[Any, Any]](  # type: ignore[overload-overlap]  # pyright: ignore[reportOverlappingOverload]
    message: type[Q], *, mode: Batched, on_cancel: OnCancel = ...
) -> _AnswersBatch[Q]: ...
@overload
def handles[Q: Request[Any, Any]](  # type: ignore[overload-overlap]
    message: type[Q], *, mode: Serial | Concurrent = ..., on_cancel: OnCancel = ...
) -> _Answers[Q]: ...
@overload
def handles[Q: Message[Any]](message: type[Q], *, mode: Batched, on_cancel: OnCancel = ...) -> _TakesBatch[Q]: ...
@overload
def handles[Q: Message[Any]](
    message: type[Q], *, mode: Serial | Concurrent = ..., on_cancel: OnCancel = ...
) -> _Takes[Q]: ...
def handles(message: type[Message[Any]], *, mode: Mode | None = None, on_cancel: OnCancel = OnCancel.CANCEL) -> Any:
    """Declare that a method handles `message`.

    Args:
        message: the exact type of message; subclasses need handlers of their own.
        mode: `Serial()` by default. A `Batched` handler takes a sequence and returns one reply, or one `Refusal`, for
            each of its messages.
        on_cancel: whether a running handler is cancelled when all its callers have left or its actor is stopped.
    """
    chosen = mode or Serial()
    is_request = Request in message.__mro__
    kinds = (_AnswersBatch, _Answers) if is_request else (_TakesBatch, _Takes)
    kind: Any = kinds[0 if isinstance(chosen, Batched) else 1]

    def handler(method: str) -> Handler:
        return Handler(message, chosen, on_cancel, method)

    return kind(handler)


def collect(actor: type) -> Mapping[type[Message[Any]], Handler]:
    """Return the handlers of a class and its bases by message type.

    A subclass may declare a handler again under the same method name.

    Raises:
        TypeError: two methods handle the same message type.
    """
    found: dict[type[Message[Any]], Handler] = {}
    for base in reversed(actor.__mro__):
        for member in list(vars(base).values()):
            handler = getattr(member, _MARK, None)
            if not isinstance(handler, Handler):
                continue
            other = found.get(handler.message)
            if other and other.method != handler.method:
                raise TypeError(
                    f"{actor.__name__} handles {handler.message.__name__} twice: {other.method}, {handler.method}"
                )
            found[handler.message] = handler
    return MappingProxyType(found)
