"""Records from the JSON that `json_output.to_json` makes of them: the inverse of it, guided by annotations.

An answer comes from outside, so every value is checked. Fields that this release does not know are ignored.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from enum import Enum
from functools import cache
from types import NoneType, UnionType
from typing import Annotated, Any, Final, Literal, TypeAliasType, Union, cast, get_args, get_origin, get_type_hints

from msgspec import Struct
from msgspec.structs import fields

from artifactstore.json_output import json_key
from artifactstore_protocols.metadata import Metadata, MetadataValue, is_metadata

__all__ = ["decoded"]

_TIME_FIELD: Final = "_at_us"
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class _Time(Struct, frozen=True):
    """The annotation of a time, which is text in JSON and microseconds in the record."""

    annotation: object

    def decoded(self, value: object) -> int | None:
        if value is None and NoneType in get_args(self.annotation):
            return None
        if not isinstance(value, str) or (moment := datetime.fromisoformat(value)).tzinfo is None:
            raise _wrong(datetime)
        return (moment - _EPOCH) // timedelta(microseconds=1)


def decoded[T](kind: type[T], value: object) -> T:
    """Return a value of a class from its JSON.

    Raises:
        ValueError: the JSON is of something else.
    """
    return cast("T", _decoded(kind, value))


def _decoded(annotation: object, value: object) -> object:
    if annotation in {Metadata, MetadataValue}:
        return _metadata(annotation, value)
    if isinstance(annotation, _Time):
        return annotation.decoded(value)
    if annotation is object:
        return value
    if isinstance(annotation, TypeAliasType):
        return _decoded(annotation.__value__, value)
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _decoded(arguments[0], value)
    if origin is Literal:
        if value not in arguments:
            raise _wrong(annotation)
        return value
    if origin in {Union, UnionType}:
        if value is None and NoneType in arguments:
            return None
        [kind] = [each for each in arguments if each is not NoneType]
        return _decoded(kind, value)
    return _of_class(cast("type", origin or annotation), arguments, value)


def _of_class(kind: type, arguments: Sequence[object], value: object) -> object:
    wrong = _wrong(kind)
    if issubclass(kind, Struct):
        return _struct(kind, value)
    if issubclass(kind, Enum):
        return kind(value)
    if kind in {bool, int, str}:
        if type(value) is not kind:
            raise wrong
        return value
    if issubclass(kind, Mapping):
        if not isinstance(value, dict):
            raise wrong
        items = cast("dict[str, object]", value).items()
        return {key: _decoded(arguments[1], each) for key, each in items}
    if issubclass(kind, Sequence | frozenset):
        if not isinstance(value, list):
            raise wrong
        several = [_decoded(arguments[0], each) for each in cast("list[object]", value)]
        return cast("Any", kind)(several) if kind in {tuple, frozenset} else tuple(several)
    raise wrong


def _struct(kind: type[Struct], value: object) -> Struct:
    if not isinstance(value, dict):
        raise _wrong(kind)
    given = cast("dict[str, object]", value)
    known: dict[str, object] = {}
    for name, key, annotation in _fields(kind):
        if key in given:
            known[name] = (
                annotation.decoded(given[key]) if isinstance(annotation, _Time) else _decoded(annotation, given[key])
            )
    try:
        return kind(**known)
    except TypeError as error:  # a required field is missing
        raise _wrong(kind) from error


@cache
def _fields(kind: type[Struct]) -> Sequence[tuple[str, str, object]]:
    """Return the name, the name in JSON and the annotation of each field."""
    hints = get_type_hints(kind, include_extras=True)
    return [
        (
            each.name,
            json_key(each.name),
            _Time(hints[each.name]) if each.name.endswith(_TIME_FIELD) else hints[each.name],
        )
        for each in fields(kind)
    ]


def _metadata(annotation: object, value: object) -> object:
    if not is_metadata(value if annotation is Metadata else {"value": value}):
        raise _wrong(dict)
    return value


def _wrong(kind: object) -> ValueError:
    return ValueError(f"it has no {getattr(kind, '__name__', kind)} where one belongs")
