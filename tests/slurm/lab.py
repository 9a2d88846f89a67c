"""A real Slurm cluster in a scratch folder: munge, MariaDB, slurmdbd, slurmctld and a slurmd for each node.

    with running_lab(folder) as lab:
        job = lab.submit(user="games", account="cove", options=["--gres=gpu:1"], script="true")

Everything listens on the loopback address, on ports that were free, and runs as root, which Slurm needs to run jobs as
their users; those are users that every machine has. Nothing outside the folder is changed.
"""

import os
import platform
import pwd
import secrets
import shutil
import signal
import socket
import stat
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.slurm import configuration
from tests.slurm.configuration import CLUSTER, NODES, Places
from tests.slurm.daemons import Daemons
from tests.slurm.programs import CannotRun, Programs, found_or_unpacked

USERS = ("daemon", "bin", "games", "man")
WAIT_SECONDS = 90
ENDINGS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
HOUR = 3600


class Refused(Exception):
    """A command of Slurm did not succeed; the text is its own."""


def free_ports(count: int) -> list[int]:
    """So many different free ports of the loopback address."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()


def wait_until(happened: Callable[[], bool], what: str, *, seconds: int = WAIT_SECONDS) -> None:
    deadline = time.monotonic() + seconds
    while not happened():
        if time.monotonic() > deadline:
            raise Refused(f"Waited {seconds} seconds in vain: {what}.")
        time.sleep(0.2)


def zone_with_full_hour_at(epoch: int) -> str:
    """A TZ in which this instant is a full hour: eight to nine hours east of UTC, to the second."""
    east = 8 * HOUR + -epoch % HOUR
    return f"LAB-{east // HOUR}:{east % HOUR // 60:02}:{east % 60:02}"


class Lab:
    """The cluster and the commands that a person at it would type."""

    def __init__(self, *, folder: Path, programs: Programs) -> None:
        ports = free_ports(3 + len(NODES))
        self.programs = programs
        self.places = Places(
            folder=folder,
            database_port=ports[0],
            dbd_port=ports[1],
            controller_port=ports[2],
            node_ports=dict(zip(NODES, ports[3:], strict=True)),
            host=platform.node().split(".")[0],
            plugins=programs.slurm_plugins,
        )
        # Its first hour begins now, so that no roll-up happens before there is something whole to roll up
        self.zone = zone_with_full_hour_at(int(time.time()))
        self.daemons = Daemons(logs=self.places.logs)

    @property
    def env(self) -> dict[str, str]:
        ours = {"SLURM_CONF": str(self.places.etc / "slurm.conf"), "TZ": self.zone, "HOME": str(self.places.folder)}
        return self.programs.env | ours

    def run(self, *command: str, user: str = "", script: str | None = None) -> str:
        """What a Slurm command prints, run as root or another user. Raises Refused."""
        account = pwd.getpwnam(user) if user else None
        done = subprocess.run(
            [self.programs.path(command[0]), *command[1:]],
            input=script,
            cwd="/",
            env=self.env,
            user=account.pw_uid if account else None,
            group=account.pw_gid if account else None,
            extra_groups=[] if account else None,
            capture_output=True,
            text=True,
            check=False,
            timeout=WAIT_SECONDS,
        )
        if done.returncode:
            raise Refused(f"{' '.join(command)}: {done.stderr.strip()}")
        return done.stdout

    def submit(self, *, user: str, account: str, options: Sequence[str], script: str) -> str:
        """A batch job; returns its number."""
        command = ["sbatch", "--parsable", "--output=/dev/null", f"--account={account}", *options]
        return self.run(*command, user=user, script=f"#!/bin/sh\n{script}\n").strip().split(";")[0]

    def state(self, job: str) -> str:
        """RUNNING, PENDING, ... or empty when the queue no longer lists it."""
        try:
            return self.run("squeue", "--noheader", f"--jobs={job}", "--states=all", "--format=%T").split("\n")[0]
        except Refused:
            return ""

    def wait_for(self, job: str, *states: str) -> None:
        wait_until(lambda: self.state(job) in states, f"job {job} to be {' or '.join(states)}")

    def queued(self) -> list[str]:
        """The numbers of all jobs that have not ended."""
        return self.run("squeue", "--noheader", "--format=%A").split()

    def states_in_accounting(self, job_name: str) -> list[str]:
        """What slurmdbd has heard of the jobs with this name in the last hour."""
        which = ("--allusers", "--allocations", "--duplicates", f"--name={job_name}", "--starttime=now-1hour")
        return self.run("sacct", *which, "--noheader", "--parsable2", "--format=State").split()

    def wait_until_told(self) -> None:
        """Wait until slurmctld has told slurmdbd everything."""
        wait_until(lambda: "DBD Agent queue size: 0" in self.run("sdiag"), "slurmctld to reach slurmdbd")

    # --- up and down

    def up(self) -> None:
        for folder in ("etc", "log", "run", "gpus", "flags", "state/controller", *(f"state/{node}" for node in NODES)):
            (self.places.folder / folder).mkdir(parents=True, mode=0o755)
        self.start_munge()
        self.start_database()
        self.write_configuration()
        self.start_accounting()
        self.run("sacctmgr", "--immediate", "add", "cluster", CLUSTER)
        self.start_controller()
        for node in NODES:
            slurmd = [self.programs.path("slurmd"), "-D", "-N", node, "-d", self.programs.path("slurmstepd")]
            self.daemons.start(node, slurmd, env=self.env, cwd=self.places.state / node)
        wait_until(lambda: self.nodes_in("idle") == set(NODES), f"all of {', '.join(NODES)} to be up")

    def nodes_in(self, state: str) -> set[str]:
        """The nodes whose state is this one."""
        listed = self.run("sinfo", "--noheader", "--Node", "--format=%N %T").splitlines()  # once for each partition
        return {line.split()[0] for line in listed if line.split()[1] == state}

    def start_munge(self) -> None:
        key, run = self.places.etc / "munge.key", self.places.folder / "run"
        key.write_bytes(secrets.token_bytes(128))
        key.chmod(0o400)
        files = [f"--key-file={key}", f"--socket={self.places.munge_socket}", f"--pid-file={run}/munged.pid"]
        files += [f"--log-file={self.places.logs}/munged.log", f"--seed-file={self.places.state}/munge.seed"]
        munged = [self.programs.path("munged"), "--foreground", "--force", *files]
        self.daemons.start("munged", munged, env=self.programs.env, cwd=self.places.folder)
        self.wait_for_daemon("munged", self.places.munge_socket.exists)

    def start_database(self) -> None:
        data, socket_file = self.places.state / "database", self.places.folder / "run" / "mariadb.socket"
        password = secrets.token_hex(16)
        base = f"--basedir={self.programs.root / 'usr'}"
        make = [self.programs.path("mariadb-install-db"), "--no-defaults", "--user=root", base, f"--datadir={data}"]
        make += ["--auth-root-authentication-method=normal", "--skip-test-db"]
        made = subprocess.run(make, env=self.programs.env, capture_output=True, text=True, check=False)
        if made.returncode:
            raise Refused(f"mariadb-install-db: {made.stdout[-2000:]}{made.stderr[-2000:]}")
        serve = [self.programs.path("mariadbd"), "--no-defaults", "--user=root", base, f"--datadir={data}"]
        serve += [f"--socket={socket_file}", f"--port={self.places.database_port}", "--bind-address=127.0.0.1"]
        serve += ["--skip-name-resolve", "--innodb-buffer-pool-size=128M", "--innodb-flush-log-at-trx-commit=2"]
        serve += ["--innodb-lock-wait-timeout=900", "--character-set-server=utf8mb4"]
        self.daemons.start("mariadbd", serve, env=self.programs.env, cwd=self.places.folder)
        self.wait_for_daemon("mariadbd", socket_file.exists)
        statements = (
            f"CREATE USER 'slurm'@'127.0.0.1' IDENTIFIED BY '{password}'; "
            "CREATE DATABASE slurm_acct_db; GRANT ALL ON slurm_acct_db.* TO 'slurm'@'127.0.0.1';"
        )
        self.run("mariadb", "--no-defaults", "--user=root", f"--socket={socket_file}", script=statements)
        self.write("slurmdbd.conf", configuration.slurmdbd_conf(self.places, password=password), mode=0o600)

    def write_configuration(self) -> None:
        self.write("slurm.conf", configuration.slurm_conf(self.places))
        self.write("gres.conf", configuration.gres_conf(self.places))
        self.write("cgroup.conf", "CgroupAutomount=no\n")
        for device in self.places.gpu_devices(configuration.GPUS_PER_NODE):
            os.mknod(device, 0o666 | stat.S_IFCHR, os.makedev(1, 3))

    def write(self, name: str, text: str, *, mode: int = 0o644) -> None:
        path = self.places.etc / name
        path.touch(mode=mode)
        path.write_text(text)

    def start_accounting(self) -> None:
        self.daemons.start("slurmdbd", [self.programs.path("slurmdbd"), "-D"], env=self.env, cwd=self.places.folder)
        self.wait_for_daemon("slurmdbd", lambda: self.succeeds("sacctmgr", "--noheader", "list", "cluster"))

    def start_controller(self) -> None:
        controller = [self.programs.path("slurmctld"), "-D"]
        self.daemons.start("slurmctld", controller, env=self.env, cwd=self.places.folder)
        self.wait_for_daemon("slurmctld", lambda: self.succeeds("scontrol", "ping"))

    def forget_the_queue(self) -> None:
        """slurmctld loses the folder of its state: what waited is gone, and job numbers begin at 1 again."""
        self.daemons.stop("slurmctld")
        shutil.rmtree(self.places.state / "controller")
        (self.places.state / "controller").mkdir(mode=0o755)
        self.start_controller()
        wait_until(lambda: self.nodes_in("idle") == set(NODES), "all nodes to be back")

    def succeeds(self, *command: str) -> bool:
        try:
            self.run(*command)
        except Refused:
            return False
        return True

    def wait_for_daemon(self, name: str, is_ready: Callable[[], bool]) -> None:
        def ready() -> bool:
            if not self.daemons.is_alive(name):
                raise Refused(
                    f"{name} ended at once (exit {self.daemons.running[name].returncode}): {self.daemons.said(name)}"
                )
            return is_ready()

        wait_until(ready, f"{name} to answer: {self.daemons.said(name)}")

    def down(self) -> None:
        """End all that was started; impatience (a second Ctrl-C) must not leave half of it."""
        before = {number: signal.signal(number, signal.SIG_IGN) for number in ENDINGS}
        try:
            self.end()
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def end(self) -> None:
        if "slurmctld" in self.daemons.running and self.daemons.is_alive("slurmctld"):
            for user in USERS:
                self.succeeds("scancel", "--quiet", f"--user={user}")
        self.daemons.stop_all()


@contextmanager
def running_lab(folder: Path) -> Iterator[Lab]:
    """A cluster below this folder for as long as the block lasts. Raises CannotRun where there can be none."""
    if os.geteuid() != 0 or platform.system() != "Linux":
        raise CannotRun("A Slurm that runs jobs of several users needs Linux and root; a container does.")
    if unknown := [user for user in USERS if user not in {each.pw_name for each in pwd.getpwall()}]:
        raise CannotRun(f"This machine has no users {', '.join(unknown)}, as whom the jobs run.")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o755)
    lab = Lab(folder=folder, programs=found_or_unpacked(folder / "programs"))
    try:
        lab.up()
        yield lab
    finally:
        lab.down()
