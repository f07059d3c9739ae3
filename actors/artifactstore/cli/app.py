"""The command line with all commands, and its error reports: one line on stderr and an exit code for scripts."""

import os
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Final

import typer

from artifactstore.cli.examples import add_help_texts
from artifactstore.cli.help_texts import SETTINGS
from artifactstore.cli.output import printable, quiet_restored
from artifactstore.cli.runner import EXIT_FAILED, NonzeroExit
from artifactstore.cli.shell_completion import VARIABLE, complete, named_shell
from artifactstore.cli.store_option import add_store_option, isolated_store_option
from artifactstore.cli.streams import answer
from artifactstore.signals import Interrupted
from artifactstore.version import VERSION
from artifactstore_protocols.errors import ArtifactStoreError, InvalidValue
from artifactstore_protocols.supervision import Refusal, StartFailed

__all__ = ["command_line", "run"]

_HELP = """A content-addressed artifact store with one gapless event log.

Where the store is: --store DIR, else ARTIFACTSTORE_DATABASE_URL and ARTIFACTSTORE_STORAGE_LOCAL_ROOT, else the project
file artifactstore.toml here or in a directory above, else var/artifactstore.db and var/objects. Only ingest, package
create, package copy, migrate, restore, events --import, serve and dev create
a store.

With ARTIFACTSTORE_URL and without --store, commands that read use the service there, with ARTIFACTSTORE_TOKEN or the
token that login keeps.

Exit codes: 0 done, 1 refused or failed, 2 wrong usage, 3 a difference was found, 70 a stuck service ended itself,
129 hung up, 130 interrupted, 143 terminated.
"""

_MODULES: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "content": ("ingest", "get", "manifest", "export"),
        "packages": ("package",),
        "listing": ("ls", "tree", "diff"),
        "finding": ("find",),
        "schemas": ("schema",),
        "tags": ("tag",),
        "tokens": ("token",),
        "service_login": ("login", "logout"),
        "holds": ("hold",),
        "retention": ("retention",),
        "expiring": ("expire", "clock"),
        "stats": ("stats",),
        "usage": ("du",),
        "collecting": ("gc",),
        "purging": ("purge",),
        "redacting": ("redact",),
        "verifying": ("verify", "repair"),
        "log_commands": ("replay", "events", "history"),
        "transfer": ("backup", "restore"),
        "operations": ("version", "migrate", "health", "actors", "dev", "serve"),
        "doctor": ("doctor",),
    }
)
"""The commands of each module, in the order of the help."""


_PARAMETER: Final = re.compile("[a-z]+(?:_[a-z]+)+")
_OPTIONS: Final[Mapping[str, str]] = MappingProxyType(
    {"after": "--after", "parents": "--from", "paths": "--files-from", "links": "--links"}
)
"""Parameters of the library and their options. Any other with an underscore has dashes instead."""


def command_line(modules: Iterable[str] = tuple(_MODULES)) -> typer.Typer:
    """Return the command line with the commands of the given modules; of all modules by default."""
    app = typer.Typer(
        name="artifactstore",
        no_args_is_help=True,
        add_completion=True,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    for module in modules:
        import_module(f"artifactstore.cli.{module}").register(app)
    add_help_texts(app)
    add_store_option(app)
    app.callback(help=_HELP, epilog=_settings_text())(_artifactstore)
    return app


def _settings_text() -> str:
    """Return the settings as the end of a help text. The first line makes Click keep the other ones."""
    lines = (f"  {name:19} {meaning}" for name, meaning in SETTINGS.items())
    return "\n".join(
        (
            "\b",
            "Settings, as KEY = VALUE in artifactstore.toml, or in the environment",
            "as ARTIFACTSTORE_LOG_LEVEL and so on:",
            *lines,
            "`artifactstore doctor` prints the values, and where each is from.",
        )
    )


def _modules_for(arguments: Sequence[str]) -> Iterable[str]:
    """Return the module of the command that the arguments name; all modules if they name none."""
    rest = arguments[2:] if arguments[:1] == ["--store"] else arguments
    return [module for module, names in _MODULES.items() if rest[:1] and rest[0] in names] or _MODULES


def _version(wanted: bool) -> None:
    if wanted:
        sys.stdout.write(f"artifactstore {VERSION}\n")
        raise typer.Exit


def _artifactstore(
    *,
    _version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Accept the options that precede a command."""


def run(arguments: Sequence[str]) -> int:
    """Run one command, and return its exit code."""
    with quiet_restored(), isolated_store_option():
        return _run(arguments)


def _run(arguments: Sequence[str]) -> int:
    if os.environ.get(VARIABLE):
        return complete(lambda words: command_line(_modules_for(words)))
    try:
        with named_shell(arguments):
            command_line(_modules_for(arguments))(list(arguments), prog_name="artifactstore")
    except SystemExit as leave:  # typer always raises it, also after help or a usage error
        return leave.code if isinstance(leave.code, int) else EXIT_FAILED
    except Interrupted as interrupted:
        if (own := answer()) is not None:
            own.discard()
        _complain(f"interrupted; {interrupted.advice}" if interrupted.advice else "interrupted")
        return interrupted.exit_code
    except NonzeroExit as finding:
        return finding.exit_code
    except StartFailed as failure:
        return _complain(_root_cause(failure))
    except Refusal as refusal:
        return _complain(str(_as_typed(refusal)), *getattr(refusal, "__notes__", ()))
    except OSError as error:
        return _complain(_told(error))
    return 0


def _as_typed(refusal: Refusal) -> Refusal:
    """Return the error for a value as a user of the command line knows it: a parameter of the library is an option."""
    if not isinstance(refusal, InvalidValue):
        return refusal
    option = _OPTIONS.get(refusal.what) or (
        f"--{refusal.what.replace('_', '-')}" if _PARAMETER.fullmatch(refusal.what) else None
    )
    return refusal if option is None else InvalidValue(option, refusal.value, refusal.reason)


def _told(error: OSError) -> str:
    """Return a message for an operating system error that no other layer has translated."""
    reason = error.strerror or str(error)
    if error.filename is not None:
        return f"cannot use {os.fsdecode(error.filename)!r}: {reason}"
    try:
        Path.cwd()
    except OSError:
        return "the current directory is gone; change to another one, and run the command there"
    return reason


def _root_cause(failure: BaseException) -> str:
    """Return the message of the error that made a start fail: it says what to do, `StartFailed` only says where."""
    cause: BaseException | None = failure
    while cause is not None:
        if isinstance(cause, ArtifactStoreError):
            return str(cause)
        cause = cause.__cause__
    return str(failure)


def _complain(message: str, *notes: str) -> int:
    lines = [f"artifactstore: {printable(message)}", *(f"  {printable(note)}" for note in notes)]
    print("\n".join(lines), file=sys.stderr)  # noqa: T201
    return EXIT_FAILED
