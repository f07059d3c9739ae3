"""The pure parts of the API: routing, media types, schemas of answers, and codes of errors."""

import re
from http import HTTPStatus
from typing import Any, cast
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from msgspec import Struct

from artifactstore import errors
from artifactstore.http.api.model import CBOR, JSON
from artifactstore.http.api.negotiation import preferred
from artifactstore.http.api.packages import ListQuery
from artifactstore.http.api.problems import problem_of
from artifactstore.http.api.routing import match, raw_path
from artifactstore.http.api.schemas import Schemas
from artifactstore.http.api.statuses import STATUSES, status_of
from artifactstore.http.api.table import ROUTES
from artifactstore.json_output import to_json
from artifactstore_protocols.error_codes import code_of
from artifactstore_protocols.records import Hold, PackageRecord
from artifactstore_protocols.retention import RetentionClass


@given(st.text(min_size=1).filter(lambda text: text.isprintable() or "\0" in text))
def test_a_value_in_a_path_arrives_as_it_was_written(text: str) -> None:
    path = f"/v1/packages/{quote(text, safe='')}/files"
    ((route, values),) = match(ROUTES, path).values()
    assert (route.template, values) == ("/v1/packages/{package}/files", {"package": text})


def test_a_slash_divides_a_path_only_if_it_is_plain() -> None:
    assert match(ROUTES, "/v1/packages/a%2Ffiles")["GET"][1] == {"package": "a/files"}
    assert match(ROUTES, "/v1/packages/a/b/c/d") == {}
    assert match(ROUTES, "/v1/packages/%ff") == {}
    assert match(ROUTES, "/v1/packages//files") == {}


@pytest.mark.parametrize(
    ("target", "path"),
    [
        (b"/v1/packages?x=/", "/v1/packages"),
        (b"http://localhost/v1/tags", "/v1/tags"),
        (b"HTTPS://localhost:1", "/"),
        (b"/v1/a%2fb", "/v1/a%2fb"),
    ],
)
def test_the_path_of_a_target(target: bytes, path: str) -> None:
    assert raw_path(target) == path


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        (None, JSON),
        ("", JSON),
        ("*/*", JSON),
        ("application/*", JSON),
        ("application/cbor", CBOR),
        ("Application/CBOR; q=0.5, text/html", CBOR),
        ("application/json;q=0.1, application/cbor;q=0.2", CBOR),
        ("application/json;q=0, */*", CBOR),
        ("text/html", None),
        ("application/json;q=0", None),
        ("application/cbor;q=2", None),
        (",;,", None),
    ],
)
def test_the_media_type_that_a_client_prefers(accept: str | None, expected: str | None) -> None:
    assert preferred(accept, (JSON, CBOR)) == expected


@given(st.text(alphabet="abc*/;,=q01. ", max_size=30))
def test_any_header_is_read(accept: str) -> None:
    assert preferred(accept, (JSON, CBOR)) in {JSON, CBOR, None}


@pytest.mark.parametrize(
    "value",
    [
        Hold("h", "p", "why", "who", 0, 7),
        RetentionClass("short", None, "text"),
        PackageRecord(
            "p", "n", "open", 1, 0, 0, 0, 0, "short", None, None, {"a": [1]}, "w", 0, None, None, None, 2, None
        ),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_schema_fits_what_json_output_makes(value: Struct) -> None:
    schemas = Schemas()
    schema = {**schemas.of(type(value)), "components": {"schemas": schemas.components}}
    validator: Any = Draft202012Validator(schema)
    shown: Any = to_json(value)
    validator.validate(shown)
    assert not validator.is_valid({**shown, "further": 1})
    assert not validator.is_valid({})


def test_a_code_is_the_name_of_its_error() -> None:
    codes = [code_of(name) for name in errors.__all__]
    assert {"package_not_found", "not_a_file", "ask_cycle"} <= set(codes)
    assert len(codes) == len(set(codes))


def test_a_problem_of_the_server_does_not_tell_where_its_files_are() -> None:
    damaged = problem_of(errors.DatabaseDamaged("/a/path.db", "it is torn"))
    busy = problem_of(errors.DatabaseBusy("/a/path.db", "locked"))
    assert (damaged.status, damaged.code, busy.status, busy.code) == (500, "database_damaged", 503, "database_busy")
    assert busy.headers["Retry-After"]
    assert b"/a/path" not in damaged.body + busy.body
    assert b"no such" not in problem_of(errors.PackageNotFound("x")).body


def test_a_read_that_is_refused_is_no_failure_of_the_service() -> None:
    refused = {
        errors.ContentPurged("blake3:00", 7, "alice", "a leaked key"): 410,
        errors.DatabaseClosed(): 503,
        errors.MailboxFull("storage", "ReadObjects", 1, 1, 1): 503,
        errors.ManifestRedacted("package", "blake3:00", 7): 410,
        errors.NoThreadLeft(): 503,
        errors.PackageNotFound("x"): 404,
        errors.TagNotFound("x"): 404,
    }
    for error, status in refused.items():
        problem = problem_of(error)
        assert problem.status == status, problem.code
        assert ("Retry-After" in problem.headers) == (status == HTTPStatus.SERVICE_UNAVAILABLE)


def test_every_error_has_one_status_that_somebody_chose() -> None:
    kinds: dict[str, type[errors.Refusal]] = {name: getattr(errors, name) for name in errors.__all__}
    chosen = [name for names in STATUSES.values() for name in names]
    assert sorted(set(chosen)) == sorted(chosen)
    assert set(chosen) - kinds.keys() == set()
    bases = {"Refusal", "ArtifactStoreError"}  # nobody raises these themselves
    bases |= {name for name, kind in kinds.items() if kind.__module__ == "artifactstore.client.errors"}
    undecided = {name for name, kind in kinds.items() if not {each.__name__ for each in kind.__mro__} & {*chosen}}
    assert undecided == bases, "choose a status for these in problems.py"
    assert status_of(errors.DatabaseBusy) is HTTPStatus.SERVICE_UNAVAILABLE  # as its base class
    assert status_of(errors.DatabaseDamaged) is HTTPStatus.INTERNAL_SERVER_ERROR  # and not as its base class


@pytest.mark.parametrize(
    ("error", "is_unknown"),
    [
        (errors.OutcomeUnknown("db", "it went away"), True),
        (errors.ActorStopped("writer", "Commit", may_have_taken_effect=True), True),
        (errors.ActorStopped("writer", "Commit", may_have_taken_effect=False), False),
        (errors.StoreClosed(), False),
    ],
)
def test_a_client_that_changes_something_learns_that_the_outcome_is_unknown(
    error: errors.Refusal, *, is_unknown: bool
) -> None:
    changing, reading = problem_of(error, "PUT"), problem_of(error, "GET")
    assert changing.status is reading.status is HTTPStatus.SERVICE_UNAVAILABLE
    assert ("does not know" in changing.detail) == is_unknown
    assert "does not know" not in reading.detail


def test_the_document_says_that_a_text_of_a_query_has_no_nul() -> None:
    patterns = {
        each["name"]: each["schema"].get("pattern") or each["schema"].get("items", {}).get("pattern")
        for each in cast("Any", Schemas().query(ListQuery))
    }
    for name in ("name", "meta"):
        assert re.search(patterns[name], "a\nb")
        assert not re.search(patterns[name], "a\0b")
