"""The command line: `artifactstore …`.

`main` is the entry point. Exit codes: 0 done, 1 refused or failed, 2 wrong usage, 3 verification found a difference,
70 a stuck service ended itself, 129 hung up, 130 interrupted, 143 terminated.
"""

import errno
import os
import sys

from artifactstore.cli.streams import AnswerLost, adopt
from artifactstore.version import VERSION

TYPE_CHECKING = False  # as type checkers take it; `typing` takes long to load
if TYPE_CHECKING:
    import signal as _signal
else:
    import _signal  # what `signal` wraps in enumerations, which take long to load

__all__ = ["main"]

_GC_THRESHOLDS = (10_000, 50, 10)
"""Python's own are (700, 10, 10), with which a command that lists many files spends a tenth of its time on looking for
garbage among them. Looking later costs a few megabytes of memory."""


def main() -> None:
    """Run the command in `sys.argv` and exit."""
    # Until `raise_on_signals` runs, an interrupt ends the process silently, as SIGTERM does: no traceback of an import.
    if _signal.getsignal(_signal.SIGINT) is _signal.default_int_handler:
        _signal.signal(_signal.SIGINT, _signal.SIG_DFL)
    _be_utf_8()
    adopt()
    try:
        code = _run(sys.argv[1:])
        sys.stdout.flush()
    except AnswerLost as lost:
        code = 1
        if lost.error.errno != errno.EPIPE:  # the reader of a pipe that leaves has what it wanted
            sys.stderr.write(f"artifactstore: {lost}\n")
    sys.exit(code)


def _be_utf_8() -> None:
    """See that names, arguments, settings and output are UTF-8, whatever the locale and the interpreter's modes say.

    What Python decoded as it started cannot be decoded again in place, so it starts once more, in UTF-8 mode, where the
    locale says otherwise (PEP 540); the process stays the same.
    """
    if sys.getfilesystemencoding() != "utf-8" and sys.executable and len(sys.orig_argv) > 1:
        as_utf_8 = [os.fsencode(sys.executable), b"-X", b"utf8", *_arguments_as_given()[1:]]
        os.execv(sys.executable, as_utf_8)  # noqa: S606 - this very command


def _arguments_as_given() -> list[bytes]:
    """The command line's bytes: what Python decoded cannot be encoded again in every locale (EUC-JP, for one)."""
    try:
        with open("/proc/self/cmdline", "rb") as file:  # noqa: PTH123 - pathlib takes long to load
            given = file.read().split(b"\0")[:-1]
    except OSError:
        given = []
    return given if len(given) == len(sys.orig_argv) else [*map(os.fsencode, sys.orig_argv)]


def _run(arguments: list[str]) -> int:
    # `artifactstore version` must cost little more than Python itself, and the toolkit that parses all the other
    # commands takes longer to load than it does to answer.
    if arguments in (["version"], ["--version"]):
        sys.stdout.write(f"artifactstore {VERSION}\n")
        return 0
    import gc  # noqa: PLC0415

    from artifactstore.signals import Interrupted, raise_on_signals  # noqa: PLC0415

    gc.set_threshold(*_GC_THRESHOLDS)  # the process is the command's own; a program that embeds a store sets its own
    raise_on_signals()  # before what takes long to load
    code = None
    try:
        from artifactstore.cli.app import run  # noqa: PLC0415

        code = run(arguments)
        sys.stdout.flush()  # a reader that takes its time can be left
    except Interrupted as interrupted:
        done = "" if code is None else "; the command is done, but not all of its answer was read"
        sys.stderr.write(f"artifactstore: interrupted{done}\n")
        return interrupted.exit_code
    return code
