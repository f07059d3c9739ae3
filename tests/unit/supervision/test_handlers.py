"""`@handles`: what can be declared, and what a subclass inherits."""

from dataclasses import dataclass
from typing import override

import pytest

from artifactstore.supervision import (
    Actor,
    ActorRef,
    ActorSpec,
    Concurrent,
    OnCancel,
    Request,
    Serial,
    SupervisorSpec,
    handles,
    open_tree,
)

from .probe import tree_of


class Role:
    pass


@dataclass(frozen=True, slots=True)
class Name(Request[str, Role]):
    pass


@dataclass(frozen=True, slots=True)
class Other(Request[str, Role]):
    pass


class Base(Actor[Role]):
    @handles(Name)
    async def name(self, _: Name) -> str:
        return "base"

    @handles(Other)
    async def other(self, _: Other) -> str:
        return "other"


class Overrides(Base):
    @override
    async def name(self, _: Name) -> str:
        return "overridden"


class Redeclares(Base):
    @override
    @handles(Name, mode=Concurrent(3), on_cancel=OnCancel.COMPLETE)
    async def name(self, _: Name) -> str:
        return "redeclared"


@pytest.mark.parametrize(("actor", "expected"), [(Base, "base"), (Overrides, "overridden"), (Redeclares, "redeclared")])
async def test_a_subclass_inherits_overrides_and_redeclares_handlers(actor: type[Base], expected: str) -> None:
    ref = ActorRef[Role]("a")
    async with open_tree(tree_of(ActorSpec(ref=ref, factory=actor))):
        assert await ref.ask(Name()) == expected
        assert await ref.ask(Other()) == "other"


def test_a_handler_is_serial_and_cancelled_with_its_asker_unless_declared_otherwise() -> None:
    assert (Base.handlers[Name].mode, Base.handlers[Name].on_cancel) == (Serial(), OnCancel.CANCEL)
    assert (Overrides.handlers[Name].mode, Redeclares.handlers[Name].mode) == (Serial(), Concurrent(3))
    assert Redeclares.handlers[Name].on_cancel is OnCancel.COMPLETE


def test_two_methods_cannot_handle_one_message() -> None:
    with pytest.raises(TypeError, match="Twice handles Name twice: name, again"):

        class Twice(Base):  # pyright: ignore[reportUnusedClass]
            @handles(Name)
            async def again(self, _: Name) -> str:
                return ""


def test_a_handler_must_be_an_async_function() -> None:
    with pytest.raises(TypeError, match="must be an async function"):

        @handles(Name)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        def name(_self: Base, _: Name) -> str:  # pyright: ignore[reportUnusedFunction]
            return ""


@pytest.mark.parametrize("name", ["", "a/b"])
def test_a_name_must_be_usable_in_a_path(name: str) -> None:
    with pytest.raises(ValueError, match="no name for a child"):
        ActorSpec(ref=ActorRef[Role](name), factory=Base)
    with pytest.raises(ValueError, match="no name for a child"):
        SupervisorSpec(name=name, children=())
