"""The client answers what the registry of the same store answers: the same records, bytes and errors."""

import inspect
from collections.abc import AsyncIterator, Awaitable, Callable
from hashlib import sha256
from pathlib import Path
from typing import Any, cast

import pytest
import trio

from artifactstore import Registry
from artifactstore.client import RemoteRegistry, connect
from artifactstore.json_output import event_to_json, to_json
from artifactstore.refusals import ExportIncomplete
from artifactstore_protocols.links import LinkPolicy
from artifactstore_protocols.package_listing import EntryFilter, PackageFilter
from artifactstore_protocols.supervision import Refusal
from integration.http.serving import GUARD_S, Service

type Either = Registry | RemoteRegistry
type Question = Callable[[Either], Awaitable[object]]


async def all_of(items: AsyncIterator[object]) -> list[object]:
    return [each async for each in items]


def call(method: str, *arguments: object, **named: object) -> Question:
    """A call of a method that both have; of an iterator, all items."""

    async def ask(registry: Either) -> object:
        found: Any = getattr(registry, method)(*arguments, **named)
        return await all_of(found) if inspect.isasyncgen(found) else await found

    return ask


def streamed(method: str, *arguments: object, **named: object) -> Question:
    """All bytes that a method streams."""

    async def ask(registry: Either) -> object:
        opening: Any = getattr(registry, method)(*arguments, **named)
        async with opening as chunks:
            return b"".join([chunk async for chunk in chunks])

    return ask


PACKAGES = ("nightly", "nightly~", "tag:release", "open one", "old", "nothing", "tag:nothing", "nightly@{9}", "release")
ODD = ("", ".", "..", "a/b", "manifest:x", "\0", "\ud800", "x" * 500, "nightly@never", "tree:sha256:" + "0" * 64)
PATHS = (
    "big",
    "bin/run.sh",
    "./data/report.json",
    "data",
    "none",
    "to-report",
    "loop",
    "missing",
    "../x",
    "a//b",
    "data/empty",
)
RANGES: tuple[tuple[int, int | None], ...] = (
    (0, None),
    (1, 5),
    (2_999_990, None),
    (0, 0),
    (3_000_000, None),
    (9, 3_000_000),
    (-1, 2),
)
FILTERS = (
    PackageFilter(),
    PackageFilter(name="night*"),
    PackageFilter(status="deleted"),
    PackageFilter(created_by="ci"),
    PackageFilter(retention_class="standard", tag="rel*"),
    PackageFilter(metadata={"build": 412}),
    PackageFilter(metadata={"branch": "main"}, has=("branch",)),
    PackageFilter(made_from="tag:release"),
    PackageFilter(made_from="nothing"),
    PackageFilter(since_us=1, until_us=2),
    PackageFilter(until_us=0),
)
SEARCHES = (EntryFilter(path="**"), EntryFilter(name="*.json"), EntryFilter(digest="sha256:" + sha256(b"").hexdigest()))


def of_packages() -> dict[str, Question]:
    """What both are asked about packages."""
    asked = {f"get {name!r}": call("get_package", name) for name in (*PACKAGES, *ODD)}
    for name in PACKAGES:
        for method in ("list_files", "list_directory", "explain_retention", "list_holds", "history"):
            asked[f"{method} {name}"] = call(method, name)
        for form in ("cbor", "json"):
            asked[f"manifest {name} {form}"] = call("get_manifest_bytes", name, form)
    return asked


def of_contents() -> dict[str, Question]:
    """What both are asked about entries and bytes."""
    asked: dict[str, Question] = {}
    for path in PATHS:
        asked[f"directory at {path}"] = call("list_directory", "nightly", path)
        for follow in (True, False):
            asked[f"record {path} {follow}"] = call("get_file_record", "nightly~", path, follow_links=follow)
        asked[f"bytes {path}"] = streamed("get_file", "nightly~", path)
    for offset, length in RANGES:
        asked[f"range {offset} {length}"] = streamed("get_file", "nightly", "big", offset=offset, length=length)
    for form, subtree in (("tar", ""), ("zip", "data"), ("tar", "nothing")):
        asked[f"archive {form} {subtree}"] = streamed("export_archive", "nightly", form, subtree=subtree)
    return asked


