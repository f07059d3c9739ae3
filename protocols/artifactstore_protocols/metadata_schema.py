"""A subset of JSON Schema 2020-12 for metadata: `check_schema` refuses what is outside it, `violations` applies it.

A keyword that would be ignored misleads, so an unknown one is refused. References stay within the schema (`#/$defs/…`).
There is no `pattern`, since an expression can take a time that grows exponentially with the text, and no `format`,
which the standard does not check. A schema has a bounded size and depth, and a check a bounded number of steps.
"""

import json
import operator
import re
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from typing import Any, Final, Never, cast, override

from artifactstore_protocols import canonical
from artifactstore_protocols.errors import ArtifactStoreError, InvalidValue
from artifactstore_protocols.metadata import Metadata, pointer_to
from artifactstore_protocols.redacted_texts import has_mark

__all__ = [
    "KEYWORDS",
    "SCHEMA_BYTES_MAX",
    "SchemaNotFound",
    "SchemaViolated",
    "check_schema",
    "check_with_schema",
    "parse_reference",
    "violations",
]

SCHEMA_BYTES_MAX: Final = 64 << 10
"""The most bytes of a schema."""

_STEPS_MAX: Final = 50_000
"""The most steps of one check: schemas that are applied to values, and values that are compared."""

_HEIGHT_MAX: Final = 16
"""How many schemas may be applied to one value within each other, by references, `allOf` and the like."""

_VIOLATIONS_MAX: Final = 10
_VIOLATION_CHARACTERS: Final = 300
_SHOWN_CHARACTERS: Final = 60
_VERSION: Final = re.compile("[1-9][0-9]{0,8}")
_DRAFT: Final = "https://json-schema.org/draft/2020-12/schema"
_TYPES: Final[Mapping[str, Callable[[object], bool]]] = {
    "string": lambda value: type(value) is str,
    "integer": lambda value: type(value) is int,
    "number": lambda value: type(value) is int,
    "boolean": lambda value: type(value) is bool,
    "array": lambda value: type(value) is list,
    "object": lambda value: type(value) is dict,
    "null": lambda value: value is None,
}
_ANNOTATIONS: Final = frozenset({"$comment", "title", "description", "default", "examples", "deprecated"})
_REASONS: Final = {
    "pattern": "an expression can take a very long time; use enum, minLength or maxLength",
    "patternProperties": "an expression can take a very long time; use properties or additionalProperties",
    "format": "the standard does not check it",
    "$dynamicRef": "use $ref to #/$defs/NAME",
}

type _Schema = bool | dict[str, Any]


class SchemaViolated(ArtifactStoreError):
    """The metadata of a package does not fit its schema.

    Attributes:
        schema: the name and version of the schema, as `NAME@VERSION`.
        violations: each place as a JSON pointer, and what the schema expects there; at most 10.
    """

    schema: str
    violations: tuple[str, ...]

    @override
    def __str__(self) -> str:
        said = "; ".join(self.violations)
        return f"the metadata does not fit schema {self.schema}: {said}"


def parse_reference(reference: str) -> tuple[str, int | None]:
    """Return the name of a schema and the version, in `NAME` or `NAME@VERSION`; None stands for the latest version.

    Raises:
        InvalidValue: the version is no number from 1.
    """
    name, separator, version = reference.partition("@")
    if not separator:
        return name, None
    if _VERSION.fullmatch(version) is None:
        shown = reference[:_SHOWN_CHARACTERS]
        raise InvalidValue("metadata schema", shown, "write NAME, or NAME@VERSION with a number from 1")
    return name, int(version)


class SchemaNotFound(ArtifactStoreError):
    """There is no such metadata schema, or no such version of it.

    Attributes:
        schema: the name, or `NAME@VERSION`.
        latest: the latest version of this name; 0 if there is none.
    """

    schema: str
    latest: int = 0

    @override
    def __str__(self) -> str:
        versions = f"; the latest version is {self.latest}" if self.latest else ""
        return f"there is no metadata schema {self.schema!r}{versions}; `artifactstore schema list` lists them"


