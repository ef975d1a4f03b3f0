"""What a run found, in plain data: what is printed, drawn and written is made of this."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from lstmgen.bench.check import Deviations
from lstmgen.bench.memory import Memory
from lstmgen.bench.shapes import Shape
from lstmgen.bench.turns import Times


@dataclass(frozen=True)
class Row:
    """One contender: its key, its title, and why it was not measured at all, empty if it was."""

    key: str
    title: str
    why: str = ""


@dataclass(frozen=True)
class AtShape:
    """One shape.

    ``deviations`` are the worst of each contender and ``wrong`` all that exceed the ``limit``; a contender that is
    wrong has no times. ``failed`` says of contenders what stopped them. ``operations`` are the floor's by measure.
    ``skipped`` says why nothing was measured here, empty if something was.
    """

    shape: Shape
    sizes: Mapping[str, int]
    times: Times = field(default_factory=lambda: Times({}, None))
    deviations: Mapping[str, float] = field(default_factory=dict)
    limit: float = 0.0
    wrong: Mapping[str, Deviations] = field(default_factory=dict)
    failed: Mapping[str, str] = field(default_factory=dict)
    operations: Mapping[str, int] = field(default_factory=dict)
    memory: Mapping[str, Memory] = field(default_factory=dict)
    ablation: Times = field(default_factory=lambda: Times({}, None))
    skipped: str = ""


@dataclass(frozen=True)
class Header:
    """What was measured, on what, and how."""

    cell: str
    options: Mapping[str, object]
    digest: str
    version: str
    dtype: str
    threads: int
    cores: tuple[int, ...]
    rounds: int
    processor: str
    count: int
    blas: str
    environment: Mapping[str, str]
    versions: Mapping[str, str]
    floor: tuple[str, ...]
    calls: Mapping[str, int]


@dataclass(frozen=True)
class Results:
    """A whole run: its header, its rows in order, and what was found at each shape."""

    header: Header
    rows: tuple[Row, ...]
    shapes: tuple[AtShape, ...]
    limit: float | None = None
    """How many times the floor forward+backward of our kernels may take; None for no limit."""