def of_lists() -> dict[str, Question]:
    """What both are asked about lists and searches."""
    asked: dict[str, Question] = {}
    for number, where in enumerate(FILTERS):
        for reverse in (False, True):
            asked[f"list {number} {reverse}"] = call("list_packages", where, reverse=reverse, sort="name")
    for limit in (0, 1, 2, None):
        asked[f"list first {limit}"] = call("list_packages", limit=limit)
    for after in ("nightly", "open one", "nothing"):
        asked[f"list after {after}"] = call("list_packages", after=after)
    for number, wanted in enumerate(SEARCHES):
        for packages in (PackageFilter(), PackageFilter(name="night*", tag="release", since_us=1)):
            asked[f"find {number} {packages.name}"] = call("find", wanted, packages=packages, reverse=True)
    asked["find first"] = call("find", SEARCHES[0], limit=2)
    for after in ("nightly:data/empty", "nightly~:big", "nightly", "nothing:x", "nightly:../x"):
        asked[f"find after {after}"] = call("find", SEARCHES[0], after=after)
    for tag in ("release", "nothing", "a@b", "tag with /"):
        asked[f"tag {tag}"] = call("get_tag", tag)
    asked["tags"], asked["stats"] = call("list_tags"), call("stats")
    asked["diff"] = call("diff_packages", "nightly~", "nightly")
    asked["diff nothing"] = call("diff_packages", "nightly~", "nothing")
    return asked


def kinds_of(answer: object) -> object:
    """The class of an answer, or those of what is in it."""
    if isinstance(answer, list):
        return [type(each) for each in cast("list[object]", answer)]
    return type(answer)


async def outcome_of(question: Question, registry: Either) -> object:
    try:
        answer = await question(registry)
        return kinds_of(answer), to_json(answer)
    except Refusal as error:
        return type(error), str(error), error.fields()


@pytest.mark.slow
async def test_every_question_has_the_same_answer(service: Service, remote: RemoteRegistry) -> None:
    with trio.fail_after(GUARD_S):
        for name, question in {**of_packages(), **of_contents(), **of_lists()}.items():
            here, there = [await outcome_of(question, each) for each in (service.registry, remote)]
            assert there == here, name


@pytest.mark.slow
async def test_events_are_those_of_the_log_and_new_ones_follow(service: Service, remote: RemoteRegistry) -> None:
    log = [event_to_json(each) for each in await service.registry.read_events()]
    assert [to_json(each) for each in await remote.read_events()] == log
    assert [each.sequence for each in await remote.read_events(3, limit=2)] == [4, 5]
    with trio.fail_after(GUARD_S):
        async with remote.tail_events(2) as tail:
            found = [to_json(await anext(tail)) for _ in log[2:]]
            assert found == log[2:]
            created = await service.registry.create_package("new")
            assert (await anext(tail)).subject == created.package_id


def tree_of(root: Path) -> dict[str, object]:
    found = {str(each.relative_to(root)): each for each in root.rglob("*")}
    return {
        path: str(each.readlink()) if each.is_symlink() else (each.stat().st_mode, each.is_file() and each.read_bytes())
        for path, each in found.items()
        if "artifactstore" not in path
    }


@pytest.mark.slow
async def test_an_export_has_the_same_files_and_the_same_report(
    service: Service, remote: RemoteRegistry, tmp_path: Path
) -> None:
    for number, (subtree, links) in enumerate(
        (("data", LinkPolicy.KEEP), ("", LinkPolicy.SKIP), ("", LinkPolicy.KEEP))
    ):
        reports: list[object] = []
        for side, registry in (("here", service.registry), ("there", remote)):
            try:
                report = await registry.export_package(
                    "nightly", tmp_path / side / str(number), subtree=subtree, links=links
                )
            except ExportIncomplete as error:
                report = error.report
            shown = to_json(report)
            assert isinstance(shown, dict)
            reports.append({**shown, "directory": ""})
        assert reports[1] == reports[0]
        assert tree_of(tmp_path / "there" / str(number)) == tree_of(tmp_path / "here" / str(number)) != {}
    again = await remote.export_package("nightly", tmp_path / "there" / "0", subtree="data", update=True)
    assert (again.new, again.unchanged) == (0, again.files)


@pytest.mark.slow
async def test_a_token_without_sight_gets_the_errors_of_what_is_not_there(service: Service) -> None:
    secret = await service.registry.create_token("narrow", scopes=("read",), packages=["other*"])
    async with connect(service.url, str(secret)) as remote:
        assert await call("list_packages")(remote) == await call("find", SEARCHES[0])(remote) == []
        for method in ("get_package", "list_files", "history", "list_holds", "get_manifest_bytes", "explain_retention"):
            with pytest.raises(Refusal, match="there is no package 'nightly'"):
                await call(method, "nightly")(remote)
