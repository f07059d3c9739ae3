"""The command line `artifactstore`.

`main` is the entry point. Exit codes: 0 done, 1 rejected or failed, 2 wrong usage, 3 a difference was found, 129 hung
up, 130 interrupted, 143 terminated.
"""

import errno
import os
import sys

from artifactstore.cli.streams import OutputLost, adopt
from artifactstore.version import VERSION

TYPE_CHECKING = False  # type checkers take it as true; `typing` takes long to load
if TYPE_CHECKING:
    import signal as _signal
else:
    import _signal  # `signal` wraps it in enumerations, which take long to load

__all__ = ["main"]

_GC_THRESHOLDS = (100_000, 10, 10)
"""Thresholds of the garbage collector. With Python's own (700, 10, 10), a command that lists many files spends a tenth
of its time in the collector. Most objects are gone before a late collection. It costs a few megabytes of memory."""


def main() -> None:
    """Run the command in `sys.argv` and exit."""
    # Until `raise_on_signals` runs, SIGINT ends the process silently, like SIGTERM: no traceback of an import.
    if _signal.getsignal(_signal.SIGINT) is _signal.default_int_handler:
        _signal.signal(_signal.SIGINT, _signal.SIG_DFL)
    _be_utf_8()
    adopt()
    try:
        code = _run(sys.argv[1:])
        sys.stdout.flush()
    except OutputLost as lost:
        code = 1
        if lost.error.errno != errno.EPIPE:  # a reader that closes its pipe has read enough
            sys.stderr.write(f"artifactstore: {lost}\n")
    sys.exit(code)


def _be_utf_8() -> None:
    """Make names, arguments, settings and output UTF-8, whatever the locale and the interpreter's modes are.

    Python cannot decode its start-up data again. So if it started with another encoding, the process executes Python
    again in UTF-8 mode (PEP 540), under the same process id.
    """
    if sys.getfilesystemencoding() != "utf-8" and sys.executable and len(sys.orig_argv) > 1:
        as_utf_8 = [os.fsencode(sys.executable), b"-X", b"utf8", *_arguments_as_given()[1:]]
        os.execv(sys.executable, as_utf_8)  # noqa: S606 - it runs the same command again


def _arguments_as_given() -> list[bytes]:
    """Return the command line as bytes: decoded arguments cannot be encoded again in every locale (e.g. EUC-JP)."""
    try:
        with open("/proc/self/cmdline", "rb") as file:  # noqa: PTH123 - pathlib takes long to load
            given = file.read().split(b"\0")[:-1]
    except OSError:
        given = []
    return given if len(given) == len(sys.orig_argv) else [*map(os.fsencode, sys.orig_argv)]


def _run(arguments: list[str]) -> int:
    # `artifactstore version` must take little longer than Python itself. Loading the parser of the other commands would
    # take longer than the answer.
    if arguments in (["version"], ["--version"]):
        sys.stdout.write(f"artifactstore {VERSION}\n")
        return 0
    import gc  # noqa: PLC0415

    from artifactstore.signals import Interrupted, raise_on_signals  # noqa: PLC0415

    gc.set_threshold(*_GC_THRESHOLDS)  # only here: a program that embeds a store sets its own
    gc.disable()  # until `signals.run`: imports make 85,000 objects, which live to the end
    raise_on_signals()  # before the slow imports
    code = None
    try:
        from artifactstore.cli.app import run  # noqa: PLC0415

        code = run(arguments)
        sys.stdout.flush()  # here, an interrupt ends the wait for a slow reader
    except Interrupted as interrupted:
        done = "" if code is None else "; the command is done, but not all of its answer was read"
        sys.stderr.write(f"artifactstore: interrupted{done}\n")
        return interrupted.exit_code
    finally:
        gc.freeze()  # otherwise Python would search all objects for garbage four times as it ends
    return code
