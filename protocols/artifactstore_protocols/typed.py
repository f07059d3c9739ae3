"""Checks of values against type annotations. A wrong value raises an error for the caller and crashes no actor.

`fit_of` creates a check from an annotation. The check returns a value in its plain form: a subclass of `str` or `int`
becomes a `str` or an `int`, and any mapping becomes a new `dict`. `msgspec.convert` does less: it accepts a list for a
tuple and a dict for a struct, keeps subclasses, and names types in its errors where a caller needs advice.

Integers are counts from 0 to 2^63-1, the largest integer in both databases. `True` is not a count, and 1 is not a truth
value.
"""

import math
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Mapping, Sequence
from enum import Enum
from functools import cache, partial
from types import NoneType, UnionType
from typing import Literal, TypeAliasType, Union, cast, get_args, get_origin, get_type_hints

from msgspec import Struct
from msgspec.structs import force_setattr

from artifactstore_protocols.canonical import INTEGER_MAX, CanonicalValue
from artifactstore_protocols.errors import InvalidValue
from artifactstore_protocols.metadata import METADATA_DEPTH_MAX, MetadataValue

__all__ = ["Fit", "Misfit", "Special", "check_fields", "checked_value", "fit_of"]

_COUNT_MAX = 2**63 - 1
_SHOWN_CHARS = 60
_BYTES_LIKE = (bytes, bytearray, memoryview)


class Misfit(Exception):
    """The value does not fit the annotation.

    Attributes:
        shown: the value in a form that an error may show. Text and bytes are not shown, since they can be secret.
        reason: what would fit.
        of_kind: whether the value has the right type, but wrong contents.
        place: the place of the value in the argument, such as `['branch']`; empty for the argument itself.
    """

    def __init__(self, value: object, reason: str, *, of_kind: bool = False) -> None:
        super().__init__(reason)
        self.shown = _shown(value)
        self.reason = reason
        self.of_kind = of_kind
        self.place = ""


type Fit = Callable[[object], object]
"""A check of a value. It returns the plain form of the value, or raises `Misfit`."""

type Special = Callable[[object], Fit | None]
"""A function that returns the check of an annotation that this module does not know, and None for other annotations."""


def checked_value(what: str, fit: Fit, value: object) -> object:
    """Return a value in its plain form.

    Raises:
        InvalidValue: the value does not fit.
    """
    try:
        return fit(value)
    except Misfit as misfit:
        raise InvalidValue(f"{what}{misfit.place}", misfit.shown, misfit.reason) from None


def check_fields(value: Struct) -> None:
    """Check the fields of a struct against their annotations, and replace the values by their plain forms.

    Call this in `__post_init__`, before other code reads a field.

    Raises:
        InvalidValue: the value of a field does not fit.
    """
    for name, fit in _fits_of_fields(type(value)):
        given = getattr(value, name)
        fitted = checked_value(name, fit, given)
        if fitted is not given:
            force_setattr(value, name, fitted)


@cache
def _fits_of_fields(kind: type[Struct]) -> tuple[tuple[str, Fit], ...]:
    hints = get_type_hints(kind)
    return tuple((name, fit_of(hints[name])) for name in kind.__struct_fields__)


def fit_of(annotation: object, special: Special | None = None) -> Fit:
    """Return the check of one annotation.

    Args:
        annotation: a class, a union, a literal, a collection, a callable or an alias, as `get_type_hints` returns it.
        special: a function that is called first for every part of the annotation.

    Raises:
        TypeError: no check exists for the annotation.
    """
    if special is not None and (found := special(annotation)) is not None:
        return found
    origin, arguments = get_origin(annotation) or annotation, get_args(annotation)
    if origin in _PLAIN:
        return _PLAIN[origin]
    if isinstance(annotation, TypeAliasType):
        return fit_of(annotation.__value__, special)
    if origin is Literal:
        return _literal(arguments)
    parts = (fit_of(argument, special) for argument in arguments if argument is not ...)
    if origin in {Union, UnionType}:
        names = " or ".join(getattr(argument, "__name__", str(argument)) for argument in arguments)
        return _one_of(tuple(parts), names)
    if origin in _COLLECTIONS:
        return _COLLECTIONS[origin](*parts)
    if isinstance(origin, type):
        return _instance(origin)
    raise TypeError(f"no value can be checked against {annotation!r}")


def _as_it_is(value: object) -> object:
    return value


def _text(value: object) -> str:
    if type(value) is str:
        return value
    if issubclass(type(value), str):  # not `isinstance`, since an object can set its `__class__`
        return str.__str__(cast("str", value))
    raise Misfit(value, "give text (str)")


def _count(value: object) -> int:
    if not issubclass(type(value), int) or type(value) is bool:
        raise Misfit(value, "give a whole number (int)")
    number = int.__int__(cast("int", value))
    if not 0 <= number <= _COUNT_MAX:
        raise Misfit(number, "give a whole number from 0 to 2^63-1", of_kind=True)
    return number


def _number(value: object) -> float:
    if not issubclass(type(value), int | float) or type(value) is bool:
        raise Misfit(value, "give a number (float)")
    try:
        number = float.__float__(value) if isinstance(value, float) else float(int.__int__(cast("int", value)))
    except OverflowError:
        number = math.inf
    if math.isnan(number) or number < 0:
        raise Misfit(number, "give a number that is 0 or more", of_kind=True)
    return number


