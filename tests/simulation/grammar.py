"""Reading the description of a plan: how to sample one, and how to write it as JSON and read it back.

What a field may hold is said where the field is, in `plan.py`; here that is only followed.
"""

import random
import types
import typing
from collections.abc import Sequence
from dataclasses import dataclass, fields, is_dataclass
from enum import Enum
from functools import cache
from typing import Any, cast

from simulation.bounds import Within
from simulation.plan import Plan

__all__ = ["Field", "Json", "as_json", "fields_of", "from_json", "sample", "weight_of"]

type Json = bool | int | str | list[Json] | dict[str, Json]

_KIND = "is"
_NO_BOUNDS = Within(0, 0)


@dataclass(frozen=True, slots=True)
class Field:
    """What a field may hold.

    Attributes:
        name: of the field.
        kinds: `bool`, `int`, an enum or a dataclass; several dataclasses where one of them is chosen.
        bounds: of the number, or of the number of items.
        repeated: whether it is a tuple of those.
    """

    name: str
    kinds: tuple[type, ...]
    bounds: Within
    repeated: bool


def fields_of(cls: type) -> tuple[Field, ...]:
    """The fields of a described dataclass, in order."""
    return _fields_of(cls)


@cache
def _fields_of(cls: Any) -> tuple[Field, ...]:  # noqa: ANN401 - a type, but then the cache finds it not hashable
    hints = typing.get_type_hints(cls, include_extras=True)
    return tuple(_field(each.name, hints[each.name]) for each in fields(cls))


def _field(name: str, hint: Any) -> Field:  # noqa: ANN401 - any type hint
    bounds = _NO_BOUNDS
    hint = _meaning(hint)
    if typing.get_origin(hint) is typing.Annotated:
        hint, bounds = typing.get_args(hint)
    repeated = typing.get_origin(hint) is tuple
    item = typing.get_args(hint)[0] if repeated else hint
    value = _meaning(item)
    kinds = typing.get_args(value) if isinstance(value, types.UnionType) else (value,)
    return Field(name, kinds, bounds, repeated)


def _meaning(hint: Any) -> Any:  # noqa: ANN401 - any type hint
    return hint.__value__ if isinstance(hint, typing.TypeAliasType) else hint


def weight_of(kind: type) -> int:
    """How often a class is chosen where there are several."""
    weight: int = vars(kind)["WEIGHT"]
    return weight


def sample[T](cls: type[T], source: random.Random) -> T:
    """A value of a described dataclass, drawn from a source."""
    return cls(**{each.name: _sampled(each, source) for each in fields_of(cls)})


def _sampled(described: Field, source: random.Random) -> object:
    if not described.repeated:
        return _one(described, source)
    count = source.randint(described.bounds.low, described.bounds.high)
    return tuple(_one(described, source) for _ in range(count))


def _one(described: Field, source: random.Random) -> object:
    kind: Any = described.kinds[0]
    if len(described.kinds) > 1:
        (kind,) = source.choices(described.kinds, [weight_of(each) for each in described.kinds])
    if kind is bool:
        return bool(source.getrandbits(1))
    if kind is int:
        return source.randint(described.bounds.low, described.bounds.high)
    return source.choice(list(kind)) if issubclass(kind, Enum) else sample(kind, source)


def as_json(value: object) -> Json:
    """A described value as JSON: dataclasses as objects, with their class where it could be another."""
    if isinstance(value, Enum):
        return str(value.value)
    if isinstance(value, bool | int):
        return value
    if isinstance(value, tuple):
        return [as_json(item) for item in cast("Sequence[object]", value)]
    if not is_dataclass(value):
        raise TypeError(f"{type(value).__name__} is no part of a plan")
    kind = type(cast("object", value))
    named: dict[str, Json] = {_KIND: kind.__name__} if "WEIGHT" in vars(kind) else {}
    return named | {each.name: as_json(getattr(value, each.name)) for each in fields_of(kind)}


def from_json(value: Json) -> Plan:
    """The plan that `as_json` wrote.

    Raises:
        KeyError, TypeError, ValueError: it is not one.
    """
    return cast("Plan", _read((Plan,), value))


def _read(kinds: tuple[type, ...], value: Any) -> object:  # noqa: ANN401 - what JSON holds is told by what is expected
    kind: Any = kinds[0]
    if len(kinds) > 1:
        kind = {each.__name__: each for each in kinds}[value[_KIND]]
    if kind in {bool, int} or issubclass(kind, Enum):
        return kind(value)
    read: dict[str, object] = {}
    for each in fields_of(kind):
        held = value[each.name]
        read[each.name] = tuple(_read(each.kinds, item) for item in held) if each.repeated else _read(each.kinds, held)
    return kind(**read)
