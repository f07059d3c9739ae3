"""Settings: where each is from, what its value means, and what is refused by its name."""

import os
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from artifactstore.cli.help_texts import SETTINGS
from artifactstore.config import ENVIRONMENT, Settings, find_settings
from artifactstore.misspelled_settings import suggested_settings
from artifactstore_protocols.errors import InvalidValue

URL, ROOT, LEVEL, FILES_MAX, *_NUMBERS = ENVIRONMENT


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current directory: two levels below one that is meant for project files, and below the home directory."""
    directory = tmp_path / "project" / "below"
    directory.mkdir(parents=True)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(directory)
    return directory


def project_file(text: str | bytes) -> Path:
    file = Path.cwd().parent / "artifactstore.toml"
    file.write_bytes(text.encode() if isinstance(text, str) else text)
    return file


def test_an_empty_environment_gives_the_defaults() -> None:
    assert Settings.load({}) == Settings()
    assert Settings.load(dict.fromkeys(ENVIRONMENT, "")) == Settings(), "an empty variable is not set"
    assert list(SETTINGS) == list(Settings.__struct_fields__), "`artifactstore --help` lists every one"


def test_every_variable_is_read() -> None:
    read = Settings.load({URL: "postgresql://ci:secret@host/name", ROOT: "/somewhere", LEVEL: "debug", FILES_MAX: "7"})
    assert read.database_url == "postgresql://ci:secret@host/name"
    assert (read.storage_local_root, read.log_level, read.package_files_max) == (Path("/somewhere"), "DEBUG", 7)
    assert "secret" not in repr(read)


def test_the_option_goes_before_the_environment_and_that_before_the_project_file(here: Path) -> None:
    file = project_file('storage_local_root = "objects"\ndatabase_url = "sqlite:///log.db"\nlog_level = "info"')
    environment = {URL: "sqlite:///env.db"}
    assert find_settings(environment).origins == {
        "database_url": URL,
        "storage_local_root": str(file),
        "log_level": str(file),
        "package_files_max": "default",
        "storage_small_max": "default",
        "expire_hours": "default",
        "gc_hours": "default",
        "verify_hours": "default",
        "upload_max_mib": "default",
        "upload_reserve_mib": "default",
        "anonymous_read": "default",
        "trusted_proxies": "default",
        "public_url": "default",
    }
    assert Settings.load(environment) == Settings("sqlite:///env.db", here.parent / "objects", "INFO")
    stored = find_settings({**environment, ROOT: "elsewhere"}, store="dir with % and ?")
    assert stored.settings == Settings(
        "sqlite:///dir%20with%20%25%20and%20%3F/artifactstore.db", Path("dir with % and ?/objects"), "INFO"
    )
    assert (stored.origins["database_url"], stored.origins["storage_local_root"]) == ("--store", "--store")


def test_paths_of_a_project_file_are_relative_to_it(here: Path) -> None:
    project_file('database_url = "sqlite:///a%20b.db"\nstorage_local_root = "../objects"\npackage_files_max = 1_0')
    read = Settings.load({})
    assert read.database_url == f"sqlite:///{here.parent}/a%20b.db"
    assert (read.storage_local_root, read.package_files_max) == (here.parent / "../objects", 10)
    project_file('database_url = "sqlite:///~/log.db"\nstorage_local_root = "~/objects"')
    home = here.parent.parent
    assert Settings.load({}) == Settings(f"sqlite:///{home}/log.db", home / "objects")
    project_file('database_url = "postgresql://host/name"\nstorage_local_root = "/objects"')
    assert Settings.load({}) == Settings("postgresql://host/name", Path("/objects"))


def test_the_nearest_project_file_counts_up_to_the_home_directory(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project_file("package_files_max = 1")
    nearest = here / "artifactstore.toml"
    nearest.write_text("package_files_max = 2")
    assert Settings.load({}).package_files_max == 2
    nearest.unlink()
    assert Settings.load({"HOME": str(here.parent)}).package_files_max == 1, "the home directory's own counts"
    assert Settings.load({"HOME": str(here)}).package_files_max == Settings().package_files_max
    (here / "link").symlink_to(here)
    assert Settings.load({"HOME": str(here / "link")}).package_files_max == Settings().package_files_max


def test_a_project_file_of_another_file_system_does_not_count(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project_file("package_files_max = 1")
    real = Path.stat

    def stat(path: Path, *, follow_symlinks: bool = True) -> os.stat_result:
        found = real(path, follow_symlinks=follow_symlinks)
        if path != here.parent:
            return found
        return os.stat_result((found.st_mode, found.st_ino, found.st_dev + 1, *found[3:]))

    monkeypatch.setattr(Path, "stat", stat)
    assert Settings.load({}).package_files_max == Settings().package_files_max


PROJECT_FILES = {
    "another name": ('databse_url = "x"', "it has no setting 'databse_url'; did you mean database_url?"),
    "a table": ("[store]\n", "it has no setting 'store'; "),
    "no TOML": ("database_url=", "it is not valid TOML: "),
    "no UTF-8": (b"\xff", "it is not valid UTF-8"),
    "too long": ("#" * 70_000, "it is larger than 65536 bytes"),
    "nested": ("a=" + "[" * 30_000, "it is nested too deeply"),
    "digits": (f"package_files_max={'9' * 5000}", "too many digits"),
    "a number for a URL": ("database_url = 5", "write a URL, as text"),
    "a number for a directory": ("storage_local_root = 5", "name a directory"),
    "a truth for a number": ("package_files_max = true", "write a whole number"),
    "a time for a level": ("log_level = 1979-05-27", "use DEBUG, INFO, WARNING or ERROR"),
    "a value": ('log_level = "LOUD"', "use DEBUG, INFO, WARNING or ERROR"),
}


@pytest.mark.parametrize(("text", "reason"), PROJECT_FILES.values(), ids=PROJECT_FILES.keys())
def test_a_project_file_that_is_not_sound_is_refused_by_its_path(text: str | bytes, reason: str) -> None:
    file = project_file(text)
    with pytest.raises(InvalidValue) as refused:
        Settings.load({})
    assert str(file) in str(refused.value)
    assert reason in str(refused.value)


def test_what_is_no_regular_file_is_refused_and_not_waited_for(here: Path) -> None:
    os.mkfifo(here / "artifactstore.toml")
    with pytest.raises(InvalidValue, match="it is no regular file"):
        Settings.load({})
    (here / "artifactstore.toml").unlink()
    (here / "artifactstore.toml").mkdir()
    with pytest.raises(InvalidValue, match="Is a directory"):
        Settings.load({})


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to give files away")
@pytest.mark.parametrize("owned", ["file", "link", "directory"])
def test_a_project_file_of_another_user_is_refused(here: Path, owned: str) -> None:
    file = here / "artifactstore.toml"
    if owned == "link":
        file.symlink_to(here / "mine.toml")
        (here / "mine.toml").touch()
    else:
        file.touch()
    assert Settings.load({}) == Settings()
    os.chown({"file": file, "link": file, "directory": here}[owned], 65534, -1, follow_symlinks=False)
    for settings in ({}, {URL: "sqlite:////x", ROOT: "/x"}):
        with pytest.raises(InvalidValue, match=r"belongs to another user \(uid 65534\)"):
            Settings.load(settings)


VALUES = [
    (LEVEL, "LOUD", "use DEBUG"),
    (LEVEL, "NOTSET", "use DEBUG"),
    (LEVEL, "30", "use DEBUG"),
    (LEVEL, "\u0131nfo", "use DEBUG"),
    (LEVEL, "INFO\r", "it holds the control character U+000D"),
    (LEVEL, "INFO ", "white space"),
    (FILES_MAX, "0", "write a whole number from 1 to 999999999, digits alone"),
    (FILES_MAX, "-1", "digits alone"),
    (FILES_MAX, "+5", "digits alone"),
    (FILES_MAX, "007", "digits alone"),
    (FILES_MAX, "1_000", "digits alone"),
    (FILES_MAX, "²", "digits alone"),
    (FILES_MAX, "٣", "digits alone"),
    (FILES_MAX, "1e3", "digits alone"),
    (FILES_MAX, "many", "digits alone"),
    (FILES_MAX, "9" * 4000, "digits alone"),
    (FILES_MAX, "9" * 5000, "it is longer than 4096 characters"),
    (FILES_MAX, "7\r", "it holds the control character U+000D"),
    (ROOT, "objects\r", "it holds the control character U+000D"),
    (ROOT, " objects", "white space"),
    (ROOT, "\u00a0", "white space"),
    (ROOT, "a\nb", "it holds the control character U+000A"),
    (ROOT, "a\udcff", "it is not valid UTF-8"),
    (ROOT, "~nobody-of-that-name/objects", "there is no such home directory"),
    (ROOT, "$HOME/objects", "variables are not expanded here"),
    (ROOT, "s3://bucket/objects", "this is a URL; name a directory"),
    (URL, "sqlite:///secret\r", "it holds the control character U+000D"),
    (URL, "sqlite:///secret?x", "write a ? in its name as %3F"),
    (URL, "postgresql://me:secret@host/x\t", "it holds the control character U+0009"),
]


@pytest.mark.parametrize(("variable", "value", "reason"), VALUES, ids=lambda each: ascii(each)[:30])
def test_a_value_that_cannot_be_meant_is_refused_by_its_name(variable: str, value: str, reason: str) -> None:
    with pytest.raises(InvalidValue) as refused:
        Settings.load({variable: value})
    assert refused.value.what == variable
    assert reason in refused.value.reason
    assert "secret" not in str(refused.value)
    assert len(str(refused.value)) < 300


@pytest.mark.parametrize("store", ["", " x", "a\nb", "~nobody-of-that-name", "$HOME/x", "postgresql://me:secret@h/x"])
def test_a_store_that_cannot_be_meant_is_refused(store: str) -> None:
    with pytest.raises(InvalidValue) as refused:
        Settings.load({}, store=store)
    assert refused.value.what == "--store"
    assert "secret" not in str(refused.value)


GIVEN: list[dict[str, Any]] = [
    {"package_files_max": 10**5000},
    {"package_files_max": 0},
    {"storage_small_max": -1},
    {"storage_small_max": (1 << 20) + 1},
    {"package_files_max": True},
    {"package_files_max": 1.5},
    {"log_level": None},
    {"database_url": b"sqlite:///x"},
    {"storage_local_root": 5},
]


@pytest.mark.parametrize("given", GIVEN, ids=range(len(GIVEN)))
def test_a_program_that_gives_something_else_gets_the_same_error(given: dict[str, Any]) -> None:
    with pytest.raises(InvalidValue) as refused:
        Settings(**given)
    assert refused.value.what == next(iter(given))


def test_a_tilde_is_the_home_directory(tmp_path: Path, here: Path) -> None:
    assert Settings.load({ROOT: "~/objects"}).storage_local_root == tmp_path / "objects"
    assert Settings.load({ROOT: "~"}).storage_local_root == tmp_path
    assert Settings.load({ROOT: "./~/objects"}).storage_local_root == here / "~/objects", "if it is called so"
    assert Settings.load({}, store="~/s").storage_local_root == tmp_path / "s" / "objects"
    assert Settings.load({}, store="./~") == Settings(f"sqlite:///{here}/~/artifactstore.db", here / "~/objects")
    assert Settings(storage_local_root=Path("~/objects")).storage_local_root == tmp_path / "objects"
    assert replace(Settings.load({}, store="~/s")) == Settings.load({}, store="~/s"), "what is expanded stays"


NEARLY = {
    "ARTIFACTSTORE_DATABASE_URI": URL,
    "ARTIFACTSTORE_DATABSE_URL": URL,
    "ARTIFACTSTORE_DATABASE": URL,
    "ARTIFACTSTORE_DB_URL": URL,
    "ARTIFACTSTORE_DATABASE_PATH": URL,
    "artifactstore_database_url": URL,
    "ARTIFACT_STORE_DATABASE_URL": URL,
    "ARTIFACTSTORE_STORAGE_ROOT": ROOT,
    "ARTIFACTSTORE_STORAGE_DIR": ROOT,
    "ARTIFACTSTORE_LOCAL_ROOT": ROOT,
    "ARTIFACTSTORE_STORAGE_LOCAL_ROOTS": ROOT,
    "ARTIFACTSTORE_LOGLEVEL": LEVEL,
    "ARTIFACTSTORE_LOG": LEVEL,
    "ARTIFACTSTORE_LOG_LEVLE": LEVEL,
    "ARTIFACTSTORE_PACKAGES_FILES_MAX": FILES_MAX,
    "ARTIFACTSTORE_MAX_PACKAGE_FILES": FILES_MAX,
    "ARTIFACTSTORE_STORE": "the option --store DIR",
}


@pytest.mark.parametrize(("name", "meant"), NEARLY.items(), ids=NEARLY.keys())
def test_a_variable_that_is_nearly_a_setting_is_refused_with_the_right_one(name: str, meant: str) -> None:
    for set_too in ({}, {URL: "sqlite:///x", ROOT: "x"}):
        with pytest.raises(InvalidValue) as refused:
            Settings.load({**set_too, name: "secret"})
        assert f"'{name}': there is no such setting; did you mean {meant}?" in str(refused.value)
        assert "secret" not in str(refused.value)
    assert Settings.load({name: ""}) == Settings(), "an empty variable is not set"


UNKNOWN = [
    "ARTIFACTSTORE_BIND",
    "ARTIFACTSTORE_VERSION",
    "ARTIFACTSTORE_IMAGE_TAG",
    "ARTIFACTSTORE_DATABASE_USER",
    "ARTIFACTSTORE_DATABASE_PASSWORD",
    "ARTIFACTSTORE_TEST_DATABASE_URL",
    "ARTIFACTSTORE_PORT",
]


def test_the_nearest_setting_is_suggested() -> None:
    settings = ["ARTIFACTSTORE_ROOM", "ARTIFACTSTORE_ROOT"]
    assert suggested_settings({"ARTIFACTSTORE_ROOTS": "x"}, settings) == {"ARTIFACTSTORE_ROOTS": "ARTIFACTSTORE_ROOT"}


@pytest.mark.parametrize("name", UNKNOWN)
def test_any_other_variable_is_warned_of(name: str, caplog: pytest.LogCaptureFixture) -> None:
    assert Settings.load({name: "8000"}) == Settings()
    assert [record.getMessage() for record in caplog.records] == [f"{name} is set, and there is no such setting"]


SERVICE_LINKS = {
    "ARTIFACTSTORE_SERVICE_HOST": "10.96.0.7",
    "ARTIFACTSTORE_SERVICE_PORT": "8000",
    "ARTIFACTSTORE_SERVICE_PORT_HTTP": "8000",
    "ARTIFACTSTORE_PORT": "tcp://10.96.0.7:8000",
    "ARTIFACTSTORE_PORT_8000_TCP": "tcp://10.96.0.7:8000",
    "ARTIFACTSTORE_PORT_8000_TCP_PROTO": "tcp",
    "ARTIFACTSTORE_PORT_8000_TCP_PORT": "8000",
    "ARTIFACTSTORE_PORT_8000_TCP_ADDR": "10.96.0.7",
    "ARTIFACTSTORE_STORAGE_SERVICE_HOST": "10.96.0.8",
    "ARTIFACTSTORE_STORAGE_PORT": "tcp://10.96.0.8:9000",
    "ARTIFACTSTORE_STORAGE_PORT_9000_UDP_ADDR": "10.96.0.8",
}
"""What Kubernetes sets for services called `artifactstore` and `artifactstore-storage`."""


def test_what_kubernetes_sets_is_passed_over(caplog: pytest.LogCaptureFixture) -> None:
    assert Settings.load(SERVICE_LINKS) == Settings()
    assert caplog.records == []


def test_other_programs_variables_are_not_looked_at() -> None:
    assert Settings.load({"DATABASE_URL": "x", "OTHER_LOG_LEVEL": "x", "HOME": "/"}) == Settings()


def test_who_may_see_the_service_is_a_setting() -> None:
    given = {
        "ARTIFACTSTORE_ANONYMOUS_READ": "yes",
        "ARTIFACTSTORE_TRUSTED_PROXIES": "10.0.0.0/8,unix",
        "ARTIFACTSTORE_PUBLIC_URL": "https://store.example",
    }
    read = Settings.load(given)
    assert (read.anonymous_read, read.trusted_proxies, read.public_url) == (
        True,
        "10.0.0.0/8,unix",
        "https://store.example",
    )
    for name, wrong in zip(given, ("true", "10.0.0.1/8", "store.example"), strict=True):
        with pytest.raises(InvalidValue, match=name):
            Settings.load({name: wrong})
