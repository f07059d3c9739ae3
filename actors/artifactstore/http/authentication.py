"""Who sends a request: a token in its header, the session of a browser, or nobody at all if the operator allows that.

Browsers send cookies on their own, also for pages of other ports of the same host. So a request with a cookie must come
from a page of this service, and one that changes something must say what only such a page knows.
"""

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from hmac import compare_digest
from http import HTTPStatus
from typing import Final

from msgspec import Struct

from artifactstore.http.access import facts_of
from artifactstore.http.api.problems import Problem
from artifactstore.http.hosts import parse_authority
from artifactstore.http.limits import Failures, Requests
from artifactstore.http.peers import Peer, Peers
from artifactstore.http.sessions import SESSION_S, LoginGrant, Session, Sessions
from artifactstore.http.shortcut import Scope
from artifactstore.registry import Registry
from artifactstore_protocols.tokens import ALL_PACKAGES, Grant, Secret, TokenInvalid

__all__ = [
    "ANONYMOUS",
    "CSRF_HEADER",
    "Authenticator",
    "Identify",
    "Identity",
    "challenge",
    "headers_of",
    "token_missing",
]

type Identify = Callable[[Registry, str], Awaitable[Grant]]
"""Returns what the token with a secret allows, or raises `TokenInvalid`."""

CSRF_HEADER: Final = "artifactstore-csrf"
"""The header by which a page of the service shows that a request with a cookie is its own."""

ANONYMOUS: Final = Grant("(anonymous)", ("read",), (ALL_PACKAGES,), None)
"""What nobody in particular may do, if the operator allows it. No token has this name."""

_BEARER: Final = "bearer "
_CHALLENGE: Final = 'Bearer realm="artifactstore"'
_COOKIE: Final = "artifactstore"
_OWN_SITE: Final = frozenset({"same-origin", "none"})
_READING: Final = frozenset({"GET", "HEAD"})
_DEFAULT_PORTS: Final = {"http": "80", "https": "443"}


class Identity(Struct, frozen=True):
    """Who sends a request.

    Attributes:
        registry: the store.
        grant: what the sender may do.
        recheck: returns what the sender may do now, or raises `TokenInvalid`.
        session: the session of a browser; None for other clients.
    """

    registry: Registry
    grant: Grant
    recheck: Callable[[], Awaitable[Grant]]
    session: Session | None = None

    @property
    def is_anonymous(self) -> bool:
        """Whether the request says nothing of its sender."""
        return self.grant is ANONYMOUS


