"""What a store answers about keep policies and the packages that they judge, whatever store it is."""

import trio

from artifactstore_protocols.commands import DeleteTag, SetKeepPolicy, SetTag
from artifactstore_protocols.event_store import EventStore
from artifactstore_protocols.keep_policies import ApplyKeepPolicies, KeepPolicy
from artifactstore_protocols.keep_rules import KeepRules
from command_strategies import ApplyKeepPolicy, Create, DeleteAKeepPolicy, Finalize, SetAKeepPolicy, package_id_of
from database_tools import Scribe
from event_stores import Stores
from memory_log import MemoryLog
from story import tell_story

NIGHTLIES = [step for number in (1, 2, 3) for step in (Create(number, "standard", {}), Finalize(number, late=False))]


async def test_policies_are_listed_by_their_groups(store: EventStore, scribe: Scribe) -> None:
    await tell_story(
        scribe, [SetAKeepPolicy("b", 2), SetAKeepPolicy("a*", 1), SetAKeepPolicy("c", 1), DeleteAKeepPolicy("c")]
    )
    [first, second] = await store.keep_policies()
    assert (first.group, second.group) == ("a*", "b")
    assert second == KeepPolicy("b", KeepRules(last=2, tagged=("release-*",)), "ci", second.set_at_us, 2)


async def test_packages_are_read_one_name_at_a_time(store: EventStore, scribe: Scribe) -> None:
    assert await store.next_group(name=None, after="") == []
    await tell_story(scribe, [*NIGHTLIES, Create(4, "standard", {})])
    await scribe.tell(SetTag("best", package_id_of(2)), SetTag("a", package_id_of(2)), DeleteTag("a"))
    group = await store.next_group(name=None, after="")
    assert {each.name for each in group} == {"nightly"}
    tags = {each.candidate.package_id: each.candidate.tags for each in group}
    assert tags == {package_id_of(1): (), package_id_of(2): ("best",), package_id_of(3): ()}
    assert len({each.candidate.finalized_sequence for each in group}) == 3
    for each in group:
        package = await store.package(each.candidate.package_id)
        assert (each.bytes, each.retention_class, each.expires_at_us) == (
            package.bytes,
            "standard",
            package.expires_at_us,
        )
    assert await store.next_group(name="night*", after="") == group
    for name, after in (("nightlies", ""), (None, "nightly")):
        assert await store.next_group(name=name, after=after) == []
    assert await store.group("nightly") == group
    assert await store.group("night*") == [], "a name, and no glob"


async def test_what_keeps_a_package_from_every_policy_is_said(store: EventStore, scribe: Scribe) -> None:
    await tell_story(scribe, [Create(4, "permanent", {}), Finalize(4, late=False), *NIGHTLIES])
    await scribe.tell(SetTag("best", package_id_of(1), protected=True))
    reasons = await store.obstacles(list(map(package_id_of, (1, 2, 4, 99))))
    assert reasons.keys() == {package_id_of(1), package_id_of(4)}
    assert reasons[package_id_of(4)] == "its retention is permanent"


async def test_a_commit_judges_again_what_a_caller_read(store: EventStore, scribe: Scribe) -> None:
    memory = await tell_story(
        scribe,
        [
            *NIGHTLIES,
            SetAKeepPolicy("nightly", 1),
            ApplyKeepPolicy("nightly", (1, 2, 3)),
            ApplyKeepPolicy("nightly", (2,)),
        ],
    )
    assert [each.candidate.package_id for each in await store.next_group(name=None, after="")] == [package_id_of(3)]
    assert (await store.replay(rebuild=False)).identical
    assert sum(stored.event.type == "v1.package.expired" for stored in memory.events) == 2


async def test_commands_of_one_batch_see_each_other(store: EventStore, scribe: Scribe) -> None:
    memory = MemoryLog()
    for step in NIGHTLIES[:-1]:
        command = memory.command(step)
        assert memory.commit(command) is None
        await scribe.tell(command)
    ids = tuple(map(package_id_of, (1, 2, 3)))
    apply = ApplyKeepPolicies("nightly", "nightly", ids, 1 << 50)
    rules = KeepRules(last=1, tagged=("release",))
    await scribe.send(
        *map(
            scribe.ask,
            [
                SetKeepPolicy("nightly", rules),
                memory.command(NIGHTLIES[-1]),
                SetTag("release", ids[0]),
                apply,
                DeleteTag("release"),
                apply,
            ],
        )
    )
    expired = [each for each in await store.read_events(after=0, limit=99) if each.event.type == "v1.package.expired"]
    assert [each.event.subject for each in expired] == [ids[1], ids[0]]
    assert (await store.replay(rebuild=False)).identical


async def test_two_who_apply_at_once_let_each_package_go_once(
    stores: Stores, store: EventStore, scribe: Scribe
) -> None:
    await tell_story(scribe, [*NIGHTLIES, SetAKeepPolicy("nightly", 1)])
    apply = ApplyKeepPolicies("nightly", "nightly", tuple(map(package_id_of, (1, 2, 3))), 1 << 50)
    async with stores.opened() as other, trio.open_nursery() as nursery:
        for each in (store, other):
            nursery.start_soon(Scribe(each).send, scribe.ask(apply))
    events = await store.read_events(after=0, limit=99)
    assert sum(each.event.type == "v1.package.expired" for each in events) == 2
