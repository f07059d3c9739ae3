"""What errors say: the facts, and what to do next."""

import pickle
import re
from typing import ClassVar

import pytest

from artifactstore.supervision import (
    ActorCrashed,
    ActorStopped,
    AskCycle,
    AskTimeout,
    ChildBusy,
    ChildExists,
    MailboxFull,
    Refusal,
    StartFailed,
    SupervisorGaveUp,
    SupervisorNotRunning,
    UnhandledMessage,
    UnknownChild,
)

CAUSE = ValueError("why")


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (
            AskTimeout("root/a", "Echo", may_have_taken_effect=False, timeout_s=2.5),
            "root/a did not answer Echo within 2.5 s; it has had no effect",
        ),
        (
            ActorCrashed("root/a", "Echo", may_have_taken_effect=True, cause=CAUSE),
            "root/a crashed on Echo with ValueError('why'); it may have taken effect, so look before asking again",
        ),
        (
            ActorStopped("root/a", "Echo", may_have_taken_effect=False),
            "root/a is stopped and did not answer Echo; it has had no effect",
        ),
        (
            MailboxFull("root/a", "Echo", size_bytes=1, messages_limit=2, bytes_limit=3),
            "the mailbox of root/a is full (2 messages or 3 bytes); Echo was not sent: wait, or shed load",
        ),
        (
            MailboxFull("root/a", "Echo", size_bytes=4, messages_limit=2, bytes_limit=3),
            "Echo of 4 bytes can never enter the mailbox of root/a, which holds 3; split it",
        ),
        (
            AskCycle(("root/a", "root/b", "root/a")),
            "ask cycle root/a -> root/b -> root/a: use tell, or let the caller pass on what is asked for",
        ),
        (UnhandledMessage("root/a", "Echo"), "root/a does not handle Echo: declare it with @handles"),
        (StartFailed("root/a", CAUSE), "root/a did not start: ValueError('why')"),
        (
            SupervisorGaveUp("root", "root/a", CAUSE),
            "root gave up: root/a failed too often, last with ValueError('why')",
        ),
        (UnknownChild("root/x"), "there is no root/x in this tree: see snapshot() for the paths that exist"),
        (
            ChildExists("root/a", "idle"),
            "root/a exists and is idle: choose another name, or stop and remove it first",
        ),
        (ChildBusy("root/a", "starting"), "root/a is starting: wait until that is over, or stop it first"),
        (
            SupervisorNotRunning("root", "stopping"),
            "root is stopping: its children can be changed only while it is running",
        ),
    ],
)
def test_an_error_is_a_refusal_that_says_what_is_wrong_and_what_to_do(error: Refusal, text: str) -> None:
    assert isinstance(error, Refusal)
    assert str(error) == text


class _Base(Refusal):
    path: str
    kind: ClassVar[str] = "base"


class _Derived(_Base):
    reason: str = "unknown"
    template = "{self.path}: {self.reason}"


def test_annotations_are_the_fields_of_an_error() -> None:
    assert str(_Derived("a")) == "a: unknown"
    error = _Derived("a", reason="gone")
    assert str(error) == "a: gone"
    assert repr(error) == "_Derived(path='a', reason='gone')"
    assert error != _Derived("a", reason="gone")
    assert vars(pickle.loads(pickle.dumps(_Derived("a", "gone")))) == vars(error)  # noqa: S301 - its own bytes


@pytest.mark.parametrize(
    ("arguments", "named", "words"),
    [
        ((), {}, "missing: ['path']"),
        (("a", "b", "c"), {}, "wrong: [\"'c'\"]"),
        (("a",), {"path": "b"}, "wrong: ['path']"),
        (("a",), {"kind": "b"}, "wrong: ['kind']"),
    ],
)
def test_an_error_with_other_fields_cannot_be_made(
    arguments: tuple[str, ...], named: dict[str, str], words: str
) -> None:
    with pytest.raises(TypeError, match=re.escape(words)):
        _Derived(*arguments, **named)
