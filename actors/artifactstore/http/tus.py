"""What tus 1.0 asks of every request for an upload and of every answer, errors included.

A client that cannot send `PATCH` or `DELETE` sends `POST` with `X-HTTP-Method-Override`. The effective method is set
here, before anything else looks at the request, so all checks are those of that method.
"""

from typing import Any, Final

from artifactstore.http.api.routing import raw_path
from artifactstore.http.shortcut import Application, Receive, Scope, Send
from artifactstore_protocols.resumable_uploads import TUS_VERSION

__all__ = ["METHOD_OVERRIDE", "UPLOADS_PATH", "Tus"]

UPLOADS_PATH: Final = "/v1/uploads"
METHOD_OVERRIDE: Final = "x-http-method-override"

_OVERRIDES: Final = frozenset({"PATCH", "DELETE"})
_VERSION: Final = (b"tus-resumable", TUS_VERSION.encode())


class Tus:
    """An ASGI application that passes every request to another.

    Args:
        application: answers the requests.
    """

    def __init__(self, application: Application) -> None:
        self._application = application

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, for an upload with its effective method, and mark the answer."""
        if scope["type"] != "http" or not _is_for_uploads(raw_path(scope["raw_path"])):
            await self._application(scope, receive, send)
            return

        async def marked(event: dict[str, Any]) -> None:
            if event["type"] == "http.response.start":
                event = {**event, "headers": [*event["headers"], _VERSION]}
            await send(event)

        await self._application({**scope, "method": _method(scope)}, receive, marked)


def _is_for_uploads(path: str) -> bool:
    return path == UPLOADS_PATH or path.startswith(f"{UPLOADS_PATH}/")


def _method(scope: Scope) -> str:
    method: str = scope["method"]
    asked = [value.decode("latin-1").upper() for name, value in scope["headers"] if name == METHOD_OVERRIDE.encode()]
    return asked[0] if method == "POST" and len(asked) == 1 and asked[0] in _OVERRIDES else method
