"""The runtime file beside generated CuPy modules.

Its logic runs here on a stand-in for CuPy and cuBLAS (:mod:`tests.fake_cupy`). Compilation is real wherever CuPy and
NVRTC are installed; it needs no GPU. What only a GPU can show is not shown here.
"""

from __future__ import annotations

import ast
import importlib
import logging
import sys
import threading
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.fake_cupy import RUNTIME, Device, array, install, load_runtime

SOURCE = """
// b = tanh(a)
extern "C" __global__ void squash(const real* __restrict__ a, real* __restrict__ b, long long n) {
    long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) b[i] = tanh(a[i]) + erf(a[i]) + log1p(fabs(a[i])) + pow(a[i], real(2)) + fmax(a[i], fmin(a[i], real(1)));
}

// total = sum(a)
extern "C" __global__ void total(const real* __restrict__ a, real* __restrict__ b, long long n) {
    __shared__ real part[256];
    real sum = 0;
    for (long long i = threadIdx.x; i < n; i += 256) sum += a[blockIdx.x * n + i];
    part[threadIdx.x] = sum;
    __syncthreads();
    for (int half = 128; half; half /= 2) {
        if (threadIdx.x < half) part[threadIdx.x] += part[threadIdx.x + half];
        __syncthreads();
    }
    if (!threadIdx.x) b[blockIdx.x] = sqrt(exp(log(part[0])));
}
"""


@pytest.fixture
def device() -> Device:
    return Device()


@pytest.fixture
def runtime(monkeypatch: pytest.MonkeyPatch, device: Device, tmp_path: Path) -> Any:
    monkeypatch.setenv("LSTMGEN_CACHE", str(tmp_path))
    return install(monkeypatch, device)


