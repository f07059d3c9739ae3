"""The subset of JSON Schema: what it accepts, what it refuses, and where an error points."""

import json
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from artifactstore_protocols.errors import InvalidValue
from artifactstore_protocols.metadata import Metadata, MetadataValue
from artifactstore_protocols.metadata_schema import (
    KEYWORDS,
    SchemaViolated,
    check_schema,
    check_with_schema,
    violations,
)
from strategies import metadata_maps

type Schema = dict[str, Any]

BUILD: Schema = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "$id": "build",
    "title": "Build",
    "type": "object",
    "required": ["branch", "tests"],
    "properties": {
        "branch": {"type": "string", "minLength": 1, "maxLength": 10},
        "tests": {"$ref": "#/$defs/count"},
        "hosts": {"type": "array", "items": {"$ref": "#/$defs/host"}, "minItems": 1, "uniqueItems": True},
    },
    "additionalProperties": False,
    "$defs": {
        "count": {"type": "integer", "minimum": 0},
        "host": {"type": "object", "required": ["name"], "properties": {"name": {"enum": ["a", "b/c"]}}},
    },
}


def found(schema: Schema, metadata: Metadata) -> tuple[str, ...]:
    check_schema(schema)
    return violations(schema, metadata)


def of(schema: Schema, value: object) -> tuple[str, ...]:
    return found({"properties": {"v": schema}}, {"v": cast("MetadataValue", value)})


def test_what_fits_has_no_violation() -> None:
    assert found(BUILD, {"branch": "main", "tests": 0, "hosts": [{"name": "a"}, {"name": "b/c", "x": True}]}) == ()


def test_each_error_points_at_its_field_and_says_what_is_expected() -> None:
    metadata: Metadata = {
        "branch": "a long branch",
        "hosts": [{"name": "x"}, {}, {"name": "x"}, "h"],
        "more/": 1,
    }
    assert found(BUILD, metadata) == (
        "/tests: expected a value, and there is none",
        "/branch: expected at most 10 characters, found 13",
        "/hosts: expected items that all differ",
        '/hosts/0/name: expected one of "a", "b/c", found "x"',
        "/hosts/1/name: expected a value, and there is none",
        '/hosts/2/name: expected one of "a", "b/c", found "x"',
        '/hosts/3: expected object, found "h"',
        "/more~1: this key is not allowed; allowed are branch, tests, hosts",
    )


def test_the_error_names_the_schema() -> None:
    with pytest.raises(SchemaViolated) as refused:
        check_with_schema(json.dumps(BUILD), "build@2", {"branch": "main", "tests": True})
    assert str(refused.value) == ("the metadata does not fit schema build@2: /tests: expected integer, found true")


CASES: list[tuple[Schema, list[MetadataValue], list[MetadataValue]]] = [
    ({"type": ["string", "boolean"]}, ["", True], [1, [], {}]),
    ({"type": "number"}, [1], [True, "1"]),
    ({"type": "null"}, [], [0, "", False]),
    ({"const": {"a": [1]}}, [{"a": [1]}], [{"a": [True]}, {"a": ["1"]}]),
    ({"enum": [1, "a"]}, [1, "a"], [True, "1"]),
    ({"minLength": 2}, ["éé", 1], ["é"]),
    ({"minimum": 1, "exclusiveMaximum": 3}, [1, 2, "x"], [0, 3]),
    ({"exclusiveMinimum": 1, "maximum": 3, "multipleOf": 2}, [2], [1, 3, 4]),
    ({"prefixItems": [{"type": "string"}], "items": {"type": "integer"}}, [["a", 1, 2], [], ["a"]], [[1], ["a", "b"]]),
    ({"items": False}, [[], "x"], [[1]]),
    ({"contains": {"const": 1}}, [[0, 1]], [[], [0, True]]),
    ({"uniqueItems": True}, [[1, True, "1"]], [[1, 1], [{"a": 1}, {"a": 1}]]),
    ({"minItems": 1, "maxItems": 2}, [[1]], [[], [1, 2, 3]]),
    ({"minProperties": 1, "maxProperties": 1}, [{"a": 1}], [{}, {"a": 1, "b": 2}]),
    ({"propertyNames": {"maxLength": 1}}, [{"a": 1}], [{"ab": 1}]),
    ({"dependentRequired": {"a": ["b"]}}, [{}, {"b": 1}, {"a": 1, "b": 1}], [{"a": 1}]),
    ({"additionalProperties": {"type": "integer"}, "properties": {"s": True}}, [{"s": "x", "n": 1}], [{"n": "x"}]),
    ({"allOf": [{"minimum": 1}, {"maximum": 2}]}, [1], [0, 3]),
    ({"anyOf": [{"const": 1}, {"type": "string"}]}, [1, "x"], [2]),
    ({"oneOf": [{"minimum": 1}, {"minimum": 2}]}, [1], [0, 2]),
    ({"not": {"type": "string"}}, [1], ["x"]),
    ({"if": {"type": "string"}, "then": {"minLength": 1}, "else": {"minimum": 1}}, ["x", 1], ["", 0]),
    ({"if": {"const": 1}}, [1, 2], []),
]


@pytest.mark.parametrize(("schema", "right", "wrong"), CASES, ids=lambda case: str(case)[:60])
def test_a_keyword_does_what_the_standard_says(
    schema: Schema, right: list[MetadataValue], wrong: list[MetadataValue]
) -> None:
    assert [value for value in right if of(schema, value)] == []
    assert [value for value in wrong if not of(schema, value)] == []
    assert all(each.startswith("/v") for value in wrong for each in of(schema, value))


