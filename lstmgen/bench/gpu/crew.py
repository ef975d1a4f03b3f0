"""The processes of a run, one for each library, and the time that they have."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from types import TracebackType
from typing import Any

from lstmgen.bench.gpu.station import Station
from lstmgen.bench.pool import Setting, Worker, WorkerError, setting

NO_TIME = "no time"
"""Why there is nothing where the budget was spent."""


class TooLong(WorkerError):  # noqa: N818 -- it is no error, but a decision
    """A process was ended, because what it was asked for was not done in time."""


class Budget:
    """How much time a run has, and how much of it is left."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._began = time.monotonic()

    @property
    def spent(self) -> float:
        """Seconds so far."""
        return time.monotonic() - self._began

    @property
    def left(self) -> float:
        """Seconds that are left."""
        return self.seconds - self.spent


class Crew:
    """A process for each library, started when it is first needed, and anew where the last one ended."""

    def __init__(self, budget: Budget, *, host: bool) -> None:
        self._budget, self._host, self._setting = budget, host, _setting(host)
        self._workers: dict[str, Worker] = {}

    def ask(self, process: str, library: str, seconds: float, method: str, *arguments: Any) -> Any:
        """What a method of the process's :class:`Station` returns.

        Raises :class:`WorkerError` where it fails, or is not done when its ``seconds``, or those of the budget, are
        over: the process is ended then.
        """
        worker = self._workers.get(process)
        if worker is not None and not worker.alive:
            self._workers.pop(process).close()
            worker = None
        if worker is None:
            worker = self._workers[process] = Worker(self._setting, Station, library, self._host)
        left = self._budget.left
        with _within(worker, min(seconds, left), f"not done within {seconds:.0f} s" if seconds < left else NO_TIME):
            return worker.call(method, *arguments)

    def drop(self, process: str, key: str) -> None:
        """Has a process forget an implementation, if it is still there."""
        worker = self._workers.get(process)
        if worker is not None and worker.alive:
            with suppress(WorkerError), _within(worker, 10.0, "not done"):
                worker.call("drop", key)

    def retire(self, process: str) -> None:
        """Ends a process: an error of CUDA's makes all later calls of its process fail."""
        if process in self._workers:
            self._workers.pop(process).close()

    def close(self) -> None:
        """Ends all processes."""
        while self._workers:
            self._workers.popitem()[1].close()

    def __enter__(self) -> Crew:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()


@contextmanager
def _within(worker: Worker, seconds: float, otherwise: str) -> Iterator[None]:
    """Ends the worker where what it does takes longer, and raises :class:`TooLong` with these words."""
    over = threading.Event()

    def stop() -> None:
        over.set()
        worker.kill()

    timer = threading.Timer(max(seconds, 0.0), stop)
    timer.start()
    try:
        yield
    except WorkerError:
        if over.is_set():
            raise TooLong(otherwise) from None
        raise
    finally:
        timer.cancel()


def _setting(host: bool) -> Setting:
    """Processes that use all cores, and JAX and PyTorch one GPU together."""
    found = setting(os.cpu_count() or 1)
    environment = {name: value for name, value in found.environment.items() if name != "XLA_FLAGS"}
    environment["JAX_PLATFORMS"] = "cpu" if host else "cuda"
    environment["XLA_PYTHON_CLIENT_PREALLOCATE"] = "false"
    return replace(found, cores=(), environment=environment)
