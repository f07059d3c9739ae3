"""The row of the store's totals: packages, files, objects and their bytes.

Every other row follows from one event. The totals follow from all events before too, so the state that decisions use
carries them: see `LogState`. A batch of commands or events writes the row once, after its last event. So commits and
replays with batches of any size write the same row, and reading the totals never counts rows.
"""

from collections.abc import Sequence
from typing import Final

from artifactstore_protocols.state import LogState
from artifactstore_protocols.views import TOTALS, Put, RowOperation

__all__ = ["TOTALS_ID", "totals_rows"]

TOTALS_ID: Final = 1
"""The key of the only row."""


def totals_rows(state: LogState) -> Sequence[RowOperation]:
    """Return the operation that writes the totals after a batch; none if no event of the batch can change them."""
    totals = state.totals
    if not totals.changed:
        return ()
    row = (
        TOTALS_ID,
        totals.packages,
        totals.finalized,
        totals.files,
        totals.links,
        totals.directories,
        totals.total_bytes,
        totals.objects,
        totals.object_bytes,
        totals.condemned,
        totals.condemned_bytes,
        totals.unreleased,
        totals.unreleased_bytes,
        totals.deleted,
        totals.expired,
        totals.retired,
        totals.retired_bytes,
        totals.removed,
    )
    return (Put(TOTALS, (row,)),)
