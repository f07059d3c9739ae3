"""The health of a store, as frozen values."""

from collections.abc import Mapping

from msgspec import Struct

__all__ = ["ComponentHealth", "HealthReport"]


class ComponentHealth(Struct, frozen=True):
    """One reading of one component.

    Attributes:
        name: the name of the component, such as `database` or `actor:event-writer`.
        healthy: whether the component works.
        detail: the finding, in words.
        details: the measurements by name. The names include the units.
        latency_s: the duration of the probe, in seconds.
        measured_at_us: the time of the reading.
    """

    name: str
    healthy: bool
    detail: str
    details: Mapping[str, str | int | float]
    latency_s: float
    measured_at_us: int


class HealthReport(Struct, frozen=True):
    """The readings of all components. The report is healthy only if every reading is."""

    version: str
    answered_at_us: int
    components: tuple[ComponentHealth, ...]

    @property
    def healthy(self) -> bool:
        """Whether every component is healthy."""
        return all(component.healthy for component in self.components)

    @property
    def reasons(self) -> tuple[str, ...]:
        """The findings of the components that are not healthy, one line for each."""
        return tuple(f"{part.name}: {part.detail}" for part in self.components if not part.healthy)
