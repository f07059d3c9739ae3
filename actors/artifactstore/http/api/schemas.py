"""JSON Schemas of what `json_output.to_json` makes of annotated values, so that answers and their description agree."""

import re
from collections.abc import Mapping, Sequence
from enum import Enum
from inspect import cleandoc
from types import NoneType, UnionType
from typing import Annotated, Any, Final, Literal, TypeAliasType, Union, get_args, get_origin, get_type_hints

from msgspec import NODEFAULT, Meta, Struct
from msgspec.structs import fields

from artifactstore.json_output import Json, json_key
from artifactstore_protocols.metadata import Metadata, MetadataValue

__all__ = ["Schema", "Schemas"]

type Schema = Mapping[str, Json]

_COMPONENTS: Final = "#/components/schemas/"
_PLAIN: Final[Mapping[object, Schema]] = {
    bool: {"type": "boolean"},
    int: {"type": "integer"},
    float: {"type": "number"},
    str: {"type": "string"},
    bytes: {"type": "string", "pattern": "^[0-9a-f]*$"},
    NoneType: {"type": "null"},
    object: {},
    Any: {},
}
_TIME: Final[Schema] = {"type": "string", "format": "date-time"}
_TIME_FIELD: Final = "_at_us"
_ATTRIBUTE: Final = re.compile(r"^    (\w+): (.*?)(?=^    \w+: |\Z)", re.MULTILINE | re.DOTALL)


class Schemas:
    """The schemas of structs, each of which is a component with the name of its class."""

    def __init__(self) -> None:
        self.components: dict[str, Schema] = {}
        self._kinds: dict[str, type] = {}

    def of(self, annotation: object) -> Schema:
        """Return the schema of a value with this annotation.

        Raises:
            TypeError: the annotation has no JSON form, or two classes have one name.
        """
        if annotation in {Metadata, MetadataValue}:  # its values nest, and `check_metadata` knows their rules
            return {"type": "object"} if annotation is Metadata else {}
        if annotation in _PLAIN:
            return _PLAIN[annotation]
        origin, arguments = get_origin(annotation), get_args(annotation)
        if isinstance(annotation, TypeAliasType):
            return self.of(annotation.__value__)
        if origin is Annotated:
            inner = self.of(arguments[0])
            return {**inner, **_of_meta(arguments[1:], is_array=inner.get("type") == "array")}
        if origin is Literal:
            return {"enum": list(arguments)}
        if origin in {Union, UnionType}:
            return {"anyOf": [self.of(each) for each in arguments]}
        kind = origin or annotation
        if isinstance(kind, type):
            return self._of_class(kind, arguments)
        raise TypeError(f"{annotation!r} has no JSON form here")

    def _of_class(self, kind: type, arguments: Sequence[object]) -> Schema:
        if issubclass(kind, Struct):
            return self._of_struct(kind)
        if issubclass(kind, Enum):
            return {"enum": [each.value for each in kind]}
        if issubclass(kind, Mapping):
            return {"type": "object", "additionalProperties": self.of(arguments[1])}
        if issubclass(kind, Sequence | frozenset):
            return {"type": "array", "items": self.of(arguments[0])}
        raise TypeError(f"{kind.__name__} has no JSON form here")

    def _of_struct(self, kind: type[Struct]) -> Schema:
        name = kind.__name__
        if self._kinds.setdefault(name, kind) is not kind:
            raise TypeError(f"two classes have the name {name}")
        reference = {"$ref": f"{_COMPONENTS}{name}"}
        if name in self.components:
            return reference
        self.components[name] = {}  # a struct that contains itself refers to this place
        about, described = _described(kind)
        hints = get_type_hints(kind, include_extras=True)
        properties: dict[str, Json] = {}
        for each in fields(kind):
            of_field = self._of_time if each.name.endswith(_TIME_FIELD) else self.of
            key, schema = json_key(each.name), of_field(hints[each.name])
            properties[key] = {**schema, "description": described[each.name]} if each.name in described else schema
        self.components[name] = {
            "type": "object",
            "description": about,
            "properties": properties,
            "required": list(properties),
            "additionalProperties": False,
        }
        return reference

    def _of_time(self, annotation: object) -> Schema:
        return {"anyOf": [_TIME, _PLAIN[NoneType]]} if NoneType in get_args(annotation) else _TIME

    def input(self, kind: type[Struct]) -> Schema:
        """Return the schema of a body. What has a default may be left out, and nothing else may be there."""
        about, described = _described(kind)
        hints = get_type_hints(kind, include_extras=True)
        properties: dict[str, Json] = {}
        for each in fields(kind):
            schema = self.of(hints[each.name])
            more = {"description": described[each.name]} if each.name in described else {}
            properties[each.encode_name] = {**schema, **more}
        return {
            "type": "object",
            "description": about,
            "properties": properties,
            "required": [each.encode_name for each in fields(kind) if each.required],
            "additionalProperties": False,
        }

    def query(self, kind: type[Struct]) -> list[Schema]:
        """Return the parameters of a query in the form of OpenAPI. Sequences are repeated parameters."""
        hints = get_type_hints(kind, include_extras=True)
        found: list[Schema] = []
        for each in fields(kind):
            schema = dict(self.of(_without_none(hints[each.name])))
            about = schema.pop("description", "")
            if each.default not in {NODEFAULT, None, ()}:
                schema["default"] = each.default
            parameter = {"name": each.encode_name, "in": "query", "description": about, "schema": schema}
            found.append({**parameter, "required": True} if each.required else parameter)
        return found


def _without_none(annotation: object) -> object:
    """Return the annotation of a parameter when it is given. Its constraints stay."""
    if get_origin(annotation) is Annotated:
        inner, *more = get_args(annotation)
        return Annotated[_without_none(inner), *more]
    if get_origin(annotation) in {Union, UnionType}:
        [kept] = [each for each in get_args(annotation) if each is not NoneType]
        return kept
    return annotation


def _of_meta(more: Sequence[object], *, is_array: bool) -> Schema:
    things = "Items" if is_array else "Length"
    names = {"ge": "minimum", "le": "maximum", "min_length": f"min{things}", "max_length": f"max{things}"}
    names |= {"pattern": "pattern", "description": "description"}
    found: dict[str, Json] = {}
    for each in more:
        if isinstance(each, Meta):
            found |= {key: value for name, key in names.items() if (value := getattr(each, name)) is not None}
    return found


def _described(kind: type[Struct]) -> tuple[str, Mapping[str, str]]:
    """Return the first paragraph of a class's docstring, and what it says of each attribute."""
    about, _, rest = cleandoc(kind.__doc__ or "").partition("\n\n")
    _, _, attributes = f"\n\n{rest}".partition("\nAttributes:\n")
    found = {name: " ".join(text.split()) for name, text in _ATTRIBUTE.findall(f"{attributes}\n")}
    return " ".join(about.split()), found
