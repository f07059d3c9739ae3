"""Sessions of browsers, and the one-time codes and tokens that begin them. They are in memory and end with the service.

A browser gets a random cookie in exchange for a code or a token. At each request the store is asked what the token
allows, so a revoked token ends its session. A session by a code belongs to the user who started the service.
"""

import hashlib
from typing import Final, override

import trio
from msgspec import Struct

from artifactstore.environment import environment
from artifactstore_protocols.tokens import ALL_PACKAGES, Grant, Secret

__all__ = [
    "CODE_S",
    "SESSIONS_EACH_MAX",
    "SESSIONS_MAX",
    "SESSION_S",
    "LoginGrant",
    "Session",
    "Sessions",
    "login_grant",
]

SESSION_S: Final = 12 * 3600
"""How long a session lasts, in seconds."""

SESSIONS_MAX: Final = 1024
"""The most sessions at once. A further one ends the oldest."""

SESSIONS_EACH_MAX: Final = 32
"""The most sessions of one token. The oldest ends when there is another one."""

CODE_S: Final = 60.0
"""How long a code can be exchanged, in seconds."""

_CODES_MAX: Final = 16
_RANDOM_BITS: Final = 256


class LoginGrant(Grant, frozen=True):
    """What somebody may do who can start the service. `name` is the name of a user of the machine."""

    @property
    @override
    def principal(self) -> str:
        """The principal: `login:` and the name."""
        return f"login:{self.name}"


def login_grant(user: str) -> LoginGrant:
    """Return what a one-time code allows: to see everything, and to change nothing."""
    return LoginGrant(user, ("read", "admin"), (ALL_PACKAGES,), None)


class Session(Struct, frozen=True):
    """A session of a browser.

    Attributes:
        key: the digest of its cookie.
        csrf: what a request that changes something says in addition to the cookie.
        until: when it ends, by the clock of trio.
        secret: the secret of its token; None for a session by a code.
        grant: what it allows; None if its token says so.
    """

    key: bytes
    csrf: str
    until: float
    secret: Secret | None = None
    grant: Grant | None = None


class Sessions:
    """The sessions and the codes of one service."""

    def __init__(self) -> None:
        self._sessions: dict[bytes, Session] = {}
        self._codes: dict[bytes, tuple[float, Grant]] = {}

    def issue_code(self, grant: Grant) -> str:
        """Return a code that begins one session with this grant, if it is used within `CODE_S`."""
        code = _random_text()
        self._codes[_key(code)] = (trio.current_time() + CODE_S, grant)
        _shorten(self._codes, _CODES_MAX)
        return code

    def redeem(self, code: str) -> Grant | None:
        """Return the grant of a code, which is then used up; None if it is unknown, used or too old."""
        until, grant = self._codes.pop(_key(code), (0.0, None))
        return grant if trio.current_time() < until else None

    def begin(self, *, secret: Secret | None = None, grant: Grant | None = None) -> str:
        """Begin a session by a token or by a grant, and return the value of its cookie."""
        own = [each for each in self._sessions.values() if (each.secret, each.grant) == (secret, grant)]
        if len(own) >= SESSIONS_EACH_MAX:  # so that one token cannot sign others out
            self.end(own[0])
        cookie = _random_text()
        key = _key(cookie)
        self._sessions[key] = Session(key, _random_text(), trio.current_time() + SESSION_S, secret, grant)
        _shorten(self._sessions, SESSIONS_MAX)
        return cookie

    def find(self, cookie: str) -> Session | None:
        """Return the session with this cookie; None if it has ended."""
        found = self._sessions.get(_key(cookie))
        if found is not None and trio.current_time() >= found.until:
            self.end(found)
            return None
        return found

    def has(self, session: Session) -> bool:
        """Return whether a session has not ended."""
        return session.key in self._sessions and trio.current_time() < session.until

    def end(self, session: Session) -> None:
        """End a session."""
        self._sessions.pop(session.key, None)


def _random_text() -> str:
    return f"{environment.get().random_bits(_RANDOM_BITS):064x}"


def _key(text: str) -> bytes:
    """Return the digest by which a secret text is found, so that the time of a search tells nothing about it."""
    return hashlib.sha256(text.encode(errors="surrogatepass")).digest()


def _shorten[V](found: dict[bytes, V], most: int) -> None:
    while len(found) > most:
        del found[next(iter(found))]
