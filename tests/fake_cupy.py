"""A stand-in for CuPy and cuBLAS on the host: streams, captures and graphs that can be watched, products by NumPy.

It is there for the logic of the runtime file beside generated CuPy modules. It runs no CUDA kernel: a function of a
module is a Python function of a test.
"""

from __future__ import annotations

import ctypes
import importlib.util
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

RUNTIME = Path(__file__).resolve().parent.parent / "lstmgen/backends/cupy/_cupy_runtime.py"


def load_runtime() -> Any:
    """The runtime file as a module of its own, with whatever `cupy` is there; each call gives a new one."""
    spec = importlib.util.spec_from_file_location("_cupy_runtime", RUNTIME)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    try:
        spec.loader.exec_module(module)
    finally:
        del sys.modules[spec.name]
    return module


class Array(np.ndarray):
    """An array whose address is found where CuPy has it."""

    def get(self) -> np.ndarray:
        return np.array(self)

    @property
    def data(self) -> Any:  # type: ignore[override]
        return SimpleNamespace(ptr=self.__array_interface__["data"][0])


def array(values: Any) -> Array:
    """`values`, as they lie in memory, as an array of the stand-in."""
    return np.asarray(values).view(Array)


class Device:
    """What one test does to its device: streams, and what has been asked of them."""

    def __init__(self) -> None:
        self.device = 0
        self.capability = "90"
        self.streams: list[Stream] = []
        self.current = Stream(self, 0)
        self.allocator: Callable[[int], Any] | None = None
        self.refuses_capture = False
        self.compiled: list[tuple[str, tuple[str, ...]]] = []
        self.loaded: list[bytes] = []
        self.launched: list[tuple[Any, ...]] = []
        self.functions: dict[str, Callable[..., None]] = {}
        self.captures = 0
        self.replays: list[int] = []

    def stream(self, **options: Any) -> Stream:
        assert options in ({"non_blocking": True}, {})
        self.streams.append(Stream(self, 1000 + 16 * len(self.streams)))
        return self.streams[-1]

    def ask(self, stream: Stream, work: Callable[[], None]) -> None:
        """Does `work`, or keeps it for the graph."""
        if stream.captured is None:
            work()
        else:
            stream.captured.append(work)

    def empty(self, shape: Any, dtype: Any) -> Array:
        found = np.empty(shape, dtype)
        if self.allocator is not None:
            self.allocator(found.nbytes)
        return array(found)

    @contextmanager
    def using_allocator(self, allocator: Callable[[int], Any]) -> Iterator[None]:
        before, self.allocator = self.allocator, allocator
        try:
            yield
        finally:
            self.allocator = before


class Stream:
    def __init__(self, device: Device, ptr: int) -> None:
        self.device, self.ptr = device, ptr
        self.captured: list[Callable[[], None]] | None = None
        self.before: list[Stream] = []

    def __enter__(self) -> Stream:
        self.before.append(self.device.current)
        self.device.current = self
        return self

    def __exit__(self, *_: object) -> None:
        self.device.current = self.before.pop()

    def is_capturing(self) -> bool:
        return self.captured is not None

    def begin_capture(self, mode: int) -> None:
        assert self.ptr > 1, "the default stream cannot be captured"
        assert mode == 2
        self.captured = []
        self.device.captures += 1

    def end_capture(self) -> Any:
        captured, self.captured = self.captured, None
        if self.device.refuses_capture:
            raise RuntimeError("cudaErrorStreamCaptureInvalidated")
        assert captured is not None

        def launch() -> None:
            self.device.replays.append(self.device.current.ptr)
            for work in captured:
                work()

        return SimpleNamespace(launch=launch)


class Binary:
    def __init__(self, device: Device) -> None:
        self.device = device

    def load(self, code: bytes) -> None:
        self.device.loaded.append(code)

    def get_function(self, name: str) -> Any:
        def function(grid: Any, block: Any, arguments: Any) -> None:
            stream = self.device.current
            self.device.launched.append((name, grid, block, arguments))
            self.device.ask(stream, lambda: self.device.functions.get(name, lambda *_: None)(*arguments))

        return function


class NVRTCError(RuntimeError):
    pass


def nvrtc(device: Device) -> Any:
    """A compiler that writes down what it is asked for; its machine code is source and options."""
    programs: dict[int, list[Any]] = {}

    def create(source: str, name: str, headers: Any, names: Any) -> int:
        programs[len(programs)] = [source, name, b""]
        return len(programs) - 1

    def compile_(program: int, options: tuple[str, ...]) -> None:
        device.compiled.append((programs[program][0], options))
        programs[program][2] = repr((programs[program][0], options)).encode()

    return SimpleNamespace(
        NVRTCError=NVRTCError,
        createProgram=create,
        compileProgram=compile_,
        getCUBIN=lambda program: programs[program][2],
        getPTX=lambda program: b"PTX" + programs[program][2],
        getProgramLog=lambda program: "",
        destroyProgram=lambda program: None,
        getSupportedArchs=lambda: (80, 90),
        getVersion=lambda: (13, 0),
    )


