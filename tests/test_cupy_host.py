"""CUDA kernels on the host: they compute what they should, and what they must not do is found."""

from __future__ import annotations

import copy
import pickle
import re
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lstmgen.backends.cupy import host, host_library

DTYPES = [np.float32, np.float64]
SEEDS = range(5)

SOURCE = """
// y = tanh(x) * sigmoid(x)
__device__ __forceinline__ real sigmoid(real x) { return real(0.5) * tanh(real(0.5) * x) + real(0.5); }

extern "C" __global__ void elementwise(const real *__restrict__ x, real *__restrict__ y, long long count) {
  const long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= count) return;
  y[i] = tanh(x[i]) * sigmoid(x[i]);
}

extern "C" __global__ void functions(const real *x, real *y, long long count) {
  const long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= count) return;
  y[i] = exp(x[i]) + log(x[i]) + log1p(x[i]) + sqrt(x[i]) + fabs(-x[i]) + pow(x[i], real(1.5)) + erf(x[i])
       + fmax(x[i], real(1)) + fmin(x[i], real(1));
}

// total = sum of a row
extern "C" __global__ void row_sum(long long columns, const real *x, real *total) {
  __shared__ real partial[256];
  real sum = 0;
  for (long long i = threadIdx.x; i < columns; i += blockDim.x) sum += x[blockIdx.x * columns + i];
  partial[threadIdx.x] = sum;
  __syncthreads();
  for (int half = 128; half > 0; half /= 2) {
    if (threadIdx.x < half) partial[threadIdx.x] += partial[threadIdx.x + half];
    __syncthreads();
  }
  if (threadIdx.x == 0) total[blockIdx.x] = partial[0];
}

// h = tanh(x + U @ h_prev), a row in each block, for all steps
extern "C" __global__ void recurrence(const real *x, const real *U, real *h, long long steps, long long rows,
                                      long long hidden) {
  __shared__ real previous[256];
  const long long unit = threadIdx.x;
  previous[unit] = 0;
  __syncthreads();
  for (long long t = 0; t < steps; ++t) {
    const long long place = (t * rows + blockIdx.x) * hidden + unit;
    real sum = 0;
    if (unit < hidden) {
      sum = x[place];
      for (long long k = 0; k < hidden; ++k) sum += U[unit * hidden + k] * previous[k];
      h[place] = tanh(sum);
    }
    __syncthreads();
    previous[unit] = tanh(sum);
    __syncthreads();
  }
}

extern "C" __global__ void three_barriers(const real *x, real *y) {
  __shared__ real shared[256];
  shared[threadIdx.x] = x[threadIdx.x];
  __syncthreads();
  const real other = shared[255 - threadIdx.x];
  __syncthreads();
  shared[threadIdx.x] = other + 1;
  __syncthreads();
  y[threadIdx.x] = shared[(threadIdx.x + 1) % 256];
}
"""


