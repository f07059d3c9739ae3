import mimetypes

import pytest
from hypothesis import given

from artifactstore_protocols.errors import InvalidValue
from artifactstore_protocols.media_types import (
    DEFAULT_MEDIA_TYPE,
    MEDIA_TYPES,
    check_media_type,
    media_type_of,
)
from strategies import paths


@pytest.mark.parametrize(
    ("path", "media_type"),
    [
        ("report.json", "application/json"),
        ("REPORT.JSON", "application/json"),
        ("a.b/c.html", "text/html"),
        ("dist/pkg-1.2.3-py3-none-any.whl", "application/zip"),
        ("pkg-1.2.tar.gz", "application/gzip"),
        ("logs.tar", "application/x-tar"),
        ("bom.cdx.json", "application/vnd.cyclonedx+json"),
        ("bom.spdx.json", "application/spdx+json"),
        ("other.bom.json", "application/json"),
        ("module.wasm", "application/wasm"),
        ("libx.so", "application/x-sharedlib"),
        ("run.log", "text/plain"),
        ("model.safetensors", DEFAULT_MEDIA_TYPE),
        ("Makefile", DEFAULT_MEDIA_TYPE),
        ("dir.json/binary", DEFAULT_MEDIA_TYPE),
        (".json", DEFAULT_MEDIA_TYPE),
        ("a/.json", DEFAULT_MEDIA_TYPE),
        (".config.json", "application/json"),
        ("json", DEFAULT_MEDIA_TYPE),
        ("trailing.", DEFAULT_MEDIA_TYPE),
        ("a..json", "application/json"),
    ],
)
def test_the_longest_known_suffix_of_the_name_decides(path: str, media_type: str) -> None:
    assert media_type_of(path) == media_type


def test_the_table_is_in_the_form_that_look_ups_and_checks_need() -> None:
    for suffix, media_type in MEDIA_TYPES.items():
        assert suffix.startswith(".")
        assert suffix == suffix.lower()
        assert check_media_type(media_type) == media_type
    assert len(MEDIA_TYPES) > 60


def test_the_hosts_own_table_has_no_say(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(mimetypes.types_map, ".json", "text/x-host")
    monkeypatch.setitem(mimetypes.types_map, ".safetensors", "text/x-host")
    assert media_type_of("a.json") == "application/json"
    assert media_type_of("a.safetensors") == DEFAULT_MEDIA_TYPE


@given(paths())
def test_every_path_has_a_valid_media_type(path: str) -> None:
    assert check_media_type(media_type_of(path))


@pytest.mark.parametrize(
    "text",
    [
        "text/plain",
        "application/vnd.oci.image.manifest.v1+json",
        "x-a/x_b!#$&-^.+",
        "a" * 127 + "/" + "b" * 127,
        "9p/1",
    ],
)
def test_a_bare_type_in_lower_case_is_accepted(text: str) -> None:
    assert check_media_type(text) is text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "text",
        "text/",
        "/plain",
        "text/plain/x",
        "text//plain",
        "Text/Plain",
        "text/plain; charset=utf-8",
        "text/plain ",
        " text/plain",
        "text/plain\n",
        "text/*",
        ".text/plain",
        "text/-plain",
        "täxt/plain",
        "text/plain\ud800",
        "a" * 128 + "/b",
        "b/" + "a" * 128,
    ],
)
def test_anything_else_is_refused_with_what_to_write(text: str) -> None:
    with pytest.raises(InvalidValue, match="write it as type/subtype, in lower case, without parameters"):
        check_media_type(text)
