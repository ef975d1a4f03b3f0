"""Generated CuPy modules on a GPU: `pytest -m gpu`.

Skipped where there is no GPU. Asked for there, the run fails: nothing was shown then.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lstmgen
from lstmgen import finding, pipeline
from lstmgen.backends.cupy import backend
from lstmgen.bench.gpu import accuracy, ours
from lstmgen.bench.gpu.measuring import built_in_cells
from lstmgen.bench.gpu.station import in_dtype
from lstmgen.bench.preparation import prepare
from lstmgen.bench.shapes import Shape
from lstmgen.testing import BACKEND_CHECKS, check_backend

# What CuPy or PyTorch warns of is no matter of these tests.
pytestmark = [pytest.mark.gpu, pytest.mark.filterwarnings("default")]

ROOT = Path(__file__).resolve().parent.parent
DTYPES = ("float32", "float64")
LOOPED = ("lstm", "gru", "lstm_layernorm", "mlstm")
OPTIONS: dict[str, tuple[str, dict[str, Any]]] = {name: (name, {}) for name in built_in_cells()}
OPTIONS |= {"lstm, peephole": ("lstm", {"peephole": True}), "gru, reset before": ("gru", {"reset": "before"})}


@pytest.fixture
def cp() -> Any:
    """CuPy; it is not imported before a test needs it."""
    import cupy

    return cupy


def same(first: dict[str, Any], second: dict[str, Any]) -> None:
    """Bit by bit."""
    assert first.keys() == second.keys()
    for name, array in first.items():
        np.testing.assert_array_equal(array, second[name], err_msg=name)


# -- what modules compute ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("label", OPTIONS)
def test_cells_compute_their_equations(label: str, dtype: str) -> None:
    """Every tensor against the interpreter in float64, and the same bits however launches are made."""
    name, options = OPTIONS[label]
    cell = finding.find_cell(name)
    prepared = prepare(cell, options)
    wanted = accuracy.wanted(prepared)
    source = pipeline.compile_cell(cell, backend, options).source
    problem = in_dtype(wanted.problem, dtype)
    runs = []
    for reuse in (True, False):
        built = ours.build(prepared.subject, problem, source=source, host=False, reuse=reuse)
        runs += accuracy.results(built)
    for run in runs:
        error, tensor = accuracy.worst(run, wanted.arrays)
        assert error <= wanted.limits[dtype], f"{tensor} is off by {error:.1e}"
        same(run, runs[0])


@pytest.mark.parametrize("check", BACKEND_CHECKS)
def test_the_back_end_conforms_on_the_device(check: str) -> None:
    assert backend.levels()[0] == "device"
    check_backend(backend, only=[check])


# -- how they run ------------------------------------------------------------------------------------------------------


class Call:
    """A module with arguments; a call of it is one forward and one backward."""

    def __init__(self, cp: Any, name: str, dtype: str = "float32", seed: int = 0) -> None:
        self.cp, self.module = cp, lstmgen.load(name, backend="cupy")
        sizes = dict.fromkeys(self.module.Sizes._fields, 16)
        self.p = self.module.Parameters.initialize(**sizes, dtype=dtype, seed=seed)
        random = np.random.default_rng(seed)
        self.x = cp.asarray(random.standard_normal((20, 4, 16)).astype(dtype))
        outputs, *_ = self.module.infer(self.p, self.x)
        self.d_outputs = cp.asarray(random.standard_normal(outputs.shape).astype(dtype))

    def __call__(self, x: Any = None, **options: Any) -> dict[str, Any]:
        """Everything that one forward and backward give, left on the device."""
        x = self.x if x is None else x
        outputs, final, residuals = self.module.forward(self.p, x, **options)
        grads = self.module.backward(self.p, residuals, self.d_outputs)
        found = {"outputs": outputs, "d_parameters": grads.parameters.flat, "d_x": grads.inputs.x}
        found |= {f"final {name}": array for name, array in final._asdict().items()}
        return found | {f"d_initial {name}": array for name, array in grads.initial._asdict().items()}

    def on_host(self, *arguments: Any, **options: Any) -> dict[str, Any]:
        """The same, copied to the host."""
        return {name: self.cp.asnumpy(array) for name, array in self(*arguments, **options).items()}


def graphs(kept: Any, kind: type) -> Iterator[Any]:
    """The graphs anywhere in what a workspace keeps."""
    if isinstance(kept, kind):
        yield kept
    elif isinstance(kept, dict):
        yield from graphs(tuple(kept.values()), kind)
    elif isinstance(kept, tuple | list):
        for each in kept:
            yield from graphs(each, kind)


def captures(workspace: Any, module: Any) -> int:
    """How many graphs a workspace has captured."""
    return sum(each.captures for each in graphs(workspace._arrays, module._runtime.Graph))


@pytest.mark.parametrize("policy", ["save", "recompute"])
@pytest.mark.parametrize("name", LOOPED)
def test_time_loops_are_captured_once_and_replayed(cp: Any, name: str, policy: str) -> None:
    call = Call(cp, name)
    workspace = call.module.Workspace()
    plain = call.on_host(residuals=policy)
    counts = []
    for _ in range(4):
        same(call.on_host(residuals=policy, workspace=workspace), plain)
        counts.append(captures(workspace, call.module))
    assert counts == [0, 2, 2, 2]  # forward and backward have a loop each, of one chunk
    # Other values at the same addresses, and inputs at another address.
    call.p.flat *= 0.5
    other = call.x[::-1].copy()
    same(call.on_host(other, residuals=policy, workspace=workspace), call.on_host(other, residuals=policy))
    assert captures(workspace, call.module) == 2


@pytest.mark.parametrize("reuse", [False, True], ids=["launched", "replayed"])
@pytest.mark.parametrize("name", LOOPED)
def test_the_current_stream_is_used(cp: Any, name: str, reuse: bool) -> None:
    """What a stream is asked for before is done before, and nothing waits for other streams."""
    call = Call(cp, name)
    expected = call.on_host()
    options = {"workspace": call.module.Workspace()} if reuse else {}
    for _ in range(2 * reuse):
        call(**options)
    x, d_outputs = cp.zeros_like(call.x), cp.zeros_like(call.d_outputs)
    real, call.d_outputs = call.d_outputs, d_outputs
    late = cp.zeros((4096, 4096), np.float32)
    cp.cuda.Device().synchronize()
    stream = cp.cuda.Stream(non_blocking=True)
    with stream:
        for _ in range(300):  # keeps the stream busy, so that arguments are there late
            cp.sqrt(late, out=late)
        cp.copyto(x, call.x)
        cp.copyto(d_outputs, real)
        found = call(x, **options)
        # Freed memory goes to whoever asks next on this stream, no other one.
        arrays = {each: array.copy() for each, array in found.items()}
    stream.synchronize()
    same({each: cp.asnumpy(array) for each, array in arrays.items()}, expected)


def test_two_threads_at_once(cp: Any) -> None:
    calls = [Call(cp, name, seed=seed) for seed, name in enumerate(("lstm", "gru", "lstm", "lstm_layernorm"))]
    expected = [call.on_host() for call in calls]
    cp.cuda.Device().synchronize()
    found: list[list[dict[str, Any]]] = [[] for _ in calls]
    barrier = threading.Barrier(len(calls))

    def work(at: int) -> None:
        workspace = calls[at].module.Workspace()
        barrier.wait()
        with cp.cuda.Stream(non_blocking=True):
            for _ in range(5):
                found[at].append(calls[at].on_host(workspace=workspace))

    threads = [threading.Thread(target=work, args=(at,)) for at in range(len(calls))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for runs, wanted in zip(found, expected, strict=True):
        assert len(runs) == 5
        for run in runs:
            same(run, wanted)


def test_arrays_of_numpy_are_refused(cp: Any) -> None:
    call = Call(cp, "lstm")
    with pytest.raises(TypeError, match=r"x: expected an array on the GPU.*cupy\.asarray\(x\)"):
        call.module.forward(call.p, cp.asnumpy(call.x))
    with pytest.raises(TypeError, match=r"flat: expected a cupy\.ndarray"):
        call.module.Parameters(cp.asnumpy(call.p.flat), call.p.sizes)


# -- with PyTorch ------------------------------------------------------------------------------------------------------


@pytest.fixture
def torch() -> Any:
    """PyTorch, where it finds the GPU too."""
    found = pytest.importorskip("torch")
    if not found.cuda.is_available():
        pytest.skip("PyTorch finds no GPU")
    return found


def test_tensors_of_pytorch_are_taken_without_a_copy(cp: Any, torch: Any) -> None:
    call = Call(cp, "lstm")
    tensor = torch.tensor(cp.asnumpy(call.x), device="cuda")
    assert call.module._taken("x", tensor, call.p).data.ptr == tensor.data_ptr()
    same(call.on_host(tensor), call.on_host())
    with pytest.raises(TypeError, match="x: expected an array on the GPU"):
        call(tensor.cpu())


@pytest.fixture
def example() -> Any:
    from test_examples_torch import imported_script

    return imported_script("torch_module")


@pytest.mark.parametrize("name", ["lstm", "gru"])
def test_gradients_agree_with_finite_differences_in_pytorch(torch: Any, example: Any, name: str) -> None:
    module = lstmgen.load(name, backend="cupy")
    torch.manual_seed(0)
    layer = example.Recurrent(module, features=2, hidden=3).double()
    assert layer.flat.is_cuda
    x = torch.randn(5, 4, 2, dtype=torch.float64, device="cuda", requires_grad=True)
    shape = (4, 3)
    initial = [torch.randn(shape, dtype=torch.float64, device="cuda", requires_grad=True) for _ in module.State._fields]
    assert torch.autograd.gradcheck(
        lambda *tensors: example.Recurrence.apply(module, layer.sizes, {}, *tensors), (layer.flat, x, *initial)
    )


def test_a_layer_works_on_the_current_stream_of_pytorch(torch: Any, example: Any) -> None:
    """Forward and backward between what the stream is asked for before and after; none of it is waited for."""
    module = lstmgen.load("lstm", backend="cupy")
    torch.manual_seed(0)
    layer = example.Recurrent(module, features=16, hidden=16)
    real = torch.randn(20, 4, 16, device="cuda")
    (expected,) = torch.autograd.grad(layer(real)[0].square().sum(), layer.flat)
    x, late = torch.zeros_like(real), torch.zeros(4096, 4096, device="cuda")
    torch.cuda.synchronize()
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        for _ in range(300):
            late.sqrt_()
        x.copy_(real)
        (found,) = torch.autograd.grad(layer(x)[0].square().sum(), layer.flat)
        found = 2 * found
    stream.synchronize()
    assert torch.equal(found, 2 * expected)


# -- memory ------------------------------------------------------------------------------------------------------------

SANITIZED = """
import sys
import cupy as cp
import lstmgen

