"""The examples for PyTorch: what they print, and what the autograd function promises for every generated module."""

# ruff: noqa: N806  (matrices keep the capital letters of their equations)

from __future__ import annotations

import ast
import importlib.util
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from trial_cells import CASES

import lstmgen
from lstmgen.api import cell, outer, sigmoid, tanh

torch = pytest.importorskip("torch")

ROOT = Path(__file__).resolve().parent.parent
EXAMPLES = ROOT / "examples"
ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}  # small products, and tests that run side by side
Shell = Callable[..., "subprocess.CompletedProcess[str]"]


@cell("two_of_everything")
def two_of_everything(eq):  # type: ignore[no-untyped-def]
    """Two inputs of different dimensions, a vector and a matrix for states, two outputs; h is a state and an output."""
    x, u = eq.input("x"), eq.input("u", "key")
    h_prev, C_prev = eq.state("h"), eq.state("C", "value", "key")
    k = eq.let("k", tanh(eq.affine("k", W=x, U=h_prev, to="key")), "key")
    v = eq.let("v", eq.affine("v", W=x, to="value"), "value")
    f = eq.let("f", sigmoid(eq.affine("f", W=x)), "forget gate")
    C = eq.next("C", tanh(C_prev + outer(v, k)), "memory")
    y = eq.let("y", C @ u, "what is read")
    h = eq.next("h", f * h_prev + eq.affine("h", V=y))
    eq.output(y, h)


SIZES = {"features": 2, "key": 3, "value": 2, "hidden": 4}


def imported_script(name: str) -> ModuleType:
    """A script as a module: `examples` is no package."""
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def example() -> ModuleType:
    return imported_script("torch_module")


def leaves(module: Any, sizes: dict[str, int], dtype: Any = None, steps: int = 4, batch: int = 3) -> list[Any]:
    """Inputs and initial states of a module, random and with gradients."""
    lengths = module._lengths(module.Sizes(**sizes))
    shape = {name: (batch, *(lengths[dim] for dim in module._DIMS[name])) for name in module._DIMS}
    shapes = [(steps, *shape[name]) for name in module.Inputs._fields] + [shape[name] for name in module.State._fields]
    torch.manual_seed(1)
    return [torch.randn(each, dtype=dtype or torch.float64, requires_grad=True) for each in shapes]


CELLS: dict[str, tuple[Any, dict[str, Any], dict[str, int]]] = {
    "gru": ("gru", {}, {"features": 2, "hidden": 3}),
    "gru, reset before": ("gru", {"reset": "before"}, {"features": 2, "hidden": 3}),
    "lstm": ("lstm", {}, {"features": 2, "hidden": 3}),
    "lstm_projected": ("lstm_projected", {"peephole": True}, {"features": 2, "projection": 2, "hidden": 3}),
    "two of everything": (two_of_everything, {}, SIZES),
}


@pytest.mark.parametrize("name", CELLS)
def test_gradients_agree_with_finite_differences(example: Any, name: str) -> None:
    declared, options, sizes = CELLS[name]
    module = lstmgen.load(declared, **options)
    torch.manual_seed(0)
    layer = example.Recurrent(module, **sizes).double()
    arrays = leaves(module, sizes)

    def call(*tensors: Any) -> Any:
        return example.Recurrence.apply(module, layer.sizes, {}, *tensors)

    results = call(layer.flat, *arrays)
    assert len(results) == len(module.State._fields) + (2 if hasattr(module, "Outputs") else 1)
    assert all(result.requires_grad and result.dtype == torch.float64 for result in results)
    # Every output and every final state gets cotangents; then some get none (check_undefined_grad).
    assert torch.autograd.gradcheck(call, (layer.flat, *arrays), check_undefined_grad=True)