class Authenticator:
    """Tells who sends a request.

    Args:
        registry: returns the open store; None while it is starting.
        identify: returns what a token allows.
        peers: what the operator says about the way of requests.
        sessions: the sessions of browsers.
        anonymous_read: whether a request without a token may read packages.
    """

    def __init__(
        self,
        registry: Callable[[], Registry | None],
        identify: Identify,
        peers: Peers,
        sessions: Sessions,
        *,
        anonymous_read: bool,
    ) -> None:
        self.peers, self.sessions = peers, sessions
        self._registry, self._identify = registry, identify
        self._anonymous_read = anonymous_read
        self._failures, self._requests = Failures(), Requests()

    @asynccontextmanager
    async def admitted(self, scope: Scope) -> AsyncGenerator[Identity]:
        """Return who sends a request, and count the request until it is answered.

        Raises:
            Problem: the request says nobody, or in a way that is not allowed; or the sender has too many requests.
            TokenInvalid: its token is not valid.
        """
        identity = await self.identity(scope)
        if not identity.is_anonymous and not isinstance(identity.grant, LoginGrant):
            facts_of(scope).token = identity.grant.name
        with self._requests.counted(identity.grant.principal):
            yield identity

    async def identity(self, scope: Scope) -> Identity:
        """Return who sends a request; raise like `admitted`."""
        registry = self._registry()
        if registry is None:
            raise _starting()
        headers = headers_of(scope)
        peer = self.peers.peer_of(scope)
        given = headers.get("authorization")
        if given is not None and given.lower().startswith(_BEARER):
            return await self.of_secret(registry, Secret(given[len(_BEARER) :].strip()), peer)
        cookie = None if given is not None else self.cookie(headers, peer)
        if cookie is not None:
            return await self._of_cookie(registry, cookie, scope["method"], headers, peer)
        if self._anonymous_read and given is None:
            return Identity(registry, ANONYMOUS, _nobody)
        raise token_missing()

    async def of_secret(self, registry: Registry, secret: Secret, peer: Peer) -> Identity:
        """Return who has a secret; raise like `admitted`."""
        _check_private(peer)
        try:
            grant = await self._identify(registry, secret)
        except TokenInvalid:
            await self._failures.slow_down(peer.address)
            raise

        async def recheck() -> Grant:
            return await self._identify(registry, secret)

        return Identity(registry, grant, recheck)

    async def log_in(self, scope: Scope, text: str) -> tuple[str, Grant]:
        """Return the value of a cookie for a one-time code or the secret of a token, and what it allows.

        It raises the errors of `admitted`.
        """
        registry = self._registry()
        if registry is None:
            raise _starting()
        headers, peer = headers_of(scope), self.peers.peer_of(scope)
        _check_private(peer)
        self._check_origin(headers, peer)
        grant = self.sessions.redeem(text)
        if grant is not None:
            return self.sessions.begin(grant=grant), grant
        identity = await self.of_secret(registry, secret := Secret(text), peer)
        return self.sessions.begin(secret=secret), identity.grant

    def cookie(self, headers: Mapping[str, str], peer: Peer) -> str | None:
        """Return the value of the cookie of this service; None if there is none."""
        name = self.cookie_name(headers, peer)
        for each in headers.get("cookie", "").split(";"):
            key, equals, value = each.strip().partition("=")
            if key == name and equals:
                return value
        return None

    def cookie_name(self, headers: Mapping[str, str], peer: Peer) -> str:
        """Return the name of the cookie, which has the port: services on other ports of a host get it too."""
        authority = parse_authority(headers.get("host", ""))
        port = (authority and authority.port) or _DEFAULT_PORTS[peer.scheme]
        prefix = "__Host-" if peer.scheme == "https" else ""
        return f"{prefix}{_COOKIE}-{port}"

    def set_cookie(self, scope: Scope, value: str) -> str:
        """Return the header that gives a browser its cookie, or takes an empty one away."""
        peer = self.peers.peer_of(scope)
        age = SESSION_S if value else 0
        secure = "; Secure" if peer.scheme == "https" else ""
        name = self.cookie_name(headers_of(scope), peer)
        return f"{name}={value}; Path=/; Max-Age={age}; HttpOnly; SameSite=Strict{secure}"

    def check_csrf(self, session: Session, given: str) -> None:
        """Check what a request that changes something says in addition to its cookie.

        Raises:
            Problem: it is something else.
        """
        if not compare_digest(session.csrf.encode(), given.encode()):
            detail = f"A request with a cookie that changes something needs the header {CSRF_HEADER} of its page."
            raise Problem(HTTPStatus.FORBIDDEN, "csrf_refused", detail)

    async def session(self, scope: Scope) -> Session:
        """Return the session of a form that a page of this service sends. The form has the CSRF token.

        Raises:
            Problem: there is no session, or another site sends the form.
        """
        headers, peer = headers_of(scope), self.peers.peer_of(scope)
        cookie = self.cookie(headers, peer)
        if cookie is None:
            raise token_missing()
        self._check_origin(headers, peer)
        return await self._session(cookie, headers, peer)

    async def _session(self, cookie: str, headers: Mapping[str, str], peer: Peer) -> Session:
        _check_private(peer)
        if headers.get("sec-fetch-site", "none") not in _OWN_SITE:
            raise _other_site()
        session = self.sessions.find(cookie)
        if session is None:
            await self._failures.slow_down(peer.address)
            raise _session_ended()
        return session

    async def _of_cookie(
        self, registry: Registry, cookie: str, method: str, headers: Mapping[str, str], peer: Peer
    ) -> Identity:
        session = await self._session(cookie, headers, peer)

        async def recheck() -> Grant:
            if not self.sessions.has(session):
                raise TokenInvalid
            if session.grant is not None:
                return session.grant
            try:
                return await self._identify(registry, session.secret or "")
            except TokenInvalid:
                self.sessions.end(session)
                raise

        try:
            grant = await recheck()
        except TokenInvalid:
            raise _session_ended() from None
        if method not in _READING:
            self._check_origin(headers, peer)
            self.check_csrf(session, headers.get(CSRF_HEADER, ""))
        return Identity(registry, grant, recheck, session)

    def _check_origin(self, headers: Mapping[str, str], peer: Peer) -> None:
        if not self.peers.is_own(headers.get("origin", ""), headers.get("host", ""), peer):
            raise _other_site()


def headers_of(scope: Scope) -> Mapping[str, str]:
    """Return the headers of a request; the values of a repeated one are joined by commas."""
    found: dict[str, str] = {}
    for name, value in scope["headers"]:
        key, text = name.decode("latin-1").lower(), value.decode("latin-1")
        found[key] = f"{found[key]}, {text}" if key in found else text
    return found


def challenge(problem: Problem) -> Mapping[str, str]:
    """Return the header that says how a client may identify itself, for a problem that is about that."""
    if problem.status is HTTPStatus.UNAUTHORIZED:
        error = "" if problem.code == "token_missing" else ', error="invalid_token"'
        return {"WWW-Authenticate": f"{_CHALLENGE}{error}"}
    if problem.code == "scope_missing":
        return {"WWW-Authenticate": f'{_CHALLENGE}, error="insufficient_scope"'}
    return {}


async def _nobody() -> Grant:
    return ANONYMOUS


def _check_private(peer: Peer) -> None:
    """Refuse a secret that others could have read on its way.

    Raises:
        Problem: they could.
    """
    if peer.is_private:
        return
    if peer.is_proxied:
        detail = "The trusted proxy does not say that its client used TLS: let it send X-Forwarded-Proto: https."
    else:
        detail = (
            "This connection is not encrypted, so others may have read the token: revoke it. Use https, by --certfile "
            "and --keyfile or by a proxy that --trusted-proxy names; or ask from the machine of the service."
        )
    raise Problem(HTTPStatus.FORBIDDEN, "connection_not_private", detail)


def token_missing() -> Problem:
    """Return the problem of a request that says nobody."""
    detail = "Send a token as `Authorization: Bearer TOKEN`; `artifactstore token create` makes one."
    return Problem(HTTPStatus.UNAUTHORIZED, "token_missing", detail)


def _starting() -> Problem:
    return Problem(HTTPStatus.SERVICE_UNAVAILABLE, "starting", "The store is starting; ask again.")


def _session_ended() -> Problem:
    return Problem(HTTPStatus.UNAUTHORIZED, "session_ended", "This session has ended: sign in again.")


def _other_site() -> Problem:
    detail = "A request with a cookie, or that begins a session, has to come from a page of this service."
    return Problem(HTTPStatus.FORBIDDEN, "other_site", detail)