def test_every_keyword_is_tried() -> None:
    tried = {keyword for schema, *_ in CASES for keyword in schema} | BUILD.keys() | {"type", "maxLength", "$ref"}
    assert {*KEYWORDS} - tried == {"$comment", "description", "default", "examples", "deprecated"}


REFUSED: list[tuple[object, str]] = [
    ([], "a schema is a JSON object"),
    (True, "a schema is a JSON object"),
    ({"pattern": "a"}, r"at /pattern.*an expression can take a very long time"),
    ({"properties": {"a/b": {"pattern": "^(a+)+$"}}}, r"at /properties/a~1b/pattern"),
    ({"patternProperties": {}}, "an expression can take"),
    ({"format": "uri"}, "'format' is refused: the standard does not check it"),
    ({"minContains": 1}, "'minContains' is refused: it is not supported"),
    ({"unevaluatedProperties": False}, "is not supported"),
    ({"requires": ["a"]}, "'requires' is refused"),
    ({"$ref": "https://example.org/schema"}, "a reference stays within the schema"),
    ({"$ref": "#"}, "a reference stays within the schema"),
    ({"$ref": "other.json#/$defs/a"}, "a reference stays within the schema"),
    ({"$ref": "#/$defs/a"}, r"there is no #/\$defs/a"),
    ({"$dynamicRef": "#a"}, r"use \$ref"),
    ({"$schema": "http://json-schema.org/draft-07/schema#"}, "use https://json-schema.org/draft/2020-12/schema"),
    ({"properties": {"a": {"$defs": {}}}}, "stands at the root only"),
    ({"properties": {"a": {"$id": "x"}}}, "stands at the root only"),
    ({"type": "float"}, "use string, integer"),
    ({"type": []}, "at least one"),
    ({"type": [["string"]]}, "use string, integer"),
    ({"enum": []}, "at least one"),
    ({"required": "a"}, "a list of texts"),
    ({"required": [1]}, "a list of texts"),
    ({"minLength": -1}, "an integer from 0"),
    ({"minLength": True}, "an integer from 0"),
    ({"minimum": "1"}, "an integer"),
    ({"multipleOf": 0}, "an integer from 1"),
    ({"uniqueItems": 1}, "true or false"),
    ({"properties": []}, "an object of schemas"),
    ({"properties": {"a": 1}}, "a schema is an object, true or false"),
    ({"items": [{}]}, "a schema is an object, true or false"),
    ({"allOf": {}}, "at least one"),
    ({"dependentRequired": {"a": "b"}}, "a list of texts"),
    ({"$defs": {"a": {"$ref": "#/$defs/a"}}}, "lead in a circle"),
    ({"$defs": {"a": {"not": {"$ref": "#/$defs/b"}}, "b": {"allOf": [{"$ref": "#/$defs/a"}]}}}, "lead in a circle"),
    ({"$defs": {str(n): {"$ref": f"#/$defs/{n + 1}"} for n in range(20)} | {"20": {}}}, "at most 16 schemas"),
]


@pytest.mark.parametrize(("schema", "reason"), REFUSED, ids=lambda each: str(each)[:60])
def test_what_is_outside_the_subset_is_refused_with_its_place(schema: object, reason: str) -> None:
    with pytest.raises(InvalidValue, match=reason) as refused:
        check_schema(schema)
    assert len(str(refused.value)) < 300


def test_a_schema_may_refer_to_itself_for_what_is_within() -> None:
    tree: Schema = {
        "properties": {"t": {"$ref": "#/$defs/t~1r"}},
        "$defs": {"t/r": {"type": "object", "additionalProperties": {"$ref": "#/$defs/t~1r"}}},
    }
    assert found(tree, {"t": {"a": {"b": {}}}}) == ()
    assert found(tree, {"t": {"a": {"b": 1}}}) == ("/t/a/b: expected object, found 1",)


def test_a_schema_that_multiplies_work_ends() -> None:
    twice: Schema = {f"{n}": {"allOf": [{"$ref": f"#/$defs/{n + 1}"}] * 50} for n in range(4)}
    bomb: Schema = {"properties": {"v": {"$ref": "#/$defs/0"}}, "$defs": {**twice, "4": {"type": "string"}}}
    [violation] = found(bomb, {"v": "x"})
    assert violation.startswith("/: the check takes more than 50000 steps")
    many: Schema = {"items": {"enum": list(range(2000))}}
    [violation] = of(many, [1999] * 1000)
    assert "steps" in violation


def test_at_most_ten_short_violations_are_told() -> None:
    told = of({"items": False}, [0] * 100)
    assert len(told) == 10
    [deep] = of(
        {"additionalProperties": False},
        {
            "k" * 200: 1,
        },
    )
    assert len(deep) <= 301


@given(metadata_maps(), st.sampled_from([each[0] for each in CASES]))
def test_metadata_of_any_form_is_checked_without_a_crash(metadata: Metadata, schema: Schema) -> None:
    check_schema({"additionalProperties": schema})
    for violation in violations({"additionalProperties": schema}, metadata):
        assert violation.startswith("/")


@given(metadata_maps())
def test_true_accepts_and_false_refuses(metadata: Metadata) -> None:
    assert violations(True, metadata) == ()
    assert violations({}, metadata) == ()
    assert violations(cast("Schema", {"additionalProperties": False}), metadata) != () or not metadata