@pytest.fixture(autouse=True, scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A cache of these tests' own; they are skipped where no kernel can be compiled."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LSTMGEN_CACHE", str(folder))
        if not host.available():
            pytest.skip("no C++ compiler that makes kernels for this host")
        yield folder


def kernels(source: str = SOURCE, seed: int = 0) -> Any:
    return host.runtime(seed).Kernels("trial", source)


def random(*shape: int, dtype: Any = np.float64) -> Any:
    return host.cupy_stand_in().array(np.random.default_rng(0).standard_normal(shape).astype(dtype))


def empty(*shape: int, dtype: Any = np.float64) -> Any:
    return host.cupy_stand_in().empty(shape, dtype)


def tolerance(dtype: Any) -> float:
    return 50 * float(np.finfo(dtype).eps)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("count", [1, 255, 256, 257, 1000])
def test_elementwise_kernel(dtype: Any, count: int) -> None:
    x, y = random(count, dtype=dtype), empty(count, dtype=dtype)
    kernels().launch("elementwise", count, x, y, count)
    assert y.dtype == dtype
    np.testing.assert_allclose(y, np.tanh(x) / (1 + np.exp(-x)), rtol=tolerance(dtype))


@pytest.mark.parametrize("dtype", DTYPES)
def test_functions_have_both_overloads(dtype: Any) -> None:
    x = np.array([0.25, 1.0, 3.0], dtype)
    y = empty(3, dtype=dtype)
    kernels().launch("functions", 3, x, y, 3)
    erf = np.array([0.2763263901682369, 0.8427007929497149, 0.9999779095030014])
    wanted = np.exp(x) + np.log(x) + np.log1p(x) + np.sqrt(x) + x + x**1.5 + erf + np.maximum(x, 1) + np.minimum(x, 1)
    np.testing.assert_allclose(y, wanted, rtol=tolerance(dtype))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("columns", [1, 256, 777])
def test_row_reduction(dtype: Any, columns: int) -> None:
    x, total = random(5, columns, dtype=dtype), empty(5, dtype=dtype)
    kernels().launch_rows("row_sum", 5, columns, x, total)
    np.testing.assert_allclose(total, x.sum(1, dtype=np.float64), atol=tolerance(dtype) * np.abs(x).sum())


@pytest.mark.parametrize("dtype", DTYPES)
def test_time_loop_in_one_kernel(dtype: Any) -> None:
    x, weights, h = random(7, 3, 40, dtype=dtype), random(40, 40, dtype=dtype) / 40, empty(7, 3, 40, dtype=dtype)
    kernels().launch_rows("recurrence", 3, x, weights, h, 7, 3, 40)
    previous = np.zeros((3, 40))
    for step in range(7):
        previous = np.tanh(x[step] + previous @ weights.T)
        np.testing.assert_allclose(h[step], previous, atol=tolerance(dtype))


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_order_of_threads_gives_the_same_bits(dtype: Any) -> None:
    x, weights, x_rows = random(4, 3, 50, dtype=dtype), random(50, 50, dtype=dtype), random(9, 300, dtype=dtype)
    results = set()
    for seed in SEEDS:
        h, total = empty(4, 3, 50, dtype=dtype), empty(9, dtype=dtype)
        trial = kernels(seed=seed)
        trial.launch_rows("recurrence", 3, x, weights, h, 4, 3, 50)
        trial.launch_rows("row_sum", 9, 300, x_rows, total)
        results.add(h.tobytes() + total.tobytes())
    assert len(results) == 1


def without(line: str, occurrence: int, source: str) -> str:
    """``source`` without one of the lines that read so."""
    lines = source.splitlines()
    del lines[[place for place, text in enumerate(lines) if text.strip() == line][occurrence]]
    return "\n".join(lines)


ROW_SUM = SOURCE[SOURCE.index("// total") : SOURCE.index("// h =")]
RECURRENCE = SOURCE[SOURCE.index("// h =") : SOURCE.index('extern "C" __global__ void three_barriers')]


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("barrier", [0, 1])
def test_missing_barrier_in_a_reduction_is_seen(seed: int, barrier: int) -> None:
    x, total = random(1, 300), empty(1)
    kernels(without("__syncthreads();", barrier, ROW_SUM), seed).launch_rows("row_sum", 1, 300, x, total)
    assert not np.allclose(total, x.sum(1))


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("barrier", [0, 1, 2])
def test_missing_barrier_in_a_time_loop_is_seen(seed: int, barrier: int) -> None:
    x, weights = random(6, 1, 60), random(60, 60)
    right, wrong = empty(6, 1, 60), empty(6, 1, 60)
    kernels(RECURRENCE).launch_rows("recurrence", 1, x, weights, right, 6, 1, 60)
    kernels(without("__syncthreads();", barrier, RECURRENCE), seed).launch_rows(
        "recurrence", 1, x, weights, wrong, 6, 1, 60
    )
    assert not np.allclose(right, wrong)


def test_order_of_blocks_and_threads_depends_on_the_seed_alone() -> None:
    source = 'extern "C" __global__ void last(real *y) { y[0] = 256.0 * blockIdx.x + threadIdx.x; }'

    def lasts(seed: int) -> list[float]:
        trial, y = kernels(source, seed), np.zeros(1)
        found = []
        for _ in range(4):
            trial.launch_rows("last", 50, y)
            found.append(float(y[0]))
        return found

    assert lasts(1) == lasts(1)
    assert lasts(1) != lasts(2)
    assert len({number // 256 for number in lasts(1)}) > 1, "the same order of blocks at each launch"
    assert len({number % 256 for number in lasts(1)}) > 1, "the same order of threads at each launch"


def test_shared_memory_is_full_of_nan_when_a_block_begins() -> None:
    source = """
extern "C" __global__ void carry(real *y) {
  __shared__ real shared[256];
  y[256 * blockIdx.x + threadIdx.x] = shared[threadIdx.x];
  shared[threadIdx.x] = 1;
}
"""
    y = np.zeros(3 * 256)
    kernels(source).launch_rows("carry", 3, y)
    assert np.isnan(y).all()


def test_barrier_that_some_threads_have_left_out_is_reported() -> None:
    source = """
extern "C" __global__ void early(real *y, long long count) {
  if (threadIdx.x >= count) return;
  __syncthreads();
  y[threadIdx.x] = 1;
}
"""
    trial, y = kernels(source), empty(256)
    message = (
        "trial: kernel early: a barrier must be reached by all threads of a block; in block 0, 200 wait at line 4: "
        "__syncthreads();, the other 56 have returned"
    )
    for _ in range(2):
        with pytest.raises(host.LaunchError, match=re.escape(message)):
            trial.launch_rows("early", 1, y, 200)
    trial.launch_rows("early", 1, y, 256)  # the next launch is none the worse for it
    assert (y == 1).all()


def test_barriers_in_two_branches_are_reported() -> None:
    source = """
extern "C" __global__ void branches(real *y) {
  if (threadIdx.x < 32) {
    __syncthreads();
  } else {
    __syncthreads();
  }
  y[threadIdx.x] = 1;
}
"""
    with pytest.raises(host.LaunchError, match=r"some wait at line (4|6): .*others wait at line (4|6): "):
        kernels(source).launch_rows("branches", 1, empty(256))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("statement", "place"),
    [
        ("y[i] = 2 * x[i]", "1 past the last"),
        ("y[i] = x[i]", "1 past the last"),
        ("y[i] = 2 * y[i]", "1 past the last"),
        ("y[i] = y[i - 1]", "1 past the last"),
        ("if (i < count) y[i - 3] = 0", "1 before the first"),
        ("if (i < count) y[i + 2] = 0", "1 past the last"),
    ],
)
def test_write_out_of_bounds_is_reported(dtype: Any, statement: str, place: str) -> None:
    source = f"""
extern "C" __global__ void over(const real *x, real *y, long long count) {{
  const long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x;
  {statement};
}}
"""
    x, y = random(300, dtype=dtype), random(4, 75, dtype=dtype)
    trial = kernels(source)
    for array in (y, y.reshape(-1)[0:].reshape(2, 150)):
        with pytest.raises(host.LaunchError, match=f"trial: kernel over: argument 1: .* at the entry {place}"):
            trial.launch("over", 300, x, array, 300)


def test_entries_that_are_not_written_are_nan() -> None:
    cupy = host.cupy_stand_in()
    x, y = random(300), cupy.empty_like(random(300))
    kernels().launch("elementwise", 290, x, y, 290)
    assert not np.isnan(y[:290]).any()
    assert np.isnan(y[290:]).all()


@pytest.mark.parametrize("dtype", DTYPES)
def test_no_threads_launch_nothing(dtype: Any) -> None:
    x, y = empty(0, dtype=dtype), empty(3, dtype=dtype)
    trial = kernels()
    trial.launch("elementwise", 0, x, y, 0)
    trial.launch_rows("row_sum", 0, 4, x, y)
    assert np.isnan(y).all()
    trial.launch_rows("row_sum", 3, 0, x, y)
    assert (y == 0).all()


def test_arrays_are_passed_by_their_first_entry() -> None:
    x, y = random(8, 10), np.zeros((2, 6))
    kernels().launch("elementwise", 6, x[3, 2:8], y[1], np.int64(6))
    np.testing.assert_allclose(y[1], np.tanh(x[3, 2:8]) / (1 + np.exp(-x[3, 2:8])))
    assert (y[0] == 0).all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((np.zeros(3), np.zeros(3)), "expected 3 arguments, got 2"),
        ((np.zeros(3), 3, np.zeros(3)), "argument 1: expected an array, got int"),
        ((np.zeros(3), np.zeros(3), 3.0), "argument 2: expected an int, got float"),
        ((np.zeros(3), np.zeros(3), True), "argument 2: expected an int, got bool"),
        ((np.zeros(3), np.zeros(3), 2**63), "argument 2: 9223372036854775808 does not fit a long long"),
        ((np.zeros(3), np.zeros(3, np.float32), 3), "argument 1: expected float64, as of the first array, got float32"),
        ((np.zeros(3, int), np.zeros(3, int), 3), "expected arrays of float32 or float64, got int64"),
        ((np.zeros(3), np.broadcast_to(0.0, 3), 3), "argument 1: the kernel may write to it, but it is read-only"),
        ((1, 2, 3), "expected an array among the arguments, which tells the dtype"),
    ],
)
def test_wrong_arguments_are_refused(arguments: tuple[Any, ...], message: str) -> None:
    with pytest.raises(host.LaunchError, match=re.escape(f"trial: kernel elementwise: {message}")):
        kernels().launch("elementwise", 3, *arguments)


