"""Which schema a new package gets, and which one is refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from artifactstore_protocols.commands import RequireSchema
from artifactstore_protocols.errors import InvalidValue
from artifactstore_protocols.event_types.schema_required import require_schema
from artifactstore_protocols.schema_requirements import REQUIREMENTS_MAX, SchemaRequired, applied_schema
from artifactstore_protocols.state import LogState

SCHEMAS = st.sampled_from(["build@1", "build@2", "model@1"])
NAMES = ["nightly", "nightly-1", "weekly"]
MATCHING = {"*": set(NAMES), "night*": {"nightly", "nightly-1"}, "*-[0-9]": {"nightly-1"}, "weekly": {"weekly"}}


@given(st.sampled_from(NAMES), st.none() | SCHEMAS, st.dictionaries(st.sampled_from(list(MATCHING)), SCHEMAS))
def test_a_package_has_the_only_schema_that_is_given_or_required(
    name: str, given_schema: str | None, requirements: dict[str, str]
) -> None:
    required = {glob: schema for glob, schema in requirements.items() if name in MATCHING[glob]}
    wanted = {*required.values()} | ({given_schema} if given_schema else set[str]())
    if len(wanted) > 1:
        with pytest.raises(SchemaRequired) as refused:
            applied_schema(name, given_schema, requirements)
        assert refused.value.required == required
        assert ("several" in str(refused.value)) == (len(set(required.values())) > 1)
    else:
        assert applied_schema(name, given_schema, requirements) == (wanted.pop() if wanted else None)


def test_a_store_has_a_bounded_number_of_requirements() -> None:
    state = LogState(
        schema_versions={"build": 2}, requirements={f"n{number}": "build@1" for number in range(REQUIREMENTS_MAX)}
    )
    assert require_schema(RequireSchema("n0", "build@1"), state) is None
    assert require_schema(RequireSchema("n0", "build"), state) is not None
    with pytest.raises(InvalidValue, match="at most 100 required schemas"):
        require_schema(RequireSchema("other", "build"), state)
