"""What actors say to one another.

A message is a frozen, slotted dataclass that names its kind of receiver in its type: `Message[StorageRole]` can be
sent to an `ActorRef[StorageRole]` and to nothing else, and `Request[int, StorageRole]` is answered with an `int`.
Both parameters exist for the type checker only; `tests/typing` holds that mypy and pyright see them.
"""

__all__ = ["Message", "Request"]


class Message[To]:
    """Something said to an actor of the role `To`; as it stands, it has no reply."""

    __slots__ = ()

    @property
    def size_bytes(self) -> int:
        """What the message counts for in a mailbox that is bounded by bytes; 0 for one that carries no payload."""
        return 0


class Request[R, To](Message[To]):
    """A message to the role `To` whose reply is an `R`."""

    __slots__ = ()