class Cublas:
    """cuBLAS by NumPy, on addresses. It refuses what cuBLAS refuses, and products without a workspace."""

    def __init__(self, device: Device) -> None:
        self.device = device
        self.handles: list[dict[str, Any]] = []
        self.calls: list[str] = []
        self.fails_with = 0

    def cublasCreate_v2(self, handle: Any) -> int:  # noqa: N802
        self.handles.append({})
        handle._obj.value = len(self.handles)
        return self.fails_with

    def cublasSetMathMode(self, handle: Any, mode: int) -> int:  # noqa: N802
        self.handles[handle.value - 1]["mode"] = mode
        return 0

    def cublasSetStream_v2(self, handle: Any, stream: int) -> int:  # noqa: N802
        self.handles[handle.value - 1].update(stream=stream, workspace=None)
        return 0

    def cublasSetWorkspace_v2(self, handle: Any, address: int, size: int) -> int:  # noqa: N802
        self.handles[handle.value - 1]["workspace"] = address, size
        return 0

    def cublasGetStatusName(self, status: int) -> bytes:  # noqa: N802
        return {7: b"CUBLAS_STATUS_INVALID_VALUE", 1: b"CUBLAS_STATUS_NOT_INITIALIZED"}[status]

    def cublasSgemm_v2_64(self, *arguments: Any) -> int:  # noqa: N802
        return self.one(np.float32, *arguments)

    def cublasDgemm_v2_64(self, *arguments: Any) -> int:  # noqa: N802
        return self.one(np.float64, *arguments)

    def cublasSgemmStridedBatched_64(self, *arguments: Any) -> int:  # noqa: N802
        return self.batched(np.float32, *arguments)

    def cublasDgemmStridedBatched_64(self, *arguments: Any) -> int:  # noqa: N802
        return self.batched(np.float64, *arguments)

    def one(
        self, dtype: Any, handle: Any, ta: int, tb: int, m: int, n: int, k: int, alpha: Any, a: int, lda: int, b: int,
        ldb: int, beta: Any, c: int, ldc: int,
    ) -> int:  # fmt: skip
        return self.batched(dtype, handle, ta, tb, m, n, k, alpha, a, lda, 0, b, ldb, 0, beta, c, ldc, 0, 1)

    def batched(
        self, dtype: Any, handle: Any, ta: int, tb: int, m: int, n: int, k: int, alpha: Any, a: int, lda: int,
        step_a: int, b: int, ldb: int, step_b: int, beta: Any, c: int, ldc: int, step_c: int, count: int,
    ) -> int:  # fmt: skip
        used = self.handles[handle.value - 1]
        assert used["mode"] == 0
        assert used["stream"] == self.device.current.ptr
        assert used["workspace"], "a product without a workspace"
        self.calls.append(f"{count} x {m} {n} {k}")
        rows_a, columns_a = (k, m) if ta else (m, k)
        rows_b, columns_b = (n, k) if tb else (k, n)
        if lda < max(1, rows_a) or ldb < max(1, rows_b) or ldc < max(1, m) or min(m, n, k, count) < 1:
            return 7
        assert alpha.contents.value == 1
        keep = float(beta.contents.value)

        def multiply() -> None:
            for index in range(count):
                first = matrix(dtype, a, index * step_a, rows_a, columns_a, lda)
                second = matrix(dtype, b, index * step_b, rows_b, columns_b, ldb)
                result = matrix(dtype, c, index * step_c, m, n, ldc)
                product = (first.T if ta else first) @ (second.T if tb else second)
                result[...] = product + keep * result if keep else product

        self.device.ask(self.device.current, multiply)
        return 0


def matrix(dtype: Any, address: int, offset: int, rows: int, columns: int, leading: int) -> np.ndarray:
    """The matrix at an address, column by column."""
    size = np.dtype(dtype).itemsize
    entries = leading * (columns - 1) + rows
    memory = (ctypes.c_byte * (entries * size)).from_address(address + offset * size)
    return np.ndarray((rows, columns), dtype, buffer=memory, strides=(size, leading * size))


def install(monkeypatch: pytest.MonkeyPatch, device: Device) -> Any:
    """The runtime file on the stand-in, for one test. Its `fake_cublas` is the library it calls."""
    properties = {"name": b"Stand-in", "major": 9, "minor": 0, "totalGlobalMem": 2**37}
    runtime = SimpleNamespace(
        getDevice=lambda: device.device,
        getDeviceCount=lambda: 1,
        getDeviceProperties=lambda index: properties,
        streamCaptureModeRelaxed=2,
        runtimeGetVersion=lambda: 13000,
    )
    cupy, cuda = ModuleType("cupy"), ModuleType("cupy.cuda")
    vars(cuda).update(
        runtime=runtime,
        nvrtc=nvrtc(device),
        Device=lambda: SimpleNamespace(compute_capability=device.capability),
        Module=lambda: Binary(device),
        Stream=device.stream,
        get_current_stream=lambda: device.current,
        using_allocator=device.using_allocator,
    )
    vars(cupy).update(cuda=cuda, ndarray=Array, empty=device.empty, asarray=array, __version__="14.2.0")
    cupy.__spec__ = ModuleSpec("cupy", None)
    monkeypatch.setitem(sys.modules, "cupy", cupy)
    monkeypatch.setitem(sys.modules, "cupy.cuda", cuda)
    module = load_runtime()
    module.fake_cublas = Cublas(device)
    module.load_cublas = lambda: module.fake_cublas
    return module
