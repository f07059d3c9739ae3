"""The routes that create, fill, finalize and change packages: what they do, for whom, and what their answers tell."""

from typing import Any

import pytest

from artifactstore.json_output import to_json
from artifactstore.registry import Registry
from artifactstore_protocols.tokens import Scope
from integration.http.described import Described
from integration.registry.samples import whole_log

SCHEMA: dict[str, Any] = {"type": "object", "properties": {"run": {"type": "integer"}}}
ALL: tuple[Scope, ...] = ("read", "write", "tag", "delete")


@pytest.fixture
async def team(api: Described) -> Described:
    """A service with tokens for `a-*`: `ci` may do everything there, and so may `other`; `drop` may only write."""
    registry = api.service.registry
    for name, scopes in (("ci", ALL), ("other", ALL), ("drop", ("write",))):
        api.secrets[name] = str(await registry.create_token(name, scopes=scopes, packages=["a-*"]))
    return api


async def head_of(registry: Registry) -> int:
    return (await whole_log(registry))[-1].sequence


async def create(api: Described, name: str = "a-1", who: str = "ci", key: str | None = None, **more: Any) -> Any:  # noqa: ANN401 - JSON
    """The answer to a request that creates a package."""
    headers = () if key is None else (("Idempotency-Key", key),)
    return await api.ask("/v1/packages", who, method="POST", headers=headers, sent={"name": name, **more})


async def test_a_package_is_created_as_the_body_says_and_finalized_once(team: Described) -> None:
    registry = team.service.registry
    parent = (await create(team, "a-parent")).json["package_id"]
    for _time in range(2):
        finalized = await team.ask(f"/v1/packages/{parent}/finalize", "ci", method="POST")
        assert finalized.status == 200
        assert finalized.json["manifest_digest"] == (await registry.get_package(parent)).manifest_digest
    metadata = {"branch": "main", "run": 7, "ok": True, "list": [1, {"x": "y"}]}
    more = {"retention": "permanent", "metadata": metadata, "from": ["a-parent"]}
    answer = await create(team, "a-1", **more)
    record = await registry.get_package(answer.json["package_id"])
    assert (answer.status, answer.headers["location"]) == (201, f"/v1/packages/{record.package_id}")
    assert answer.json == to_json(record)
    assert answer.headers["artifactstore-sequence"] == str(await head_of(registry))
    assert (record.name, record.retention_class, record.metadata) == ("a-1", "permanent", metadata)
    assert (record.created_by, list(record.parents)) == ("token:ci", [parent])
    assert (await team.ask(answer.headers["location"], "ci")).json == answer.json


async def test_a_token_creates_only_names_that_its_globs_match_and_names_only_parents_in_sight(team: Described) -> None:
    registry = team.service.registry
    hidden = (await registry.create_package("b-1")).package_id
    await registry.finalize_package(hidden)
    head = await head_of(registry)
    refused = await create(team, "b-1")
    assert (refused.status, refused.json["code"]) == (403, "name_not_allowed")
    assert refused.body == (await create(team, "b-9")).body
    for reference in ("b-1", hidden):
        answer = await create(team, **{"from": [reference]})
        assert (answer.status, answer.json["code"]) == (404, "package_not_found")
        nowhere = reference[:-4] + "0000" if reference == hidden else "b-9"
        missing = await create(team, **{"from": [nowhere]})
        assert answer.body.replace(reference.encode(), nowhere.encode()) == missing.body
    assert await head_of(registry) == head


WRONG: tuple[tuple[dict[str, Any], int, str], ...] = (
    ({}, 400, "invalid_value"),
    ({"name": 7}, 400, "invalid_value"),
    ({"name": "a-1", "color": "red"}, 400, "invalid_value"),
    ({"name": "a-\n"}, 400, "invalid_value"),
    ({"name": "a-x@1"}, 400, "invalid_value"),
    ({"name": "a-1", "metadata": {"x": 1.5}}, 400, "invalid_value"),
    ({"name": "a-1", "metadata": {"x": None}}, 400, "invalid_value"),
    ({"name": "a-1", "metadata": {"x": 2**70}}, 400, "invalid_value"),
    ({"name": "a-1", "metadata": {"x": "\ud800"}}, 400, "invalid_value"),
    ({"name": "a-1", "from": ["a-x"] * 101}, 400, "invalid_value"),
    ({"name": "a-1", "retention": "for-ever"}, 404, "unknown_retention_class"),
    ({"name": "a-1", "schema": "none"}, 404, "schema_not_found"),
    ({"name": "a-1", "schema": "runs", "metadata": {"run": "seven"}}, 422, "schema_violated"),
    ({"name": "a-1", "from": ["a-open"]}, 409, "not_finalized"),
)


async def test_a_package_that_cannot_be_is_refused_and_nothing_is_written(team: Described) -> None:
    registry = team.service.registry
    await registry.register_metadata_schema("runs", SCHEMA)
    await registry.create_package("a-open")
    head = await head_of(registry)
    for sent, status, code in WRONG:
        answer = await team.ask("/v1/packages", "ci", method="POST", sent=sent)
        assert (answer.status, answer.json["code"]) == (status, code), (sent, answer.body)
    for key in ("", "x" * 201, "a\tb"):
        assert (await create(team, key=key)).status == 400, key
    assert await head_of(registry) == head


async def test_an_idempotency_key_belongs_to_its_principal(team: Described) -> None:
    registry = team.service.registry
    in_library = await registry.create_package("a-1", idempotency_key="key")
    as_token = await registry.create_package("a-1", idempotency_key="key 2", principal="token:ci")
    first, second = await create(team, key="key"), await create(team, who="other", key="key")
    ids = {in_library.package_id, as_token.package_id, first.json["package_id"], second.json["package_id"]}
    assert len(ids) == 4
    head = await head_of(registry)
    again = await create(team, key="key")
    assert (again.status, again.body) == (first.status, first.body)
    conflict = await create(team, "a-2", key="key")
    assert (conflict.status, conflict.json["code"]) == (409, "idempotency_conflict")
    assert "'key'" in conflict.json["detail"]
    assert (await create(team, "a-2", key="key", who="other")).status == 409
    assert await head_of(registry) == head
    assert (await create(team, key="key 2")).json["package_id"] not in ids


async def test_a_token_that_may_only_write_reads_nothing_in_its_answers(team: Described) -> None:
    answer = await create(team, who="drop", key="k", metadata={"branch": "secret"})
    assert answer.json == {"package_id": answer.json["package_id"], "name": "a-1", "status": "open"}
    assert (await team.ask(answer.headers["location"], "drop")).status == 403


async def test_a_write_prefers_the_open_package_of_a_name(team: Described) -> None:
    old = (await create(team)).json["package_id"]
    await team.ask(f"/v1/packages/{old}/finalize", "ci", method="POST")
    new = (await create(team)).json["package_id"]
    assert (await team.ask("/v1/packages/a-1/finalize", "ci", method="POST")).json["package_id"] == new