@pytest.mark.filterwarnings("ignore::lstmgen.errors.DeclarationWarning")
@pytest.mark.parametrize("name", CASES)
def test_any_module_can_be_wrapped(example: Any, name: str) -> None:
    """What autograd finds is what the module's own backward gives, bit by bit, in both dtypes."""
    declared, options = CASES[name]
    module = lstmgen.load(declared, **options)
    sizes = dict.fromkeys(module.Sizes._fields, 3)
    for dtype in (torch.float32, torch.float64):
        layer = example.Recurrent(module, **sizes).to(dtype)
        tensors = leaves(module, sizes, dtype)
        results = example.Recurrence.apply(module, layer.sizes, {}, layer.flat, *tensors)
        cotangents = [torch.randn_like(result) for result in results]
        found = torch.autograd.grad(results, [layer.flat, *tensors], cotangents)

        p = module.Parameters(layer.flat.detach().numpy(), layer.sizes)
        arrays = [tensor.detach().numpy() for tensor in tensors]
        inputs, initial = arrays[: len(module.Inputs._fields)], arrays[len(module.Inputs._fields) :]
        outputs, final, residuals = module.forward(p, *inputs, initial=module.State(*initial))
        several = outputs if isinstance(outputs, tuple) else (outputs,)
        at = len(several)
        for result, array in zip(results, (*several, *final), strict=True):
            np.testing.assert_array_equal(result.detach().numpy(), array, strict=True)
        d_several, d_states = ([d.numpy() for d in each] for each in (cotangents[:at], cotangents[at:]))
        d_outputs = module.Outputs(*d_several) if isinstance(outputs, tuple) else d_several[0]
        grads = module.backward(p, residuals, d_outputs, d_final=module.State(*d_states))
        for gradient, array in zip(found, (grads.parameters.flat, *grads.inputs, *grads.initial), strict=True):
            np.testing.assert_array_equal(gradient.numpy(), array, strict=True)


def test_the_function_has_at_most_forty_lines() -> None:
    tree = ast.parse((EXAMPLES / "torch_module.py").read_text(encoding="utf-8"))
    (found,) = [node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == "Recurrence"]
    assert ast.unparse(found.bases[0]) == "torch.autograd.Function"
    assert found.end_lineno is not None and found.end_lineno - found.lineno + 1 <= 40


def test_the_layer_returns_what_the_module_returns(example: Any) -> None:
    """The same tuples by the same names, in float32, bit by bit."""
    module = lstmgen.load(two_of_everything)
    layer = example.Recurrent(module, **SIZES)
    x, u, h, C = leaves(module, SIZES, torch.float32)
    outputs, final = layer(x, u, initial=module.State(h=h, C=C))
    assert isinstance(outputs, module.Outputs) and isinstance(final, module.State)
    p = module.Parameters(layer.flat.detach().numpy(), layer.sizes)
    x_, u_, h_, C_ = (tensor.detach().numpy() for tensor in (x, u, h, C))
    expected, expected_final, residuals = module.forward(p, x_, u_, initial=module.State(h=h_, C=C_))
    for actual, wanted in zip((*outputs, *final), (*expected, *expected_final), strict=True):
        np.testing.assert_array_equal(actual.detach().numpy(), wanted, strict=True)

    d_y, d_C = torch.randn_like(outputs.y), torch.randn_like(final.C)
    torch.autograd.backward([outputs.y, final.C], [d_y, d_C])
    d_outputs, d_final = module.Outputs(y=d_y.numpy()), module.State(C=d_C.numpy())
    grads = module.backward(p, residuals, d_outputs, d_final=d_final)
    wanted_grads = (grads.parameters.flat, *grads.inputs, *grads.initial)
    for tensor, wanted in zip((layer.flat, x, u, h, C), wanted_grads, strict=True):
        np.testing.assert_array_equal(tensor.grad.numpy(), wanted, strict=True)