def test_array_that_is_only_read_may_be_read_only() -> None:
    y = np.zeros(3)
    kernels().launch("elementwise", 3, np.broadcast_to(0.0, 3), y, 1)


def test_unknown_kernel_and_too_many_blocks_are_refused() -> None:
    with pytest.raises(host.LaunchError, match=r"there is no kernel 'cell', but elementwise, functions, row_sum"):
        kernels().launch("cell", 3, np.zeros(3))
    for threads in (-1000, 2**40):
        with pytest.raises(host.LaunchError, match=r"expected fewer than 2\*\*31 blocks"):
            kernels().launch("elementwise", threads, np.zeros(3), np.zeros(3), 3)


def test_names_of_the_c_library_are_free_for_kernels() -> None:
    source = """
// extern "C" __global__ void commented(real *y) {}
extern "C" __global__ void gamma(real *y) { y[0] = 1; }
extern "C" __global__ void
index(real *y) { y[0] = 2; }
extern "C" __global__ void __launch_bounds__(256) y0(real *y) { y[0] = 3; }
"""
    assert host_library.kernel_names(source) == ("gamma", "index", "y0")
    trial, y = kernels(source), np.zeros(1)
    for number, name in enumerate(("gamma", "index", "y0"), 1):
        trial.launch(name, 1, y)
        assert y[0] == number