class _TooManySteps(Exception):
    pass


def check_with_schema(schema: str, reference: str, metadata: Metadata, *, redacted: bool = False) -> None:
    """Refuse metadata that does not fit a registered schema.

    Args:
        schema: the JSON of the schema.
        reference: the name and version of the schema, as `NAME@VERSION`.
        metadata: the metadata, with the annotations if there are any.
        redacted: whether a redaction changed it. If it has a mark, it fitted before, and is not checked.

    Raises:
        SchemaViolated: the metadata does not fit.
    """
    if redacted and has_mark(metadata):
        return
    if found := violations(_parsed(schema), metadata):
        raise SchemaViolated(reference, found)


@lru_cache(8)
def _parsed(schema: str) -> _Schema:
    return cast("_Schema", json.loads(schema))


def check_schema(schema: object) -> None:
    """Refuse a schema that is outside the subset.

    Raises:
        InvalidValue: the error has the JSON pointer of the place, and what is allowed there.
    """
    if type(schema) is not dict:
        raise InvalidValue("metadata schema", type(schema).__name__, "a schema is a JSON object")
    root = cast("dict[str, Any]", schema)
    definitions = root.get("$defs", {})
    names = set(cast("dict[str, Any]", definitions)) if type(definitions) is dict else set[str]()
    reading = _Reading(names)
    reading.check(root, "")
    reading.check_heights()


def _refuse(pointer: str, reason: str) -> Never:
    raise InvalidValue("metadata schema", f"at {pointer or '/'}"[:_SHOWN_CHARACTERS], reason)


class _Reading:
    """The check of one schema.

    For each schema in it, by its place, it notes which others are applied to the same value.
    """

    def __init__(self, names: set[str]) -> None:
        self._names = names
        self._applied: dict[str, set[str]] = {}

    def check(self, schema: object, pointer: str) -> None:
        """Refuse a schema, at a place, that is outside the subset."""
        if type(schema) is bool:
            return
        if type(schema) is not dict:
            _refuse(pointer, "a schema is an object, true or false")
        for keyword, value in cast("dict[str, Any]", schema).items():
            at = pointer_to(pointer, keyword)
            if keyword in _ROOT_ONLY and pointer:
                _refuse(at, f"{keyword} stands at the root only")
            if keyword == "$ref":
                self._applied.setdefault(pointer, set()).add(f"/$defs/{_reference(at, value, self._names)}")
            elif keyword in _CHECKS:
                _CHECKS[keyword](at, value)
            elif keyword in _SCHEMAS:
                for place, inner in _SCHEMAS[keyword](at, value):
                    if keyword in _IN_PLACE:
                        self._applied.setdefault(pointer, set()).add(place)
                    self.check(inner, place)
            elif keyword not in _ANNOTATIONS:
                _refuse(at, f"{keyword!r} is refused: {_REASONS.get(keyword, 'it is not supported')}")

    def check_heights(self) -> None:
        """Refuse references that lead back to themselves for the same value, or that are nested too deep."""
        heights: dict[str, int] = {}
        for start in self._applied:
            path: dict[str, None] = {}
            pending = [start]
            while pending:
                place = pending[-1]
                following = self._applied.get(place, set())
                if place in heights or place in path:
                    pending.pop()
                    if path.pop(place, "") is None:
                        heights[place] = 1 + max((heights[each] for each in following), default=0)
                        if heights[place] > _HEIGHT_MAX:
                            _refuse(place, f"at most {_HEIGHT_MAX} schemas are applied within each other")
                    continue
                path[place] = None
                for each in following:
                    if each in path:
                        _refuse(place, "its references lead in a circle")
                pending += following


def _reference(at: str, value: object, names: set[str]) -> str:
    if type(value) is not str or not value.startswith("#/$defs/"):
        _refuse(at, "a reference stays within the schema: #/$defs/NAME")
    name = value.removeprefix("#/$defs/").replace("~1", "/").replace("~0", "~")
    if name not in names:
        _refuse(at, f"there is no {value[:_SHOWN_CHARACTERS]}")
    return name.replace("~", "~0").replace("/", "~1")


