"""Which bytes are shown as text, and as which."""

from hypothesis import given
from hypothesis import strategies as st

from artifactstore_protocols.text_preview import beginning_of_text

plain = st.text(st.characters(codec="utf-8", categories=("L", "N", "P", "S", "Zs")))


@given(plain, st.integers(0))
def test_text_is_shown_as_it_is_up_to_a_cut_anywhere(text: str, cut: int) -> None:
    content = text.encode()
    assert beginning_of_text(content, is_cut=False) == text
    shown = beginning_of_text(content[: cut % (len(content) + 1)], is_cut=True)
    assert shown is not None
    assert text.startswith(shown)
    assert len(content[: cut % (len(content) + 1)]) - len(shown.encode()) < 4


@given(st.binary())
def test_what_is_shown_has_no_character_that_acts(content: bytes) -> None:
    shown = beginning_of_text(content, is_cut=False)
    if shown is None:
        assert b"\0" in content or content.decode(errors="replace").encode() != content
    else:
        assert not any(each < " " and each not in "\t\n\r\f" for each in shown)


def test_control_characters_and_changes_of_direction_are_visible() -> None:
    assert beginning_of_text("\x1b[31mred\x7f \u202ex\u2066\x9b\t\r\n".encode(), is_cut=False) == (
        "␛[31mred␡ \ufffdx\ufffd\ufffd\t\r\n"
    )
    assert beginning_of_text(b"\xff\xfe", is_cut=False) is None
    assert beginning_of_text("é".encode()[:1], is_cut=False) is None
    assert beginning_of_text(b"a\0b", is_cut=True) is None
