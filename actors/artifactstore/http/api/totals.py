"""The handler for what the store holds as a whole."""

from artifactstore.http.api.model import Answer, Call, FreshQuery

__all__ = ["get_totals"]


async def get_totals(call: Call, _query: FreshQuery) -> Answer:
    """Answer with the totals of the store."""
    return Answer(await call.registry.stats())
