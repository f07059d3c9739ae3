"""The routes. Health is asked of its actor at every request; its answer may be a second old, and says so."""

from collections.abc import Awaitable, Callable

from quart import Response
from quart_trio import QuartTrio

from artifactstore.facts import Json, as_json, health_facts
from artifactstore_protocols.records import HealthReport
from artifactstore_protocols.supervision import Refusal

__all__ = ["make_app"]

_OK = 200
_UNAVAILABLE = 503


def make_app(health: Callable[[], Awaitable[HealthReport]]) -> QuartTrio:
    """The application.

    Args:
        health: asks the HealthActor.
    """
    app = QuartTrio("artifactstore")

    def answer(facts: Json, *, status: int) -> Response:
        return Response(as_json(facts) + "\n", status=status, content_type="application/json")

    @app.get("/health")
    async def get_health() -> Response:
        try:
            report = await health()
        except Refusal as error:  # the health actor itself is down
            return answer({"status": "unavailable", "reasons": [str(error)]}, status=_UNAVAILABLE)
        return answer(health_facts(report), status=_OK if report.healthy else _UNAVAILABLE)

    @app.get("/livez")
    async def get_livez() -> Response:
        return answer({"status": "alive"}, status=_OK)

    @app.get("/readyz")
    async def get_readyz() -> Response:
        return await get_health()

    return app
