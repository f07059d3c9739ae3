"""The routes. Health is asked of its actor at every request; its answer may be a second old, and says so."""

from collections.abc import Awaitable, Callable

from quart import Response
from quart_trio import QuartTrio

from artifactstore.facts import Json, as_json, facts, health_facts
from artifactstore.ids import now_us
from artifactstore_protocols.records import HealthReport
from artifactstore_protocols.supervision import Refusal, SupervisorSnapshot

__all__ = ["make_app"]

_OK = 200
_UNAVAILABLE = 503


def make_app(
    health: Callable[[], Awaitable[HealthReport]], snapshot: Callable[[], SupervisorSnapshot | None]
) -> QuartTrio:
    """The application.

    Args:
        health: asks the HealthActor.
        snapshot: looks at the supervision tree; None while it is starting.
    """
    app = QuartTrio("artifactstore")

    def answer(value: Json, *, status: int) -> Response:
        return Response(as_json(value) + "\n", status=status, content_type="application/json")

    @app.get("/health")
    async def get_health() -> Response:
        try:
            report = await health()
        except Refusal as error:  # the health actor itself is down
            return answer({"status": "unavailable", "reasons": [str(error)]}, status=_UNAVAILABLE)
        return answer(health_facts(report, now_us()), status=_OK if report.healthy else _UNAVAILABLE)

    @app.get("/livez")
    async def get_livez() -> Response:
        return answer({"status": "alive"}, status=_OK)

    @app.get("/readyz")
    async def get_readyz() -> Response:
        return await get_health()

    @app.get("/tree")
    async def get_tree() -> Response:
        found = snapshot()
        if found is None:
            return answer({"status": "starting"}, status=_UNAVAILABLE)
        return answer(facts(found), status=_OK)

    return app
