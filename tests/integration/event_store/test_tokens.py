"""What a store answers about tokens, whatever store it is."""

from artifactstore_protocols.event_store import EventStore
from artifactstore_protocols.token_records import StoredToken
from artifactstore_protocols.tokens import Grant, secret_digest
from command_strategies import Create, CreateAToken, Observe, RevokeAToken, Step, package_id_of
from database_tools import Scribe
from story import tell_story

STORY: list[Step] = [CreateAToken("b"), CreateAToken("a", ends=True), CreateAToken("c"), RevokeAToken("b")]


async def test_tokens_are_listed_by_their_names_and_found_by_their_digests(store: EventStore, scribe: Scribe) -> None:
    assert await store.tokens(after="", limit=9) == []
    await tell_story(scribe, STORY)
    [first, second, third] = await store.tokens(after="", limit=9)
    digest = secret_digest(package_id_of(1), "b")
    grant = Grant("b", ("read", "tag"), ("*", "nightly-*"), None)
    assert second == StoredToken(
        grant, digest, package_id_of(1), "ci", second.created_at_us, 2, second.revoked_at_us, "ci", "leaked"
    )
    assert (second.revoked_at_us or 0) >= second.created_at_us
    assert (first.grant.expires_at_us, first.revoked_at_us, third.revoked_reason) == (1, None, None)
    assert await store.tokens(after="a", limit=1) == [second]
    assert [await store.token(name) for name in ("c", "d")] == [third, None]
    frame = await store.token_frame()
    assert await store.find_token(lambda _store_id: digest) == (frame, second)
    assert await store.find_token(lambda store_id: secret_digest(store_id, "b")) == (frame, None)


async def test_the_time_that_counts_is_the_last_one_that_the_store_saw(store: EventStore, scribe: Scribe) -> None:
    assert (await store.token_frame()).seen_us is None
    await tell_story(scribe, [Create(1, "standard", {})])
    [*_, newest] = await store.read_events(after=0, limit=9)
    assert (await store.token_frame()).seen_us == newest.event.recorded_at_us
    await tell_story(scribe, [Observe(10**15, confirmed=True)])
    [*_, newest] = await store.read_events(after=0, limit=9)
    assert (await store.token_frame()).seen_us == max(10**15, newest.event.recorded_at_us)


async def test_only_an_empty_log_takes_the_store_id_of_a_backup(store: EventStore, scribe: Scribe) -> None:
    reading = await store.probe()
    own = (await store.token_frame()).store_id
    assert own == reading.store_id
    await store.adopt_store_id(package_id_of(7))
    await tell_story(scribe, STORY)
    await store.adopt_store_id(package_id_of(8))
    assert (await store.token_frame()).store_id == package_id_of(7)
    assert (await store.probe()).store_id == own, "collection trusts the id of the database"
    _, found = await store.find_token(lambda store_id: secret_digest(store_id, "c"))
    assert found is None
