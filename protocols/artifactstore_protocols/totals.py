"""The rows that are counted: the store's totals, and for each content the number of entries that refer to it.

Every other cell follows from one event. These follow from all events before too, so the state that decisions use
carries them: see `LogState`. A batch of commands or events writes them once, after its last event. So commits and
replays with batches of any size write the same cells, and reading them never counts rows.
"""

from collections.abc import Sequence
from typing import Final

from artifactstore_protocols.state import LogState
from artifactstore_protocols.views import CONTENTS, TOTALS, Put, RowOperation, Update

__all__ = ["TOTALS_ID", "totals_rows"]

TOTALS_ID: Final = 1
"""The key of the only row."""


def totals_rows(state: LogState) -> Sequence[RowOperation]:
    """Return the operations that write, after a batch, the totals and the references that its events changed."""
    totals = state.totals
    referred: list[RowOperation] = [
        Update(CONTENTS, (digest,), {"reference_count": state.references_to(digest)})
        for digest in sorted(state.referred)
    ]
    if not totals.changed:
        return referred
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
    return [*referred, Put(TOTALS, (row,))]
