"""One implementation at one shape, in its process: what there is to ask of it."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from statistics import median

from lstmgen.bench.check import Deviations, of_implementation
from lstmgen.bench.implementation import Arrays, Implementation
from lstmgen.bench.machine import busy_seconds
from lstmgen.bench.problem import Problem, draw
from lstmgen.bench.shapes import Shape
from lstmgen.bench.subject import Subject

Build = Callable[[Subject, Problem], Implementation]


@dataclass(frozen=True)
class Turn:
    """One turn: the median ms of its calls, how many core-seconds it had, and how many of them went to others (None
    where that is not known)."""

    ms: float
    had: float
    others: float | None


class Station:
    """An implementation, built."""

    def __init__(self, build: Build, subject: Subject, shape: Shape, dtype: str) -> None:
        self.implementation = build(subject, draw(subject, shape, dtype))
        self.threads = int(os.environ["OMP_NUM_THREADS"])

    def measures(self) -> tuple[str, ...]:
        """What can be timed."""
        return tuple(self.implementation)

    def deviations(self, expected: Arrays) -> Deviations:
        """How far every tensor is from what it should be; see :mod:`.check`."""
        return of_implementation(self.implementation, expected)

    def turn(self, measure: str, least: float) -> Turn:
        """Calls that together last ``least`` seconds. One more goes first, for it brings data back into the caches.

        Where that one alone lasts so long, caches hardly matter, and it is what counts.
        """
        call = self.implementation[measure].call
        busy, ran, began = busy_seconds(), -time.process_time(), time.perf_counter()
        first = _seconds(call)
        times = [first] if first >= least else list(_repeated(call, least))
        ran, took = ran + time.process_time(), time.perf_counter() - began
        after = busy_seconds()
        others = took if self.threads == 1 else None if busy is None or after is None else after - busy
        return Turn(1e3 * median(times), took * self.threads, None if others is None else max(others - ran, 0.0))


def _repeated(call: Callable[[], object], least: float) -> Iterator[float]:
    """The seconds of calls that together last this long."""
    total = 0.0
    while total < least:
        took = _seconds(call)
        total += took
        yield took


def _seconds(call: Callable[[], object]) -> float:
    began = time.perf_counter()
    call()
    return time.perf_counter() - began
