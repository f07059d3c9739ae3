"""What a field of a plan may hold, said where the field is: `path: Annotated[int, Within(0, 4)]`."""

from dataclasses import dataclass

__all__ = ["Within"]


@dataclass(frozen=True, slots=True)
class Within:
    """The bounds of a whole number, or of how many items a tuple has; both are allowed."""

    low: int
    high: int
