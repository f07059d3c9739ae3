"""Hypothesis strategies for workloads and faults, so that what fails shrinks to the little that matters.

Needs `hypothesis`, which artifactstore itself does not install.
"""

from enum import Enum
from typing import Any

from hypothesis import strategies as st

from simulation.grammar import Field, fields_of
from simulation.plan import Plan

__all__ = ["plans"]


def plans() -> st.SearchStrategy[Plan]:
    """Whole simulations; the simplest has one client with one operation and no faults."""
    return _values(Plan)


def _values(cls: type[Any]) -> st.SearchStrategy[Any]:
    return st.builds(cls, **{each.name: _field(each) for each in fields_of(cls)})


def _field(described: Field) -> st.SearchStrategy[Any]:
    low, high = described.bounds.low, described.bounds.high
    one = st.one_of([_one(kind, low, high) for kind in described.kinds])
    return st.lists(one, min_size=low, max_size=high).map(tuple) if described.repeated else one


def _one(kind: type[Any], low: int, high: int) -> st.SearchStrategy[Any]:
    if kind is bool:
        return st.booleans()
    if kind is int:
        return st.integers(low, high)
    return st.sampled_from(list(kind)) if issubclass(kind, Enum) else _values(kind)
