"""Takes the pictures of the README from a freshly loaded demo: `make pictures`.

The demo is loaded into a temporary folder, served, and photographed by the Chromium of the browser tests. Nothing of a
developer's own database is read or changed. The demo is relative to today, so new pictures show new days.
"""

import os
import socket
import subprocess
import sys
import tempfile
import time
from base64 import b64decode
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

from playwright.sync_api import Browser, sync_playwright

from tests import chromium

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "docs" / "pictures"
MOST_BYTES = 120_000
PASSWORD = "look-around-the-harbour"


@dataclass(frozen=True)
class Picture:
    """One page as one demo person sees it; the file is called `<name>.webp`. `{month}` in a path is the last one."""

    name: str
    path: str
    sign_in: str = ""
    width: int = 1280
    height: int = 800
    language: str = "en-GB"
    dark: bool = False


PICTURES = (
    Picture("front", "/", height=1000),
    Picture("project", "/projects/med-vertical/", "med-vertical.lead@example.org", height=1080),
    Picture("project-phone", "/projects/gene-fold/", "gene-fold.lead@example.org", 360, 1000, "zh-HK", dark=True),
    Picture("usage", "/projects/med-vertical/usage/", "med-vertical.lead@example.org", height=1080),
    Picture("statement", "/projects/gene-fold/statements/{month}/", "gene-fold.lead@example.org", height=1000),
    Picture("subsidy", "/projects/trilingual-llm/subsidy/", "trilingual-llm.lead@example.org", height=900),
    Picture("report", "/reports/usage-by-project/", "management@example.org", height=860),
    Picture("desk", "/desk/", "allocation.officer.two@example.org", height=700),
    Picture("ledger", "/projects/acceptance/ledger/", "auditor@example.org", height=1000),
    Picture("admin", "/admin/allocations/allocation/", "allocation.officer@example.org", height=860),
)


def main() -> int:
    executable = chromium.found_or_fetched()
    if executable is None:
        print("Chromium was not found; install it, or name it with CHROMIUM=/path/to/it.")
        return 1
    chromium.chinese_font_found_or_fetched()
    FOLDER.mkdir(parents=True, exist_ok=True)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    address = f"http://127.0.0.1:{port}"
    with tempfile.TemporaryDirectory(prefix="portal-pictures.") as scratch:
        environment = {**os.environ, "VAR_DIR": scratch, "HTTPS": "false", "PUBLIC_URL": address}
        environment["DATABASE_URL"] = f"sqlite:///{scratch}/portal.sqlite3"
        (Path(scratch) / "static").mkdir()
        for command in (["migrate", "--verbosity", "0"], ["load_demo"]):
            subprocess.run([sys.executable, "manage.py", *command], cwd=ROOT, env=environment, check=True)
        serving = [sys.executable, "-m", "gunicorn", "centre.wsgi", "--bind", f"127.0.0.1:{port}", "--threads", "4"]
        server = subprocess.Popen([*serving, "--log-level", "warning"], cwd=ROOT, env=environment)
        try:
            wait_for(f"{address}/health/")
            with sync_playwright() as playwright:
                browser = playwright.chromium.launch(executable_path=executable, args=list(chromium.FLAGS))
                for picture in PICTURES:
                    print(take(browser, address, picture))
                browser.close()
        finally:
            server.terminate()
            server.wait()
    return 0


def wait_for(url: str, seconds: int = 60) -> None:
    """Return when the server answers; RuntimeError when it does not in time."""
    for _ in range(seconds * 5):
        try:
            with urlopen(url):
                return
        except URLError:
            time.sleep(0.2)
    raise RuntimeError(f"{url} does not answer")


def take(browser: Browser, address: str, picture: Picture) -> str:
    """Take one picture, as good as its limit of size allows; returns a line to print."""
    context = browser.new_context(
        viewport={"width": picture.width, "height": picture.height},
        device_scale_factor=2 if picture.width < 600 else 1,
        color_scheme="dark" if picture.dark else "light",
        reduced_motion="reduce",
        locale=picture.language,
    )
    screen = context.new_page()
    if picture.sign_in:
        screen.goto(f"{address}/accounts/login/")
        screen.fill("input[name=login]", picture.sign_in)
        screen.fill("input[name=password]", PASSWORD)
        screen.locator("main form button").first.click()
        screen.wait_for_load_state()
    last_month = datetime.now(UTC).date().replace(day=1) - timedelta(days=1)
    screen.goto(address + picture.path.format(month=f"{last_month:%Y-%m}"))
    target = FOLDER / f"{picture.name}.webp"
    session = context.new_cdp_session(screen)
    for quality in range(90, 20, -10):
        shot = session.send("Page.captureScreenshot", {"format": "webp", "quality": quality})
        target.write_bytes(b64decode(shot["data"]))
        if target.stat().st_size <= MOST_BYTES:
            break
    context.close()
    return f"{target.relative_to(ROOT)}: {target.stat().st_size // 1000} kB"


if __name__ == "__main__":
    sys.exit(main())
