"""Processes that are ended again, whatever happens: each by its own id, and all that came from them.

Daemons run in the foreground as children of this process. It takes in what they leave behind (a job's step daemon
detaches itself), so that at the end everything still alive below it is known to be of its own making.
"""

import ctypes
import os
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

SET_PARENT_DEATH_SIGNAL, SET_CHILD_SUBREAPER = 1, 36
LONGEST_STOP_SECONDS = 30


def die_with_parent() -> None:
    """In the child: when the one that started it is killed, it is asked to end."""
    ctypes.CDLL(None).prctl(SET_PARENT_DEATH_SIGNAL, signal.SIGTERM)


class Daemons:
    """Started in order, stopped in the opposite order."""

    def __init__(self, *, logs: Path) -> None:
        self.logs = logs
        self.running: dict[str, subprocess.Popen[bytes]] = {}
        ctypes.CDLL(None).prctl(SET_CHILD_SUBREAPER, 1, 0, 0, 0)

    def start(self, name: str, command: Sequence[str], *, env: Mapping[str, str], cwd: Path) -> None:
        with (self.logs / f"{name}.out").open("ab") as log:
            self.running[name] = subprocess.Popen(
                command,
                cwd=cwd,
                env=dict(env),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C reaches the runner, which stops them in its own order
                preexec_fn=die_with_parent,  # noqa: PLW1509 - no threads run here
            )

    def said(self, name: str) -> str:
        """The last lines of a daemon's output, for an error message."""
        return "\n".join((self.logs / f"{name}.out").read_text(errors="replace").splitlines()[-8:])

    def is_alive(self, name: str) -> bool:
        return self.running[name].poll() is None

    def stop(self, name: str) -> None:
        process = self.running.pop(name)
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(LONGEST_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def stop_all(self) -> None:
        """Stop every daemon, the last one first, then kill what is left of their jobs."""
        for name in reversed(list(self.running)):
            self.stop(name)
        for _attempt in range(50):
            left = list(descendants(os.getpid()))
            if not left:
                return
            for pid in left:
                kill(pid)
            reap()
            time.sleep(0.1)


def kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def reap() -> None:
    """Take note of the end of children that came from a daemon, so that they do not stay as zombies."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            continue
    except ChildProcessError:
        return


def descendants(pid: int) -> Iterator[int]:
    """The processes below a process."""
    for listing in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            children = listing.read_text().split()
        except OSError:  # the thread has ended
            continue
        for child in map(int, children):
            yield child
            yield from descendants(child)