def test_an_initial_state_may_be_left_out_or_in_part(example: Any) -> None:
    module = lstmgen.load("lstm")
    layer = example.Recurrent(module, features=2, hidden=3)
    x, _, c = leaves(module, {"features": 2, "hidden": 3}, torch.float32)
    zeros = torch.zeros(3, 3)
    for partial, whole in ((None, (zeros, zeros)), ((None, c), (zeros, c)), (module.State(c=c), (zeros, c))):
        outputs, final = layer(x, initial=partial)
        expected, expected_final = layer(x, initial=whole)
        for actual, wanted in zip((outputs, *final), (expected, *expected_final), strict=True):
            assert torch.equal(actual, wanted)
        outputs.sum().backward()  # gradients of ones alone: memory of one number, and none for the state left out
    assert c.grad.abs().max() > 0


def test_parameters_are_not_copied_and_one_seed_rules(example: Any) -> None:
    module = lstmgen.load("gru")
    torch.manual_seed(3)
    layer = example.Recurrent(module, features=2, hidden=3)
    torch.manual_seed(3)
    again = example.Recurrent(module, features=2, hidden=3)
    assert torch.equal(layer.flat, again.flat)
    assert not torch.equal(layer.flat, example.Recurrent(module, features=2, hidden=3).flat)
    assert [name for name, _ in layer.named_parameters()] == ["flat"]
    array = example.to_array(layer.flat)
    array[:] = 5.0
    assert (layer.flat == 5.0).all()
    assert example.to_array(None) is None
    again.load_state_dict(layer.state_dict())
    assert torch.equal(layer.flat, again.flat)


