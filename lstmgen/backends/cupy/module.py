"""From a scheduled gradient to the text of a CuPy module: a driver, and its kernels as CUDA C++."""

from __future__ import annotations

import types
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from lstmgen.backends.base import Provenance
from lstmgen.backends.bodies import backward_body, forward_body, rebuild_body
from lstmgen.backends.cupy import host
from lstmgen.backends.cupy.compiled import compiled_kernels
from lstmgen.backends.cupy.driver import Driver
from lstmgen.backends.cupy.functions import HELPERS
from lstmgen.backends.cupy.source import Source, print_launch
from lstmgen.backends.layout import indented
from lstmgen.backends.shell import CUPY, Bodies, load_source, module_text
from lstmgen.calculus.interpreter import all_dims
from lstmgen.calculus.reverse import Gradient, Origin
from lstmgen.errors import ProofError
from lstmgen.schedule.kernel import Kernel, Launch, show, walk
from lstmgen.schedule.launches import kept_views, with_launches
from lstmgen.schedule.lowering import lower_passes
from lstmgen.schedule.target import Target
from lstmgen.schedule.work import Schedule

TARGET = Target(
    "cupy",
    merges_calls=False,
    joins_operands=False,
    batch_last=False,
    hoists_coefficients=False,
    chunk_rows=1 << 16,
)
"""Blocks are fused, so that equal calls need not be merged nor coefficients computed beforehand; rows lie in one piece,
as threads read them and callers give them. Many rows a chunk, for a chunk is a launch of its own each time."""


RUNTIME = "_cupy_runtime"
"""The module beside generated ones that compiles, launches, multiplies and replays for them."""


class CupyBackend:
    """Emits modules that import CuPy, NumPy, and the runtime written beside them."""

    name = "cupy"
    target = TARGET

    def emit(self, gradient: Gradient, schedule: Schedule, provenance: Provenance, module: str) -> Mapping[str, str]:
        """The texts of the module and of the runtime under their file names."""
        text = module_text(gradient, provenance, _bodies(gradient, schedule, module))
        return {f"{module}.py": text, f"{RUNTIME}.py": runtime_text()}

    def kernels(self, gradient: Gradient, schedule: Schedule) -> str:
        """The three loop programs as text."""
        return "\n\n".join(show(kernel) for kernel in lower_all(gradient, schedule))

    def load(self, source: str, module: str) -> types.ModuleType:
        """The module that ``source`` makes, on the GPU if there is one, else on the host."""
        if has_device():
            import sys
            from importlib import import_module

            sys.modules.setdefault(RUNTIME, import_module(f"lstmgen.backends.cupy.{RUNTIME}"))
            return load_source(source, module)
        return host.load(source, module)

    def to_device(self, array: Any) -> Any:
        """An array of NumPy as one that modules take: on the GPU, or on the host between margins that are watched."""
        if has_device():
            import cupy

            return cupy.asarray(array)
        return host.cupy_stand_in().array(array)

    def to_host(self, array: Any) -> Any:
        """An array that a module returned as NumPy's."""
        return array.get() if hasattr(array, "get") else array

    def check(self, source: str) -> None:
        """Compiles a module's kernels; raises the runtime's ``CompileError``, or ProofError where values spill."""
        spilled = [each for each in compiled_kernels("module", source) if each.spilled]
        if spilled:
            told = ", ".join(f"{each.name} ({each.architecture}, {each.real})" for each in spilled)
            raise ProofError(f"values do not fit into registers in {told}")

    def levels(self) -> tuple[str, ...]:
        """On the GPU, on the host where there is a compiler, compiled alone, or the derivation alone."""
        found = ["device"] if has_device() else []
        found += ["host"] if host.available() else []
        found += ["compiled"] if has_nvrtc() else []
        return (*found, "derivation")


@cache
def has_device() -> bool:
    """Whether CuPy is installed and finds a GPU."""
    try:
        import cupy
    except ImportError:
        return False
    return bool(cupy.cuda.is_available())


@cache
def has_nvrtc() -> bool:
    """Whether CuPy is installed and finds NVRTC."""
    try:
        from cupy.cuda import nvrtc

        nvrtc.getVersion()
    except Exception:  # it is looked for when it is called, and what is missing is told in many ways
        return False
    return True


@cache
def runtime_text() -> str:
    """The text of the runtime."""
    return (Path(__file__).parent / f"{RUNTIME}.py").read_text(encoding="utf-8")


@dataclass(frozen=True)
class Pass:
    """One pass over time: its driver, not yet run, and the kernels it launches."""

    driver: Driver
    sources: tuple[Source, ...]


def lower_all(gradient: Gradient, schedule: Schedule) -> tuple[Kernel, Kernel, Kernel]:
    """The kernels of the three passes, with launches."""
    forward, backward, rebuild = lower_passes(gradient, schedule)
    return with_launches(forward), with_launches(backward), with_launches(rebuild)


def passes(gradient: Gradient, schedule: Schedule) -> tuple[Pass, Pass, Pass]:
    """Forward, backward and the rebuilding of residuals."""
    dims = all_dims(gradient.declaration, gradient.primal)
    forward, backward, rebuild = (_pass(kernel, dims) for kernel in lower_all(gradient, schedule))
    return forward, backward, rebuild


