"""What a class offers to callers, whether it defines it or inherits it."""

from collections.abc import Callable

__all__ = ["public_methods"]


def public_methods(kind: type) -> dict[str, Callable[..., object]]:
    """Return the public methods of a class by their names."""
    members = {name: member for each in reversed(kind.__mro__[:-1]) for name, member in vars(each).items()}
    return {name: member for name, member in members.items() if not name.startswith("_") and callable(member)}
