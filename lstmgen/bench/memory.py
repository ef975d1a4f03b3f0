"""How much memory forward+backward takes: bytes saved for backward, and how far the process grows at its peak."""

from __future__ import annotations

import gc
import sys
from dataclasses import dataclass
from pathlib import Path

from lstmgen.bench import generated
from lstmgen.bench.implementation import TRAINING
from lstmgen.bench.problem import draw
from lstmgen.bench.shapes import Shape
from lstmgen.bench.station import Build
from lstmgen.bench.subject import Subject

TINY = Shape(2, 1, 2, 4)

ALLOCATOR = {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536", "MALLOC_TOP_PAD_": "0"}
"""For glibc: arrays come from the system and go back to it, so that none hides in memory that was used before."""


@dataclass(frozen=True)
class Memory:
    """In bytes. ``peak`` is how far the process grew over one forward and one backward, arguments not counted;
    ``saved`` what forward keeps for backward, of generated kernels alone."""

    peak: int | None
    saved: int | None = None


class Peak:
    """An implementation in a process of its own that has run nothing but a tiny shape before."""

    def __init__(self, build: Build, subject: Subject, shape: Shape, dtype: str) -> None:
        build(subject, draw(subject, TINY, dtype))[TRAINING].call()
        self.call = build(subject, draw(subject, shape, dtype))[TRAINING].call

    def growth(self) -> int | None:
        """Bytes from before to the peak; None where the system does not tell."""
        gc.collect()
        before = _reset()
        result = self.call()
        peak = _peak()
        del result
        return None if before is None or peak is None else max(peak - before, 0)


class Saved:
    """What forward saves under a policy."""

    def __init__(self, subject: Subject, shape: Shape, dtype: str) -> None:
        self.subject, self.problem = subject, draw(subject, shape, dtype)

    def bytes(self, residuals: str) -> int:
        return generated.saved_bytes(self.subject, self.problem, residuals)


def available() -> int | None:
    """Bytes that can be had without swapping; None where the system does not tell."""
    return _field(Path("/proc/meminfo"), "MemAvailable")


def expected(subject: Subject, shape: Shape, itemsize: int) -> int:
    """About how many bytes the saved values of one forward take."""
    sizes = subject.sizes(shape)
    total = 0
    for _, dims in subject.residuals:
        each = shape.steps * shape.batch
        for dim in dims:
            each *= sizes[dim]
        total += each
    return total * itemsize


def _reset() -> int | None:
    """Forgets the peak so far where Linux allows it; the size from which to count."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return _peak()
    return _field(Path("/proc/self/status"), "VmRSS")


def _peak() -> int | None:
    found = _field(Path("/proc/self/status"), "VmHWM")
    if found is not None:
        return found
    try:
        import resource
    except ImportError:
        return None
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def _field(file: Path, name: str) -> int | None:
    """A size in bytes from one of Linux's tables."""
    try:
        lines = file.read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return None
    found = [line.split()[1] for line in lines if line.startswith(f"{name}:")]
    return 1024 * int(found[0]) if found else None
