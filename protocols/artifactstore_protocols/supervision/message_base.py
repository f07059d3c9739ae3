"""The base classes of the messages between actors.

A message is a frozen value: a `msgspec.Struct` or a slotted dataclass. Its type names the role of its receiver. A
`Message[StorageRole]` can be sent only to an `ActorRef[StorageRole]`. A `Request[int, StorageRole]` has a reply of type
`int`. Only type checkers use both parameters; `tests/typing` checks that mypy and pyright find wrong uses.
"""

__all__ = ["Message", "Request"]


class Message[To]:
    """A message to an actor of the role `To`. It has no reply, unless it is a `Request`."""

    __slots__ = ()

    @property
    def size_bytes(self) -> int:
        """The size that counts towards the bytes limit of a mailbox; 0 for a message without a payload."""
        return 0


class Request[R, To](Message[To]):
    """A message to an actor of the role `To`, with a reply of type `R`."""

    __slots__ = ()