def test_without_gradients_nothing_is_saved(example: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    module = lstmgen.load("gru")
    layer = example.Recurrent(module, features=2, hidden=3)
    x = leaves(module, {"features": 2, "hidden": 3}, torch.float32)[0].detach()
    expected, _ = layer(x)

    def refuse(*arguments: Any, **options: Any) -> None:
        raise AssertionError("residuals were saved")

    monkeypatch.setattr(module, "forward", refuse)
    for context in (torch.no_grad(), torch.inference_mode()):
        with context:
            outputs, _ = layer(x)
            assert not outputs.requires_grad
            np.testing.assert_allclose(outputs.numpy(), expected.detach().numpy(), rtol=1e-6)


def test_tensors_of_any_layout_are_taken(example: Any) -> None:
    """Transposed inputs, a slice of parameters, cotangents with a lazy minus sign."""
    module = lstmgen.load("gru")
    layer = example.Recurrent(module, features=2, hidden=3).double()
    x = leaves(module, {"features": 2, "hidden": 3})[0].detach()
    both = torch.stack([layer.flat.detach(), layer.flat.detach()], dim=1).requires_grad_()
    batch_first = x.transpose(0, 1).contiguous()
    results = example.Recurrence.apply(module, layer.sizes, {}, both[:, 0], batch_first.transpose(0, 1), None)
    assert torch.equal(results[0], layer(x)[0])
    minus = torch.complex(torch.zeros_like(results[0]), torch.ones_like(results[0])).detach().conj().imag
    assert minus.is_neg()
    (lazy,) = torch.autograd.grad(results[0], both, minus, retain_graph=True)
    (plain,) = torch.autograd.grad(results[0], both, -torch.ones_like(results[0]))
    assert torch.equal(lazy, plain) and lazy[:, 0].abs().max() > 0 and not lazy[:, 1].any()


def test_what_would_give_wrong_gradients_is_refused(example: Any) -> None:
    module = lstmgen.load("gru")
    layer = example.Recurrent(module, features=2, hidden=3)
    x = leaves(module, {"features": 2, "hidden": 3}, torch.float32)[0]
    outputs, _ = layer(x)
    with torch.no_grad():
        layer.flat.mul_(2.0)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        outputs.sum().backward()

    outputs, _ = layer(x)
    (d_x,) = torch.autograd.grad(outputs.square().sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        d_x.sum().backward()

    with pytest.raises(TypeError, match=r"x: expected float32, the dtype of the parameters, got float64"):
        layer(x.double())
    with pytest.raises(TypeError):
        layer(x, x)


def test_outputs_belong_to_the_caller(example: Any) -> None:
    """They may be changed in place, and a graph that is kept gives its gradients again."""
    module = lstmgen.load("lstm")
    layer = example.Recurrent(module, features=2, hidden=3)
    x = leaves(module, {"features": 2, "hidden": 3}, torch.float32)[0]
    outputs, final = layer(x)
    cotangent = torch.randn_like(outputs)
    wanted = torch.autograd.grad([outputs, final.c], [layer.flat, x], [cotangent, final.h.detach()], retain_graph=True)
    again = torch.autograd.grad([outputs, final.c], [layer.flat, x], [cotangent, final.h.detach()], retain_graph=True)
    halved = outputs.mul_(0.5)
    changed = torch.autograd.grad([halved, final.c], [layer.flat, x], [2.0 * cotangent, final.h.detach()])
    for gradients in (again, changed):
        assert all(torch.equal(a, b) for a, b in zip(gradients, wanted, strict=True))


def test_keywords_of_the_module_are_passed_on(example: Any) -> None:
    """A workspace serves as it does outside of PyTorch, and is guarded as it is there."""
    module = lstmgen.load("gru")
    layer = example.Recurrent(module, features=2, hidden=3)
    x = leaves(module, {"features": 2, "hidden": 3}, torch.float32)[0]
    expected = torch.autograd.grad(layer(x)[0].square().sum(), layer.flat)[0]
    workspace = module.Workspace()
    for _ in range(2):
        outputs, _ = layer(x, workspace=workspace)
        assert torch.equal(torch.autograd.grad(outputs.square().sum(), layer.flat)[0], expected)
    overwritten, _ = layer(x, workspace=workspace)
    layer(x, workspace=workspace)
    with pytest.raises(RuntimeError, match="overwritten by a later forward"):
        overwritten.sum().backward()


def test_sequences_may_be_carried_on(example: Any) -> None:
    """Two calls with the state between them are one call, gradients included."""
    module = lstmgen.load("lstm")
    layer = example.Recurrent(module, features=2, hidden=3).double()
    x = leaves(module, {"features": 2, "hidden": 3}, steps=6)[0].detach()
    whole, _ = layer(x)
    first, state = layer(x[:4])
    second, _ = layer(x[4:], initial=state)
    parts = torch.cat([first, second])
    torch.testing.assert_close(parts, whole, rtol=0.0, atol=1e-14)
    expected, found = (torch.autograd.grad(each.square().sum(), layer.flat)[0] for each in (whole, parts))
    torch.testing.assert_close(found, expected, rtol=0.0, atol=1e-12)


def test_the_cell_of_the_example_learns(shell: Shell) -> None:
    done = shell("-W", "error", str(EXAMPLES / "torch_module.py"), **ONE_THREAD)
    assert done.returncode == 0, done.stderr
    assert not done.stderr
    assert "agree with finite differences" in done.stdout
    errors = [float(error) for error in re.findall(r"^  update +\d+  (\d+\.\d+)$", done.stdout, re.MULTILINE)]
    assert len(errors) == 5
    assert 0.5 < errors[0] < 0.9  # two thirds is what one gets who always says nought
    assert errors[-1] < 0.02


def test_a_model_of_pytorch_runs_without_it(shell: Shell, folder: Path) -> None:
    out = folder / "nested" / "out"
    done = shell("-W", "error", str(EXAMPLES / "from_torch.py"), str(out), PYTHONWARNINGS="error", **ONE_THREAD)
    assert done.returncode == 0, done.stderr
    assert not done.stderr
    (error,) = re.findall(r"mean squared error (\d\.\d+)\.", done.stdout)
    assert float(error) < 0.05  # a third is what one gets who always says nought
    (difference,) = re.findall(r"largest difference: (\S+)$", done.stdout, re.MULTILINE)
    assert 0.0 <= float(difference) < 1e-5
    (imported,) = re.findall(r"imported packages: (.+)$", done.stdout, re.MULTILINE)
    assert {"numpy", "lstm_numpy"} <= set(imported.split(", "))
    assert not {"torch", "lstmgen", "sympy", "jinja2", "click"} & set(imported.split(", "))
    assert "proven at level device" in done.stdout
    assert {each.name for each in out.iterdir()} >= {"lstm_numpy.py", "model.npz", "predict.py", "check.npz"}

    # The folder is all that it takes, wherever it is moved to.
    moved = folder / "moved"
    out.rename(moved)
    again = shell("predict.py", cwd=moved)
    assert again.returncode == 0 and f"{float(again.stdout.splitlines()[0]):.1e}" == difference


def test_a_difference_is_no_success(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    example = imported_script("from_torch")
    monkeypatch.setattr(example, "PREDICT", example.PREDICT.replace("+ bias", "+ 1.01 * bias"))
    result = CliRunner().invoke(example.main, [str(folder / "out"), "--updates", "1", "--hidden", "2"])
    assert result.exit_code == 1
    assert "the outputs differ by more than rounding" in result.output


# -- on a GPU, as far as that can be told without one ------------------------------------------------------------------


class OnGpu:
    """A tensor on the CPU that says it lies on a GPU."""

    is_cuda, device = True, "cuda:1"

    def __init__(self, tensor: Any) -> None:
        self.tensor = tensor

    def detach(self) -> OnGpu:
        return OnGpu(self.tensor.detach())

    def resolve_neg(self) -> OnGpu:
        return OnGpu(self.tensor.resolve_neg())

    def get_device(self) -> int:
        return 1


def test_a_tensor_on_a_gpu_becomes_an_array_there_on_its_stream(example: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The calls alone, with stand-ins for CuPy and CUDA; `test_gpu.py` runs them."""
    current: list[str] = []

    class Current:
        def __init__(self, what: str) -> None:
            self.what = what

        def __enter__(self) -> None:
            current.append(self.what)

        def __exit__(self, *_: object) -> None:
            assert current.pop() == self.what

    stream = SimpleNamespace(from_external=lambda stream: Current(f"stream of {stream}"))
    cupy = ModuleType("cupy")
    vars(cupy).update(
        from_dlpack=lambda each: ("shared", each.tensor),
        cuda=SimpleNamespace(Device=lambda index: Current(f"device {index}"), Stream=stream),
    )
    monkeypatch.setitem(sys.modules, "cupy", cupy)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: f"PyTorch on {device}")
    tensor = torch.ones(2, requires_grad=True)
    word, shared = example.to_array(OnGpu(tensor))
    assert word == "shared" and shared.data_ptr() == tensor.data_ptr() and not shared.requires_grad
    with example.stream_of(OnGpu(tensor)):
        assert current == ["device 1", "stream of PyTorch on cuda:1"]
    with example.stream_of(tensor):
        assert not current


def test_modules_for_cupy_are_wrapped_alike(example: Any) -> None:
    """Run on the host, whose arrays are NumPy's."""
    from lstmgen.backends.cupy import host
    from lstmgen.backends.cupy.module import has_device

    if has_device() or not host.available():
        pytest.skip("the kernels do not run on the host here")
    for_cupy, for_numpy = (lstmgen.load("lstm", backend=name) for name in ("cupy", "numpy"))
    torch.manual_seed(2)
    layer = example.Recurrent(for_cupy, features=2, hidden=3).double()
    x, *initial = leaves(for_numpy, {"features": 2, "hidden": 3})
    call = example.Recurrence.apply
    found, expected = (
        torch.autograd.grad(
            call(module, module.Sizes(*layer.sizes), {}, layer.flat, x, *initial)[0].square().sum(), [layer.flat, x]
        )
        for module in (for_cupy, for_numpy)
    )
    for gradient, wanted in zip(found, expected, strict=True):
        torch.testing.assert_close(gradient, wanted, rtol=0.0, atol=1e-12)