def _text(at: str, value: object) -> None:
    if type(value) is not str:
        _refuse(at, "give text")


def _integer(at: str, value: object) -> None:
    if type(value) is not int:
        _refuse(at, "give an integer")


def _count(at: str, value: object) -> None:
    if type(value) is not int or value < 0:
        _refuse(at, "give an integer from 0")


def _positive(at: str, value: object) -> None:
    if type(value) is not int or value < 1:
        _refuse(at, "give an integer from 1")


def _boolean(at: str, value: object) -> None:
    if type(value) is not bool:
        _refuse(at, "give true or false")


def _list(at: str, value: Any) -> list[Any]:  # noqa: ANN401 - it has any type that JSON has
    if type(value) is not list or not value:
        _refuse(at, "give a list of at least one")
    return cast("list[Any]", value)  # type: ignore[redundant-cast] # only mypy infers it


def _texts(at: str, value: object) -> None:
    if not isinstance(value, list) or not all(type(each) is str for each in cast("list[object]", value)):
        _refuse(at, "give a list of texts")


def _type(at: str, value: object) -> None:
    for each in _list(at, value) if isinstance(value, list) else [value]:
        if type(each) is not str or each not in _TYPES:
            _refuse(at, f"use {', '.join(_TYPES)}")


def _required_by(at: str, value: object) -> None:
    if type(value) is not dict:
        _refuse(at, "give an object of lists of texts")
    for key, needed in cast("dict[str, Any]", value).items():
        _texts(pointer_to(at, key), needed)


def _list_of_any(at: str, value: object) -> None:
    _list(at, value)


def _draft(at: str, value: object) -> None:
    if type(value) is not str or value.removesuffix("#") != _DRAFT:
        _refuse(at, f"use {_DRAFT}")


_CHECKS: Final[Mapping[str, Callable[[str, object], None]]] = {
    "$schema": _draft,
    "$id": _text,
    "type": _type,
    "enum": _list_of_any,
    "const": lambda _at, _value: None,
    "minLength": _count,
    "maxLength": _count,
    "minimum": _integer,
    "maximum": _integer,
    "exclusiveMinimum": _integer,
    "exclusiveMaximum": _integer,
    "multipleOf": _positive,
    "minItems": _count,
    "maxItems": _count,
    "uniqueItems": _boolean,
    "minProperties": _count,
    "maxProperties": _count,
    "required": _texts,
    "dependentRequired": _required_by,
}


def _one(at: str, value: object) -> Iterator[tuple[str, object]]:
    yield at, value


def _many(at: str, value: object) -> Iterator[tuple[str, object]]:
    for index, each in enumerate(_list(at, value)):
        yield pointer_to(at, index), each


def _named(at: str, value: object) -> Iterator[tuple[str, object]]:
    if type(value) is not dict:
        _refuse(at, "give an object of schemas")
    for key, each in cast("dict[str, Any]", value).items():
        yield pointer_to(at, key), each


_SCHEMAS: Final[Mapping[str, Callable[[str, object], Iterator[tuple[str, object]]]]] = {
    "$defs": _named,
    "properties": _named,
    "additionalProperties": _one,
    "propertyNames": _one,
    "items": _one,
    "prefixItems": _many,
    "contains": _one,
    "allOf": _many,
    "anyOf": _many,
    "oneOf": _many,
    "not": _one,
    "if": _one,
    "then": _one,
    "else": _one,
}
_ROOT_ONLY: Final = frozenset({"$schema", "$id", "$defs"})
_IN_PLACE: Final = frozenset({"allOf", "anyOf", "oneOf", "not", "if", "then", "else"})
"""The keywords whose schemas are applied to the same value."""

KEYWORDS: Final = ("$ref", *_SCHEMAS, *_CHECKS, *sorted(_ANNOTATIONS))
"""The keywords of the subset."""


