"""Tokens through the library: whom a secret identifies, until when, in which store, and where no secret is."""

import logging
from collections.abc import Generator
from pathlib import Path
from typing import cast

import pytest
import trio

from artifactstore import Registry, Settings, blocking, open_registry
from artifactstore.environment import Environment, environment
from artifactstore.errors import BackupRefused, ClockDoubtful, InvalidValue, TokenInvalid, TokenNameTaken, TokenNotFound
from artifactstore_protocols.event_types import TokenCreated
from artifactstore_protocols.tokens import Grant, make_secret
from integration.registry.samples import plant, settings_in
from integration.registry.test_expiry import Clock
from integration.registry.test_store_ids import id_of

DAY_US = 86_400_000_000


@pytest.fixture
def clock() -> Generator[Clock]:
    moved = Clock(environment.get())
    token = environment.set(cast("Environment", moved))
    yield moved
    environment.reset(token)


async def refusal_of(registry: Registry, secret: str) -> str:
    """Why a secret identifies nobody."""
    with pytest.raises(TokenInvalid) as raised:
        await registry.identify(secret)
    return str(raised.value)


def contents_below(directory: Path) -> list[bytes]:
    """What every file of a directory holds."""
    return [path.read_bytes() for path in directory.rglob("*") if path.is_file()]


async def states(registry: Registry) -> dict[str, str]:
    """The state of each token."""
    return {each.name: each.state async for each in registry.list_tokens()}


async def test_a_secret_identifies_its_token_until_it_is_revoked(registry: Registry) -> None:
    secret = await registry.create_token(
        "ci", scopes=("write", "read"), packages=("nightly-*", "b", "b"), principal="ann"
    )
    other = await registry.create_token("cd", scopes=["admin"], expires="never", principal="token:boss")
    found = await registry.identify(secret)
    assert found == Grant("ci", ("read", "write"), ("b", "nightly-*"), found.expires_at_us)
    assert (await registry.identify(other)).principal == "token:cd"
    token = await registry.get_token("ci")
    assert token.expires_at_us == found.expires_at_us
    assert abs((token.expires_at_us or 0) - token.created_at_us - 90 * DAY_US) < DAY_US
    assert (token.state, token.created_by, token.revoked_at_us) == ("active", "ann", None)
    assert [each.created_by async for each in registry.list_tokens()] == ["token:boss", "ann"]
    revoked = await registry.revoke_token("ci", "leaked", principal=found.principal)
    assert (revoked.state, revoked.revoked_by, revoked.revoked_reason) == ("revoked", "token:ci", "leaked")
    assert await registry.revoke_token("ci", "again") == revoked
    assert await states(registry) == {"cd": "active", "ci": "revoked"}
    await refusal_of(registry, secret)
    with pytest.raises(TokenNameTaken, match="'ci' is taken"):
        await registry.create_token("ci", scopes=["read"])
    assert (await registry.identify(other)).allows("admin")
    assert (await registry.replay(check=True)).identical


async def test_a_secret_that_does_not_work_is_always_refused_with_the_same_words(
    clock: Clock, registry: Registry
) -> None:
    revoked = await registry.create_token("revoked", scopes=["read"])
    await registry.revoke_token("revoked", "old")
    ended = await registry.create_token("ended", scopes=["read"], expires="1h")
    clock.ahead_us += DAY_US // 12
    misspelt = ("1" if ended[20] == "0" else "0").join((ended[:20], ended[21:]))
    secrets = (revoked, ended, make_secret(bytes(32)), misspelt, ended[:-1], "", "\ud800", ended.upper())
    assert len({await refusal_of(registry, secret) for secret in secrets}) == 1
    assert await states(registry) == {"ended": "expired", "revoked": "revoked"}


async def test_a_clock_that_is_set_back_brings_no_token_back(clock: Clock, registry: Registry) -> None:
    secret = await registry.create_token("ci", scopes=["read"], expires="1h")
    clock.ahead_us += DAY_US // 12
    await registry.create_package("later")
    clock.ahead_us = 0
    await refusal_of(registry, secret)
    assert await states(registry) == {"ci": "expired"}
    await registry.confirm_clock()  # a person says that the time before was wrong
    assert (await registry.identify(secret)).name == "ci"
    clock.advance(100)
    with pytest.raises(ClockDoubtful):
        await registry.create_token("late", scopes=["read"])
    assert await registry.create_token("for-ever", scopes=["read"], expires="never")


