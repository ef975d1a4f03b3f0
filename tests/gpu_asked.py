"""The marker `gpu`: such tests are skipped where there is no GPU, but who asks for them (`-m gpu`) is told."""

from __future__ import annotations

import importlib.util
import re
import warnings
from functools import cache
from typing import Any

import pytest


@cache
def why_not() -> str:
    """Why tests on a GPU cannot run here; empty if they can."""
    if importlib.util.find_spec("cupy") is None:
        return "CuPy is not installed"
    from lstmgen.backends.cupy.module import has_device

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of CuPy's about its installation; `lstmgen doctor` tells them
        return "" if has_device() else "CuPy finds no GPU"


def is_asked_for(expression: str) -> bool:
    """Whether `-m expression` asks for tests on a GPU."""
    return bool(re.search(r"\bgpu\b", expression)) and not re.search(r"\bnot\s+gpu\b", expression)


class GpuAsked:
    """Fails a run that asked for tests on a GPU and ran none."""

    def __init__(self) -> None:
        self.ran = 0
        self.fails = False

    def pytest_runtest_logreport(self, report: Any) -> None:
        # With pytest-xdist reports come from other processes; a test that is skipped in its body has not run.
        self.ran += report.when == "call" and not report.skipped and "gpu" in report.keywords

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        self.fails = not self.ran and not session.config.option.collectonly
        if self.fails and session.exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED):
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        if self.fails:
            why = why_not() or "none was selected"
            terminalreporter.write_sep("=", "no test ran on a GPU", red=True, bold=True)
            terminalreporter.write_line(f"`-m gpu` asked for tests on a GPU, and none ran: {why}.")