def violations(schema: _Schema, metadata: Metadata) -> tuple[str, ...]:
    """Return where metadata does not fit a schema that `check_schema` accepts, and what is expected; at most 10."""
    evaluation = _Evaluation(schema)
    found: list[str] = []
    try:
        for each in evaluation.apply(schema, dict(metadata), ""):
            found.append(each if len(each) <= _VIOLATION_CHARACTERS else f"{each[:_VIOLATION_CHARACTERS]}…")
            if len(found) == _VIOLATIONS_MAX:
                break
    except _TooManySteps:
        return (f"/: the check takes more than {_STEPS_MAX} steps; simplify the schema or the metadata",)
    return tuple(found)


class _Evaluation:
    """One check of a value against a schema. Each violation is a JSON pointer and what is expected there."""

    def __init__(self, root: _Schema) -> None:
        self._definitions: dict[str, _Schema] = {} if isinstance(root, bool) else root.get("$defs", {})
        self._steps = 0

    def apply(self, schema: _Schema, value: object, at: str) -> Iterator[str]:
        """Yield the violations of a value at a place."""
        if isinstance(schema, bool):
            self._count(1)
            if not schema:
                yield f"{at or '/'}: nothing is allowed here"
            return
        self._count(1 + len(schema.get("enum", ())) + len(schema.get("required", ())))
        if (reference := schema.get("$ref")) is not None:
            name = reference.removeprefix("#/$defs/").replace("~1", "/").replace("~0", "~")
            yield from self.apply(self._definitions[name], value, at)
        yield from _of_any(schema, value, at)
        yield from self._of_schemas(schema, value, at)
        if type(value) is str:
            yield from _of_text(schema, value, at)
        elif type(value) is int:
            yield from _of_integer(schema, value, at)
        elif type(value) is list:
            yield from self._of_list(schema, cast("list[object]", value), at)
        elif type(value) is dict:
            yield from self._of_map(schema, cast("dict[str, object]", value), at)

    def _count(self, steps: int) -> None:
        self._steps += steps
        if self._steps > _STEPS_MAX:
            raise _TooManySteps

    def _fits(self, schema: _Schema, value: object) -> bool:
        return next(self.apply(schema, value, ""), None) is None

    def _of_schemas(self, schema: dict[str, Any], value: object, at: str) -> Iterator[str]:
        for each in schema.get("allOf", ()):
            yield from self.apply(each, value, at)
        if "anyOf" in schema and not any(self._fits(each, value) for each in schema["anyOf"]):
            yield f"{at or '/'}: expected one of {len(schema['anyOf'])} forms (anyOf), found {_shown(value)}"
        if "oneOf" in schema and (fitting := sum(self._fits(each, value) for each in schema["oneOf"])) != 1:
            yield f"{at or '/'}: expected exactly one of {len(schema['oneOf'])} forms (oneOf), and {fitting} fit"
        if "not" in schema and self._fits(schema["not"], value):
            yield f"{at or '/'}: {_shown(value)} is excluded (not)"
        if "if" in schema:
            branch = "then" if self._fits(schema["if"], value) else "else"
            if branch in schema:
                yield from self.apply(schema[branch], value, at)

    def _of_list(self, schema: dict[str, Any], items: list[object], at: str) -> Iterator[str]:
        yield from _of_size(schema, len(items), "Items", "items", at)
        self._count(len(items))
        if schema.get("uniqueItems") and len({canonical.encode(cast("Any", [each])) for each in items}) != len(items):
            yield f"{at or '/'}: expected items that all differ"
        prefix = schema.get("prefixItems", [])
        for index, item in enumerate(items):
            if index < len(prefix):
                yield from self.apply(prefix[index], item, pointer_to(at, index))
            elif "items" in schema:
                yield from self.apply(schema["items"], item, pointer_to(at, index))
        if "contains" in schema and not any(self._fits(schema["contains"], item) for item in items):
            yield f"{at or '/'}: expected an item of a certain form (contains), found none"

    def _of_map(self, schema: dict[str, Any], values: dict[str, object], at: str) -> Iterator[str]:
        yield from _of_size(schema, len(values), "Properties", "keys", at)
        for key in schema.get("required", ()):
            if key not in values:
                yield f"{pointer_to(at, key)}: expected a value, and there is none"
        for key, needed in schema.get("dependentRequired", {}).items():
            for other in needed if key in values else ():
                if other not in values:
                    yield f"{pointer_to(at, other)}: expected a value beside {key!r}, and there is none"
        properties = schema.get("properties", {})
        for key, value in values.items():
            if "propertyNames" in schema:
                yield from self.apply(schema["propertyNames"], key, pointer_to(at, key))
            if key in properties:
                yield from self.apply(properties[key], value, pointer_to(at, key))
            elif schema.get("additionalProperties") is False:
                yield f"{pointer_to(at, key)}: this key is not allowed{_keys(properties)}"
            elif "additionalProperties" in schema:
                yield from self.apply(schema["additionalProperties"], value, pointer_to(at, key))


