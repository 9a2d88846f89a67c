"""A PostgreSQL of our own for one test run: made in a temporary folder, reached by a unix socket, gone with the runner.

    with postgres() as url:      # None when no PostgreSQL could be found or fetched
        ...                      # DATABASE_URL=url

A `DATABASE_URL` that names a PostgreSQL is used instead; tests make databases of their own on it. Speed comes before
safety here (no fsync): a test of durability starts a server with its own `tuning`.
"""

import ctypes
import os
import pwd
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests import debian_packages

TUNING = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "listen_addresses": "",
    "max_connections": "400",
    "shared_buffers": "256MB",
    "jit": "off",
    "timezone": "UTC",
}
START_SECONDS = 30
CLUSTER_SETTINGS = Path("/etc/postgresql-common/createcluster.conf")


def installed() -> Path | None:
    """The folder with `initdb` and `postgres`: PG_BIN, Debian's newest, what was unpacked before, or the PATH's."""
    if named := os.environ.get("PG_BIN"):
        return Path(named)
    below = [Path("/usr/lib/postgresql"), debian_packages.UNPACKED / "usr/lib/postgresql"]
    found = [initdb for folder in below for initdb in folder.glob("*/bin/initdb")]
    if found:
        return max(found, key=lambda initdb: int(initdb.parts[-3])).parent
    on_path = shutil.which("initdb")
    return Path(on_path).resolve().parent if on_path else None


def fetched() -> Path | None:
    """PostgreSQL from Debian's or Ubuntu's packages; no cluster of the system's is made or started."""
    if os.geteuid() == 0:
        if not CLUSTER_SETTINGS.exists() and debian_packages.install("postgresql-common") and CLUSTER_SETTINGS.exists():
            settings = CLUSTER_SETTINGS.read_text()
            CLUSTER_SETTINGS.write_text(
                re.sub(r"^#?\s*create_main_cluster.*$", "create_main_cluster = false", settings, flags=re.MULTILINE)
            )
        return installed() if debian_packages.install("postgresql", "postgresql-contrib") else None
    server = next((name for name in debian_packages.depends_of("postgresql") if name.startswith("postgresql-")), None)
    if server is None or not debian_packages.unpack(server):
        return None
    if missing_libraries():
        needed = [name for name in debian_packages.depends_of(server) if name.startswith("lib")]
        if not debian_packages.unpack("libpq5", *needed):
            return None
    return installed()


def library_path() -> str:
    """Where unpacked shared libraries lie, as LD_LIBRARY_PATH wants it."""
    return ":".join(str(path) for path in sorted((debian_packages.UNPACKED / "usr/lib").glob("*-linux-gnu*")))


def missing_libraries() -> bool:
    """Whether an unpacked server lacks libraries that the system does not have."""
    bin_dir = installed()
    if bin_dir is None:
        return True
    env = {"PATH": "/usr/bin:/bin", "LD_LIBRARY_PATH": library_path()}
    programs = [str(bin_dir / "postgres"), str(bin_dir / "initdb")]
    return (
        "not found" in subprocess.run(["ldd", *programs], env=env, capture_output=True, text=True, check=False).stdout
    )


def die_with_parent() -> None:
    """In the child: a killed test runner takes its server along (Linux; elsewhere `finally` does it)."""
    ctypes.CDLL(None).prctl(1, signal.SIGINT)


class Server:
    """One PostgreSQL cluster in a temporary folder. It refuses to run as root, so root hands it over."""

    def __init__(self, *, bin_dir: Path, tuning: Mapping[str, str] = TUNING) -> None:
        self.bin_dir = bin_dir
        self.tuning = tuning
        self.owner = server_owner()
        # Short on purpose: the path of a unix socket has at most 107 bytes.
        self.folder = Path(tempfile.mkdtemp(prefix="pg.", dir="/tmp"))
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"postgres://app@/postgres?host={self.folder}"

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def env(self) -> dict[str, str]:
        return {
            "PATH": "/usr/bin:/bin",
            "LC_ALL": "C.UTF-8",
            "HOME": str(self.folder),
            "TZ": "UTC",
            "LD_LIBRARY_PATH": library_path(),
        }

    @property
    def account(self) -> dict[str, Any]:
        """Who runs the server's programs, as `subprocess` wants it."""
        if self.owner is None:
            return {}
        return {"user": self.owner.pw_uid, "group": self.owner.pw_gid, "extra_groups": []}

    def start(self) -> None:
        """Make the cluster and wait until it answers; RuntimeError with the server's own words when it does not."""
        if self.owner is not None:
            os.chown(self.folder, self.owner.pw_uid, self.owner.pw_gid)
        initdb = [str(self.bin_dir / "initdb"), "-D", str(self.data), "-U", "app", "-A", "trust", "-E", "UTF8"]
        initdb += ["--locale=C.UTF-8", "--no-sync"]
        made = subprocess.run(
            initdb, cwd="/", env=self.env, **self.account, capture_output=True, text=True, check=False
        )
        if made.returncode:
            raise RuntimeError(f"initdb failed: {made.stderr.strip()}")
        self.launch()

    def launch(self) -> None:
        """Run the server on the cluster that there is, also on one that was stopped; wait until it answers."""
        options = [word for name, value in self.tuning.items() for word in ("-c", f"{name}={value}")]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [str(self.bin_dir / "postgres"), "-D", str(self.data), "-k", str(self.folder), *options],
                cwd="/",
                env=self.env,
                **self.account,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C reaches the runner, which stops the server in its own time
                preexec_fn=die_with_parent if sys.platform == "linux" else None,  # noqa: PLW1509 - no threads run yet
            )
        deadline = time.monotonic() + START_SECONDS
        while not self.is_ready(self.data / "postmaster.pid"):
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"PostgreSQL did not start: {(self.folder / 'log').read_text().strip()}")
            time.sleep(0.02)

    def stop_at_once(self) -> None:
        """What `pg_ctl stop -m immediate` does: no shutdown, the next start recovers from the log."""
        assert self.process is not None
        command = [str(self.bin_dir / "pg_ctl"), "-D", str(self.data), "stop", "-m", "immediate"]
        subprocess.run(command, cwd="/", env=self.env, **self.account, capture_output=True, check=True)
        self.process.wait(20)

    @staticmethod
    def is_ready(pid_file: Path) -> bool:
        """PostgreSQL writes its state into the eighth line of its pid file."""
        lines = pid_file.read_text().splitlines() if pid_file.exists() else []
        return len(lines) >= 8 and lines[7].strip() == "ready"

    def stop(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.send_signal(signal.SIGQUIT)
                self.process.wait(20)
        shutil.rmtree(self.folder, ignore_errors=True)


def server_owner() -> pwd.struct_passwd | None:
    """The unprivileged user that runs the server for root; nobody else needs one."""
    if os.geteuid() != 0:
        return None
    known = {user.pw_name: user for user in pwd.getpwall()}
    return known.get("postgres") or known["nobody"]


@contextmanager
def postgres(*, fetch: bool = True, tuning: Mapping[str, str] = TUNING) -> Iterator[str | None]:
    """The URL of a PostgreSQL to test on, or None when there is none and none could be fetched."""
    given = os.environ.get("DATABASE_URL", "")
    if given.startswith("postgres"):
        yield given
        return
    bin_dir = installed() or (fetched() if fetch else None)
    if bin_dir is None:
        yield None
        return
    server = Server(bin_dir=bin_dir, tuning=tuning)
    try:
        server.start()
        yield server.url
    finally:
        server.stop()
