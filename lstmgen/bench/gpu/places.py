"""Where generated CuPy modules run: on the GPU, or on the host with a stand-in for CuPy."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from itertools import count
from types import ModuleType
from typing import Any, Protocol


class Clock(Protocol):
    """Marks points in what a device is asked to do, and tells the time between them afterwards."""

    def mark(self) -> Any:
        """A point after everything asked for so far."""

    def wait(self) -> None:
        """Until everything asked for is done."""

    def between(self, first: Any, second: Any) -> float:
        """Microseconds between two marks."""


class WallClock:
    """For calls that return when they are done."""

    def mark(self) -> float:
        return time.perf_counter()

    def wait(self) -> None:
        """Nothing is under way."""

    def between(self, first: float, second: float) -> float:
        return 1e6 * (second - first)


class CupyClock:
    """Events on CuPy's current stream."""

    def __init__(self) -> None:
        self._cuda: Any = import_module("cupy").cuda

    def mark(self) -> Any:
        event = self._cuda.Event()
        event.record()
        return event

    def wait(self) -> None:
        self._cuda.get_current_stream().synchronize()

    def between(self, first: Any, second: Any) -> float:
        return 1e3 * float(self._cuda.get_elapsed_time(first, second))


class TorchClock:
    """Events on PyTorch's current stream."""

    def __init__(self) -> None:
        self._cuda: Any = import_module("torch").cuda

    def mark(self) -> Any:
        event = self._cuda.Event(enable_timing=True)
        event.record()
        return event

    def wait(self) -> None:
        self._cuda.synchronize()

    def between(self, first: Any, second: Any) -> float:
        return 1e3 * float(first.elapsed_time(second))


@dataclass(frozen=True)
class Place:
    """CuPy or its stand-in, the runtime of generated modules there, and what makes a module of a source."""

    cupy: Any
    runtime: Any
    load: Callable[[str, str], ModuleType]
    clock: Callable[[], Clock]

    def loaded(self, source: str) -> ModuleType:
        """A module of its own each time."""
        return self.load(source, f"_lstmgen_gpu_bench_{next(_NUMBER)}")


_NUMBER = count()


@cache
def place(host: bool) -> Place:
    """The GPU, or the host."""
    if host:
        from lstmgen.backends.cupy import host as stand_in

        return Place(stand_in.cupy_stand_in(), stand_in.runtime(), stand_in.load, WallClock)
    from lstmgen.backends.cupy import backend

    runtime = import_module("lstmgen.backends.cupy._cupy_runtime")
    return Place(import_module("cupy"), runtime, backend.load, CupyClock)


def clock(library: str, host: bool) -> Clock:
    """The clock for what a library does. JAX's calls return when they are done."""
    if host or library == "jax":
        return WallClock()
    return CupyClock() if library == "cupy" else TorchClock()