def test_compile_error_tells_the_line_and_the_equation() -> None:
    source = """
extern "C" __global__ void broken(real *y) {
  // c = f * c_prev + i * g
  const real f = y[0];
  y[0] = f * c_prev;
}
"""
    with pytest.raises(host.CompileError) as caught:
        kernels(source).launch("broken", 1, np.zeros(1))
    lines = str(caught.value).splitlines()
    assert lines[0] == "trial: its kernels do not compile for the host"
    assert lines[1].startswith("line 5: ") and "c_prev" in lines[1]
    assert lines[2:4] == ["    // c = f * c_prev + i * g", "    y[0] = f * c_prev;"]


def test_kernel_with_an_argument_of_another_type_is_refused() -> None:
    with pytest.raises(host.CompileError, match=r"a kernel takes real \*, const real \* and long long"):
        kernels('extern "C" __global__ void other(real *y, int n) { y[0] = n; }').launch("other", 1, np.zeros(1), 1)


def test_without_a_compiler_the_host_is_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler -O1")
    with pytest.raises(host.HostUnavailable, match="no-such-compiler was not found"):
        kernels(SOURCE + "\n").launch("elementwise", 1, np.zeros(1), np.zeros(1), 1)
    host.available.cache_clear()
    try:
        host_library._library.cache_clear()
        assert not host.available()
    finally:
        host.available.cache_clear()


