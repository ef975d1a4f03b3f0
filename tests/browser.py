"""Pages as a real browser lays them out: Chromium without a window, which measures copies of them."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
CHROMIUM = next((found for name in NAMES if (found := shutil.which(name))), None)
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-component-update",
    "--disable-background-networking", "--disable-sync", "--disable-dev-shm-usage",
    "--host-resolver-rules=MAP * ~NOTFOUND",
)  # fmt: skip
POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'"


@dataclass(frozen=True)
class Measured:
    """What a browser says of a page at one width; places are words that name an element and its excess.

    ``wide`` sticks out of the page, ``scrolling`` out of its own box, ``cut`` is higher than its box, ``apart`` are
    left sides of equations that stand away from their signs; ``missing`` are characters that no font has, ``requests``
    what the page asked for; ``text`` is its words as shown, ``mathematics`` those of all formulas.
    """

    width: int
    wide: list[str]
    scrolling: list[str]
    cut: list[str]
    apart: list[str]
    missing: list[str]
    requests: list[str]
    text: str
    mathematics: str


def measure(pages: Sequence[str], widths: Sequence[int], folder: Path) -> list[list[Measured]]:
    """Each page, given as its HTML, at every width; ``folder`` is for the browser's files.

    All pages go through one browser. Copies forbid every request, and have the one script that measures them.
    """
    names = [f"page-{number}.html" for number in range(len(pages))]
    for name, page in zip(names, pages, strict=True):
        (folder / name).write_text(_with_script(page), encoding="utf-8")
    script = (HERE / "measure_pages.js").read_text(encoding="utf-8")
    asked = f"const PAGES = {json.dumps(names)}, WIDTHS = {json.dumps(widths)};\n"
    driver = folder / "driver.html"
    driver.write_text(f'<!DOCTYPE html><meta charset="utf-8"><body><script>{asked}{script}</script>', encoding="utf-8")
    shown = _dumped(driver, folder / "profile")
    found = re.search(r'<pre id="found">(.*?)</pre>', shown, re.DOTALL)
    assert found is not None, f"the browser measured nothing: {shown[-500:]}"
    return [[Measured(**at_width) for at_width in page] for page in json.loads(html.unescape(found[1]))]


def _with_script(page: str) -> str:
    script = (HERE / "measure_page.js").read_text(encoding="utf-8")
    ours = f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n<script>{script}</script>\n'
    assert page.count("<head>") == 1
    return page.replace("<head>", "<head>\n" + ours)


def _dumped(page: Path, profile: Path) -> str:
    """The page's elements after its scripts have run; virtual time does not pass while something is loaded."""
    command = [str(CHROMIUM), *FLAGS, f"--user-data-dir={profile}", "--virtual-time-budget=100000", "--dump-dom"]
    run = subprocess.run([*command, page.as_uri()], capture_output=True, timeout=300, check=False)
    assert run.returncode == 0, run.stderr.decode(errors="replace")[-2000:]
    return run.stdout.decode("utf-8")
