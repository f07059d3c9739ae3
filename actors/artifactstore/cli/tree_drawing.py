"""Drawing of the supervision tree for `artifactstore actors`.

The input is the node that `--json` prints and that a service returns at `/tree`.
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
from artifactstore.json_output import Json

__all__ = ["draw", "show", "show_always"]

type Node = Mapping[str, Json]

_STYLES = {"running": "green", "starting": "yellow", "stopping": "yellow", "backoff": "red", "idle": "dim"}


def show(node: Node) -> None:
    """Draw the tree once, on stdout."""
    Console().print(draw(node))


def show_always(look: Callable[[], Node], *, every_s: float) -> None:
    """Draw the tree repeatedly until interrupted: in place on a terminal, one below the other elsewhere."""
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


def draw(node: Node) -> Tree:
    """Return the drawing of a snapshot's node."""
    drawn = Tree(_line(node))
    _grow(drawn, node)
    return drawn


def _grow(drawn: Tree, node: Node) -> None:
    for child in _list(node.get("children")):
        _grow(drawn.add(_line(child)), child)


def _line(node: Node) -> Text:
    state = str(node["state"])
    line = Text.assemble((printable(str(node["name"])), "bold"), "  ", (printable(state), _STYLES.get(state, "")))
    starts = cast("int", node["starts"])
    if starts > 1:
        line.append(f"  restarts {starts - 1}", "yellow")
    if "strategy" in node:
        line.append(f"  {printable(str(node['strategy']))}", "dim")
    if isinstance(mailbox := node.get("mailbox"), Mapping):
        line.append(printable(f"  mailbox {mailbox['depth']} (peak {mailbox['depth_peak']})"), "dim")
    for work in _list(node.get("work"))[:1]:
        line.append(f"  {printable(str(work['message']))} for {cast('float', work['age_s']):.1f} s", "cyan")
    if isinstance(stall := node.get("stall"), Mapping):
        line.append(f"  will not stop, since {printable(str(stall['since']))}", "red")
    if isinstance(failure := node.get("last_failure"), Mapping):
        line.append(f"  last failure {printable(f'{failure["kind"]}: {failure["text"]}')}", "red")
    return line


def _list(found: Json) -> Sequence[Node]:
    return cast("Sequence[Node]", found) if isinstance(found, Sequence) and not isinstance(found, str) else ()
