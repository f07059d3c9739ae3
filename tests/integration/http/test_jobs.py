"""The jobs of a service do on a store what their commands do."""

from pathlib import Path

import pytest
from msgspec.structs import replace

from artifactstore import open_registry
from artifactstore.http import jobs as service
from artifactstore.http.jobs import service_jobs
from artifactstore.http.listening import Listening
from artifactstore.http.process import http_service
from artifactstore.http.server import HttpRole
from artifactstore.open import open_store
from artifactstore.supervision import ActorRef
from artifactstore_protocols.keep_rules import KeepRules
from integration.registry.samples import add, object_file, settings_in


async def test_a_service_has_only_the_jobs_that_its_settings_ask_for(tmp_path: Path) -> None:
    settings = settings_in(tmp_path)
    assert [job.name for job in service_jobs(settings, lambda: None)] == ["clock", "uploads"]
    wanted = replace(settings, gc_hours=2, verify_hours=24)
    jobs = [(job.name, job.every_s) for job in service_jobs(wanted, lambda: None)]
    assert jobs == [("clock", 3600), ("gc", 7200), ("verify", 86400), ("uploads", 600)]
    assert (await service_jobs(wanted, lambda: None)[0].run()).text == "the store is not open"
    http = ActorRef[HttpRole]("http")
    for each, children in ((None, ["http"]), (wanted, ["http", "maintenance"])):
        services = http_service(http, Listening("127.0.0.1:0"), lambda: None, each)
        async with open_store(settings, services) as registry:
            assert [child.name for child in registry.snapshot().children][2:] == children


async def test_jobs_let_packages_go_collect_them_and_find_damage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = replace(settings_in(tmp_path), storage_small_max=0, expire_hours=1, gc_hours=1, verify_hours=1)
    monkeypatch.setattr(service, "VERIFIED_AGE_S", 0)
    async with open_registry(settings) as registry:
        packages = [(await registry.create_package("nightly")).package_id for _ in range(2)]
        for package in packages:
            await add(registry, package, "a", package.encode())
            await registry.finalize_package(package)
        await registry.set_keep_policy("nightly", KeepRules(last=1))
        _clock, expire, collect, verify, _uploads = service_jobs(settings, lambda: registry)
        assert await expire.run() == ("0 packages expired, and 1 by keep policies", True)
        assert (await collect.run()).is_well
        report = await registry.collect_garbage(dry_run=True)
        assert (report.entries, report.waiting.objects) == (0, 1), "the grace is a day"
        assert await verify.run() == ("2 objects of 72 bytes read, 0 of them damaged or missing", True)
        [file] = await registry.list_files(packages[1])
        object_file(settings, file.content_address).unlink()
        text, is_well = await verify.run()
        assert (text, is_well) == ("2 objects of 72 bytes read, 1 of them damaged or missing", False)
