"""Redacting: replace a text in the log of this store and of named backups, for good.

The transaction comes first. Each backup that is named is then brought up to date, which writes its log files anew. A
redaction that dies is completed by a repeated one.
"""

from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

from msgspec.structs import replace

from artifactstore.environment import environment
from artifactstore.ids import new_id, now_us
from artifactstore_protocols.errors import ArtifactStoreError
from artifactstore_protocols.event_store import EventStore
from artifactstore_protocols.redacted_texts import MARK_DIGITS, TextReplacement
from artifactstore_protocols.redaction import RedactionReport, RedactionRequest

__all__ = ["redact"]


async def redact(
    store: EventStore,
    back_up: Callable[[Path], Awaitable[object]],
    *,
    text: str,
    reason: str,
    confirm_events: int | None,
    backups: Sequence[Path],
    principal: str,
) -> RedactionReport:
    """Redact a text.

    Raises:
        InvalidValue: the text is too short, or the reason or the principal repeats it.
        OpenPackages, RedactionUnconfirmed, RedactionImpossible: nothing was changed.
    """
    store.must_be_writable()
    request = RedactionRequest(_replacement(text), reason, principal, confirm_events)
    report = await store.redact(request, now_us=now_us(), command_id=new_id())
    failures, carried = list(report.failures), list[str]()
    for directory in backups:
        try:
            await back_up(directory)
            carried.append(str(directory))
        except ArtifactStoreError as error:  # the other backups can still be redacted
            failures.append(f"backup {directory.name}: {error}")
    return replace(report, backups=tuple(carried), failures=tuple(failures))


def _replacement(text: str) -> TextReplacement:
    """Return the replacement of a text by a random mark that does not contain the text."""
    while True:
        replaced = TextReplacement(text, f"{environment.get().random_bits(4 * MARK_DIGITS):0{MARK_DIGITS}x}")
        if not replaced.is_in_text(replaced.mark):
            return replaced
