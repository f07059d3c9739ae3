"""Who may see what: every page and every route, for everybody who has no right to it, and for browsers."""

import re
from collections.abc import Sequence
from itertools import product
from urllib.parse import quote

import pytest
import trio

from artifactstore import Registry, Settings
from artifactstore.environment import environment
from artifactstore.http import limits, streams
from artifactstore.http.api.application import is_anonymous_route
from artifactstore.http.api.table import ROUTES
from artifactstore.http.listening import Listening
from artifactstore.http.peers import Peers, parse_proxies, parse_public_url
from artifactstore.http.sessions import login_grant
from artifactstore.ids import new_id
from artifactstore_protocols.tokens import SCOPES, make_secret
from documents import ROOT, named
from integration.http.described import bearer, path_of
from integration.http.serving import GUARD_S, Answer, Service, ask, connect, read_events, request, serving
from integration.registry.samples import add

MANUAL = ROOT / "docs" / "how-to" / "service-access.md"
INSIDE = {"package": "a-1", "tag": "on-a", "path": "x/y.txt", "hold": new_id(), "upload": new_id()}
PAGES = {"/": "admin", "/events/stream": "admin", "/nothing": "admin", "/metrics": "monitor", "/tree": "monitor"}
OPEN = ["/livez", "/readyz", "/health", "/login", "/page/page.css", "/page/page.js", "/page/login.js"]
HOUR_US = 3_600_000_000
FORM = ("Content-Type", "application/x-www-form-urlencoded")
OWN = ("Origin", "http://localhost")


def targets() -> Sequence[tuple[str, str, str]]:
    """Method, target and scope of every page and every route."""
    pages = [("GET", path, scope) for path, scope in PAGES.items()]
    routes = [(each.method, path_of(each.template, INSIDE), str(each.scope)) for each in ROUTES]
    return [*pages, *routes, ("GET", "/openapi.json", "None")]


async def post(service: Service, path: str, fields: str, *headers: tuple[str, str]) -> Answer:
    """Send a form."""
    length = ("Content-Length", str(len(fields)))
    return await ask(service.url, path, "POST", headers=(FORM, length, *headers), body=fields.encode())


def cookie_in(answer: Answer) -> tuple[str, str]:
    """The header with the cookie that an answer sets."""
    return "Cookie", answer.headers["set-cookie"].partition(";")[0]


async def signed_in(service: Service, *headers: tuple[str, str]) -> tuple[str, str]:
    """The header with the cookie of the user who started a service."""
    code = service.sessions.issue_code(login_grant("ada"))
    answer = await post(service, "/login", f"secret={code}", *(headers or (OWN,)))
    assert (answer.status, answer.headers["location"], answer.body) == (303, "/", b"")
    return cookie_in(answer)


async def fill(registry: Registry) -> None:
    """Store what the routes name."""
    package_id = (await registry.create_package("a-1")).package_id
    await add(registry, package_id, INSIDE["path"], b"content")
    await registry.finalize_package(package_id)
    await registry.set_tag("on-a", package_id)


