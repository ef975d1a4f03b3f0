"""Runs generated CuPy modules on the host, without a GPU: their kernels are compiled as C++ and run on NumPy arrays.

:func:`load` makes a module of such a source, in which ``cupy`` and the runtime file are those of this module. What a
kernel must not do is found here: a barrier that is missing, or that not all threads reach; a result that depends on the
order of threads or blocks; an entry that is never written; a write past the end of an array; steps that a graph cannot
replay. Not found is what a device does in its own way: its memory model, its rounding.
"""

from __future__ import annotations

import builtins
import functools
import itertools
import threading
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from lstmgen.backends.cupy.host_arrays import Array, cupy_stand_in, memory_of
from lstmgen.backends.cupy.host_library import CompileError, HostUnavailable, LaunchError, library
from lstmgen.backends.shell import load_source
from lstmgen.errors import LstmgenError

__all__ = ["CompileError", "HostUnavailable", "LaunchError", "available", "cupy_stand_in", "load", "runtime"]

T = TypeVar("T")

_BLOCK = 256
_REALS = {np.dtype(np.float32): "float", np.dtype(np.float64): "double"}


@dataclass(frozen=True)
class _Call:
    """A launch or a product, as far as a graph would capture it; it keeps its arrays where they are."""

    name: str
    numbers: tuple[Any, ...]
    arrays: tuple[Array, ...]

    def __str__(self) -> str:
        return f"{self.name}{self.numbers}"