def test_libraries_are_compiled_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LSTMGEN_CACHE", str(tmp_path / "new"))
    source = SOURCE + "// another module\n"
    kernels(source).launch("elementwise", 1, np.zeros(1), np.zeros(1), 1)
    (made,) = (tmp_path / "new" / "host").iterdir()
    assert made.suffix == ".so"
    kernels(source).launch("elementwise", 1, np.zeros(1, np.float32), np.zeros(1, np.float32), 1)
    assert len(list(made.parent.iterdir())) == 2, "one for each dtype"

    def refuse(*_: object) -> None:
        raise AssertionError("compiled again")

    monkeypatch.setattr(host_library, "_compile", refuse)
    host_library._library.cache_clear()
    kernels(source).launch("elementwise", 1, np.zeros(1), np.zeros(1), 1)


def test_cache_that_cannot_be_written_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("LSTMGEN_CACHE", str(tmp_path / "file"))
    y = np.zeros(1)
    kernels(SOURCE + "// without a cache\n").launch("elementwise", 1, np.ones(1), y, 1)
    assert y[0] != 0


def test_switch_of_the_c_library_does_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    x, weights = random(4, 3, 50), random(50, 50)
    one, other = empty(4, 3, 50), empty(4, 3, 50)
    kernels().launch_rows("recurrence", 3, x, weights, one, 4, 3, 50)
    monkeypatch.setenv("CXX", f"{host_library.compiler().command[0]} -DLSTMGEN_UCONTEXT")
    trial = kernels(SOURCE + "// with ucontext\n")
    trial.launch_rows("recurrence", 3, x, weights, other, 4, 3, 50)
    assert one.tobytes() == other.tobytes()


