"""Where the programs of Slurm, MariaDB and munge come from.

Those of the machine are used where they are all there. Otherwise Debian's or Ubuntu's own packages are downloaded into
`.cache/tools/slurm/` and unpacked into the lab's folder: nothing is installed, no script of theirs runs, and the lab's
folder is readable for the users that run jobs, which the checkout need not be.
"""

import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests import debian_packages

PACKAGES = ("munge", "mariadb-server", "slurmdbd", "slurmctld", "slurmd", "slurm-client")
NEEDED = (
    *("munged", "mariadbd", "mariadb", "mariadb-install-db", "slurmdbd", "slurmctld", "slurmd", "slurmstepd"),
    *("sacct", "sacctmgr", "sbatch", "scancel", "scontrol", "sdiag", "sinfo", "squeue", "sreport", "srun", "salloc"),
)
DOWNLOADS = debian_packages.UNPACKED / "slurm"
MACHINE = Path("/")
INSTALL = ("apt-get", "install", "-y", "-q", "--no-install-recommends", "-o", "Debug::NoLocking=1")


class CannotRun(Exception):
    """The lab cannot be brought up on this machine; the text says what is missing and how to get it."""


@dataclass(frozen=True)
class Programs:
    """Programs below one root folder: the machine's own, or one with unpacked packages."""

    root: Path

    def find(self, name: str) -> Path | None:
        paths = (self.root / folder / name for folder in ("usr/sbin", "usr/bin", "usr/local/sbin", "usr/local/bin"))
        return next((path for path in paths if path.exists()), None)

    def path(self, name: str) -> str:
        found = self.find(name)
        if found is None:
            raise CannotRun(f"The program {name} is not below {self.root}.")
        return str(found)

    def missing(self) -> list[str]:
        return [name for name in NEEDED if self.find(name) is None]

    @property
    def is_unpacked(self) -> bool:
        return self.root != MACHINE

    @property
    def slurm_plugins(self) -> Path | None:
        """Slurm's plugins, which are looked for where it was built for; None: there they are."""
        return next(iter(self.root.glob("usr/lib/*/slurm-wlm")), None) if self.is_unpacked else None

    @property
    def env(self) -> dict[str, str]:
        """What a process needs to find these programs and their libraries."""
        folders = [self.root / "usr/sbin", self.root / "usr/bin"] if self.is_unpacked else []
        search = ":".join([*map(str, folders), "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"])
        libraries = [*self.root.glob("usr/lib/*-linux-gnu"), *self.root.glob("usr/lib/*-linux-gnu/slurm-wlm")]
        return {"PATH": search, "LC_ALL": "C.UTF-8"} | (
            {"LD_LIBRARY_PATH": ":".join(map(str, libraries))} if self.is_unpacked else {}
        )


def found_or_unpacked(folder: Path) -> Programs:
    """The machine's programs, or packages unpacked into the folder; CannotRun says what is missing."""
    if not Programs(MACHINE).missing():
        return Programs(MACHINE)
    missing = ", ".join(Programs(MACHINE).missing())
    remedy = f"On Debian and Ubuntu: apt-get install --no-install-recommends {' '.join(PACKAGES)}"
    if not debian_packages.has_apt():
        raise CannotRun(f"Not on this machine: {missing}. {remedy}")
    archives = downloaded(PACKAGES)
    if not archives:
        raise CannotRun(f"Not on this machine: {missing}; and their packages could not be downloaded. {remedy}")
    folder.mkdir(mode=0o755)
    for archive in archives:
        subprocess.run(["dpkg-deb", "-x", str(archive), str(folder)], check=True)
    for program in (folder / "usr/sbin").glob("*-wlm"):
        # Debian's alternatives, which an installation would set up; a daemon goes by the name that it is called by
        program.with_name(program.name.removesuffix("-wlm")).symlink_to(program.name)
    unpacked = Programs(folder)
    if still := unpacked.missing():
        raise CannotRun(f"The packages do not hold {', '.join(still)}. {remedy}")
    return unpacked


def downloaded(packages: Sequence[str]) -> list[Path]:
    """The packages and what they need beyond what is installed here; empty when they cannot be had."""
    (DOWNLOADS / "partial").mkdir(parents=True, exist_ok=True)
    fetch = [*INSTALL, "--download-only", "-o", f"Dir::Cache::archives={DOWNLOADS}", *packages]
    print(f"  fetching {' '.join(packages)} into {DOWNLOADS} ...", flush=True)
    if not debian_packages.ran(fetch) and not (
        debian_packages.ran(["apt-get", "update", "-q"]) and debian_packages.ran(fetch)
    ):
        return []
    return [DOWNLOADS / name for name in file_names(packages)]


def file_names(packages: Sequence[str]) -> list[str]:
    """The files that an installation would need; an older one that an earlier run has left is none of them."""
    with tempfile.TemporaryDirectory() as nothing_cached:
        plan = [*INSTALL, "--print-uris", "-q", "-o", f"Dir::Cache::archives={nothing_cached}", *packages]
        shown = subprocess.run(plan, capture_output=True, text=True, check=True)
    # 'address' file size checksum
    return [line.split()[1] for line in shown.stdout.splitlines() if line.startswith("'")]
