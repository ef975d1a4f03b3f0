"""Processes to measure in: one for each implementation, for thread pools of different runtimes disturb one another."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

BLAS_VARIABLES = ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")
"""What would make OpenBLAS choose other kernels, or other blocks, than it does by itself on this CPU."""


class WorkerError(Exception):
    """A worker failed. ``details`` is its traceback, or what it printed before it died."""

    def __init__(self, message: str, details: str = "") -> None:
        super().__init__(message)
        self.details = details


@dataclass(frozen=True)
class Setting:
    """What workers run on: how many threads, on which cores (none: not pinned), with which environment."""

    threads: int
    cores: tuple[int, ...]
    environment: Mapping[str, str]


def setting(threads: int, *, keep_blas: bool = False, core_type: str = "") -> Setting:
    """Threads on the last cores that this process may use.

    Variables that choose OpenBLAS's kernels are left out, so that it chooses what it does for a user of this CPU; with
    ``keep_blas`` they stay, with ``core_type`` it is told.
    """
    environment = dict(os.environ)
    for library in ("OPENBLAS", "OMP", "MKL"):
        environment[f"{library}_NUM_THREADS"] = str(threads)
    if not keep_blas:
        for name in BLAS_VARIABLES:
            environment.pop(name, None)
    if core_type:
        environment["OPENBLAS_CORETYPE"] = core_type
    environment |= {"JAX_PLATFORMS": "cpu", "TF_CPP_MIN_LOG_LEVEL": "3"}
    if threads == 1:
        environment["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false"
    package = str(Path(__file__).resolve().parents[2])
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, [package, environment.get("PYTHONPATH", "")]))
    cores = sorted(os.sched_getaffinity(0))[-threads:] if hasattr(os, "sched_getaffinity") else []
    return Setting(threads, tuple(cores), environment)


class Worker:
    """An object in a process of its own: ``Worker(setting, Class, *arguments)``, then ``call("method", ...)``."""

    def __init__(
        self, setting: Setting, made: Callable[..., object], *arguments: Any, extra: Mapping[str, str] | None = None
    ) -> None:
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the process
        self._process = subprocess.Popen(
            [sys.executable, "-m", "lstmgen.bench.worker", *map(str, setting.cores)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            env={**setting.environment, **(extra or {})},
        )
        try:
            self._ask(made, arguments)
        except BaseException:
            self.close()
            raise

    def call(self, method: str, *arguments: Any) -> Any:
        """What the method returns; :class:`WorkerError` if it raises, or if the process dies."""
        return self._ask(method, arguments)

    def _ask(self, what: object, arguments: Sequence[Any]) -> Any:
        assert self._process.stdin and self._process.stdout
        try:
            pickle.dump((what, tuple(arguments)), self._process.stdin, protocol=pickle.HIGHEST_PROTOCOL)
            self._process.stdin.flush()
            good, answer = pickle.load(self._process.stdout)
        except (EOFError, BrokenPipeError):
            code = self._process.wait()
            self._errors.seek(0)
            details = self._errors.read().decode(errors="replace")
            killed = f"killed by signal {-code}" if code < 0 else f"ended with {code}"
            memory = ", perhaps for want of memory" if code == -9 else ""
            raise WorkerError(f"the process was {killed}{memory}", details) from None
        if not good:
            raise WorkerError(*answer)
        return answer

    @property
    def alive(self) -> bool:
        """Whether the process can be asked for more."""
        return self._process.poll() is None

    def kill(self) -> None:
        """Stops the process at once, from any thread: a call that is under way raises :class:`WorkerError`."""
        self._process.kill()

    def close(self) -> None:
        """Ends the process."""
        assert self._process.stdin and self._process.stdout
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout, self._errors):
            with suppress(BrokenPipeError):  # nobody waits for what was still to be written
                stream.close()

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()
