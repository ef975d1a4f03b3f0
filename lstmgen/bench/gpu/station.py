"""One library's process: it builds implementations, checks them, and times them."""

from __future__ import annotations

import ctypes
import itertools
import logging
import platform
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib import import_module
from typing import Any

import numpy as np

from lstmgen.bench.gpu import accuracy, constants
from lstmgen.bench.gpu.places import Clock, clock, place
from lstmgen.bench.implementation import Arrays, Implementation
from lstmgen.bench.problem import Problem, draw
from lstmgen.bench.shapes import Shape
from lstmgen.bench.subject import Subject

Build = Callable[[Subject, Problem], Implementation]


@dataclass(frozen=True)
class Pace:
    """How long to measure: rounds, the seconds of a turn, and the least and most calls of one."""

    rounds: int = 3
    seconds: float = 0.12
    least: int = 3
    most: int = 20


@dataclass(frozen=True)
class Turn:
    """Microseconds of each call on the device, and until it returned."""

    device: tuple[float, ...]
    host: tuple[float, ...]


class Station:
    """A library with the implementations that use it, by key."""

    def __init__(self, library: str, host: bool) -> None:
        self.library, self.host = library, host  # imported when it is first asked for something, within its time
        self._clock: Clock | None = None
        self._told: list[str] = []
        logging.getLogger("lstmgen.cupy").addHandler(_Kept(self._told))
        self._built: dict[str, Implementation] = {}
        self._drawn: tuple[object, Problem] | None = None

    def build(self, key: str, build: Build, subject: Subject, shape: Shape, dtype: str) -> tuple[str, ...]:
        """Builds an implementation; its measures."""
        self._built[key] = build(subject, self._problem(subject, shape, dtype))
        return tuple(self._built[key])

    def drop(self, key: str) -> None:
        """Forgets an implementation, with its arrays."""
        if self._built.pop(key, None) is None or self.host:
            return
        if self.library == "cupy":
            place(False).cupy.get_default_memory_pool().free_all_blocks()
        elif self.library == "torch":
            import_module("torch").cuda.empty_cache()

    def results(self, key: str, most: int) -> Arrays:
        """What training gives, in tensors of at most so many entries."""
        return accuracy.results(self._of(key), most)[-1]

    def deviation(self, key: str, expected: Arrays) -> tuple[float, str]:
        """The worst of several runs, in tensors that the implementation has: the deviation and the tensor."""
        most = max((array.size for array in expected.values()), default=0)
        found = accuracy.results(self._of(key), most)
        known = {name: array for name, array in expected.items() if name in found[0]}
        if not {name for name in known if name.startswith("d_")}:
            return float("inf"), "gradients, of which there are none"
        return max(accuracy.worst(each, known) for each in found)

    def turn(self, key: str, measure: str, pace: Pace) -> Turn:
        """Times calls one after another, after others for warming up."""
        self._clock = self._clock or clock(self.library, self.host)
        return timed(self._clock, self._of(key)[measure].call, pace)

    def constants(self) -> constants.Constants:
        """The machine's constants. CuPy's process alone can tell."""
        return constants.measure(place(self.host), large=not self.host)

    def facts(self) -> dict[str, str]:
        """Versions of the library and of what it runs on."""
        return {"cupy": _cupy_facts, "torch": _torch_facts, "jax": _jax_facts}[self.library](self.host)

    def told(self) -> tuple[str, ...]:
        """What the runtime of CuPy modules has warned of since it was asked last."""
        found, self._told[:] = tuple(self._told), []
        return found

    def _of(self, key: str) -> Implementation:
        if key not in self._built:
            raise RuntimeError("the process that it was built in was ended since")
        return self._built[key]

    def _problem(self, subject: Subject, shape: Shape, dtype: str) -> Problem:
        """The numbers of a subject at a shape, which are the same in every dtype."""
        key = subject.digest, shape
        if self._drawn is None or self._drawn[0] != key:
            self._drawn = None  # lets go of the last ones first
            self._drawn = key, draw(subject, shape, "float32")
        return in_dtype(self._drawn[1], dtype)


class _Kept(logging.Handler):
    """Keeps the text of what is logged."""

    def __init__(self, texts: list[str]) -> None:
        super().__init__(logging.WARNING)
        self._texts = texts

    def emit(self, record: logging.LogRecord) -> None:
        self._texts.append(record.getMessage())


def in_dtype(problem: Problem, dtype: str) -> Problem:
    """The same numbers in another dtype."""
    if problem.dtype == np.dtype(dtype):
        return problem
    groups = ("parameters", "inputs", "initial", "d_outputs", "d_final")
    cast = {group: {k: a.astype(dtype) for k, a in getattr(problem, group).items()} for group in groups}
    return replace(problem, dtype=np.dtype(dtype), **cast)


def timed(clock: Clock, call: Callable[[], Any], pace: Pace) -> Turn:
    """Calls that together last about as long as a turn should, in one row: the device is not waited for between."""
    call()
    clock.wait()
    began = time.perf_counter()
    call()
    clock.wait()
    took = max(time.perf_counter() - began, 1e-9)
    number = int(min(max(pace.seconds / took, pace.least), pace.most))
    for _ in range(number // 2):
        call()
    marks, host = [clock.mark()], []
    for _ in range(number):
        start = time.perf_counter()
        call()
        host.append(1e6 * (time.perf_counter() - start))
        marks.append(clock.mark())
    clock.wait()
    device = (clock.between(first, second) for first, second in itertools.pairwise(marks))
    return Turn(tuple(device), tuple(host))


# -- versions ----------------------------------------------------------------------------------------------------------


def _cupy_facts(host: bool) -> dict[str, str]:
    if host:
        return {"kernels": "on the host, with a stand-in for CuPy: no GPU took part"}
    cupy: Any = import_module("cupy")
    runtime: Any = cupy.cuda.runtime
    facts = runtime.getDeviceProperties(runtime.getDevice())
    library, parts = place(False).runtime.load_cublas(), []
    for index in range(3):
        part = ctypes.c_int()
        library.cublasGetProperty(index, ctypes.byref(part))
        parts.append(str(part.value))
    return {
        "GPU": f"{facts['name'].decode()}, {facts['multiProcessorCount']} SMs, "
        f"capability {facts['major']}.{facts['minor']}, {facts['totalGlobalMem'] / 2**30:.0f} GiB",
        "Python": platform.python_version(),
        "NumPy": np.__version__,
        "CuPy": cupy.__version__,
        "CUDA driver": _cuda(runtime.driverGetVersion()),
        "CUDA runtime": _cuda(runtime.runtimeGetVersion()),
        "NVRTC": ".".join(map(str, cupy.cuda.nvrtc.getVersion())),
        "cuBLAS": ".".join(parts),
    }


def _torch_facts(host: bool) -> dict[str, str]:
    torch: Any = import_module("torch")
    cudnn = torch.backends.cudnn.version()
    return {"PyTorch": f"{torch.__version__}, CUDA {torch.version.cuda}", "cuDNN": str(cudnn or "none")}


def _jax_facts(host: bool) -> dict[str, str]:
    jax: Any = import_module("jax")
    return {"JAX": f"{jax.__version__}, {jax.default_backend()}"}


def _cuda(number: int) -> str:
    return f"{number // 1000}.{number % 1000 // 10}"