async def test_what_is_no_token(registry: Registry) -> None:
    for scopes in ([], ["sudo"]):
        with pytest.raises(InvalidValue, match="scope"):
            await registry.create_token("ci", scopes=scopes)  # type: ignore[arg-type]
    with pytest.raises(InvalidValue, match="token name"):
        await registry.create_token("token:ci", scopes=["read"])
    with pytest.raises(InvalidValue, match="expiry"):
        await registry.create_token("ci", scopes=["read"], expires="soon")
    with pytest.raises(InvalidValue, match="admin"):
        await registry.create_token("ci", scopes=["admin"], packages=["a-*"])
    for work in (registry.get_token("ci"), registry.revoke_token("ci", "old")):
        with pytest.raises(TokenNotFound):
            await work
    assert await states(registry) == {}


async def test_tokens_work_after_a_restore_and_not_after_an_import(
    registry: Registry, tree: Path, tmp_path: Path
) -> None:
    plant(tree, {"f": b"content"})
    await registry.ingest_tree(tree, name="nightly")
    secret = await registry.create_token("ci", scopes=["read"])
    await registry.backup(tmp_path / "backup")
    await registry.export_events(tmp_path / "log")
    async with open_registry(settings_in(tmp_path / "imported")) as imported:
        await imported.import_events(tmp_path / "log")
        await refusal_of(imported, secret)
        assert await states(imported) == {"ci": "imported"}
        own = await imported.create_token("ci-2", scopes=["read"])
        assert (await imported.identify(own)).name == "ci-2"
        await imported.backup(tmp_path / "second")
    async with open_registry(settings_in(tmp_path / "restored")) as restored:
        await restored.restore(tmp_path / "backup")
        assert await restored.identify(secret) == await registry.identify(secret)
        assert await states(restored) == {"ci": "active"}
        assert (await restored.replay(check=True)).identical
        new = await restored.create_token("new", scopes=["read"])
        await restored.backup(tmp_path / "third")
    async with open_registry(settings_in(tmp_path / "again")) as again:
        await again.restore(tmp_path / "third")
        assert await states(again) == {"ci": "active", "new": "active"}
        assert (await again.identify(new)).name == "new"
    async with open_registry(settings_in(tmp_path / "of the import")) as last:
        await last.restore(tmp_path / "second")
        assert await states(last) == {"ci": "imported", "ci-2": "active"}
        await refusal_of(last, secret)


async def test_a_backup_without_a_store_id_lets_nobody_in(registry: Registry, tmp_path: Path) -> None:
    secret = await registry.create_token("ci", scopes=["read"])
    await registry.backup(tmp_path / "backup")
    kept = trio.Path(tmp_path / "backup" / "store-id")
    assert await kept.read_text() == f"{await id_of(registry)}\n"
    await kept.write_text("none\n")
    async with open_registry(settings_in(tmp_path / "restored")) as restored:
        with pytest.raises(BackupRefused, match="store-id in it holds no store id"):
            await restored.restore(tmp_path / "backup")
        await kept.unlink()
        await restored.restore(tmp_path / "backup")
        assert await states(restored) == {"ci": "imported"}
        await refusal_of(restored, secret)


async def test_a_secret_is_in_no_file_and_in_no_log_line(
    settings: Settings, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    async with open_registry(settings) as registry:
        secret = await registry.create_token("ci", scopes=["read"])
        await registry.identify(secret)
        await registry.revoke_token("ci", "old")
        await refusal_of(registry, secret)
        await registry.backup(tmp_path / "backup")
        await registry.export_events(tmp_path / "log")
        [created] = [each async for each in registry.history() if each.type == "v1.token.created"]
        payloads = [each.decode() for each in await registry.read_events()]
        assert any(isinstance(each, TokenCreated) for each in payloads)
    random = bytes.fromhex(secret[4:68])
    held = contents_below(tmp_path)
    assert any(b"v1.token.created" in each for each in held), "the files of the store were read"
    held += [caplog.text.encode(), repr(payloads).encode(), repr(created).encode(), repr(secret).encode()]
    for each in held:
        assert random not in each
        assert random.hex().encode() not in each


def test_plain_python_has_them_too(settings: Settings) -> None:
    with blocking.open_registry(settings) as registry:
        secret = registry.create_token("ci", scopes=["read"], expires="never")
        assert registry.identify(secret) == Grant("ci", ("read",), ("*",), None)
        assert [each.name for each in registry.list_tokens()] == ["ci"]
        assert registry.revoke_token("ci", "old") == registry.get_token("ci")
        with pytest.raises(TokenInvalid):
            registry.identify(secret)