cp.cuda.set_allocator(None)  # each array is an allocation of its own, whose end is watched
for name in sys.argv[1:]:
    module = lstmgen.load(name, backend="cupy")
    p = module.Parameters.initialize(**dict.fromkeys(module.Sizes._fields, 33), seed=0)
    x = cp.ones((5, 3, 33), p.dtype)
    for policy in ("save", "recompute"):
        outputs, final, residuals = module.forward(p, x, residuals=policy)
        module.backward(p, residuals, outputs, d_final=final)
cp.cuda.Device().synchronize()
print("done")
"""


def sanitizer() -> str | None:
    """The command, on the path or in a toolkit."""
    places = [Path(each, "bin") for name in ("CUDA_PATH", "CUDA_HOME") if (each := os.environ.get(name))]
    places += [Path("/usr/local/cuda/bin")]
    return shutil.which("compute-sanitizer") or shutil.which(
        "compute-sanitizer", path=os.pathsep.join(map(str, places))
    )


@pytest.mark.parametrize("tool", ["memcheck", "synccheck"])
def test_compute_sanitizer_finds_nothing(tool: str) -> None:
    command = sanitizer()
    if command is None:
        pytest.skip("compute-sanitizer is not installed")
    cells = ("lstm", "gru", "lstm_layernorm", "sru")
    done = subprocess.run(
        [command, "--tool", tool, "--error-exitcode", "99", sys.executable, "-c", SANITIZED, *cells],
        capture_output=True,
        text=True,
        timeout=600,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))},
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    assert "done" in done.stdout and "ERROR SUMMARY: 0 errors" in done.stdout + done.stderr


def test_sizes_that_are_no_multiples_of_a_block(cp: Any) -> None:
    """Odd sizes, one row, one step."""
    cell = finding.find_cell("lstm")
    prepared = prepare(cell, {})
    source = pipeline.compile_cell(cell, backend, {}).source
    for shape in (Shape(1, 1, 1, 1), Shape(7, 3, 5, 257), Shape(3, 1, 129, 31)):
        wanted = accuracy.wanted(prepared, shape)
        built = ours.build(prepared.subject, wanted.problem, source=source, host=False)
        for run in accuracy.results(built):
            assert accuracy.worst(run, wanted.arrays)[0] <= wanted.limits["float64"]
