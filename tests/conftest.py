"""What several test files need: the command line in an empty folder, and packages that need no installing."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from gpu_asked import GpuAsked, is_asked_for, why_not

from lstmgen.cli import main

Run = Callable[..., Result]
Shell = Callable[..., "subprocess.CompletedProcess[str]"]
Package = Callable[..., Path]


def pytest_configure(config: pytest.Config) -> None:
    if is_asked_for(config.option.markexpr) and not hasattr(config, "workerinput"):
        config.pluginmanager.register(GpuAsked())


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests with the marker `gpu` are skipped where there is none."""
    for item in items:
        if item.get_closest_marker("gpu") and why_not():
            item.add_marker(pytest.mark.skip(reason=f"needs a GPU: {why_not()}"))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to work in."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def run(folder: Path) -> Run:
    """`lstmgen` with these arguments, in `folder` and in this process; `output` is all that it prints."""
    return lambda *arguments: CliRunner().invoke(main, [str(each) for each in arguments])


@pytest.fixture
def shell(folder: Path) -> Shell:
    """`python` with these arguments, in `folder` and in a process of its own."""

    def call(*arguments: str, cwd: Path = folder, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, *arguments],
            cwd=cwd,
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            encoding="utf-8",
            timeout=120,
        )

    return call


@pytest.fixture
def package(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Package:
    """Puts a package on the path, with the metadata that pip would write. Returns its folder.

    Entry points are the text of `entry_points.txt`; each keyword is a module and its source. Python keeps modules by
    name, so no two tests may share one.
    """

    def install(name: str, entries: str, *, metadata: bool = True, **modules: str) -> Path:
        place = tmp_path_factory.mktemp(name)
        info = place / f"{name}-1.0.dist-info"
        info.mkdir()
        if metadata:
            (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n", encoding="utf-8")
        (info / "entry_points.txt").write_text(entries, encoding="utf-8")
        for module, source in modules.items():
            (place / f"{module}.py").write_text(source, encoding="utf-8")
        monkeypatch.syspath_prepend(place)
        return place

    return install