@pytest.fixture
async def secrets(service: Service, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Tokens of each scope for `a-*`, and one that was revoked and one that has an end."""
    monkeypatch.setattr(limits, "FAILURES_FREE", 10_000)
    registry = service.registry
    await fill(registry)
    found: dict[str, str] = {
        scope: str(await registry.create_token(scope, scopes=[scope], packages=["*" if scope == "admin" else "a-*"]))
        for scope in SCOPES
    }
    for name in ("revoked", "expired"):
        found[name] = str(await registry.create_token(name, scopes=SCOPES, expires="1h"))
    await registry.revoke_token("revoked", reason="a test")
    return {**found, "wrong": str(make_secret(b"x" * 32)), "no secret": "x"}


@pytest.mark.slow
async def test_nobody_without_a_valid_token_learns_anything(
    service: Service, secrets: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now_us = environment.get().now_us

    def in_two_hours(_environment: object) -> int:
        return now_us() + 2 * HOUR_US

    for method, target, _scope in targets():
        answers = [await ask(service.url, target, method, headers=[("Accept", "*/*")])]
        answers += [
            await ask(service.url, target, method, headers=bearer(secrets[who]))
            for who in ("wrong", "no secret", "revoked")
        ]
        with monkeypatch.context() as later:
            later.setattr(type(environment.get()), "now_us", in_two_hours)
            answers.append(await ask(service.url, target, method, headers=bearer(secrets["expired"])))
        assert [each.status for each in answers] == [401] * 5, target
        assert len({each.body for each in answers[1:]}) == 1, "the reason is not told"
        assert all(each.headers["www-authenticate"].startswith("Bearer") for each in answers)
    for path, (method, allowed) in product(OPEN, {"GET": {200}, "HEAD": {200}, "PUT": {401, 405}}.items()):
        assert (await ask(service.url, path, method)).status in allowed, path


async def test_a_token_needs_the_scope_of_a_page(service: Service, secrets: dict[str, str]) -> None:
    whole = str(await service.registry.create_token("monitor", scopes=["read"]))
    for path, scope in PAGES.items():
        for who in SCOPES:
            answer = await ask(service.url, path, "HEAD", headers=bearer(secrets[who]))
            expected = 403 if who != "admin" else 404 if path == "/nothing" else 200
            assert answer.status == expected, (path, who)
        monitored = await ask(service.url, path, "HEAD", headers=bearer(whole))
        assert monitored.status == (200 if scope == "monitor" else 403), path
    for method, target, scope in targets():
        lacking = next(each for each in ("tag", "write") if each != scope)
        if scope != "None" and target not in PAGES:
            refused = await ask(service.url, target, method, headers=bearer(secrets[lacking]))
            assert (refused.status, refused.json["code"]) == (403, "scope_missing"), target


async def test_health_says_more_to_who_may_see_more(service: Service, secrets: dict[str, str]) -> None:
    whole = str(await service.registry.create_token("monitor", scopes=["read"]))
    for secret in (None, secrets["read"]):
        assert (await ask(service.url, "/health", headers=bearer(secret))).json == {"status": "healthy"}
    for secret in (whole, secrets["admin"]):
        assert "components" in (await ask(service.url, "/health", headers=bearer(secret))).json
    assert (await ask(service.url, "/health", headers=bearer(secrets["wrong"]))).status == 401


async def test_a_session_sees_what_its_user_may_see_and_no_page_of_another_site_does(
    service: Service, secrets: dict[str, str]
) -> None:
    assert secrets
    cookie = await signed_in(service)
    for method, target, scope in targets():
        stranger = await ask(service.url, target, method, headers=[cookie, ("Sec-Fetch-Site", "same-site")])
        assert stranger.status == 403, target
        asked = "HEAD" if method == "GET" else method  # a stream has no end
        answer = await ask(service.url, target, asked, headers=[cookie, ("Sec-Fetch-Site", "same-origin")])
        if method != "GET":
            assert (answer.status, answer.json["code"]) == (403, "other_site"), target
        elif scope in {"read", "admin", "monitor", "None"}:
            assert answer.status not in {401, 403}, target
    assert (await ask(service.url, "/tree", headers=[("Cookie", f"{cookie[1]}x")])).status == 401
    host = [("Host", "localhost:81")]
    assert (await ask(service.url, "/tree", headers=[("Cookie", cookie[1].replace("80", "81"))])).status == 401, host


async def test_what_changes_something_needs_more_than_a_cookie(service: Service) -> None:
    cookie = await signed_in(service)
    page = (await ask(service.url, "/", headers=[cookie])).body.decode()
    found = re.search(r'name="csrf" value="([0-9a-f]{64})"', page)
    assert found is not None
    csrf = ("Artifactstore-CSRF", found[1])
    for headers, status in (
        ([], 403),
        ([OWN], 403),
        ([csrf], 403),
        ([OWN, ("Artifactstore-CSRF", "x")], 403),
        ([("Origin", "http://localhost:3000"), csrf], 403),
        ([OWN, csrf, ("Sec-Fetch-Site", "same-site")], 403),
        ([OWN, csrf], 405),
    ):
        answer = await ask(service.url, "/v1/stats", "DELETE", headers=[cookie, *headers])
        assert answer.status == status, headers
    for fields, headers in ((f"csrf={found[1]}", []), ("csrf=x", [OWN]), ("", [OWN])):
        assert (await post(service, "/logout", fields, cookie, *headers)).status == 403
    assert (await ask(service.url, "/tree", headers=[cookie])).status == 200
    left = await post(service, "/logout", f"csrf={found[1]}", cookie, OWN)
    assert (left.status, left.headers["location"]) == (303, "/login")
    assert "Max-Age=0" in left.headers["set-cookie"]
    assert (await ask(service.url, "/tree", headers=[cookie])).json["code"] == "session_ended"


async def test_a_code_or_a_token_begins_a_session_that_ends_with_its_token(
    service: Service, secrets: dict[str, str]
) -> None:
    for secret in ("x", secrets["revoked"], ""):
        refused = await post(service, "/login", f"secret={secret}", OWN, ("Accept", "text/html"))
        assert (refused.status, "set-cookie" in refused.headers) == (401, False)
        assert b'<form method="post" action="/login"' in refused.body
    for headers in ([], [("Origin", "http://127.0.0.1:1")], [("Origin", "null")]):
        assert (await post(service, "/login", f"secret={secrets['admin']}", *headers)).status == 403
    code = service.sessions.issue_code(login_grant("ada"))
    assert (await post(service, "/login", f"secret={code}", OWN)).status == 303
    assert (await post(service, "/login", f"secret={code}", OWN)).status == 401, "it is used up"
    begun = await post(service, "/login", f"secret={quote(secrets['admin'])}", OWN)
    assert re.fullmatch(
        r"artifactstore-80=[0-9a-f]{64}; Path=/; Max-Age=43200; HttpOnly; SameSite=Strict", begun.headers["set-cookie"]
    )
    cookie = cookie_in(begun)
    assert (await ask(service.url, "/", headers=[cookie])).status == 200
    await service.registry.revoke_token("admin", reason="a test")
    ended = await ask(service.url, "/", headers=[cookie, ("Accept", "text/html")])
    assert (ended.status, ended.headers["content-type"]) == (401, "text/html; charset=utf-8")
    assert b"This session has ended" in ended.body


async def test_forms_are_short_and_forms(service: Service) -> None:
    assert (await post(service, "/login", f"secret={'x' * 5000}", OWN)).status == 413
    plain = await ask(service.url, "/login", "POST", headers=[("Content-Length", "1"), OWN], body=b"x")
    assert plain.status == 415
    assert (await post(service, "/login", "&".join(f"{each}=1" for each in range(20)), OWN)).status == 400
    assert (await ask(service.url, "/logout")).status == 405
    assert (await post(service, "/logout", "csrf=x", OWN)).status == 401


async def test_secrets_come_through_a_trusted_proxy_only_by_https(settings: Settings) -> None:
    peers = Peers(*parse_proxies("proxies", "127.0.0.1"), parse_public_url("URL", "https://store.example"))
    https, public = ("X-Forwarded-Proto", "https"), ("Origin", "https://store.example")
    async with serving(settings, Listening("127.0.0.1:0", peers=peers)) as service:
        secret = str(await service.registry.create_token("admin", scopes=["admin"]))
        for headers in ([], [("X-Forwarded-Proto", "http")], [https, ("X-Forwarded-Proto", "http")]):
            for path in ("/tree", "/v1/stats", "/health"):
                refused = await ask(service.url, path, headers=(*bearer(secret), *headers))
                assert (refused.status, refused.json["code"]) == (403, "connection_not_private")
                assert "X-Forwarded-Proto" in refused.json["detail"]
            assert (await post(service, "/login", f"secret={secret}", public, *headers)).status == 403
        assert (await ask(service.url, "/v1/stats", headers=(*bearer(secret), https))).status == 200
        assert (await ask(service.url, "/health")).json == {"status": "healthy"}
        begun = await post(service, "/login", f"secret={secret}", public, https)
        assert begun.headers["set-cookie"].startswith("__Host-artifactstore-443=")
        assert begun.headers["set-cookie"].endswith("; Secure")
        assert (await ask(service.url, "/tree", headers=[cookie_in(begun), https])).status == 200
        assert (await ask(service.url, "/tree", headers=[cookie_in(begun)])).status == 401


@pytest.mark.slow
async def test_anonymous_read_opens_what_reads_packages_and_nothing_else(settings: Settings) -> None:
    async with serving(settings, Listening("127.0.0.1:0", anonymous_read=True)) as service:
        await fill(service.registry)
        for route in ROUTES:
            answer = await ask(service.url, path_of(route.template, INSIDE), route.method)
            assert (answer.status not in {401, 403}) == is_anonymous_route(route), route.template
        for target in (*PAGES, "/v1", "/v1/nothing", "/v1/stats"):
            assert (await ask(service.url, target)).status == 401, target
        assert (await ask(service.url, "/v1/packages", "DELETE")).status == 401
        assert (
            await ask(service.url, "/v1/packages", headers=bearer(str(make_secret(bytes(31) + b"x"))))
        ).status == 401
        assert {each.template for each in ROUTES if is_anonymous_route(each)} >= {"/v1/packages", "/v1/events"}


async def test_one_token_has_neither_all_requests_nor_all_streams(
    service: Service, secrets: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "STREAMS_MAX", 2)
    accept = ("Accept", "text/event-stream")
    with trio.fail_after(GUARD_S):
        async with await connect(service.url) as stream:
            await stream.send_all(request("/v1/events", headers=(*bearer(secrets["read"]), accept)))
            await read_events(stream, 1)
            full = await ask(service.url, "/v1/events", headers=(*bearer(secrets["read"]), accept))
            assert (full.status, full.json["code"]) == (503, "too_many_streams")
            other = await ask(service.url, "/events/stream", "HEAD", headers=bearer(secrets["admin"]))
            assert other.status == 200
            monkeypatch.setattr(limits, "REQUESTS_EACH_MAX", 1)
            refused = await ask(service.url, "/v1/packages", headers=bearer(secrets["read"]))
            assert (refused.status, refused.json["code"]) == (429, "too_many_requests")
            assert int(refused.headers["retry-after"]) > 0
            assert (await ask(service.url, "/v1/stats", headers=bearer(secrets["admin"]))).status == 200


@pytest.mark.slow
async def test_the_manual_shows_what_a_monitor_and_everybody_asks(settings: Settings) -> None:
    async with serving(settings, Listening("127.0.0.1:0", anonymous_read=True)) as service:
        await fill(service.registry)
        secret = str(await service.registry.create_token("prometheus", scopes=["read"]))
        shown: dict[str, str] = {}
        for name in ("access-monitor.sh", "access-anonymous.sh"):
            with trio.fail_after(GUARD_S):
                done = await trio.run_process(
                    ["sh", "-eu", "-c", named(MANUAL, name).code],
                    capture_stdout=True,
                    env={"PATH": "/usr/bin:/bin", "URL": service.url, "TOKEN": secret},
                )
            shown[name] = done.stdout.decode()
    terse, whole, metrics = shown["access-monitor.sh"].split("\n", 2)
    assert terse == '{"status": "healthy"}'
    assert '"components"' in whole
    assert "artifactstore_healthy 1.0" in metrics
    assert '"name": "a-1"' in shown["access-anonymous.sh"]
