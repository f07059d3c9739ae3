"""The routes for tags, annotations, retention, holds and deletion: what they change, and what they tell of others."""

from typing import Any

import pytest

from artifactstore.http.api import tagging
from artifactstore.json_output import to_json
from artifactstore.registry import Registry, TagWrites, tag_writes
from artifactstore_protocols.commands import SetTag
from artifactstore_protocols.records import Tag
from integration.http.described import Described
from integration.http.serving import Answer
from integration.registry.samples import whole_log


async def finalized(registry: Registry, name: str) -> str:
    package_id = (await registry.create_package(name, metadata={"branch": "main"})).package_id
    await registry.finalize_package(package_id)
    return package_id


@pytest.fixture
async def team(api: Described) -> Described:
    """A service with `a-1`, `a-2` and `b-1`; a token for all of `a-*`, and one that may only delete and tag there."""
    registry = api.service.registry
    for name in ("a-1", "a-2", "b-1"):
        api.secrets[f"id of {name}"] = await finalized(registry, name)
    everything = await registry.create_token("ci", scopes=["read", "write", "tag", "delete"], packages=["a-*"])
    little = await registry.create_token("blind", scopes=["tag", "delete"], packages=["a-*"])
    api.secrets.update(ci=str(everything), blind=str(little))
    return api


async def tag(api: Described, name: str, package: str = "a-1", who: str = "ci", **more: Any) -> Answer:  # noqa: ANN401 - JSON
    return await api.ask(f"/v1/tags/{name}", who, method="PUT", sent={"package": package, **more})


async def test_a_tag_is_set_moved_protected_and_deleted(team: Described) -> None:
    registry = team.service.registry
    first = await tag(team, "a-new")
    assert (first.status, first.json) == (201, to_json(await registry.get_tag("a-new")))
    assert first.json["set_by"] == "token:ci"
    head = len(await whole_log(registry))
    again = await tag(team, "a-new")
    assert (again.status, again.body, len(await whole_log(registry))) == (200, first.body, head)
    moved = await tag(team, "a-new", "a-2", protect=True)
    assert (moved.status, moved.json["package_id"]) == (200, team.secrets["id of a-2"])
    for refused in (await tag(team, "a-new"), await team.ask("/v1/tags/a-new", "ci", method="DELETE")):
        assert (refused.status, refused.json["code"]) == (409, "tag_protected")
    assert (await tag(team, "a-new", "a-2", protect=False)).status == 200
    deleted = await team.ask("/v1/tags/a-new", "ci", method="DELETE")
    assert deleted.status == 204
    assert deleted.headers["artifactstore-sequence"] == str((await whole_log(registry))[-1].sequence)
    gone = await team.ask("/v1/tags/a-new", "ci", method="DELETE")
    assert (gone.status, gone.json["code"]) == (404, "tag_not_found")
    await registry.create_package("a-open")
    for name, package, status in (
        ("a-x", "a-open", 409),
        ("a-x", "a-9", 404),
        ("a-x@", "a-1", 400),
        ("%00", "a-1", 400),
    ):
        assert (await tag(team, name, package)).status == status, (name, package)


async def test_a_tag_out_of_sight_is_neither_moved_nor_deleted_nor_told(team: Described) -> None:
    registry = team.service.registry
    await registry.set_tag("production", "b-1")
    await registry.set_tag("a-taken", "b-1", protect=True)
    await registry.set_tag("released", "a-1")
    before = [each async for each in registry.list_tags()]
    head = len(await whole_log(registry))
    hidden, missing = await tag(team, "production"), await tag(team, "nothing")
    assert (hidden.status, hidden.json["code"]) == (403, "name_not_allowed")
    assert hidden.body == missing.body
    for reference in ("b-1", team.secrets["id of b-1"], "tag:production"):
        answer = await tag(team, "a-new", reference)
        assert (answer.status, answer.json["code"]) == (404, "package_not_found")
    taken = await tag(team, "a-taken")
    assert (taken.status, taken.json["code"]) == (409, "tag_taken")
    assert team.secrets["id of b-1"].encode() not in taken.body
    for name in ("production", "a-taken"):
        hidden, missing = [await team.ask(f"/v1/tags/{each}", "ci", method="DELETE") for each in (name, "nothing")]
        assert (hidden.status, hidden.body) == (404, missing.body.replace(b"nothing", name.encode()))
    assert [each async for each in registry.list_tags()] == before
    assert len(await whole_log(registry)) == head
    assert (await tag(team, "released", "a-2")).status == 200  # it names a package in sight
    assert (await tag(team, "fresh", "b-1", who="all")).status == 201