class _Session:
    """What the parts of one runtime share: the random orders, and the calls of a graph that is being captured."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._launches = itertools.count()
        self._of_thread = threading.local()

    def next_seed(self) -> int:
        """Another one for each launch."""
        return (self._seed * 0x9E3779B97F4A7C15 + next(self._launches) * 0xD1B54A32D192ED03) % 2**64

    def note(self, call: _Call) -> None:
        calls: list[_Call] | None = getattr(self._of_thread, "calls", None)
        if calls is not None:
            calls.append(call)

    @contextmanager
    def noted(self) -> Iterator[list[_Call]]:
        """The calls that this thread makes meanwhile."""
        calls = self._of_thread.calls = []
        try:
            yield calls
        finally:
            self._of_thread.calls = None


class _Kernels:
    """The kernels of one module."""

    def __init__(self, session: _Session, module: str, source: str) -> None:
        self._session, self._module, self._source = session, module, source

    def launch(self, name: str, threads: int, *arguments: Any) -> None:
        """Runs a kernel with a thread for each index below ``threads``, in blocks of 256."""
        self._run(name, -(-threads // _BLOCK), arguments)

    def launch_rows(self, name: str, rows: int, *arguments: Any) -> None:
        """Runs a kernel with a block of 256 threads for each row."""
        self._run(name, rows, arguments)

    def _run(self, name: str, blocks: int, arguments: tuple[Any, ...]) -> None:
        where = f"{self._module}: kernel {name}"
        arrays = [each for each in arguments if isinstance(each, np.ndarray)]
        if not arrays:
            raise LaunchError(f"{where}: expected an array among the arguments, which tells the dtype")
        dtype = arrays[0].dtype
        if dtype not in _REALS:
            raise LaunchError(f"{where}: expected arrays of float32 or float64, got {dtype}")
        if not 0 <= blocks < 2**31:
            raise LaunchError(f"{where}: expected fewer than 2**31 blocks, and no less than 0, got {blocks}")
        kernels = library(self._module, self._source, _REALS[dtype])
        signature = kernels.signature(name)
        if len(signature) != len(arguments):
            raise LaunchError(f"{where}: expected {len(signature)} arguments, got {len(arguments)}")
        values = [
            _value(f"{where}: argument {place}", kind, argument, dtype)
            for place, (kind, argument) in enumerate(zip(signature, arguments, strict=True))
        ]
        self._session.note(_Call(name, (blocks, *values), tuple(arrays)))
        if blocks == 0:
            return
        kernels.launch(name, blocks, self._session.next_seed(), values)
        for place, argument in enumerate(arguments):
            _check_margins(f"{where}: argument {place}", argument, dtype)


def _value(where: str, kind: str, argument: Any, dtype: np.dtype[Any]) -> int:
    """What a kernel gets for an argument, once it has been found to be of its kind."""
    if kind == "i":
        if isinstance(argument, bool) or not isinstance(argument, int | np.integer):
            raise LaunchError(f"{where}: expected an int, got {type(argument).__name__}")
        if not -(2**63) <= argument < 2**63:
            raise LaunchError(f"{where}: {argument} does not fit a long long")
        return int(argument)
    if not isinstance(argument, np.ndarray):
        raise LaunchError(f"{where}: expected an array, got {type(argument).__name__}")
    if argument.dtype != dtype:
        raise LaunchError(f"{where}: expected {dtype}, as of the first array, got {argument.dtype}")
    if kind == "w" and not argument.flags.writeable:
        raise LaunchError(f"{where}: the kernel may write to it, but it is read-only")
    return _address(argument)


def _check_margins(where: str, argument: Any, dtype: np.dtype[Any]) -> None:
    memory = memory_of(argument) if isinstance(argument, np.ndarray) else None
    written = memory.overrun() if memory is not None else None
    if written is not None:
        entry = written // dtype.itemsize
        place = f"{-entry} before the first" if entry < 0 else f"{entry + 1} past the last"
        raise LaunchError(f"{where}: written out of bounds, at the entry {place} of the array that was allocated")


def _address(array: Array) -> int:
    return int(array.__array_interface__["data"][0])


def _matmul(session: _Session, left: Array, right: Array, out: Array, onto: bool = False) -> None:
    """``out = left @ right``, or with ``onto`` ``out += left @ right``."""
    arrays = (left, right, out)
    for name, array in zip(("left", "right", "out"), arrays, strict=True):
        _check_matrices(name, array, out)
    shape = (*out.shape[:-2], left.shape[-2], right.shape[-1])
    if left.shape[-1] != right.shape[-2] or out.shape != shape:
        raise LaunchError(f"matmul: {left.shape} @ {right.shape} does not give {out.shape}")
    if np.shares_memory(out, left) or np.shares_memory(out, right):
        raise LaunchError("matmul: out shares memory with an operand")
    numbers = tuple((_address(array), array.shape, array.strides) for array in arrays)
    session.note(_Call("matmul", (*numbers, onto), arrays))
    product = np.matmul(left, right)
    np.add(out, product, out=out) if onto else np.copyto(out, product)


def _check_matrices(name: str, array: Array, out: Array) -> None:
    """Refuses what no call of a library for matrices takes."""
    if array.dtype != out.dtype or array.dtype not in _REALS:
        raise LaunchError(f"matmul: {name}: expected float32 or float64 and equal dtypes, got {array.dtype}")
    if array.ndim < 2 or array.shape[:-2] not in ((), out.shape[:-2]):
        raise LaunchError(f"matmul: {name}: expected 2 axes, or leading ones equal to those of out, got {array.shape}")
    (rows, columns), (down, along) = array.shape[-2:], array.strides[-2:]
    size = array.itemsize
    by_rows = (columns <= 1 or along == size) and (rows <= 1 or down >= columns * size)
    by_columns = (rows <= 1 or down == size) and (columns <= 1 or along >= rows * size)
    if array.size and not (by_rows or by_columns):
        raise LaunchError(f"matmul: {name}: expected one of the last two axes with stride 1, got {array.strides} bytes")


@dataclass(frozen=True)
class _Captured:
    addresses: tuple[int, ...]
    calls: tuple[_Call, ...]
    result: Any


class _Graph:
    """Steps that a device captures once and then replays.

    Here they run each time, and must do what they did when they were captured: all else would be lost in a replay.
    """

    def __init__(self, session: _Session, again: bool, workspaces: dict[int, Any] | None = None) -> None:
        self._session, self._again = session, again
        self._captured: _Captured | None = None

    def run(self, steps: Callable[[], T], *read: Array) -> T:
        """What ``steps`` returns, or returned when it was captured for arrays at the addresses of ``read``."""
        if not self._again:
            return steps()
        addresses = tuple(map(_address, read))
        with self._session.noted() as calls:
            result = steps()
        if self._captured is None or self._captured.addresses != addresses:
            self._captured = _Captured(addresses, tuple(calls), result)
            return result
        _check_replay(self._captured.calls, calls)
        captured: T = self._captured.result
        return captured


def _check_replay(captured: tuple[_Call, ...], calls: list[_Call]) -> None:
    for place, (before, now) in enumerate(itertools.zip_longest(captured, calls)):
        if before is None or now is None or (before.name, before.numbers) != (now.name, now.numbers):
            raise LaunchError(f"graph: call {place} was {before} when it was captured and is {now} now")


def runtime(seed: int = 0) -> types.ModuleType:
    """What the runtime file offers to generated modules. ``seed`` decides in which order threads and blocks run."""
    session = _Session(seed)
    made = types.ModuleType("_cupy_runtime", "The runtime of generated modules, on the host.")
    vars(made).update(
        Kernels=functools.partial(_Kernels, session),
        Graph=functools.partial(_Graph, session),
        matmul=functools.partial(_matmul, session),
    )
    return made


def load(source: str, module: str, seed: int = 0) -> types.ModuleType:
    """Executes a generated module with its ``cupy`` and its runtime replaced by those of the host."""
    cupy, own = cupy_stand_in(), runtime(seed)
    beside = types.SimpleNamespace(_cupy_runtime=own)

    def imported(
        name: str, globals: Any = None, locals: Any = None, fromlist: tuple[str, ...] | None = (), level: int = 0
    ) -> Any:
        if level and tuple(fromlist or ()) == ("_cupy_runtime",):
            return beside
        if level == 0 and name == "_cupy_runtime":
            return own
        if level == 0 and name.partition(".")[0] == "cupy":
            return functools.reduce(getattr, name.split(".")[1:], cupy) if fromlist else cupy
        return builtins.__import__(name, globals, locals, fromlist or (), level)

    # The module's own `import`: sys.modules knows nothing of these stand-ins, so nobody else gets them.
    return load_source(source, module, {**vars(builtins), "__import__": imported})


@functools.cache
def available() -> bool:
    """Whether kernels run here: a trivial one, with shared memory and a barrier, is compiled and gives what it must."""
    try:
        values = np.arange(_BLOCK, dtype=np.float64)
        runtime().Kernels("trivial", _TRIVIAL).launch_rows("reverse", 1, values)
    except (LstmgenError, OSError):
        return False
    return bool(np.array_equal(values, np.arange(_BLOCK)[::-1]))


_TRIVIAL = """
extern "C" __global__ void reverse(real *values) {
  __shared__ real shared[256];
  shared[threadIdx.x] = values[threadIdx.x];
  __syncthreads();
  values[threadIdx.x] = shared[255 - threadIdx.x];
}
"""
