"""What leaves `open_tree` when an actor cannot start: who could not, and why, however deep in the tree it stands."""

from typing import override

import pytest

from artifactstore.supervision import Actor, ActorRef, ActorSpec, StartFailed, SupervisorSpec, open_tree


class _Role:
    pass


class _Unwell(Actor[_Role]):
    @override
    async def on_start(self) -> None:
        raise ValueError("no disk")


@pytest.mark.parametrize("depth", [0, 1, 3])
async def test_a_failed_start_names_the_actor_and_keeps_its_cause(depth: int) -> None:
    """Nothing else is up by then, so the supervisors reach the end of their phases at once."""
    spec: ActorSpec[_Role] | SupervisorSpec = ActorSpec(ref=ActorRef[_Role]("unwell"), factory=_Unwell)
    for level in range(depth):
        spec = SupervisorSpec(name=f"level{level}", children=(spec,))
    with pytest.raises(StartFailed) as caught:
        async with open_tree(SupervisorSpec(name="root", children=(spec,))):
            raise AssertionError("the block ran")
    assert caught.value.path.endswith("/unwell")
    assert isinstance(caught.value.cause, ValueError)
    assert caught.value.__cause__ is caught.value.cause
