"""Who may collect in an object root, as a pure decision, and the text of a marker."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from artifactstore_protocols.errors import InvalidValue
from artifactstore_protocols.root_markers import (
    MARKER_BYTES_MAX,
    SHARED,
    CollectionRefused,
    RootMarker,
    claimed,
    collecting,
    collection_refusal,
    decode_marker,
    encode_marker,
)

ONE = "0198f3a0-7c00-4000-8000-000000000001"
TWO = "0198f3a0-7c00-4000-8000-000000000002"

ids = st.sampled_from([ONE, TWO])
event_ids = st.sampled_from(["0198f3a0-7c00-7000-8000-000000000001", "0198f3a0-7c00-7000-8000-000000000002"])
EVENT = "0198f3a0-7c00-7000-8000-000000000001"
markers = st.builds(RootMarker, ids) | st.builds(RootMarker, ids, st.integers(1, 5), event_ids)


@given(store_id=ids, log=st.lists(event_ids, max_size=6), marker=st.none() | markers)
def test_a_store_collection_refusal_exactly_where_it_is_named_and_has_not_gone_back(
    store_id: str, log: list[str], marker: RootMarker | None
) -> None:
    known, head = dict(enumerate(log, 1)), len(log)
    refusal = collection_refusal(store_id, head, marker, None if marker is None else known.get(marker.collected_at))
    allowed = (
        marker is not None
        and marker.store_id == store_id
        and (not marker.collected_at or known.get(marker.collected_at) == marker.event_id)
    )
    assert (refusal is None) == allowed
    if allowed:
        assert collecting(store_id, known, marker) == RootMarker(store_id, head, log[-1] if log else "")
    else:
        with pytest.raises(CollectionRefused):
            collecting(store_id, known, marker)
    if refusal is not None:
        assert (refusal.store_id, refusal.head, refusal.marker) == (store_id, head, marker)


@pytest.mark.parametrize(
    ("store_id", "head", "marker", "code", "message"),
    [
        (
            ONE,
            7,
            None,
            "root-unclaimed",
            (
                f"store {ONE} may not collect here: no store has claimed this object root; open the store where the "
                "root can be written"
            ),
        ),
        (
            ONE,
            7,
            RootMarker(TWO),
            "root-of-another-store",
            (
                f"store {ONE} may not collect here: this object root belongs to store {TWO}; this database is a "
                "clone of that store's, or both use the same directory; `artifactstore doctor` says what to do"
            ),
        ),
        (
            ONE,
            7,
            RootMarker(ONE, 9, EVENT),
            "store-rewound",
            (
                f"store {ONE} may not collect here: its log ends at event 7, and it has collected at event 9, so this "
                "database was put back to an earlier point; `artifactstore doctor` says what to do"
            ),
        ),
        (
            ONE,
            9,
            RootMarker(ONE, 9, EVENT),
            "store-rewound",
            (
                f"store {ONE} may not collect here: it has collected at event 9, and its log has another event there, "
                "so this database was put back to an earlier point; `artifactstore doctor` says what to do"
            ),
        ),
    ],
)
def test_a_refusal_has_a_stable_code_and_says_why(
    store_id: str, head: int, marker: RootMarker | None, code: str, message: str
) -> None:
    refusal = collection_refusal(store_id, head, marker, None)
    assert refusal is not None
    assert (refusal.code, str(refusal)) == (code, message)


@given(store_id=ids, marker=st.none() | markers)
def test_the_first_store_claims_a_root_and_only_another_one_that_writes_takes_that_away(
    store_id: str, marker: RootMarker | None
) -> None:
    after = claimed(store_id, marker, writes=False)
    assert after == (RootMarker(store_id, 0) if marker is None else marker)
    assert claimed(after.store_id, after, writes=True) == after
    assert claimed(TWO, after, writes=False) == after
    shared = claimed(TWO, after, writes=True)
    assert shared == (after if after.store_id == TWO else RootMarker(SHARED, after.collected_at, after.event_id))
    for each in (store_id, TWO) if shared.store_id == SHARED else ():
        refusal = collection_refusal(each, 1 << 40, shared, shared.event_id)
        assert refusal is not None
        assert refusal.code == "root-shared"
        assert claimed(each, shared, writes=True) == shared, "only a person can give it back"


@given(marker=markers)
def test_a_marker_is_read_back(marker: RootMarker) -> None:
    text = encode_marker(marker)
    assert decode_marker(text) == marker
    assert len(text) < MARKER_BYTES_MAX
    assert json.loads(text) == {
        "format": "artifactstore-root",
        "version": 1,
        "store_id": marker.store_id,
        "collected_at": marker.collected_at,
        "event_id": marker.event_id,
    }


WRITTEN = {"format": "artifactstore-root", "version": 1, "store_id": ONE, "collected_at": 1, "event_id": EVENT}


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"\xff",
        b"[]",
        b"{}",
        b'{"format": "artifactstore-root", "version": 2}',
        b'{"format": "artifactstore-root", "version": 1}',
        b'{"format": "artifactstore-root", "version": 1, "store_id": "x", "collected_at": 0}',
        json.dumps({**WRITTEN, "collected_at": -1}).encode(),
        json.dumps({**WRITTEN, "collected_at": True}).encode(),
        json.dumps({**WRITTEN, "collected_at": 1.5}).encode(),
        json.dumps({**WRITTEN, "event_id": ""}).encode(),
        json.dumps({**WRITTEN, "event_id": "x"}).encode(),
        json.dumps({**WRITTEN, "collected_at": 0}).encode(),
        encode_marker(RootMarker(ONE))[:-10],
    ],
)
def test_anything_else_is_no_marker(text: bytes) -> None:
    with pytest.raises(InvalidValue):
        decode_marker(text)


@given(text=st.binary(max_size=60))
def test_whatever_lies_there_is_refused_or_a_marker(text: bytes) -> None:
    try:
        marker = decode_marker(text)
    except InvalidValue:
        return
    assert decode_marker(encode_marker(marker)) == marker