@pytest.fixture
def compiler(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """The runtime file with the real CuPy, whose NVRTC compiles without a GPU."""
    monkeypatch.setenv("LSTMGEN_CACHE", str(tmp_path))
    try:
        nvrtc = importlib.import_module("cupy.cuda").nvrtc
        nvrtc.getVersion()
    except (ImportError, RuntimeError) as error:
        pytest.skip(f"CuPy with NVRTC is not installed: {error}")
    return load_runtime()


def test_the_file_imports_cupy_numpy_and_the_standard_library() -> None:
    tree = ast.walk(ast.parse(RUNTIME.read_text(encoding="utf-8")))
    names = {alias.name for node in tree if isinstance(node, ast.Import) for alias in node.names}
    tree = ast.walk(ast.parse(RUNTIME.read_text(encoding="utf-8")))
    names |= {node.module or "" for node in tree if isinstance(node, ast.ImportFrom)}
    roots = {name.partition(".")[0] for name in names}
    assert roots - set(sys.stdlib_module_names) == {"cupy", "cupy_backends", "numpy"}


# -- compiling ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("real", ["float", "double"])
@pytest.mark.parametrize("arch", ["sm_80", "sm_90", "sm_120"])
def test_kernels_compile_without_a_gpu_and_without_spills(compiler: Any, arch: str, real: str) -> None:
    code, log = compiler.compile_cubin(SOURCE, "kernels", arch, real)
    assert code.startswith(b"\x7fELF")
    found = compiler.resources(log)
    assert sorted(found) == ["squash", "total"]
    assert all(0 < each.registers <= 64 and each.spill_stores == each.spill_loads == 0 for each in found.values())
    size = {"float": 4, "double": 8}[real]
    assert found["total"].shared - found["squash"].shared == 256 * size  # sm_90 and later reserve some for themselves


def test_a_virtual_architecture_gives_ptx(compiler: Any) -> None:
    code, _ = compiler.compile_cubin(SOURCE, "kernels", "compute_80", "float")
    assert b".target sm_80" in code


def test_a_mistake_is_told_with_its_line_and_equation(compiler: Any) -> None:
    with pytest.raises(compiler.CompileError) as caught:
        compiler.compile_cubin(SOURCE.replace("[i] = tanh(", "[i] = tahn("), "kernels", "sm_90", "float")
    lines = str(caught.value).splitlines()
    assert lines[0] == ('NVRTC cannot compile kernels for sm_90: kernels.cu(5): error: identifier "tahn" is undefined')
    assert lines[1].startswith("    if (i < n) b[i] = tahn(a[i])")
    assert lines[2] == "  equation: b = tanh(a)"


def test_an_architecture_that_is_unknown_is_told(compiler: Any) -> None:
    with pytest.raises(compiler.CompileError, match=r"kernels for sm_999: .*gpu-architecture"):
        compiler.compile_cubin(SOURCE, "kernels", "sm_999", "float")


def test_real_machine_code_is_kept_and_found_again(compiler: Any, tmp_path: Path) -> None:
    first = compiler._cached_cubin(SOURCE, "kernels", "sm_90", "float")
    (kept,) = tmp_path.rglob("*.cubin")
    assert kept.read_bytes()[32:] == first
    assert compiler._cached_cubin(SOURCE, "kernels", "sm_90", "float") == first


LOGS = {
    "older": "    0 bytes stack frame, 8 bytes spill stores, 16 bytes spill loads",
    "newer": "ptxas         .     0 bytes stack frame, 8 bytes spill stores, 16 bytes spill loads",
}


@pytest.mark.parametrize("line", LOGS.values(), ids=LOGS)
def test_resources_are_read_from_a_log(runtime: Any, line: str) -> None:
    log = f"""ptxas info    : 0 bytes gmem
ptxas info    : Compiling entry function 'one' for 'sm_90'
ptxas info    : Function properties for one
{line}
ptxas info    : Used 255 registers, used 1 barriers, 2048 bytes smem, 368 bytes cmem[0]
ptxas info    : Compiling entry function 'two' for 'sm_90'
    40 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads
ptxas info    : Used 8 registers, used 0 barriers
"""
    assert runtime.resources(log) == {
        "one": runtime.Resources(255, 0, 8, 16, 2048),
        "two": runtime.Resources(8, 40, 0, 0, 0),
    }
    assert runtime.resources("") == {}


def test_machine_code_is_kept_by_all_that_it_depends_on(runtime: Any, device: Device, tmp_path: Path) -> None:
    def compiled(*what: str) -> int:
        before = len(device.compiled)
        runtime._cached_cubin(*what)
        return len(device.compiled) - before

    assert compiled("// 1", "m", "sm_90", "float") == 1
    assert compiled("// 1", "m", "sm_90", "float") == 0
    assert compiled("// 2", "m", "sm_90", "float") == 1
    assert compiled("// 1", "m", "sm_80", "float") == 1
    assert compiled("// 1", "m", "sm_90", "double") == 1
    sys.modules["cupy.cuda"].nvrtc.getVersion = lambda: (13, 1)
    assert compiled("// 1", "m", "sm_90", "float") == 1
    assert len(list(tmp_path.rglob("*.cubin"))) == 5
    assert not list(tmp_path.rglob("*.tmp"))


def test_damaged_machine_code_is_compiled_again(runtime: Any, device: Device, tmp_path: Path) -> None:
    code = runtime._cached_cubin("// 1", "m", "sm_90", "float")
    (kept,) = tmp_path.rglob("*.cubin")
    kept.write_bytes(kept.read_bytes()[:-1])
    assert runtime._cached_cubin("// 1", "m", "sm_90", "float") == code
    assert len(device.compiled) == 2
    assert kept.read_bytes()[32:] == code


def test_a_folder_that_cannot_be_written_is_no_error(
    runtime: Any, device: Device, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("in the way", encoding="utf-8")
    monkeypatch.setenv("LSTMGEN_CACHE", str(tmp_path / "file"))
    for _ in range(2):
        assert runtime._cached_cubin("// 1", "m", "sm_90", "float")
    assert len(device.compiled) == 2


def test_the_users_cache_folder_is_the_default(runtime: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("LSTMGEN_CACHE")
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert runtime._cache_folder() == tmp_path / "xdg/lstmgen/cubin"
    monkeypatch.setenv("XDG_CACHE_HOME", "")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert runtime._cache_folder() == tmp_path / "home/.cache/lstmgen/cubin"


# -- launching ---------------------------------------------------------------------------------------------------------


def test_launches_have_a_thread_an_index_or_a_block_a_row(runtime: Any, device: Device) -> None:
    kernels = runtime.Kernels("m", SOURCE)
    a = array(np.zeros(600, np.float32))
    kernels.launch("squash", 600, a, a, 600)
    kernels.launch("squash", 256, 256, a, np.int32(5), True)
    kernels.launch_rows("total", 3, a, a, 200)
    for name in ("launch", "launch_rows"):
        getattr(kernels, name)("total", 0, a, a, 0)
    assert [(name, grid, block) for name, grid, block, _ in device.launched] == [
        ("squash", (3,), (256,)),
        ("squash", (1,), (256,)),
        ("total", (3,), (256,)),
    ]
    assert device.launched[0][3][0] is a
    sizes = device.launched[1][3]
    assert [type(each) for each in sizes] == [int, type(a), int, int]  # CuPy makes a long long of an int, and no other
    assert len(device.compiled) == 1


def test_kernels_are_compiled_by_dtype_and_loaded_by_device(runtime: Any, device: Device) -> None:
    kernels = runtime.Kernels("m", SOURCE)
    assert device.compiled == []
    single, double = array(np.zeros(2, np.float32)), array(np.zeros(2))
    for index in (0, 1, 0):
        device.device = index
        for each in (single, double):
            kernels.launch("squash", 2, each, each, 2)
            kernels.launch("total", 2, each, each, 2)
    assert [("-Dreal=float" in options, "-Dreal=double" in options) for _, options in device.compiled] == [
        (True, False),
        (False, True),
    ]
    assert len(device.loaded) == 4
    with pytest.raises(TypeError, match="m: kernels take arrays of float32 or float64, not float16"):
        kernels.launch("squash", 2, array(np.zeros(2, np.float16)), 2)
    with pytest.raises(TypeError, match="not numbers alone"):
        kernels.launch("squash", 2, 2)
    with pytest.raises(TypeError, match="m: squash takes arrays of one dtype, not float32, float64"):
        kernels.launch("squash", 2, single, double, 2)


def test_two_threads_compile_once(runtime: Any, device: Device) -> None:
    kernels = runtime.Kernels("m", SOURCE)
    a = array(np.zeros(2))
    threads = [threading.Thread(target=kernels.launch, args=("squash", 2, a, a, 2)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(device.compiled) == len(device.loaded) == 1
    assert len(device.launched) == 8


@pytest.mark.parametrize(("capability", "arch"), [("90", "sm_90"), ("80", "sm_80"), ("89", "compute_80")])
def test_code_is_for_the_current_device(runtime: Any, device: Device, capability: str, arch: str) -> None:
    device.capability = capability
    runtime.Kernels("m", SOURCE).launch("squash", 2, array(np.zeros(2)), 2)
    assert f"-arch={arch}" in device.compiled[0][1]
    assert device.loaded[0].startswith(b"PTX") == arch.startswith("compute")


def test_a_gpu_that_nvrtc_has_dropped_is_told(runtime: Any, device: Device) -> None:
    device.capability = "61"
    with pytest.raises(runtime.CompileError, match=r"too new for this GPU of compute capability 6\.1"):
        runtime.Kernels("m", SOURCE).launch("squash", 2, array(np.zeros(2)), 2)


# -- products ----------------------------------------------------------------------------------------------------------


def rows(shape: tuple[int, ...], dtype: Any) -> Any:
    return np.full(shape, np.nan, dtype)


def columns(shape: tuple[int, ...], dtype: Any) -> Any:
    return np.full((*shape[:-2], shape[-1], shape[-2]), np.nan, dtype).swapaxes(-1, -2)


def wide_rows(shape: tuple[int, ...], dtype: Any) -> Any:
    return np.full((*shape[:-2], shape[-2] + 2, shape[-1] + 3), np.nan, dtype)[..., 1:-1, 2:-1]


def wide_columns(shape: tuple[int, ...], dtype: Any) -> Any:
    return wide_rows((*shape[:-2], shape[-1], shape[-2]), dtype).swapaxes(-1, -2)


LAYOUTS = (rows, columns, wide_rows, wide_columns)


def check(runtime: Any, left: Any, right: Any, out: Any, seed: int = 0) -> None:
    """Multiplies, into `out` and onto it, and compares; also that nothing beside `out` is written."""
    random = np.random.default_rng(seed)
    for each in (left, right, out):
        each[...] = random.integers(-4, 5, each.shape)  # sums of small integers are exact
    base = out if out.base is None else out.base
    for onto in (False, True):
        wanted = np.broadcast_to(left @ right, out.shape) + (out if onto else 0)
        around = np.isnan(base)
        runtime.matmul(array(left), array(right), array(out), onto)
        np.testing.assert_array_equal(out, wanted)
        np.testing.assert_array_equal(np.isnan(base), around)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    "size", [(3, 4, 5), (4, 4, 4), (1, 4, 5), (3, 1, 5), (3, 4, 1), (1, 1, 5), (1, 4, 1), (3, 1, 1), (1, 1, 1)]
)
def test_every_layout_of_two_axes(runtime: Any, size: tuple[int, int, int], dtype: Any) -> None:
    m, k, n = size
    for first, second, third in product(LAYOUTS, repeat=3):
        check(runtime, first((m, k), dtype), second((k, n), dtype), third((m, n), dtype))
    assert all(call.startswith("1 x") for call in runtime.fake_cublas.calls)


@pytest.mark.parametrize("lead", [(2,), (2, 3), (1, 3), (2, 1), (1, 1)])
@pytest.mark.parametrize("lacks", ["neither", "left", "right", "both"])
def test_every_layout_of_more_axes(runtime: Any, lead: tuple[int, ...], lacks: str) -> None:
    for first, second, third in product(LAYOUTS, repeat=3):
        left = first((*(() if lacks in ("left", "both") else lead), 3, 4), np.float32)
        right = second((*(() if lacks in ("right", "both") else lead), 4, 2), np.float32)
        check(runtime, left, right, third((*lead, 3, 2), np.float32))


def test_leading_axes_become_one_batch_where_they_can(runtime: Any) -> None:
    calls = runtime.fake_cublas.calls
    check(runtime, rows((2, 5, 3, 4), np.float32), rows((4, 2), np.float32), rows((2, 5, 3, 2), np.float32))
    assert calls == ["10 x 2 3 4"] * 2
    calls.clear()
    # heads in the middle: the leading axes of the three arrays lie differently, so that one of them is a loop
    turned = rows((5, 3, 2, 4), np.float32).transpose(2, 0, 1, 3)
    check(runtime, turned, rows((2, 5, 4, 2), np.float32), rows((2, 5, 3, 2), np.float32))
    assert calls == ["5 x 2 3 4"] * 4


def test_an_axis_of_length_one_may_have_any_stride(runtime: Any) -> None:
    left = np.full((3, 7), np.nan, np.float32)[:, 2:3]
    right = np.full((5, 7), np.nan, np.float32).T[2:3]  # one row, whose entries lie 7 apart
    check(runtime, left, right, rows((3, 5), np.float32))
    step = np.full((2, 6, 4), np.nan, np.float32)[:, 5]
    check(runtime, step, rows((4, 3), np.float32), np.full((2, 6, 3), np.nan, np.float32)[:, 1])


@pytest.mark.parametrize("lead", [(), (2,), (0,)])
@pytest.mark.parametrize("size", [(0, 4, 5), (3, 0, 5), (3, 4, 0), (0, 0, 0), (1, 0, 1), (0, 1, 1)])
def test_sizes_of_zero(runtime: Any, lead: tuple[int, ...], size: tuple[int, int, int]) -> None:
    m, k, n = size
    for first, second, third in product(LAYOUTS, repeat=3):
        check(
            runtime,
            first((*lead, m, k), np.float32),
            second((*lead, k, n), np.float32),
            third((*lead, m, n), np.float32),
        )


def test_what_cannot_be_multiplied_is_refused(runtime: Any) -> None:
    def give(*shape: int, dtype: Any = np.float32) -> Any:
        return array(np.zeros(shape, dtype))

    with pytest.raises(ValueError, match=r"shapes \(3, 4\) @ \(5, 2\) do not make \(3, 2\)"):
        runtime.matmul(give(3, 4), give(5, 2), give(3, 2))
    for shapes in (((3, 4), (4, 2), (2, 3)), ((4,), (4, 2), (2,)), ((2, 3, 4), (4, 2), (3, 2))):
        with pytest.raises(ValueError, match="do not make"):
            runtime.matmul(*(give(*shape) for shape in shapes))
    with pytest.raises(ValueError, match="do not make"):
        runtime.matmul(give(2, 3, 4), give(5, 4, 2), give(2, 3, 2))
    with pytest.raises(ValueError, match="one must have stride 1"):
        runtime.matmul(give(3, 8)[:, ::2], give(4, 2), give(3, 2))
    with pytest.raises(ValueError, match="one must have stride 1"):
        runtime.matmul(array(np.broadcast_to(np.float32(1), (3, 4))), give(4, 2), give(3, 2))
    with pytest.raises(TypeError, match="not float32, float64, float32"):
        runtime.matmul(give(3, 4), give(4, 2, dtype=np.float64), give(3, 2))
    with pytest.raises(TypeError, match="float16"):
        runtime.matmul(*(give(3, 3, dtype=np.float16) for _ in range(3)))
    assert runtime.fake_cublas.calls == []


def multiply(runtime: Any) -> None:
    one = array(np.ones((2, 2), np.float32))
    runtime.matmul(one, one, array(np.ones((2, 2), np.float32)))


def test_a_handle_turns_to_the_current_stream_with_a_workspace_of_its_own(runtime: Any, device: Device) -> None:
    multiply(runtime)
    (handle,) = runtime.fake_cublas.handles
    null = handle["workspace"]
    assert null[1] == 32 << 20
    with device.stream() as one:
        multiply(runtime)
        assert handle["stream"] == one.ptr
        assert handle["workspace"][0] != null[0]
    multiply(runtime)
    assert handle["workspace"] == null  # kept: a graph captured there reads it
    device.device = 1
    multiply(runtime)
    assert len(runtime.fake_cublas.handles) == 2


def test_each_thread_has_a_handle_and_leaves_it_to_the_next(runtime: Any) -> None:
    together = threading.Barrier(2)

    def work() -> None:
        multiply(runtime)
        together.wait(timeout=60)

    for _ in range(3):
        threads = [threading.Thread(target=work) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(runtime.fake_cublas.handles) == 2


def test_a_status_is_told_by_its_name(runtime: Any) -> None:
    runtime.fake_cublas.fails_with = 1
    with pytest.raises(runtime.CublasError, match="cublasCreate_v2: CUBLAS_STATUS_NOT_INITIALIZED"):
        multiply(runtime)


def test_the_real_library_is_found_and_has_every_function(compiler: Any) -> None:
    try:
        library = compiler.load_cublas()
    except ImportError as error:
        pytest.skip(f"cuBLAS is not installed: {error}")
    assert all(getattr(library, name).argtypes == types for name, types in compiler._SIGNATURES.items())
    assert library.cublasGetStatusName(7) == b"CUBLAS_STATUS_INVALID_VALUE"


@pytest.mark.parametrize("batched", [False, True])
def test_arguments_fit_the_signatures(
    compiler: Any, runtime: Any, device: Device, batched: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the stand-in is called with converts to the types that the real library is declared with."""
    name = "cublasSgemmStridedBatched_64" if batched else "cublasSgemm_v2_64"
    seen: list[tuple[Any, ...]] = []
    monkeypatch.setattr(runtime.fake_cublas, name, lambda *arguments: seen.append(arguments) or 0)
    lead = (2,) if batched else ()
    a, b, c = (array(np.zeros((*lead, 2, 2), np.float32)) for _ in range(3))
    runtime.matmul(a, b, c)
    assert len(seen[0]) == len(runtime._SIGNATURES[name])
    for argument, kind in zip(seen[0], runtime._SIGNATURES[name], strict=True):
        assert kind.from_param(argument) is not None


# -- graphs ------------------------------------------------------------------------------------------------------------


class Counter:
    """Steps that add one to an array by a kernel and multiply it into another; counts how often they are asked."""

    def __init__(self, runtime: Any, device: Device) -> None:
        self.kernels = runtime.Kernels("m", SOURCE)
        self.runtime = runtime
        self.state = array(np.zeros((2, 2), np.float32))
        self.out = array(np.zeros((2, 2), np.float32))
        self.asked = 0
        device.functions["squash"] = lambda x, state: np.add(state, x, out=state)

    def steps(self, x: Any) -> Any:
        def steps() -> Any:
            self.asked += 1
            self.kernels.launch("squash", 4, x, self.state)
            self.runtime.matmul(self.state, x, self.out)
            return self.out, self.asked

        return steps


def ones() -> Any:
    return array(np.eye(2, dtype=np.float32))


def test_steps_that_come_again_are_captured_and_replayed(runtime: Any, device: Device) -> None:
    counter, x = Counter(runtime, device), ones()
    graph = runtime.Graph(True)
    returned = [graph.run(counter.steps(x), x) for _ in range(5)]
    np.testing.assert_array_equal(counter.state, 5 * np.eye(2))  # each run was done once
    np.testing.assert_array_equal(counter.out, 5 * np.eye(2))
    assert counter.asked == 2  # the first run, and the capture
    assert device.captures == 1
    assert [each[1] for each in returned] == [1, 2, 2, 2, 2]
    assert all(each[0] is counter.out for each in returned)
    assert device.replays == [0, 0, 0, 0]


def test_a_graph_is_replayed_on_the_stream_that_is_current(runtime: Any, device: Device) -> None:
    counter, x = Counter(runtime, device), ones()
    graph = runtime.Graph(True)
    for _ in range(2):
        graph.run(counter.steps(x), x)
    with device.stream() as stream:
        graph.run(counter.steps(x), x)
    assert device.replays == [0, stream.ptr]
    multiply(runtime)  # the handle has left the stream of the capture
    assert runtime.fake_cublas.handles[0]["stream"] == 0


def test_without_again_steps_are_called(runtime: Any, device: Device) -> None:
    counter, x = Counter(runtime, device), ones()
    graph = runtime.Graph(False)
    assert [graph.run(counter.steps(x), x)[1] for _ in range(4)] == [1, 2, 3, 4]
    assert device.captures == 0


def test_other_arrays_are_captured_anew_and_graphs_are_kept(runtime: Any, device: Device) -> None:
    counter = Counter(runtime, device)
    x, y = ones(), array(3 * ones())
    graph = runtime.Graph(True)
    for _ in range(4):
        graph.run(counter.steps(x), x)
        graph.run(counter.steps(y), y)
    np.testing.assert_array_equal(counter.state, 16 * np.eye(2))
    np.testing.assert_array_equal(counter.out, 48 * np.eye(2))
    assert device.captures == 2
    graph.run(counter.steps(x.T), x.T)  # the same address, read otherwise
    assert device.captures == 2
    many = [ones() for _ in range(2 * graph.KEPT)]
    for each in many:
        graph.run(counter.steps(each), each)
    assert len(graph._met) == graph.KEPT


def test_a_graph_has_a_workspace_of_its_own(runtime: Any, device: Device) -> None:
    counter, x = Counter(runtime, device), ones()
    used = []
    one, two = runtime.Graph(True), runtime.Graph(True)
    for graph in (one, two):

        def steps() -> None:
            counter.steps(x)()
            used.append(runtime.fake_cublas.handles[0]["workspace"][0])

        for _ in range(2):
            graph.run(steps, x)
    plain, first, again, second = used
    assert plain == again
    assert len({plain, first, second}) == 3


def test_where_capture_fails_steps_are_called_and_the_reason_is_told_once(
    runtime: Any, device: Device, caplog: pytest.LogCaptureFixture
) -> None:
    device.refuses_capture = True
    counter, x = Counter(runtime, device), ones()
    with caplog.at_level(logging.WARNING, "lstmgen.cupy"):
        for graph in (runtime.Graph(True), runtime.Graph(True)):
            for _ in range(4):
                graph.run(counter.steps(x), x)
    np.testing.assert_array_equal(counter.state, 8 * np.eye(2))
    assert device.captures == 2
    (record,) = caplog.records
    assert record.name == "lstmgen.cupy"
    assert record.message == (
        "steps run one by one, since no CUDA graph can be captured: RuntimeError: cudaErrorStreamCaptureInvalidated"
    )
    assert device.current.ptr == 0


def test_steps_that_allocate_are_not_captured(runtime: Any, device: Device, caplog: pytest.LogCaptureFixture) -> None:
    x = ones()
    graph = runtime.Graph(True)
    for _ in range(3):
        graph.run(lambda: device.empty(8, np.float32), x)
    assert "the steps allocate 32 bytes" in caplog.text
    assert device.replays == []
    assert not device.streams[0].is_capturing()


def test_a_mistake_in_steps_is_raised(runtime: Any, device: Device) -> None:
    x = ones()
    graph = runtime.Graph(True)
    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            graph.run(lambda: 1 / 0, x)
    graph.run(lambda: 1, x)
    with pytest.raises(ZeroDivisionError):
        graph.run(lambda: 1 / 0, x)
    assert device.current.ptr == 0


def test_an_interrupted_capture_is_ended(runtime: Any, device: Device) -> None:
    def interrupted() -> None:
        raise KeyboardInterrupt

    x = ones()
    graph = runtime.Graph(True)
    graph.run(lambda: None, x)
    with pytest.raises(KeyboardInterrupt):
        graph.run(interrupted, x)
    assert not device.streams[0].is_capturing()
    assert device.current.ptr == 0
    graph.run(lambda: None, x)
    assert device.captures == 2


def test_steps_take_part_in_a_capture_of_the_caller(runtime: Any, device: Device) -> None:
    counter, x = Counter(runtime, device), ones()
    graph = runtime.Graph(True)
    for _ in range(2):
        graph.run(counter.steps(x), x)
    with device.stream() as stream:
        stream.begin_capture(2)
        graph.run(counter.steps(x), x)
        whole = stream.end_capture()
    np.testing.assert_array_equal(counter.state, 2 * np.eye(2))
    whole.launch()
    np.testing.assert_array_equal(counter.state, 3 * np.eye(2))
