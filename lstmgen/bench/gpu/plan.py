"""What is measured, in order of importance, and who takes part."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from importlib.util import find_spec
from typing import Any

from lstmgen.bench.gpu import ours, torch_peers
from lstmgen.bench.gpu.torch_peers import LOOPS
from lstmgen.bench.implementation import Implementation
from lstmgen.bench.peers import jax_scan
from lstmgen.bench.peers.jax_scan import SCANS
from lstmgen.bench.peers.pytorch import CLASSES
from lstmgen.bench.problem import Problem
from lstmgen.bench.shapes import Shape
from lstmgen.bench.subject import Subject

OURS, PLAIN, TORCH = "lstmgen", "without workspace", "torch"
STEPS = 512
TINY = (2, 4)
COMPILED = frozenset({(16, 512), (32, 1024), (1, 512), (16, 128), TINY})
UNROLLED = frozenset({(16, 128), TINY})
"""Batch and hidden size at which a step is compiled, and a whole loop, which unrolls it: each takes long to compile."""


@dataclass(frozen=True)
class Case:
    """A cell with options at a shape."""

    cell: str
    shape: Shape
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def title(self) -> str:
        """The cell with its options."""
        options = ", ".join(f"{name}={value}" for name, value in self.options.items())
        return f"{self.cell} ({options})" if options else self.cell

    def __str__(self) -> str:
        s = self.shape
        return f"{self.title}: {s.steps} steps, batch {s.batch}, features {s.features}, hidden {s.hidden}"


Key = tuple[str, tuple[tuple[str, Any], ...]]


@dataclass(frozen=True)
class Contender:
    """One row of the tables.

    ``process`` is the process it runs in, ``library`` what that imports. ``has`` says for which cells there is one;
    it takes part where batch and hidden size are in ``at``, anywhere if that is empty. ``limit`` is the deviation from
    which on it counts as wrong, ``seconds`` how long it may take to be built.
    """

    key: str
    title: str
    process: str
    library: str
    has: Callable[[Key], bool]
    build: Callable[..., Implementation]
    limit: float = 1e-3
    seconds: float = 60.0
    at: frozenset[tuple[int, int]] = frozenset()

    @property
    def missing(self) -> bool:
        """Whether its library is not installed."""
        return find_spec(self.library) is None


def _jax(subject: Subject, problem: Problem, *, host: bool) -> Implementation:
    from importlib import import_module

    config: Any = import_module("jax").config
    config.update("jax_default_matmul_precision", "highest")  # by default it would be TF32
    return jax_scan.build(subject, problem)


CONTENDERS = (
    Contender(OURS, "lstmgen, with a workspace", "cupy", "cupy", lambda _: True, ours.build),
    Contender(PLAIN, "lstmgen, without", "cupy", "cupy", lambda _: True, partial(ours.build, reuse=False)),
    Contender(TORCH, "torch.nn, float32", "torch", "torch", CLASSES.__contains__, torch_peers.cudnn),
    Contender(
        "torch tf32", "torch.nn, TF32", "torch", "torch", CLASSES.__contains__,
        partial(torch_peers.cudnn, tf32=True), 5e-2,
    ),
    Contender(
        "torch fp16", "torch.nn, float16", "torch", "torch", CLASSES.__contains__,
        partial(torch_peers.cudnn, dtype="float16"), 1e-1,
    ),
    Contender("jax", "jax.lax.scan, jit", "jax", "jax", SCANS.__contains__, _jax),
    Contender(
        "compiled step", "PyTorch, step compiled", "compile a step", "torch", LOOPS.__contains__,
        partial(torch_peers.loop, way=torch_peers.STEP), at=COMPILED,
    ),
    Contender(
        "eager", "PyTorch, eager loop", "torch", "torch", LOOPS.__contains__,
        partial(torch_peers.loop, way=torch_peers.EAGER),
    ),
    Contender(
        "compiled loop", "PyTorch, loop compiled", "compile as a whole", "torch", LOOPS.__contains__,
        partial(torch_peers.loop, way=torch_peers.LOOP), at=UNROLLED,
    ),
)  # fmt: skip
"""In the order of the tables."""


def cases() -> tuple[Case, ...]:
    """Everything, the most telling first: what is over when time is up is the least."""
    return tuple(_cases())


def _cases() -> Iterator[Case]:
    peephole = {"peephole": True}
    yield from _both(16, 512)
    yield from _both(32, 1024)
    for cell, options in (("lstm_layernorm", {}), ("lstm", peephole), ("sru", {}), ("indrnn", {})):
        yield Case(cell, _shape(16, 512), options)
    yield from _both(1, 512)
    yield from _both(64, 1024)
    yield Case("mlstm", _shape(16, 128))
    yield Case("lstm", _shape(16, 128))
    yield from _both(64, 512)
    yield from _both(16, 768)
    for cell, options in (("lstm_layernorm", {}), ("lstm", peephole), ("sru", {}), ("indrnn", {})):
        yield Case(cell, _shape(64, 1024), options)
    yield from _both(128, 2048)


def tiny_cases() -> tuple[Case, ...]:
    """What tries the program on a host."""
    shape = Shape(steps=6, batch=2, features=4, hidden=4)
    return (Case("lstm", shape), Case("gru", shape), Case("lstm_layernorm", shape), Case("indrnn", shape))


def _both(batch: int, hidden: int) -> Iterator[Case]:
    yield Case("lstm", _shape(batch, hidden))
    yield Case("gru", _shape(batch, hidden))


def _shape(batch: int, hidden: int) -> Shape:
    return Shape(STEPS, batch, hidden, hidden)


def contenders(case: Case) -> tuple[Contender, ...]:
    """Who has the cell."""
    key = case.cell, tuple(case.options.items())
    size = case.shape.batch, case.shape.hidden
    return tuple(each for each in CONTENDERS if each.has(key) and (not each.at or size in each.at))


def cudnn_algorithm(case: Case, dtype: str) -> str:
    """The algorithm of cuDNN's that PyTorch asks for, by the rule in its source: a reading of it, not a measurement."""
    batch, features, hidden = case.shape.batch, case.shape.features, case.shape.hidden
    aligned = batch % 8 == 0 and batch <= 128 and hidden % 128 == 0 and features % 128 == 0
    if dtype == "float16" and case.cell == "lstm" and aligned and hidden <= 1024:
        return "PERSIST_STATIC"
    if case.cell in ("lstm", "gru") and hidden <= 128:
        return "PERSIST_STATIC_SMALL_H"
    return "STANDARD"


def text() -> str:
    """The plan in words, and what is not installed here."""
    lines = ["The machine's constants; every built-in cell against its equations; then, in this order:", ""]
    for case in cases():
        lines += [f"  {case}", f"      {', '.join(each.key for each in contenders(case))}"]
    lines += ["", "Each forward and forward+backward, with and without the product of the inputs. The contenders:", ""]
    for each in CONTENDERS:
        absent = f"   ({each.library} is not installed: a dash)" if each.missing else ""
        lines.append(f"  {each.key:<18}{each.title}{absent}")
    return "\n".join(lines)
