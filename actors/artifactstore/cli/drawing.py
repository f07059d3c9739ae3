"""What `artifactstore tree` does: draw the supervision tree of a running service, or of a store opened for the look.

The drawing is made from the same facts that `--json` prints and that a service answers at `/tree`.
"""

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import cast

from rich.console import Console
from rich.live import Live
from rich.text import Text
from rich.tree import Tree

from artifactstore.cli.output import printable
from artifactstore.facts import Json

__all__ = ["draw", "show", "show_always"]

type Facts = Mapping[str, Json]

_STYLES = {"running": "green", "starting": "yellow", "stopping": "yellow", "backoff": "red", "idle": "dim"}


def show(facts: Facts) -> None:
    """Draw the tree once, on stdout."""
    Console().print(draw(facts))


def show_always(look: Callable[[], Facts], *, every_s: float) -> None:
    """Draw the tree again and again, until interrupted: in one place on a terminal, one below the other elsewhere."""
    if not Console().is_terminal:
        while True:
            show(look())
            sys.stdout.write("\n")
            sys.stdout.flush()
            time.sleep(every_s)
    with Live(draw(look()), console=Console(), auto_refresh=False) as live:
        while True:
            time.sleep(every_s)
            live.update(draw(look()), refresh=True)


def draw(facts: Facts) -> Tree:
    """The tree of a snapshot's facts."""
    drawn = Tree(_line(facts))
    _grow(drawn, facts)
    return drawn


def _grow(drawn: Tree, facts: Facts) -> None:
    for child in _list(facts.get("children")):
        _grow(drawn.add(_line(child)), child)


def _line(facts: Facts) -> Text:
    state = str(facts["state"])
    line = Text.assemble((printable(str(facts["name"])), "bold"), "  ", (printable(state), _STYLES.get(state, "")))
    starts = cast("int", facts["starts"])
    if starts > 1:
        line.append(f"  restarts {starts - 1}", "yellow")
    if "strategy" in facts:
        line.append(f"  {printable(str(facts['strategy']))}", "dim")
    if isinstance(mailbox := facts.get("mailbox"), Mapping):
        line.append(printable(f"  mailbox {mailbox['depth']} (peak {mailbox['depth_peak']})"), "dim")
    for work in _list(facts.get("work"))[:1]:
        line.append(f"  {printable(str(work['message']))} for {cast('float', work['age_s']):.1f} s", "cyan")
    if isinstance(stall := facts.get("stall"), Mapping):
        line.append(f"  will not stop, since {printable(str(stall['since']))}", "red")
    if isinstance(failure := facts.get("last_failure"), Mapping):
        line.append(f"  last failure {printable(f'{failure["kind"]}: {failure["text"]}')}", "red")
    return line


def _list(found: Json) -> Sequence[Facts]:
    return cast("Sequence[Facts]", found) if isinstance(found, Sequence) and not isinstance(found, str) else ()
