"""Finds the Chromium that browser tests drive, and a font for Chinese; root on Debian and Ubuntu fetches them."""

import os
import shutil
import subprocess
from pathlib import Path

from tests import debian_packages

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


def installed() -> Path | None:
    """The browser named by CHROMIUM, or the first known one on the PATH."""
    if named := os.environ.get("CHROMIUM"):
        return Path(named) if Path(named).exists() else None
    found = next((path for name in NAMES if (path := shutil.which(name))), None)
    return Path(found) if found else None


def found_or_fetched() -> Path | None:
    return installed() or (installed() if debian_packages.install("chromium") else None)


def has_chinese_font() -> bool:
    """Whether fontconfig, which the browser asks too, knows a font with Traditional Chinese."""
    if shutil.which("fc-list") is None:
        return False
    listed = subprocess.run(["fc-list", ":lang=zh-tw", "family"], capture_output=True, text=True, check=False)
    return bool(listed.stdout.strip())


def chinese_font_found_or_fetched() -> bool:
    return has_chinese_font() or (debian_packages.install("fontconfig", "fonts-noto-cjk") and has_chinese_font())
