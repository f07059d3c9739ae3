"""The client answers what the registry of the same store answers: the same records, bytes and errors."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from hashlib import sha256
from pathlib import Path

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
    async with aclosing(items) as each_of_them:  # type: ignore[type-var]  # every one of them is a generator
        return [each async for each in each_of_them]


async def file_bytes(registry: Either, package: str, path: str, offset: int, length: int | None) -> bytes:
    async with registry.get_file(package, path, offset=offset, length=length) as chunks:
        return b"".join([chunk async for chunk in chunks])


async def archive_digest(registry: Either, form: str, subtree: str) -> str:
    async with registry.export_archive("nightly", "zip" if form == "zip" else "tar", subtree=subtree) as chunks:
        return sha256(b"".join([chunk async for chunk in chunks])).hexdigest()


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
    asked: dict[str, Question] = {}
    for name in (*PACKAGES, *ODD):
        asked[f"get {name!r}"] = lambda registry, name=name: registry.get_package(name)
    for name in PACKAGES:
        asked[f"files {name}"] = lambda registry, name=name: registry.list_files(name)
        asked[f"directory {name}"] = lambda registry, name=name: registry.list_directory(name)
        asked[f"retention {name}"] = lambda registry, name=name: registry.explain_retention(name)
        asked[f"holds {name}"] = lambda registry, name=name: all_of(registry.list_holds(name))
        asked[f"history {name}"] = lambda registry, name=name: all_of(registry.history(name))
        for form in ("cbor", "json"):
            asked[f"manifest {name} {form}"] = lambda registry, name=name, form=form: registry.get_manifest_bytes(
                name, "json" if form == "json" else "cbor"
            )
    return asked


def of_contents() -> dict[str, Question]:
    """What both are asked about entries and bytes."""
    asked: dict[str, Question] = {}
    for path in PATHS:
        asked[f"directory at {path}"] = lambda registry, path=path: registry.list_directory("nightly", path)
        for follow in (True, False):
            asked[f"record {path} {follow}"] = lambda registry, path=path, follow=follow: registry.get_file_record(
                "nightly~", path, follow_links=follow
            )
        asked[f"bytes {path}"] = lambda registry, path=path: file_bytes(registry, "nightly~", path, 0, None)
    for offset, length in RANGES:
        asked[f"range {offset} {length}"] = lambda registry, offset=offset, length=length: file_bytes(
            registry, "nightly", "big", offset, length
        )
    return asked


def of_lists() -> dict[str, Question]:
    """What both are asked about lists and searches."""
    asked: dict[str, Question] = {}
    for number, where in enumerate(FILTERS):
        for reverse in (False, True):
            asked[f"list {number} {reverse}"] = lambda registry, where=where, reverse=reverse: all_of(
                registry.list_packages(where, reverse=reverse, sort="name")
            )
    for limit in (0, 1, 2, None):
        asked[f"list first {limit}"] = lambda registry, limit=limit: all_of(registry.list_packages(limit=limit))
    for after in ("nightly", "open one", "nothing"):
        asked[f"list after {after}"] = lambda registry, after=after: all_of(registry.list_packages(after=after))
    for number, wanted in enumerate(SEARCHES):
        for packages in (PackageFilter(), PackageFilter(name="night*", tag="release", since_us=1)):
            asked[f"find {number} {packages.name}"] = lambda registry, wanted=wanted, packages=packages: all_of(
                registry.find(wanted, packages=packages, reverse=True)
            )
    asked["find first"] = lambda registry: all_of(registry.find(SEARCHES[0], limit=2))
    asked["tags"] = lambda registry: all_of(registry.list_tags())
    asked["stats"] = lambda registry: registry.stats()
    asked["diff"] = lambda registry: registry.diff_packages("nightly~", "nightly")
    asked["diff nothing"] = lambda registry: registry.diff_packages("nightly~", "nothing")
    for form, subtree in (("tar", ""), ("zip", "data"), ("tar", "nothing")):
        asked[f"archive {form} {subtree}"] = lambda registry, form=form, subtree=subtree: archive_digest(
            registry, form, subtree
        )
    return asked


async def outcome_of(question: Question, registry: Either) -> object:
    try:
        answer = await question(registry)
        return [type(each) for each in answer] if isinstance(answer, list) else type(answer), to_json(answer)
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
        assert await all_of(remote.list_packages()) == []
        assert await all_of(remote.find(SEARCHES[0])) == []
        for question in (
            remote.get_package("nightly"),
            remote.list_files("nightly"),
            remote.history("nightly").__anext__(),
        ):
            with pytest.raises(Refusal, match="there is no package 'nightly'"):
                await question
