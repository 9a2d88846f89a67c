"""Run a web server, and beside it the background worker for as long: what `make run` does.

    python deploy/serve.py gunicorn centre.wsgi --bind 127.0.0.1:8000 ...

Where systemd is, its units (deploy/systemd/) do this better. The worker is started again when it ends, because it
ends when it loses the database. It has a session of its own, so that Ctrl-C asks it once to finish what it is at.
"""

import signal
import subprocess
import sys
import time
from pathlib import Path
from types import FrameType

PORTAL = Path(__file__).resolve().parent.parent
WORKER = [sys.executable, str(PORTAL / "manage.py"), "db_worker", "--no-reload", "--verbosity", "0"]
LOOKED_EVERY = 0.5
"""Seconds."""
STARTED_AGAIN_AFTER = 2.0
PATIENCE = 10.0
"""Seconds for the worker to finish; what it leaves is taken up again once its lease has run out."""


def main(command: list[str]) -> int:
    """Serve until the server ends or this process is told to stop; returns the server's exit code."""

    def stop(signum: int, frame: FrameType | None) -> None:
        server.terminate()

    server = subprocess.Popen(command)
    for told in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(told, stop)
    worker, ended_at = start_worker(), 0.0
    try:
        while server.poll() is None:
            time.sleep(LOOKED_EVERY)
            if worker.poll() is None:
                ended_at = 0.0
            elif not ended_at:
                ended_at = time.monotonic()
                sys.stderr.write(f"The background worker ended (exit {worker.returncode}); it is started again.\n")
            elif time.monotonic() - ended_at >= STARTED_AGAIN_AFTER:
                worker, ended_at = start_worker(), 0.0
    finally:
        end(worker)
    return max(server.returncode, 0)


def start_worker() -> subprocess.Popen[bytes]:
    return subprocess.Popen(WORKER, start_new_session=True)


def end(worker: subprocess.Popen[bytes]) -> None:
    worker.terminate()
    try:
        worker.wait(PATIENCE)
    except subprocess.TimeoutExpired:
        worker.kill()
        worker.wait()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
