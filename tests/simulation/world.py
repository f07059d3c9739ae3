"""What all parts of a simulated world share: the source of chance, the trace, and the faults that are due.

Whatever the code under test asks of its world goes through `step` or `meet`, which count it, note it, and say which
fault strikes. Chance decides only what a real world leaves open: how long things take, and what an unsynced write
becomes when the power is lost.
"""

import random
from collections import Counter, defaultdict
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from typing import Final

import trio

from simulation.faults import Fault, FaultKind, StepFault
from simulation.trace import Trace

__all__ = ["Life", "SimulatedBug", "World", "shielded"]

_EPOCH_US: Final = 1_790_000_000_000_000
_INSTANT: Final = 0.6
"""The share of waits that end at once; the others take up to `_PAUSE_MAX_S`."""
_PAUSE_MAX_S: Final = 0.02


class SimulatedBug(Exception):
    """A defect in the code under test, as a fault: whatever handler meets it crashes."""


@contextmanager
def shielded() -> Generator[None]:
    """Complete the block, even if its caller is cancelled."""
    with trio.CancelScope(shield=True):
        yield


class Life:
    """One life of a simulated process: from its start until it ends or is killed.

    Attributes:
        process: which process, from 0.
        number: unique among all lives of the world.
        alive: whether anything it does can still be seen by others.
        died: set when it is killed.
        calls: scopes of the calls that clients make through it.
    """

    def __init__(self, process: int, number: int) -> None:
        self.process = process
        self.number = number
        self.alive = True
        self.died = trio.Event()
        self.calls: dict[trio.CancelScope, None] = {}

    def kill(self) -> None:
        """End it without a chance to tidy up; its tasks may wind down, but nothing they do has an effect."""
        self.alive = False
        self.died.set()
        for scope in self.calls:
            scope.cancel(reason="the process was killed")

    @contextmanager
    def call(self) -> Generator[trio.CancelScope]:
        """Make a call through this life in the block; it is cut off when the life ends, or when its caller leaves."""
        with trio.CancelScope() as scope:
            self.calls[scope] = None
            try:
                yield scope
            finally:
                del self.calls[scope]


class World:
    """One simulated world.

    Attributes:
        random: for what the world leaves open.
        trace: what happened.
        struck: faults that have struck, by kind.
        lost: what was not synced and went with the power, by what became of it.
        counts: how often each kind of thing was asked for, by the class of the faults that can strike it.
        tear: the fault that will tear the next write.
        full: what has no room left, and for how many more attempts.
        clock_ahead_us: by how much the clocks of all machines are ahead, or behind.
        latest_us: the latest time that a clock has shown.
        on_step: called with faults that strike processes, by the code that runs those.
    """

    def __init__(self, seed: int, faults: Sequence[Fault]) -> None:
        self.random = random.Random(f"world {seed}")  # noqa: S311 - simulated chance
        self.trace = Trace()
        self.struck: Counter[FaultKind] = Counter()
        self.lost: Counter[str] = Counter()
        self.counts: Counter[type] = Counter()
        self.tear: Fault | None = None
        self.full: Counter[FaultKind] = Counter()
        self.clock_ahead_us = 0
        self.latest_us = 0
        self.on_step: Callable[[StepFault], None] = lambda _: None
        self._due: defaultdict[tuple[type, int], list[Fault]] = defaultdict(list)
        for fault in faults:
            self._due[type(fault), fault.at].append(fault)

    def now_us(self) -> int:
        """What the clocks show, in microseconds since the epoch."""
        now_us = _EPOCH_US + round(trio.current_time() * 1e6) + self.clock_ahead_us
        self.latest_us = max(self.latest_us, now_us)
        return now_us

    def set_clock_right(self) -> None:
        """Let the clocks show no earlier time than any of them has shown."""
        self.clock_ahead_us += max(self.latest_us - self.now_us(), 0)

    def calm(self) -> None:
        """From now on nothing goes wrong any more."""
        self._due.clear()
        self.tear = None
        self.full.clear()

    def step(self, *what: object) -> None:
        """Something was asked of the world."""
        self.trace.note(*what)
        for fault in self._count(StepFault):
            self.on_step(fault)

    def meet[F: Fault](self, chance: type[F], *what: object) -> F | None:
        """As `step`, for something that can fail by itself: the fault that strikes it, if one does."""
        self.step(chance.__name__.removesuffix("Fault"), *what)
        return next(iter(self._count(chance)), None)

    def has_room(self, what: FaultKind, fault: Fault | None) -> bool:
        """Whether an attempt finds room; a fault of this kind takes it from as many attempts as its size says."""
        if fault is not None and fault.kind is what:
            self.full[what] = fault.size + 1
        if not self.full[what]:
            return True
        self.full[what] -= 1
        return False

    def note_struck(self, fault: Fault) -> None:
        """A fault has had its effect."""
        self.struck[fault.kind] += 1
        self.trace.note("fault:", fault.kind, fault.size)

    async def pause(self) -> None:
        """Let an unknown, short time pass."""
        if self.random.random() < _INSTANT:
            await trio.lowlevel.checkpoint()
        else:
            await trio.sleep(self.random.random() * _PAUSE_MAX_S)

    def _count[F: Fault](self, chance: type[F]) -> list[F]:
        self.counts[chance] += 1
        due = self._due.pop((chance, self.counts[chance]), ())
        return [fault for fault in due if isinstance(fault, chance)]