def _bytes(value: object) -> bytes:
    if type(value) is bytes:
        return value
    if issubclass(type(value), _BYTES_LIKE):
        return bytes(memoryview(cast("bytes", value)))
    raise Misfit(value, "give bytes")


def _instance(kind: type, reason: str = "") -> Fit:
    if issubclass(kind, Enum):
        reason = f"use one of {', '.join(f'{kind.__name__}.{each.name}' for each in kind)}"

    def fit(value: object) -> object:
        if issubclass(type(value), kind):
            return value
        raise Misfit(value, reason or f"give {kind.__name__}")

    return fit


def _metadata_value(value: object, depth: int = 0) -> MetadataValue:
    kind = type(value)
    if kind is str or kind is bool:
        return cast("str | bool", value)
    if issubclass(kind, str):
        return _text(value)
    if issubclass(kind, int):
        number = int.__int__(cast("int", value))
        if not -INTEGER_MAX <= number <= INTEGER_MAX:
            raise Misfit(number, "give an integer within ±(2^53-1)", of_kind=True)
        return number
    is_map = issubclass(kind, Mapping)
    if not is_map and (not issubclass(kind, Sequence) or issubclass(kind, _BYTES_LIKE)):
        raise Misfit(value, "give text, an integer, True, False, a list or a mapping")
    if depth == METADATA_DEPTH_MAX:
        raise Misfit(value, f"nest at most {METADATA_DEPTH_MAX} lists and mappings", of_kind=True)
    inside = partial(_metadata_value, depth=depth + 1)
    if is_map:
        return cast("MetadataValue", _mapping(_text, inside)(value))
    items = enumerate(tuple(cast("Sequence[object]", value)))
    return [cast("MetadataValue", _within(f"[{index}]", inside, item)) for index, item in items]


_nothing = _instance(NoneType, "give None")
_asynchronous = _instance(AsyncIterable, "give an asynchronous iterable of chunks, such as an async generator")


def _iterable(value: object) -> object:
    if issubclass(type(value), Iterable) and not issubclass(type(value), (str, Mapping, *_BYTES_LIKE)):
        return value
    raise Misfit(value, "give an iterable of chunks, such as a list of bytes or a generator")


def _callable(value: object) -> object:
    if callable(value):
        return value
    raise Misfit(value, "give a function, or another callable")


_PLAIN: dict[object, Fit] = {
    str: _text,
    int: _count,
    bool: _instance(bool, "give True or False (bool)"),
    float: _number,
    bytes: _bytes,
    NoneType: _nothing,
    object: _as_it_is,
    MetadataValue: _metadata_value,
    CanonicalValue: _as_it_is,  # a recursive type; `canonical.encode` reports errors and their places
    Callable: _callable,
    Iterable: _iterable,
    AsyncIterable: _asynchronous,
    AsyncIterator: _asynchronous,
}


def _one_of(fits: tuple[Fit, ...], name: str) -> Fit:
    others = [fit for fit in fits if fit is not _nothing]

    def fit(value: object) -> object:
        if value is None and _nothing in fits:
            return None
        for other in others:
            try:
                return other(value)
            except Misfit as misfit:
                if misfit.of_kind or len(others) == 1:
                    raise
        raise Misfit(value, f"give {name}")

    return fit


def _literal(values: tuple[object, ...]) -> Fit:
    def fit(value: object) -> object:
        plain = _text(value) if issubclass(type(value), str) else value
        for each in values:
            if type(plain) is type(each) and plain == each:
                return each
        raise Misfit(value, f"use {' or '.join(map(str, values))}")

    return fit


def _mapping(keys: Fit = _as_it_is, values: Fit = _as_it_is) -> Fit:
    def fit(value: object) -> object:
        if not isinstance(value, Mapping):
            raise Misfit(value, "give a mapping (dict)")
        found: dict[object, object] = {}
        for key, entry in cast("Mapping[object, object]", value).items():
            place = f"[{key[:_SHOWN_CHARS]!r}]" if type(key) is str else f"[{_shown(key)}]"
            plain = _within(f" key {place}", keys, key)
            found[plain] = _within(place, values, entry)
        return found

    return fit


def _tuple(each: Fit, kind: type = tuple, reason: str = "give a tuple") -> Fit:
    def fit(value: object) -> object:
        if not issubclass(type(value), kind) or issubclass(type(value), (str, *_BYTES_LIKE)):
            raise Misfit(value, reason)
        given = tuple(cast("Iterable[object]", value))
        try:
            return tuple(map(each, given))
        except Misfit:  # check again with indexes, which only the error needs
            return tuple(_within(f"[{index}]", each, entry) for index, entry in enumerate(given))

    return fit


_COLLECTIONS: dict[object, Callable[..., Fit]] = {
    Mapping: _mapping,
    dict: _mapping,
    tuple: _tuple,
    Sequence: partial(_tuple, kind=Sequence, reason="give a list or a tuple"),
}


def _within(place: str, fit: Fit, value: object) -> object:
    try:
        return fit(value)
    except Misfit as misfit:
        misfit.place = f"{place}{misfit.place}"
        misfit.of_kind = True
        raise


def _shown(value: object) -> str:
    """Return the text of a value that cannot be secret and that formats without errors, or else its type's name."""
    if type(value) is int and abs(value) > 1 << 100:
        return f"an int of {value.bit_length()} bits"  # Python refuses to format very long ones in decimal
    if value is None or type(value) in {bool, int, float}:
        return repr(value)
    return type(value).__name__
