"""Keep policies through the library: what goes, what stays, and why."""

from pathlib import Path

import pytest

from artifactstore import Registry, Settings, blocking, open_registry
from artifactstore.errors import InvalidValue, KeepPolicyNotFound, PackageGone, TooMuchExpires
from artifactstore_protocols.keep_policies import KeepVerdict
from artifactstore_protocols.keep_rules import KeepRules
from integration.registry.samples import plant, settings_in


async def nightlies(registry: Registry, tree: Path, *names: str) -> list[str]:
    """The ids of new packages with these names, oldest first."""
    plant(tree, {"f": b"content"})
    return [(await registry.ingest_tree(tree, name=name)).package_id for name in names]


async def applied(registry: Registry, group: str | None = None, *, dry_run: bool = False) -> list[KeepVerdict]:
    verdicts = registry.apply_keep_policies(group, dry_run=dry_run, principal="ben")
    return [each async for each in verdicts]


async def test_a_policy_is_set_read_and_deleted(registry: Registry) -> None:
    policy = await registry.set_keep_policy("nightly", KeepRules(last=2), principal="ann")
    assert (policy.group, policy.rules, policy.set_by) == ("nightly", KeepRules(last=2), "ann")
    assert await registry.set_keep_policy("nightly", KeepRules(last=2), principal="ben") == policy
    changed = await registry.set_keep_policy("nightly", KeepRules(daily=7))
    assert await registry.get_keep_policy("nightly") == changed
    assert [each async for each in registry.list_keep_policies()] == [changed]
    await registry.delete_keep_policy("nightly")
    for attempt in (registry.get_keep_policy, registry.delete_keep_policy):
        with pytest.raises(KeepPolicyNotFound):
            await attempt("nightly")
    with pytest.raises(KeepPolicyNotFound):
        await applied(registry, "nightly")
    with pytest.raises(InvalidValue, match="invalid group"):
        await registry.set_keep_policy("night@1", KeepRules(last=1))
    assert (await registry.replay(check=True)).identical


async def test_what_no_policy_keeps_goes_and_everything_else_says_what_keeps_it(registry: Registry, tree: Path) -> None:
    ids = await nightlies(registry, tree, *["nightly"] * 5, "build", "build")
    await registry.set_tag("best", ids[0], protect=True)
    hold = await registry.place_hold(ids[1], reason="an audit")
    await registry.set_keep_policy("nightly", KeepRules(last=1))
    await registry.set_keep_policy("night*", KeepRules(last=2))
    planned = await applied(registry, dry_run=True)
    assert [each.package_id for each in planned] == ids[4::-1]
    newest, second, third, held, tagged = planned
    assert newest.kept_by == ("night*: last 2", "nightly: last 1")
    assert second.kept_by == ("night*: last 2",)
    assert (third.kept_by, third.rule) == ((), "policy:night*")
    assert hold.hold_id in held.kept_by[0]
    assert "protected tag 'best'" in tagged.kept_by[0]
    assert (await registry.get_package(third.package_id)).status == "finalized", "a dry run changes nothing"
    assert await applied(registry) == planned
    gone = await registry.get_package(third.package_id)
    assert (gone.status, gone.gone_by, gone.gone_reason) == ("expired", "ben", "policy:night*")
    with pytest.raises(PackageGone):
        await registry.verify(third.package_id)
    assert await applied(registry) == [newest, second, held, tagged], "a second time changes nothing"
    assert (await registry.stats()).packages == 6
    assert (await registry.replay(check=True)).identical


async def test_an_explanation_says_what_each_policy_does_at_its_next_run(registry: Registry, tree: Path) -> None:
    ids = await nightlies(registry, tree, *["nightly"] * 3)
    assert (await registry.explain_retention(ids[0])).policies == ()
    one = await registry.set_keep_policy("nightly", KeepRules(last=1))
    two = await registry.set_keep_policy("night*", KeepRules(last=2, tagged=("best",)))
    await registry.set_keep_policy("other", KeepRules(last=1))

    async def explained() -> list[tuple[bool, tuple[str, ...], list[tuple[str, ...]]]]:
        reports = [await registry.explain_retention(each) for each in reversed(ids)]
        for each in reports:
            assert [(policy.group, policy.sequence) for policy in each.policies] == [
                ("night*", two.sequence),
                ("nightly", one.sequence),
            ]
        return [(each.is_kept, (*each.goes_by,), [policy.kept_by for policy in each.policies]) for each in reports]

    newest, second, third = await explained()
    assert newest == (True, (), [("last 2",), ("last 1",)])
    assert second == (True, (), [("last 2",), ()])
    assert third == (False, ("policy:night*",), [(), ()])
    assert [each.rule for each in await applied(registry, dry_run=True)] == ["", "", third[1][0]]
    reasons = (await registry.explain_retention(ids[0])).reasons
    assert reasons[0].startswith("retention standard until ")
    assert reasons[0].endswith("; keep policies do not wait for its end")
    assert reasons[1:] == (
        f"keep policy night* does not keep it (event {two.sequence})",
        f"keep policy nightly does not keep it (event {one.sequence})",
    )
    await registry.set_tag("best", ids[0])
    assert (await explained())[2] == (True, (), [("tagged best",), ()])
    await registry.delete_tag("best")
    hold = await registry.place_hold(ids[0], reason="an audit")
    assert (await explained())[2] == (True, (), [(), ()])
    await registry.release_hold(hold.hold_id)
    await registry.set_retention(ids[0], "permanent")
    assert (await explained())[2] == (True, (), [(), ()])
    await registry.set_retention(ids[0], "standard")
    await applied(registry)
    gone = await registry.explain_retention(ids[0])
    assert (gone.is_kept, gone.goes_by, gone.policies) == (False, (), ())
    draft = (await registry.create_package("nightly")).package_id
    assert (await registry.explain_retention(draft)).policies == ()