_BOUNDS: Final[Mapping[str, tuple[Callable[[int, int], bool], str]]] = {
    "minimum": (operator.ge, "at least"),
    "maximum": (operator.le, "at most"),
    "exclusiveMinimum": (operator.gt, "more than"),
    "exclusiveMaximum": (operator.lt, "less than"),
    "multipleOf": (lambda number, bound: number % bound == 0, "a multiple of"),
}


def _of_any(schema: dict[str, Any], value: object, at: str) -> Iterator[str]:
    if "type" in schema:
        allowed_types = schema["type"]
        names = [allowed_types] if isinstance(allowed_types, str) else cast("list[str]", allowed_types)
        if not any(_TYPES[name](value) for name in names):
            yield f"{at or '/'}: expected {' or '.join(names)}, found {_shown(value)}"
    if "enum" in schema and not any(_equal(value, each) for each in schema["enum"]):
        allowed = ", ".join(map(_json, schema["enum"]))
        shown = allowed if len(allowed) <= 2 * _SHOWN_CHARACTERS else f"{allowed[: 2 * _SHOWN_CHARACTERS]}…"
        yield f"{at or '/'}: expected one of {shown}, found {_shown(value)}"
    if "const" in schema and not _equal(value, schema["const"]):
        yield f"{at or '/'}: expected {_json(schema['const'])[:_SHOWN_CHARACTERS]}, found {_shown(value)}"


def _of_text(schema: dict[str, Any], text: str, at: str) -> Iterator[str]:
    yield from _of_size(schema, len(text), "Length", "characters", at)


def _of_integer(schema: dict[str, Any], number: int, at: str) -> Iterator[str]:
    for keyword, (fits, words) in _BOUNDS.items():
        if keyword in schema and not fits(number, schema[keyword]):
            yield f"{at or '/'}: expected {words} {schema[keyword]}, found {number}"


def _of_size(schema: dict[str, Any], size: int, suffix: str, unit: str, at: str) -> Iterator[str]:
    if size < schema.get(f"min{suffix}", 0):
        yield f"{at or '/'}: expected at least {schema[f'min{suffix}']} {unit}, found {size}"
    if size > schema.get(f"max{suffix}", size):
        yield f"{at or '/'}: expected at most {schema[f'max{suffix}']} {unit}, found {size}"


def _keys(properties: Mapping[str, object]) -> str:
    shown = ", ".join(properties)
    return f"; allowed are {shown}" if shown and len(shown) <= 2 * _SHOWN_CHARACTERS else ""


def _equal(one: object, other: object) -> bool:
    # Encodings are compared, since True equals 1 in Python.
    return canonical.encode(cast("Any", [one])) == canonical.encode(cast("Any", [other]))


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)


def _shown(value: object) -> str:
    if isinstance(value, list):
        return f"a list of {len(cast('list[object]', value))}"
    if isinstance(value, dict):
        return f"a map of {len(cast('dict[str, object]', value))}"
    text = _json(value)
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}…"
