"""The totals of a store as text for people, the same on the command line and on the page."""

from collections.abc import Sequence

from artifactstore.cli.output import counted, size_text
from artifactstore_protocols.disk_usage import deduplication
from artifactstore_protocols.moments import age_text
from artifactstore_protocols.store_stats import LastRun, StoreStats
from artifactstore_protocols.verification import VerificationState

__all__ = ["content_text", "stats_lines"]


def stats_lines(stats: StoreStats, now_us: int) -> Sequence[tuple[str, str]]:
    """Return the label and the text of each total.

    Args:
        stats: the totals.
        now_us: the current time, in microseconds since 1970 UTC.
    """
    open_packages = stats.packages - stats.finalized
    return (
        ("packages", f"{stats.packages:,}" + (f", {open_packages:,} of them open" if open_packages else "")),
        ("content", content_text(stats.files, stats.links, stats.directories)),
        ("logical size", size_text(stats.bytes)),
        ("stored size", f"{size_text(stats.object_bytes)} in {_counted(stats.objects, 'object')}"),
        ("deduplication", _ratio_text(stats)),
        ("to collect", _to_collect(stats)),
        ("collected", f"{size_text(stats.retired_bytes)} in {_counted(stats.retired, 'object')} so far"),
        ("gone", f"{_counted(stats.deleted, 'package')} deleted, {stats.expired:,} expired"),
        ("last collection", _collection_text(stats.last_collection, now_us)),
        ("last backup", _run_text(stats.last_backup, now_us)),
        ("last verification", _verified_text(stats.verification, now_us)),
    )


def content_text(files: int, links: int, directories: int) -> str:
    """Return the number of files as text, and the numbers of links and empty directories if there are any."""
    text = _counted(files, "file")
    if links:
        text += f", {_counted(links, 'link')}"
    if directories:
        text += f", {directories:,} empty director{'y' if directories == 1 else 'ies'}"
    return text


def _ratio_text(stats: StoreStats) -> str:
    ratio = deduplication(stats.bytes, stats.object_bytes - stats.condemned_bytes)
    return "nothing stored" if ratio is None else f"{ratio:.2f} times"


def _to_collect(stats: StoreStats) -> str:
    text = f"{size_text(stats.condemned_bytes)} in {_counted(stats.condemned, 'object')}"
    if stats.unreleased:
        entries = f"{stats.unreleased:,} entr{'y' if stats.unreleased == 1 else 'ies'}"
        text += f"; {size_text(stats.unreleased_bytes)} in {entries} of gone packages, less what others hold too"
    return text


def _counted(number: int, thing: str) -> str:
    return counted(number, thing).replace(str(number), f"{number:,}", 1)


def _run_text(last: LastRun | None, now_us: int) -> str:
    if last is None:
        return "never recorded"
    found = f", with {_counted(last.flaws, 'flaw')}" if last.flaws else ""
    return f"{age_text(now_us - last.ended_at_us)} ago, up to event {last.sequence:,}{found}"


def _collection_text(last: LastRun | None, now_us: int) -> str:
    if last is None:
        return "never recorded"
    failures = f", with {_counted(last.flaws, 'failure')}" if last.flaws else ""
    return f"{age_text(now_us - last.ended_at_us)} ago, {_counted(last.objects, 'object')} deleted{failures}"


def _verified_text(state: VerificationState, now_us: int) -> str:
    if state.verified_at_us is None:
        return "never recorded"
    text = f"{age_text(now_us - state.verified_at_us)} ago, by event {state.verified_sequence:,}"
    if state.oldest_at_us is not None:
        text += f"; the oldest object was last read {age_text(now_us - state.oldest_at_us)} ago"
    return text