async def test_one_group_is_applied_and_the_others_still_keep(registry: Registry, tree: Path) -> None:
    ids = await nightlies(registry, tree, "a1", "a1", "a2", "a2", "b")
    await registry.set_keep_policy("a*", KeepRules(last=1))
    await registry.set_keep_policy("a1", KeepRules(last=9))
    await registry.set_keep_policy("b", KeepRules(daily=1))
    assert [each.rule for each in await applied(registry, "a1")] == ["", ""]
    assert {each.package_id for each in await applied(registry, "a*") if each.rule} == {ids[2]}
    assert [each.package_id for each in await applied(registry, "b")] == [ids[4]]


async def test_many_packages_go_in_several_commands(
    registry: Registry, monkeypatch: pytest.MonkeyPatch, tree: Path
) -> None:
    monkeypatch.setattr("artifactstore.keeping_policies.APPLIED_MAX", 2)
    await nightlies(registry, tree, *["nightly"] * 6)
    await registry.set_keep_policy("nightly", KeepRules(last=1))
    assert sum(bool(each.rule) for each in await applied(registry)) == 5
    events = [each async for each in registry.history() if each.type == "v1.package.expired"]
    assert len(events) == 5
    assert (await registry.replay(check=True)).identical


async def test_most_packages_go_only_by_their_exact_number(registry: Registry, tree: Path) -> None:
    await nightlies(registry, tree, *["nightly"] * 12)
    await registry.set_keep_policy("nightly", KeepRules(last=1))
    assert sum(bool(each.rule) for each in await applied(registry, dry_run=True)) == 11
    for confirmed in (None, 10, 12):
        with pytest.raises(TooMuchExpires, match="--yes-expire 11"):
            _ = [each async for each in registry.apply_keep_policies(yes_expire=confirmed)]
    assert (await registry.stats()).packages == 12
    assert sum([bool(each.rule) async for each in registry.apply_keep_policies(yes_expire=11)]) == 11
    assert (await registry.stats()).packages == 1
    assert sum([bool(each.rule) async for each in registry.apply_keep_policies(yes_expire=11)]) == 0


async def test_most_packages_of_a_group_go_only_by_their_exact_number_in_a_large_store(
    registry: Registry, tree: Path
) -> None:
    await nightlies(registry, tree, *["nightly"] * 11, *["other"] * 12)
    await registry.set_keep_policy("night*", KeepRules(last=1))
    with pytest.raises(TooMuchExpires, match=r"10 of 11 packages of 'night\*' would expire.*--yes-expire 10"):
        await applied(registry, "night*")
    assert sum(bool(each.rule) for each in await applied(registry)) == 10, "10 of 23 are less than half of the store"


async def test_policies_are_in_a_backup_and_act_there(registry: Registry, tree: Path, tmp_path: Path) -> None:
    ids = await nightlies(registry, tree, "nightly", "nightly", "nightly")
    policy = await registry.set_keep_policy("nightly", KeepRules(last=2))
    await applied(registry)
    await registry.backup(tmp_path / "backup")
    async with open_registry(settings_in(tmp_path / "second")) as second:
        await second.restore(tmp_path / "backup")
        assert await second.get_keep_policy("nightly") == policy
        assert (await second.get_package(ids[0])).gone_reason == "policy:nightly"
        assert [each.rule for each in await applied(second)] == ["", ""]


async def test_the_space_of_packages_is_told_by_name_and_alone(registry: Registry, tree: Path) -> None:
    plant(tree, {"a": b"12345", "b": b"12345"})
    await registry.ingest_tree(tree, name="one")
    plant(tree, {"c": b"1"})
    await registry.ingest_tree(tree, name="two")
    await registry.ingest_tree(tree, name="two")
    usage = await registry.disk_usage()
    assert [(each.name, each.packages, each.files, each.bytes, each.stored_bytes) for each in usage] == [
        ("two", 2, 6, 22, 1),
        ("one", 1, 2, 10, 5),
    ]
    assert await registry.disk_usage("[o]*") == usage[1:]
    assert (await registry.unique_usage(["two"])).unique_bytes == 0
    assert (await registry.unique_usage(["two", "two@{1}"])).unique_bytes == 1
    assert (await registry.unique_usage(["one", "two", "two@{1}"])).unique_bytes == 6
    for count in (0, 257):
        with pytest.raises(InvalidValue, match="name 1 to 256"):
            await registry.unique_usage(["one"] * count)


def test_plain_python_has_them_too(settings: Settings, tree: Path) -> None:
    plant(tree, {"f": b"content"})
    with blocking.open_registry(settings) as registry:
        for _ in range(2):
            registry.ingest_tree(tree, name="nightly")
        policy = registry.set_keep_policy("nightly", KeepRules(last=1))
        assert list(registry.list_keep_policies()) == [policy]
        assert [each.rule for each in registry.apply_keep_policies()] == ["", "policy:nightly"]
        assert registry.disk_usage()[0].packages == 1