def _pass(kernel: Kernel, dims: tuple[str, ...]) -> Pass:
    kept = kept_views(kernel)
    sources = {
        each.name: print_launch(each, kernel, kept[each.name]) for each in walk(kernel.body) if isinstance(each, Launch)
    }
    return Pass(Driver(kernel, dims, sources=sources), tuple(sources.values()))


def _bodies(gradient: Gradient, schedule: Schedule, module: str) -> Bodies:
    """Drivers and kernels as they stand in a module."""
    declaration = gradient.declaration
    forward, backward, rebuild = passes(gradient, schedule)
    of_forward = forward_body(forward.driver, gradient)
    of_backward = backward_body(backward.driver, gradient)
    of_rebuild = rebuild_body(rebuild.driver)
    sources = (*forward.sources, *backward.sources, *(rebuild.sources if of_rebuild[1] else ()))
    totals = any("total" in each.driver.helpers for each in (forward, backward))
    seeds = [seed.adjoint.name for seed in gradient.seeds if seed.origin is Origin.LOSS]
    loops = any("def _time_loop(" in line for line in (*of_forward[1], *of_backward[1]))
    return Bodies(
        kind="for CuPy",
        arrays=CUPY,
        reading=_READING,
        forward_arrays=indented(of_forward[0]),
        forward=indented(of_forward[1]),
        backward_arrays=indented(of_backward[0]),
        backward=indented(of_backward[1]),
        rebuild_arrays=indented(of_rebuild[0]),
        rebuild=indented(of_rebuild[1]),
        given=tuple(forward.driver.given(value.name) for value in declaration.given),
        seeds=tuple(backward.driver.given(seed) for seed in seeds),
        chunk_rows=schedule.chunk_rows,
        chunk_steps=schedule.chunk_steps,
        sections=(
            *((_BOUND, "", *([""] if totals else [])) if loops else ()),
            *(_TOTAL if totals else ()),
            '_SOURCE = r"""',
            # The source is a raw string; a user's words in its comments must not end it.
            *(line.replace('"""', "'''") for line in cuda_source(sources, totals=totals)),
            '"""',
            "",
            f'_KERNELS = _runtime.Kernels("{module}", _SOURCE)',
        ),
    )


_BOUND = "# ruff: noqa: B023 - each _time_loop is called where it stands, while the names that it reads are bound"
_READING = (
    "How to read the kernels at the end: drivers in Python launch CUDA kernels and multiply matrices; the kernels "
    "stand below them as CUDA C++, each piece under the equation it computes. A pass goes through the steps in chunks, "
    "and in a chunk through its steps; with a workspace the launches of a chunk's steps are captured once, then "
    "replayed. A name with an underscore is an array, of a chunk's steps if it has steps, or a size or an index; the "
    "same name without one is the value that a thread computes. Values that are computed together lie side by side in "
    "one array, and several may share a place: a value is overwritten once nothing reads it any more, and many never "
    "leave registers."
)


def cuda_source(sources: tuple[Source, ...], *, totals: bool) -> tuple[str, ...]:
    """The lines of a module's CUDA C++: helpers that are used, then kernels."""
    used = set().union(*(source.helpers for source in sources)) if sources else set()
    lines = [f"static __device__ {text}" for name, text in HELPERS.items() if name in used]
    for source in sources:
        lines += ["", *source.lines]
    if totals:
        lines += ["", *TOTALS]
    return tuple(lines[1:] if lines and not lines[0] else lines)


TOTALS = """\
// The sum of many rows, in two stages: of each part of them, then of the parts. Its order is fixed.
extern "C" __global__ void __launch_bounds__(256, 1) total_of_rows(
    const real* __restrict__ _value, real* __restrict__ _part, const long long _rows, const long long _columns,
    const long long _stride, const long long _length
) {
    const long long _index = (long long) blockIdx.x * blockDim.x + threadIdx.x;
    const long long _column = _index % _columns, _first = _index / _columns * _length;
    if (_first >= _rows) return;
    real _sum = real(0);
    for (long long _row = _first; _row < _rows && _row < _first + _length; ++_row) {
        _sum += _value[_row * _stride + _column];
    }
    _part[_index] = _sum;
}

extern "C" __global__ void __launch_bounds__(256, 1) total_of_parts(
    const real* __restrict__ _part, real* __restrict__ _total, const long long _parts, const long long _columns
) {
    const long long _column = (long long) blockIdx.x * blockDim.x + threadIdx.x;
    if (_column >= _columns) return;
    real _sum = real(0);
    for (long long _row = 0; _row < _parts; ++_row) _sum += _part[_row * _columns + _column];
    _total[_column] += _sum;
}""".splitlines()

_TOTAL = '''\
def _total(value: Array, out: Array) -> None:
    """`out` += the sum of `value` over steps and rows; in two stages, each of a fixed order."""
    rows, columns = value.shape[0] * value.shape[1], out.size
    # Long parts, but enough of them to keep a device busy.
    length = max(16, -(-rows * columns // 65536))
    parts = -(-rows // length)
    part = cp.empty((parts, columns), value.dtype)
    stride = value.strides[1 if value.shape[1] > 1 else 0] // value.itemsize
    _KERNELS.launch("total_of_rows", parts * columns, value, part, rows, columns, stride, length)
    _KERNELS.launch("total_of_parts", columns, part, out, parts, columns)


'''.splitlines()