def test_threads_may_launch_at_once() -> None:
    x = random(20, 500)
    trial, wanted = kernels(), x.sum(1)
    wrong: list[int] = []

    def many() -> None:
        for number in range(50):
            total = empty(20)
            trial.launch_rows("row_sum", 20, 500, x, total)
            if not np.allclose(total, wanted):
                wrong.append(number)

    workers = [threading.Thread(target=many) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert not wrong


def test_launches_are_fast() -> None:
    """One block and three barriers, well under a millisecond: finite differences need thousands of launches."""
    trial, x, y = kernels(), random(256), empty(256)
    trial.launch_rows("three_barriers", 1, x, y)
    np.testing.assert_array_equal(y, np.roll(x[::-1] + 1, -1))
    times = []
    for _ in range(20):
        begun = time.perf_counter()
        for _ in range(20):
            trial.launch_rows("three_barriers", 1, x, y)
        times.append((time.perf_counter() - begun) / 20)
    assert min(times) < 1e-3


# ---- Products


def transposed(array: Any) -> Any:
    """The same values, with the last two axes the other way round in memory."""
    return np.ascontiguousarray(array.swapaxes(-1, -2)).swapaxes(-1, -2)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("onto", [False, True])
@pytest.mark.parametrize("leading", [((), ()), ((3,), (3,)), ((), (3,)), ((2, 3), ())])
def test_products(dtype: Any, onto: bool, leading: tuple[tuple[int, ...], tuple[int, ...]]) -> None:
    left, right = random(*leading[0], 4, 5, dtype=dtype), random(*leading[1], 5, 6, dtype=dtype)
    before = random(*(left @ right).shape, dtype=dtype)
    for first, second in ((left, right), (transposed(left), right), (left, transposed(right))):
        for out in (before.copy(), transposed(before)):
            host.runtime().matmul(first, second, out, onto)
            np.testing.assert_allclose(out, left @ right + (before if onto else 0), atol=tolerance(dtype))


def test_products_of_nothing() -> None:
    out = np.ones((3, 4))
    host.runtime().matmul(np.zeros((3, 0)), np.zeros((0, 4)), out, onto=True)
    assert (out == 1).all()
    host.runtime().matmul(np.zeros((3, 0)), np.zeros((0, 4)), out)
    assert (out == 0).all()
    host.runtime().matmul(np.zeros((0, 2)), np.zeros((2, 4)), np.zeros((0, 4)))


@pytest.mark.parametrize(
    ("left", "right", "out", "message"),
    [
        (np.zeros((3, 4)), np.zeros((5, 2)), np.zeros((3, 2)), "does not give (3, 2)"),
        (np.zeros((3, 4)), np.zeros((4, 2)), np.zeros((3, 1)), "does not give (3, 1)"),
        (np.zeros((1, 3, 4)), np.zeros((4, 2)), np.zeros((5, 3, 2)), "left: expected 2 axes, or leading ones equal"),
        (np.zeros((3, 4, 2))[..., 0], np.zeros((4, 2)), np.zeros((3, 2)), "left: expected one of the last two axes"),
        (np.zeros((3, 4)), np.broadcast_to(0.0, (4, 2)), np.zeros((3, 2)), "right: expected one of the last two axes"),
        (np.zeros((3, 4)), np.zeros((4, 2)), np.zeros((3, 2, 2))[..., 0], "out: expected one of the last two axes"),
        (np.zeros((3, 4)), np.zeros((4, 2), np.float32), np.zeros((3, 2)), "right: expected float32 or float64 and"),
    ],
)
def test_products_that_no_library_computes_are_refused(left: Any, right: Any, out: Any, message: str) -> None:
    with pytest.raises(host.LaunchError, match=re.escape(message)):
        host.runtime().matmul(left, right, out)


def test_product_onto_its_operand_is_refused() -> None:
    square = np.zeros((3, 3))
    with pytest.raises(host.LaunchError, match="out shares memory"):
        host.runtime().matmul(square, np.zeros((3, 3)), square)


def test_axis_of_length_one_may_have_any_stride() -> None:
    left, right = np.ones((3, 4)), np.ones((4, 8))[:, ::8]
    out = np.zeros((3, 1))
    host.runtime().matmul(left, right, out)
    assert (out == 4).all()


# ---- Graphs


def test_graph_returns_what_was_captured() -> None:
    own = host.runtime()
    trial, graph = own.Kernels("trial", SOURCE), own.Graph(again=True)
    x, y, other = random(5), empty(5), random(5)

    def steps(read: Any) -> object:
        trial.launch("elementwise", 5, read, y, 5)
        return object()

    first = graph.run(lambda: steps(x), x)
    y.fill(0)
    assert graph.run(lambda: steps(x), x) is first
    assert (y != 0).all(), "the steps did not run again"
    anew = graph.run(lambda: steps(other), other)
    assert anew is not first
    assert graph.run(lambda: steps(other), other) is anew


def test_graph_without_again_only_calls() -> None:
    graph = host.runtime().Graph(again=False)
    assert graph.run(list) is not graph.run(list)


def test_graph_refuses_steps_that_it_could_not_replay() -> None:
    own = host.runtime()
    trial = own.Kernels("trial", SOURCE)
    x, y = random(5), empty(5)
    counts = iter((5, 4))
    graph = own.Graph(again=True)

    def counting() -> None:
        trial.launch("elementwise", 5, x, y, next(counts))

    graph.run(counting, x)
    with pytest.raises(host.LaunchError, match="call 0 was elementwise"):
        graph.run(counting, x)

    graph = own.Graph(again=True)

    def making() -> Any:
        made = empty(5, 5)
        own.matmul(np.ones((5, 1)), np.ones((1, 5)), made)
        return made

    graph.run(making)
    with pytest.raises(host.LaunchError, match="call 0 was matmul"):
        graph.run(making)

    graph = own.Graph(again=True)
    graph.run(lambda: None)
    with pytest.raises(host.LaunchError, match="call 0 was None"):
        graph.run(lambda: trial.launch("elementwise", 5, x, y, 5))


# ---- Modules

MODULE = '''
from __future__ import annotations

from typing import NamedTuple

import cupy as cp
import numpy as np

try:
    from . import _cupy_runtime as _runtime
except ImportError:  # the module lies on the path by itself
    import _cupy_runtime as _runtime  # type: ignore[no-redef]

Array = cp.ndarray


class Pair(NamedTuple):
    x: Array
    y: Array


def forward(x: Array) -> Pair:
    y = cp.empty(x.shape, x.dtype)
    _KERNELS.launch("double_it", x.size, x, y, x.size)
    return Pair(x, y)


def fail() -> None:
    import cupy.cuda
    from cupy.cuda import Stream

    assert Stream is cupy.cuda.Stream
    raise ValueError("on purpose")


_SOURCE = r"""
extern "C" __global__ void double_it(const real *x, real *y, long long count) {
  const long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x;
  if (i < count) y[i] = 2 * x[i];
}
"""
_KERNELS = _runtime.Kernels("trial_cupy", _SOURCE)
'''


def test_module_runs_without_cupy() -> None:
    before = {name for name in sys.modules if "cupy" in name}
    module = host.load(MODULE, "trial_cupy", seed=3)
    pair = module.forward(np.arange(5.0))
    np.testing.assert_array_equal(pair.y, 2 * np.arange(5.0))
    assert module.np is np
    assert {name for name in sys.modules if "cupy" in name} - before <= {"trial_cupy"}
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(copy.deepcopy(pair))).y, pair.y)
    assert host.load(MODULE, "trial_cupy").cp is not module.cp


