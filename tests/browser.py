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

    ``wide`` sticks out of the page, ``scrolling`` out of its own box, ``cut`` is higher than its box; ``missing`` are
    characters that no font has, ``requests`` what the page asked for; ``text`` is its words as shown, ``mathematics``
    those of all formulas.
    """

    width: int
    wide: list[str]
    scrolling: list[str]
    cut: list[str]
    missing: list[str]
    requests: list[str]
    text: str
    mathematics: str


def measure(pages: Sequence[tuple[str, int]], folder: Path) -> list[Measured]:
    """Each page, given as its HTML, at the width beside it; ``folder`` is empty, for the browser's files.

    All pages go through one browser. Copies forbid every request, and have the one script that measures them.
    """
    copies: dict[str, str] = {}
    for page, _ in pages:
        copies.setdefault(page, f"page-{len(copies)}.html")
    for page, name in copies.items():
        (folder / name).write_text(_with_script(page), encoding="utf-8")
    asked = json.dumps([(copies[page], width) for page, width in pages])
    script = (HERE / "measure_pages.js").read_text(encoding="utf-8")
    driver = folder / "driver.html"
    page = f'<!DOCTYPE html><meta charset="utf-8"><body><script>const PAGES = {asked};\n{script}</script>'
    driver.write_text(page, encoding="utf-8")
    shown = _dumped(driver, folder / "profile")
    found = re.search(r'<pre id="found">(.*?)</pre>', shown, re.DOTALL)
    assert found is not None, f"the browser measured nothing: {shown[-500:]}"
    return [Measured(**each) for each in json.loads(html.unescape(found[1]))]


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
