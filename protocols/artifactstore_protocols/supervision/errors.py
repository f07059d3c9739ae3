"""What an asker can be told instead of a reply."""

__all__ = ["Refusal"]


class Refusal(Exception):  # noqa: N818 - it is an answer, not a fault
    """An error that is an answer: a handler raises it, the asker receives it, and the actor lives on.

    Everything else that leaves a handler is a crash, and the supervisor decides what follows.
    """