def test_tracebacks_show_lines_of_the_module() -> None:
    module = host.load(MODULE, "trial_cupy")
    with pytest.raises(ValueError, match="on purpose") as caught:
        module.fail()
    assert 'raise ValueError("on purpose")' in "".join(traceback.format_exception(caught.value))


def test_stand_in_makes_arrays_of_numpy() -> None:
    cupy = host.cupy_stand_in()
    assert cupy.ndarray is np.ndarray
    for dtype in (*DTYPES, np.bool_, np.int64):
        assert (cupy.zeros((2, 3), dtype) == 0).all()
        assert (cupy.ones(3, dtype) == 1).all()
        assert cupy.full((), 1, dtype).dtype == dtype
        assert cupy.empty((0, 2), dtype).shape == (0, 2)
    assert np.isnan(cupy.empty(3)).all() and np.isnan(cupy.empty((2, 0, 3))).all()
    array = cupy.zeros((2, 3))
    assert cupy.asarray(array) is array and cupy.ascontiguousarray(array) is array
    assert cupy.asnumpy(array) is not array
    assert cupy.concatenate([array, cupy.ones_like(array)]).flags.c_contiguous
    out = cupy.empty((2, 3))
    assert cupy.add(array, 1, out) is out
    assert cupy.cuda.get_current_stream() is cupy.cuda.Stream.null


@pytest.mark.parametrize("name", ["errstate", "nditer", "frompyfunc", "object_", "no_such_name"])
def test_stand_in_lacks_what_cupy_lacks(name: str) -> None:
    with pytest.raises(AttributeError, match=f"module 'cupy' has no attribute '{name}'"):
        getattr(host.cupy_stand_in(), name)
