"""A progress bar on stderr that shows the amount done, the total, the rate and the remaining time."""

from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import override

from msgspec import Struct
from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

from artifactstore.cli.output import size_text
from artifactstore.cli.progress_lines import amount_text, found_text

__all__ = ["bar"]


class _Amount(ProgressColumn):
    @override
    def render(self, task: Task) -> Text:
        if found := task.fields["found"]:
            return Text(found, style="progress.download")
        total = None if task.total is None else int(task.total)
        return Text(amount_text(int(task.completed), total, task.fields["text_of"]), style="progress.download")


class _Rate(_Amount):
    @override
    def render(self, task: Task) -> Text:
        if task.fields["found"]:
            return Text("")
        # Work that ends before rich has two samples still has a rate: the amount over the elapsed time.
        speed = task.finished_speed or task.speed or (task.completed / task.elapsed if task.elapsed else None)
        return Text("" if speed is None else f"{task.fields['text_of'](int(speed))}/s", style="progress.data.speed")


@contextmanager
def bar(command: str) -> Generator[Callable[[Struct], None]]:
    """Show a progress bar for the duration of the block, and yield the callback for the counts.

    The bar measures the bytes, or the events of counts that have no bytes. While a command scans, the bar shows what it
    has found instead.
    """
    columns = (TextColumn("{task.description}"), BarColumn(), _Amount(), _Rate(), TimeRemainingColumn())
    # By default, rich redirects stdout to the console of the bar, which is stderr.
    with Progress(
        *columns, console=Console(stderr=True), transient=True, redirect_stdout=False, redirect_stderr=False
    ) as progress:
        task = progress.add_task(command, total=None, found="", text_of=size_text)

        def show(counts: Struct) -> None:
            measured = "bytes" if hasattr(counts, "bytes") else "events"
            found = found_text(counts)
            progress.update(
                task,
                completed=getattr(counts, measured),
                total=None if found else getattr(counts, f"{measured}_total"),
                found=found,
                text_of=size_text if measured == "bytes" else _events_text,
            )

        yield show


def _events_text(count: int) -> str:
    return f"{count} events"
