"""Annotations: what may be said about a package after it was created, decided and admitted."""

import pytest

from artifactstore_protocols.admission import admit, examine
from artifactstore_protocols.commands import AnnotatePackage
from artifactstore_protocols.errors import InvalidValue
from artifactstore_protocols.event_types import PackageAnnotated
from artifactstore_protocols.event_types.package_annotated import annotate_package
from artifactstore_protocols.events import EventRefused
from artifactstore_protocols.metadata import METADATA_BYTES_MAX, Metadata, MetadataValue
from artifactstore_protocols.packages import AnnotationNotFound, AnnotationsChanged, MetadataKeyTaken, PackageNotFound
from artifactstore_protocols.state import LogState
from command_strategies import created, evolved, finalized, package_id_of, stored_events

ID = package_id_of(1)


def annotated(*changes: tuple[Metadata, tuple[str, ...]], state: LogState | None = None) -> dict[str, MetadataValue]:
    state = evolved(finalized() if state is None else state, *(AnnotatePackage(ID, *change) for change in changes))
    return state.packages[ID].annotations


def test_annotations_are_set_changed_and_removed_on_a_finalized_package() -> None:
    assert annotated(({"a": 1, "b": [True]}, ()), ({"a": "x"}, ("b",)), ({"c": {}}, ())) == {"a": "x", "c": {}}


def test_only_what_changes_is_an_event() -> None:
    state = evolved(finalized(), AnnotatePackage(ID, {"a": 1, "b": True}))
    assert annotate_package(AnnotatePackage(ID, {"a": 1, "b": True}), state) is None
    found = annotate_package(AnnotatePackage(ID, {"a": True, "b": True}), state)
    assert found == PackageAnnotated(ID, state.packages[ID].number, {"a": True}, ())


def test_the_metadata_of_a_package_is_not_annotated() -> None:
    state = evolved(LogState(), created(metadata={"branch": "main"}))
    with pytest.raises(MetadataKeyTaken, match=r"has 'branch' and cannot change; annotate with another key"):
        annotate_package(AnnotatePackage(ID, {"branch": "main"}), state)


def test_what_is_not_there_is_not_removed() -> None:
    with pytest.raises(AnnotationNotFound, match="no annotation 'a'"):
        annotate_package(AnnotatePackage(ID, {}, ("a",)), finalized())
    with pytest.raises(PackageNotFound):
        annotate_package(AnnotatePackage(ID, {"a": 1}), LogState())


def test_a_change_that_expects_other_annotations_is_refused() -> None:
    state = evolved(finalized(), AnnotatePackage(ID, {"a": 1, "b": "x"}))
    for expected in ({}, {"a": 2}, {"a": True}, {"a": 1, "c": 1}):
        with pytest.raises(AnnotationsChanged, match="changed since they were read: a"):
            annotate_package(AnnotatePackage(ID, {"a": 3}, (), expected), state)
    assert annotate_package(AnnotatePackage(ID, {"a": 3}, (), {"a": 1}), state) is not None
    assert annotate_package(AnnotatePackage(ID, {"c": 3}, (), {}), state) is not None
    with pytest.raises(AnnotationsChanged):
        annotate_package(AnnotatePackage(ID, {}, ("a",), {"a": 2}), state)
    assert annotate_package(AnnotatePackage(ID, {}, ("a",), {"a": 1}), state) is not None


def test_all_annotations_of_a_package_are_bounded_together() -> None:
    state = evolved(finalized(), *(AnnotatePackage(ID, {str(number): "x" * 4000}) for number in range(16)))
    with pytest.raises(InvalidValue, match=f"invalid annotations .*use at most {METADATA_BYTES_MAX}"):
        annotate_package(AnnotatePackage(ID, {"more": "x" * 4000}), state)
    assert annotate_package(AnnotatePackage(ID, {"more": "x" * 4000}, ("0",)), state) is not None


@pytest.mark.parametrize(
    ("annotations", "removed", "reason"),
    [({}, (), "name at least one"), ({"a": 1}, ("a",), "set or removed once"), ({}, ("a", "a"), "set or removed once")],
)
def test_a_command_says_one_thing_about_a_key(annotations: Metadata, removed: tuple[str, ...], reason: str) -> None:
    with pytest.raises(InvalidValue, match=reason):
        AnnotatePackage(ID, annotations, removed)


HOSTILE = [
    PackageAnnotated(ID, 1, {"a": 1}, ()),
    PackageAnnotated(ID, 1, {"a": 1, "b": 2}, ()),
    PackageAnnotated(ID, 2, {"b": 2}, ()),
    PackageAnnotated(ID, 1, {}, ("b",)),
    PackageAnnotated(ID, 1, {"branch": "main"}, ()),
    PackageAnnotated(package_id_of(2), 1, {"b": 1}, ()),
    PackageAnnotated(ID, 1, {"b": 1}, ("c", "a")),
]


@pytest.mark.parametrize("payload", HOSTILE, ids=repr)
def test_an_event_that_no_command_makes_is_refused(payload: PackageAnnotated) -> None:
    state = evolved(
        LogState(), created(metadata={"branch": "main"}), AnnotatePackage(ID, {"a": 1}), AnnotatePackage(ID, {"c": 1})
    )
    if payload != HOSTILE[-1]:
        del state.packages[ID].annotations["c"]
    [stored] = stored_events([payload], after=5)
    with pytest.raises(EventRefused):
        admit(examine(stored), state)
