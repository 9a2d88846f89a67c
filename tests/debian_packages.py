"""Fetches what a test stage needs from the system's own package source, where that is Debian or Ubuntu.

Root installs; anybody else unpacks the same packages below `.cache/tools/`, which needs no rights and changes nothing
of the machine. Every function says False (or raises nothing and finds nothing) where there is no apt: the caller then
tells the person what is missing.
"""

import os
import shutil
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
UNPACKED = ROOT / ".cache" / "tools"
QUIET = {"DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C.UTF-8"}


def ran(command: list[str], *, cwd: Path | None = None) -> bool:
    """Run a command without input or noise; True when it succeeded, its last lines printed when not."""
    done = subprocess.run(
        command,
        cwd=cwd,
        env={**os.environ, **QUIET},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        print(f"    {' '.join(command)}: exit {done.returncode}\n    " + "\n    ".join(done.stderr.splitlines()[-5:]))
    return done.returncode == 0


def has_apt() -> bool:
    return shutil.which("apt-get") is not None and shutil.which("dpkg-deb") is not None


def install(*packages: str) -> bool:
    """Install packages as root, without recommended ones. False when not root, without apt, or when apt failed."""
    if os.geteuid() != 0 or not has_apt():
        return False
    print(f"  installing {' '.join(packages)} ...", flush=True)
    return ran(["apt-get", "update", "-q"]) and ran(
        [
            "apt-get",
            "install",
            "-y",
            "-q",
            "--no-install-recommends",
            "-o",
            "Dpkg::Options::=--force-confold",
            *packages,
        ]
    )


def unpack(*packages: str) -> bool:
    """Download packages and unpack them below `.cache/tools/`; nothing is installed, no script of theirs runs."""
    if not has_apt():
        return False
    print(f"  unpacking {' '.join(packages)} into {UNPACKED} ...", flush=True)
    downloads = UNPACKED / "downloads"
    downloads.mkdir(parents=True, exist_ok=True)
    fetched = ran(["apt-get", "download", "-q", *packages], cwd=downloads)
    return fetched and all(ran(["dpkg-deb", "-x", str(deb), str(UNPACKED)]) for deb in sorted(downloads.glob("*.deb")))


def depends_of(package: str) -> list[str]:
    """The names of the real packages that a package directly depends on."""
    shown = subprocess.run(
        ["apt-cache", "depends", "--important", package], capture_output=True, text=True, check=False
    )
    words = [line.split() for line in shown.stdout.splitlines()]
    return [line[1] for line in words if len(line) == 2 and line[0] == "Depends:" and not line[1].startswith("<")]
