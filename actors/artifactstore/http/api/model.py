"""What a route of the API is, what its handler receives, and what it returns."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from http import HTTPStatus
from typing import Annotated, Any, Final, Literal

from msgspec import Meta, Struct

from artifactstore.config import ENVIRONMENT
from artifactstore.http.api.upload_turns import Uploads
from artifactstore.http.request_body import RequestBody
from artifactstore.http.shortcut import Receive, Scope, Send
from artifactstore.http.streams import EventStreams
from artifactstore.registry import Registry
from artifactstore_protocols.events import SEQUENCE_MAX
from artifactstore_protocols.packages import PackageNotFound
from artifactstore_protocols.records import PackageRecord
from artifactstore_protocols.tokens import Grant
from artifactstore_protocols.tokens import Scope as TokenScope

__all__ = [
    "ANY",
    "CBOR",
    "EVENT_STREAM",
    "HTML",
    "JSON",
    "JSON_LINES",
    "NO_HEADERS",
    "Answer",
    "Call",
    "FreshQuery",
    "Handler",
    "NoQuery",
    "RawReply",
    "Reply",
    "Route",
    "UploadLimits",
]

JSON: Final = "application/json"
JSON_LINES: Final = "application/jsonl"
EVENT_STREAM: Final = "text/event-stream"
CBOR: Final = "application/cbor"
HTML: Final = "text/html"

ANY: Final = "*/*"
"""The media type of a route whose answers have many. It is sent whatever a client accepts."""

NO_HEADERS: Final[Mapping[str, str]] = {}


class NoQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """The query of a route that takes none."""


class FreshQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """The query of a route that can wait for a change that another server made."""

    min_sequence: Annotated[
        int,
        Meta(ge=0, le=SEQUENCE_MAX, description="Wait up to 10 s until the log has this event; then 503."),
    ] = 0


class UploadLimits(Struct, frozen=True):
    """What a service takes.

    Attributes:
        file_bytes_max: the size of the largest file that is uploaded in one request.
        free_bytes_min: the free space that uploads leave on each device of the store.
    """

    file_bytes_max: int = int(ENVIRONMENT["ARTIFACTSTORE_UPLOAD_MAX_MIB"]) << 20
    free_bytes_min: int = int(ENVIRONMENT["ARTIFACTSTORE_UPLOAD_RESERVE_MIB"]) << 20


class Call(Struct, frozen=True):
    """A request that the API has admitted, with all that its handler needs.

    Attributes:
        registry: the store.
        grant: what the token of the request allows.
        method: `GET`, also for a `HEAD` request of a route for `GET`.
        is_head: whether the answer has no body.
        path: the decoded values of the path parameters.
        headers: the headers, by lower-case names. Of a repeated header it has the values, joined by commas.
        media_type: the media type of the answer that the request prefers, of those that the route offers.
        streams: the event streams of this server.
        uploads: the requests of this server that write into uploads.
        recheck: returns what the token allows now, or raises `TokenInvalid`, for an answer that takes long.
        body: the body of the request. Unless it is JSON, the handler reads it.
        limits: the limits of uploads.
        sent: the value of a JSON body; None if the body is none. See `sent_as`.
        named: the package that the path names, among those that the token may use; None if the path has none.
    """

    registry: Registry
    grant: Grant
    method: str
    is_head: bool
    path: Mapping[str, str]
    headers: Mapping[str, str]
    media_type: str
    streams: EventStreams
    uploads: Uploads
    recheck: Callable[[], Awaitable[Grant]]
    body: RequestBody
    limits: UploadLimits
    sent: object = None
    named: PackageRecord | None = None

    @property
    def package(self) -> PackageRecord:
        """The package that the path names.

        Raises:
            PackageNotFound: the route has no `{package}`.
        """
        if self.named is None:
            raise PackageNotFound("")
        return self.named

    @property
    def principal(self) -> str:
        """The principal of what the request changes."""
        return self.grant.principal

    def sent_as[T](self, kind: type[T]) -> T:
        """Return the value of the JSON body, which the route says is of this type.

        Raises:
            TypeError: the route says something else.
        """
        if not isinstance(self.sent, kind):
            raise TypeError(f"the body of this route is no {kind.__name__}")
        return self.sent

    @property
    def within(self) -> Sequence[str]:
        """The globs for names of the packages that the token may use."""
        return self.grant.packages


class Answer(Struct, frozen=True):
    """A whole answer.

    Attributes:
        value: what a JSON answer says; or the bytes of another media type.
        status: the HTTP status.
        headers: further headers.
    """

    value: object
    status: HTTPStatus = HTTPStatus.OK
    headers: Mapping[str, str] = NO_HEADERS


type RawReply = Callable[[Scope, Receive, Send], Awaitable[None]]
"""An answer that sends itself, such as a stream. It sends `http.response.start` and bodies; none for `Call.is_head`."""

type Reply = Answer | RawReply

type Handler[Q: Struct] = Callable[[Call, Q], Awaitable[Reply]]
"""Answers an admitted request. It raises errors of the library, or a `Problem`, before it sends anything."""


class Route[Q: Struct](Struct, frozen=True):
    """A route of the API.

    A path template has parameters such as `{package}`. `{path...}`, which is the last one, takes all that is left, with
    its slashes. The API resolves `{package}` among the packages that the token may use, so no handler can forget that.

    Attributes:
        method: the method. A route for `GET` answers `HEAD` too.
        template: the template of the path.
        summary: one line that says what the route does.
        handler: answers the requests.
        query: the parameters of the query, as a struct of plain values and tuples of them.
        named: what `{package}` means: `any` way to name a package; the same, but an `open` package of a name comes
            first; or its exact `id`, because a name can mean another package tomorrow.
        scope: the scope that a token needs; None if any valid token will do.
        whole_store: whether the token must be for the store as a whole.
        answers: by media type, what the answer is: an annotation of a JSON value, or None for bytes. The first one is
            the answer for a client that accepts all.
        body: the type of the body by media type, as a struct for JSON, and None for bytes; empty for a route that
            takes none. `ANY` takes bytes of every type.
        needs_body: whether a request without a body is refused.
        headers: header parameters, with their descriptions.
        status: the status of a success.
        errors: the other statuses that this route has, errors or not, with their descriptions.
        tag: the part of the document that it belongs to.
    """

    method: str
    template: str
    summary: str
    handler: Handler[Q]
    query: type[Q]
    answers: Mapping[str, Any]
    scope: TokenScope | None = "read"
    whole_store: bool = False
    body: Mapping[str, Any] = NO_HEADERS
    needs_body: bool = True
    headers: Mapping[str, str] = NO_HEADERS
    status: HTTPStatus = HTTPStatus.OK
    errors: Mapping[HTTPStatus, str] | Mapping[int, str] = {}
    tag: str = "packages"
    named: Literal["any", "open", "id"] = "any"
