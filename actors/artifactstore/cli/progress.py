"""A progress bar on stderr that shows the amount done, the total, the rate and the remaining time."""

from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import override

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

__all__ = ["progress_bar"]


class _Amount(ProgressColumn):
    def __init__(self, text_of: Callable[[int], str]) -> None:
        super().__init__()
        self._text_of = text_of

    @override
    def render(self, task: Task) -> Text:
        if found := task.fields["found"]:
            return Text(found, style="progress.download")
        total = "?" if task.total is None else self._text_of(int(task.total))
        return Text(f"{self._text_of(int(task.completed))} of {total}", style="progress.download")


class _Rate(_Amount):
    @override
    def render(self, task: Task) -> Text:
        if task.fields["found"]:
            return Text("")
        # Work that ends before rich has two samples still has a rate: the amount over the elapsed time.
        speed = task.finished_speed or task.speed or (task.completed / task.elapsed if task.elapsed else None)
        return Text("" if speed is None else f"{self._text_of(int(speed))}/s", style="progress.data.speed")


@contextmanager
def progress_bar(what: str, text_of: Callable[[int], str]) -> Generator[Callable[[int, int | None, str], None]]:
    """Show a progress bar for the duration of the block.

    The block gets a function that updates the bar. Its arguments are the amount done, the total or None, and a text.
    A text that is not empty replaces both amounts; callers use it while the total is unknown.

    Args:
        what: label of the bar.
        text_of: formats an amount with its unit.
    """
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        _Amount(text_of),
        _Rate(text_of),
        TimeRemainingColumn(),
    )
    # By default, rich redirects stdout to the console of the bar, which is stderr.
    with Progress(
        *columns, console=Console(stderr=True), transient=True, redirect_stdout=False, redirect_stderr=False
    ) as progress:
        task = progress.add_task(what, total=None, found="")

        def show(done: int, total: int | None, found: str) -> None:
            progress.update(task, completed=done, total=None if found else total, found=found)

        yield show
