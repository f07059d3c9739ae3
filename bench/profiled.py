"""Run a Python program and say which modules its processor time goes to: `python bench/profiled.py OUT PROGRAM …`.

PROGRAM is the path of a script, or `-m MODULE`. A thread samples the stack of every other thread. It adds the processor
time which that thread used since the sample before to the module that it is in. So waiting counts nothing, and a sample
that comes late loses nothing. Time in C and in the standard library counts for the caller; everything below an import
statement counts as `imports`.

OUT becomes JSON: seconds of processor time by module.
"""

import contextlib
import json
import runpy
import sys
import sysconfig
import threading
import time
from collections import defaultdict
from pathlib import Path
from types import FrameType
from typing import override

_EVERY_S = 0.002
_STDLIB = sysconfig.get_path("stdlib")
_PACKAGES = sysconfig.get_path("purelib")


def part_of(frame: FrameType) -> str:
    """Return the module that a stack counts for."""
    found = ""
    walked: FrameType | None = frame
    while walked is not None:
        code, module = walked.f_code, str(walked.f_globals.get("__name__", "?"))
        if module == "importlib._bootstrap":
            return "imports"
        file = code.co_filename
        if (
            not found
            and not file.startswith("<")
            and file != __file__
            and (file.startswith(_PACKAGES) or not file.startswith(_STDLIB))
        ):
            found = module if module.startswith("artifactstore") else module.partition(".")[0]
        walked = walked.f_back
    return found or "the standard library"


class Sampler(threading.Thread):
    """Counts until it is told to stop."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.parts = defaultdict[str, float](float)
        self._used: dict[int, float] = {}
        self._over = threading.Event()

    @override
    def run(self) -> None:
        """Look every two milliseconds."""
        while not self._over.wait(_EVERY_S):
            self.look()

    def look(self) -> None:
        """Count what each thread used since the look before."""
        frames = sys._current_frames()  # noqa: SLF001  # pyright: ignore[reportPrivateUsage] - no other way
        for ident, frame in frames.items():
            if ident == self.ident:
                continue
            with contextlib.suppress(OSError):  # the thread has ended meanwhile
                used = time.clock_gettime(time.pthread_getcpuclockid(ident))
                self.parts[part_of(frame)] += used - self._used.get(ident, 0.0)
                self._used[ident] = used
        self._used = {ident: used for ident, used in self._used.items() if ident in frames}

    def stop(self) -> None:
        """Look for a last time."""
        self._over.set()
        self.join()
        self.look()


def main() -> None:
    """Run and write."""
    out, program, *arguments = sys.argv[1:]
    sampler = Sampler()
    sampler.start()
    try:
        if program == "-m":
            sys.argv = arguments
            sys.path[0] = str(Path.cwd())
            runpy.run_module(arguments[0], run_name="__main__", alter_sys=True)
        else:
            sys.argv = [program, *arguments]
            runpy.run_path(program, run_name="__main__")
    finally:
        sampler.stop()
        Path(out).write_text(json.dumps(sampler.parts))


if __name__ == "__main__":
    main()