@pytest.mark.parametrize("method", ["PUT", "DELETE"])
async def test_a_tag_that_moves_out_of_sight_meanwhile_stays_where_it_is(
    team: Described, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    registry = team.service.registry
    await registry.set_tag("released", "a-1")

    def moved_first(of: Registry) -> TagWrites:
        writes = tag_writes(of)

        async def move() -> None:
            await of.set_tag("released", "b-1", principal="admin")

        async def set_it(command: SetTag, principal: str) -> Tag:
            await move()
            return await writes.set(command, principal)

        async def delete(command: Any, principal: str) -> object:  # noqa: ANN401 - a command
            await move()
            return await writes.delete(command, principal)

        return TagWrites(set_it, delete)

    monkeypatch.setattr(tagging, "tag_writes", moved_first)
    sent = {"package": "a-2"} if method == "PUT" else None
    answer = await team.ask("/v1/tags/released", "ci", method=method, sent=sent)
    assert answer.status == (403 if method == "PUT" else 404)
    assert (await registry.get_tag("released")).package_id == team.secrets["id of b-1"]


async def test_retention_holds_and_deletion_take_an_exact_id(team: Described) -> None:
    registry, package_id = team.service.registry, team.secrets["id of a-1"]
    path = f"/v1/packages/{package_id}"
    for below, method, sent in (
        ("?reason=x", "DELETE", None),
        ("/retention", "PUT", {"retention": "short"}),
        ("/retention/extend", "POST", {"duration": "1d"}),
        ("/holds", "POST", {"reason": "x"}),
    ):
        named = await team.ask(f"/v1/packages/a-1{below}", "ci", method=method, sent=sent)
        assert (named.status, named.json["code"]) == (400, "package_id_needed"), below
    assert (await team.ask(f"{path}/retention", "ci", method="PUT", sent={"retention": "30d"})).status == 200
    extend: dict[str, Any] = {"method": "POST", "sent": {"duration": "1d"}, "headers": (("Idempotency-Key", "k"),)}
    longer = await team.ask(f"{path}/retention/extend", "ci", **extend)
    assert longer.json == (await team.ask(f"{path}/retention/extend", "ci", **extend)).json
    assert longer.json == to_json(await registry.get_package(package_id))
    held = await team.ask(f"{path}/holds", "ci", method="POST", sent={"reason": "an audit"})
    assert (held.status, held.json["reason"], held.json["placed_by"]) == (201, "an audit", "token:ci")
    kept = await team.ask(f"{path}?reason=old&before_expiry=true", "ci", method="DELETE")
    assert (kept.status, kept.json["code"]) == (409, "package_kept")
    other = f"/v1/packages/{team.secrets['id of a-2']}/holds/{held.json['hold_id']}"
    assert (await team.ask(other, "ci", method="DELETE")).json["code"] == "hold_not_found"
    assert (await team.ask(held.headers["location"], "ci", method="DELETE")).status == 204
    assert (await team.ask(held.headers["location"], "ci", method="DELETE")).status == 404
    early = await team.ask(f"{path}?reason=old", "ci", method="DELETE")
    assert (early.status, early.json["code"]) == (409, "package_kept")
    deleted = await team.ask(f"{path}?reason=old&before_expiry=true", "ci", method="DELETE")
    assert (deleted.json["status"], deleted.json["gone_by"]) == ("deleted", "token:ci")
    assert (await team.ask(f"{path}?reason=old", "ci", method="DELETE")).json == deleted.json
    assert (await team.ask(f"{path}/holds", "ci", method="POST", sent={"reason": "x"})).status == 410


async def test_a_package_is_annotated_also_after_it_was_finalized(team: Described) -> None:
    path = "/v1/packages/a-1/annotations"
    noted = await team.ask(path, "ci", method="PATCH", sent={"annotations": {"reviewed": True, "by": "ada"}})
    assert noted.json["annotations"] == {"reviewed": True, "by": "ada"}
    changed = await team.ask(path, "ci", method="PATCH", sent={"annotations": {"by": "bob"}, "remove": ["reviewed"]})
    assert changed.json["annotations"] == {"by": "bob"}
    wrong: tuple[tuple[dict[str, Any], int, str], ...] = (
        ({"annotations": {"branch": "x"}}, 409, "metadata_key_taken"),
        ({"remove": ["reviewed"]}, 404, "annotation_not_found"),
        ({"annotations": {"x": None}}, 400, "invalid_value"),
        ({"set": {}}, 400, "invalid_value"),
    )
    for sent, status, code in wrong:
        answer = await team.ask(path, "ci", method="PATCH", sent=sent)
        assert (answer.status, answer.json["code"]) == (status, code), sent


async def test_a_token_without_read_sees_no_metadata_of_what_it_changes(team: Described) -> None:
    path = f"/v1/packages/{team.secrets['id of a-1']}"
    for below, method, sent in (
        ("/retention", "PUT", {"retention": "short"}),
        ("/retention/extend", "POST", {"duration": "1d"}),
        ("?reason=x&before_expiry=true", "DELETE", None),
    ):
        answer = await team.ask(f"{path}{below}", "blind", method=method, sent=sent)
        assert (answer.status, set(answer.json)) == (200, {"package_id", "name", "status"}), below
