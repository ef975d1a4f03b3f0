"""The committed LSTM against PyTorch: a loop over the steps with autograd, and `torch.nn.LSTM`.

Both references run in float64. Every result counts: outputs, final state, and the gradients of all
parameters, of the input and of the initial state, with cotangents on both outputs and final state.
"""

# ruff: noqa: N806  (W, U, b, as in the equations)

from __future__ import annotations

import warnings
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from generated import lstm_numpy as lstm

torch = pytest.importorskip("torch")

Array = np.ndarray[Any, Any]
Case = dict[str, Array]  # W_f … b_o, x, h, c and the cotangents d_outputs, d_final_h, d_final_c
Results = dict[str, Array]  # outputs, final_h, final_c, and d_ of each parameter, of x, h and c

GATES = ("f", "i", "g", "o")
TORCH_GATES = ("i", "f", "g", "o")
PARAMETERS = [f"{letter}_{gate}" for letter in "WUb" for gate in GATES]
LEAVES = [*PARAMETERS, "x", "h", "c"]
FORWARD = ["outputs", "final_h", "final_c"]

# steps, batch, features, hidden
SHAPES = [(1, 1, 1, 1), (1, 4, 3, 5), (9, 1, 4, 3), (6, 4, 1, 5), (7, 3, 5, 1), (40, 8, 12, 16)]


def random_case(steps: int, batch: int, features: int, hidden: int, seed: int = 0) -> Case:
    rng = np.random.default_rng(seed)
    columns: dict[str, tuple[int, ...]] = {"W": (features,), "U": (hidden,), "b": ()}
    sizes = {name: (hidden, *columns[name[0]]) for name in PARAMETERS}
    case = {name: rng.normal(0.0, hidden**-0.5, size) for name, size in sizes.items()}
    case["x"] = rng.standard_normal((steps, batch, features))
    case["d_outputs"] = rng.standard_normal((steps, batch, hidden))
    states = ("h", "c", "d_final_h", "d_final_c")
    return case | {name: rng.standard_normal((batch, hidden)) for name in states}


def huge_inputs() -> Case:
    """Inputs of ±1000 with weights of -1, 0 and 1.

    Most gates saturate, one way or the other; those whose inputs cancel, to nothing even in
    float32, stay live, so that there are gradients to be wrong about.
    """
    case = random_case(steps=50, batch=4, features=3, hidden=6)
    rng = np.random.default_rng(1)
    case["x"] = 1000.0 * np.sign(case["x"])
    for gate in GATES:
        case[f"W_{gate}"][:] = rng.integers(-1, 2, (6, 3))
    return case


def saturated_gates() -> Case:
    """Pre-activations of about ±60 for 200 steps, beside units that stay live.

    The first 16 units are the 16 combinations of open and shut gates. Two sequences never change
    sign, so that some memories grow through all steps and some are kept untouched.
    """
    saturated, live = 16, 8
    case = random_case(steps=200, batch=6, features=1, hidden=saturated + live)
    case["x"] = np.sign(case["x"])
    case["x"][:, 0], case["x"][:, 1] = 1.0, -1.0
    for bit, gate in enumerate(GATES):
        signs = 1.0 - 2.0 * (np.arange(saturated) >> bit & 1)
        case[f"W_{gate}"][:saturated, 0] = 60.0 * signs
    return case


def emitted(case: Case, dtype: Any, workspace: Any = None) -> Results:
    v = {name: array.astype(dtype) for name, array in case.items()}
    hidden, features = v["W_f"].shape
    p = lstm.Parameters.initialize(features=features, hidden=hidden, dtype=dtype, seed=0)
    for name in PARAMETERS:
        setattr(p, name, v[name])
    outputs, final, residuals = lstm.forward(p, v["x"], initial=lstm.State(h=v["h"], c=v["c"]), workspace=workspace)
    d_final = lstm.State(h=v["d_final_h"], c=v["d_final_c"])
    grads = lstm.backward(p, residuals, v["d_outputs"], d_final=d_final)
    results = {"outputs": outputs, "final_h": final.h, "final_c": final.c}
    results |= {f"d_{name}": getattr(grads.parameters, name) for name in PARAMETERS}
    return results | {"d_x": grads.inputs.x, "d_h": grads.initial.h, "d_c": grads.initial.c}


def by_loop(case: Case) -> Results:
    """Autograd through the equations, written out."""
    v = {name: torch.from_numpy(array.astype(np.float64)) for name, array in case.items()}
    for name in LEAVES:
        v[name].requires_grad_()
    h, c, outputs = v["h"], v["c"], []
    for x in v["x"]:
        a = {gate: x @ v[f"W_{gate}"].T + h @ v[f"U_{gate}"].T + v[f"b_{gate}"] for gate in GATES}
        f, i, o = torch.sigmoid(a["f"]), torch.sigmoid(a["i"]), torch.sigmoid(a["o"])
        c = f * c + i * torch.tanh(a["g"])
        h = o * torch.tanh(c)
        outputs.append(h)
    values = [torch.stack(outputs), h, c]
    cotangents = [v["d_outputs"], v["d_final_h"], v["d_final_c"]]
    gradients = torch.autograd.grad(values, [v[name] for name in LEAVES], cotangents)
    results = dict(zip(FORWARD, values, strict=True))
    results |= {f"d_{name}": d for name, d in zip(LEAVES, gradients, strict=True)}
    return {name: tensor.detach().numpy() for name, tensor in results.items()}


def by_module(case: Case) -> Results:
    """`torch.nn.LSTM`, with the one bias in `bias_ih` and zeros in `bias_hh`."""
    v = {name: torch.from_numpy(array.astype(np.float64)) for name, array in case.items()}
    hidden, features = v["W_f"].shape
    model = torch.nn.LSTM(features, hidden, dtype=torch.float64)
    W, U, b = (torch.cat([v[f"{letter}_{gate}"] for gate in TORCH_GATES]) for letter in "WUb")
    with torch.no_grad():
        model.weight_ih_l0.copy_(W)
        model.weight_hh_l0.copy_(U)
        model.bias_ih_l0.copy_(b)
        model.bias_hh_l0.zero_()
    leaves = [v[name].requires_grad_() for name in ("x", "h", "c")]
    x, h, c = leaves
    outputs, (final_h, final_c) = model(x, (h[None], c[None]))
    leaves += [model.weight_ih_l0, model.weight_hh_l0, model.bias_ih_l0]
    cotangents = [v["d_outputs"], v["d_final_h"][None], v["d_final_c"][None]]
    d_x, d_h, d_c, *stacked = torch.autograd.grad([outputs, final_h, final_c], leaves, cotangents)
    results = {"outputs": outputs, "final_h": final_h[0], "final_c": final_c[0]}
    results |= {"d_x": d_x, "d_h": d_h, "d_c": d_c}
    for letter, gradient in zip("WUb", stacked, strict=True):
        blocks = zip(TORCH_GATES, gradient.split(hidden), strict=True)
        results |= {f"d_{letter}_{gate}": block for gate, block in blocks}
    return {name: tensor.detach().numpy() for name, tensor in results.items()}


def kind(name: str) -> str:
    """Gradients of one letter go together; each forward result is a kind of its own."""
    return name if name in FORWARD else name[:3]


def assert_agree(actual: Results, expected: Results, tolerance: float) -> None:
    """Agreement within `tolerance` of the largest entry of each kind: all d_W, all d_U and so on.

    Where inputs are large, so are all d_W; held against those, a wrong d_b would go unnoticed.
    """
    assert actual.keys() == expected.keys()
    largest: dict[str, float] = defaultdict(float)
    for name, array in expected.items():
        largest[kind(name)] = max(largest[kind(name)], abs(array).max())
    for name, array in actual.items():
        assert array.shape == expected[name].shape, name
        assert np.isfinite(array).all(), name
        error = abs(array - expected[name]).max() / largest[kind(name)]
        assert error <= tolerance, f"{name} is off by {error:.1e}"


def strictly(case: Case, dtype: Any) -> Results:
    """The emitted results, where any warning and any floating-point flag is an error."""
    with warnings.catch_warnings(), np.errstate(all="raise"):
        warnings.simplefilter("error")
        return emitted(case, dtype)


@pytest.mark.parametrize("reference", [by_loop, by_module])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_every_result_agrees_in_float64(shape: tuple[int, int, int, int], reference: Callable[[Case], Results]) -> None:
    case = random_case(*shape)
    assert_agree(emitted(case, np.float64), reference(case), 1e-10)


def test_a_reused_workspace_changes_nothing() -> None:
    workspace = lstm.Workspace()
    for seed in (0, 1):
        case = random_case(6, 4, 3, 5, seed)
        assert_agree(emitted(case, np.float64, workspace), by_loop(case), 1e-10)


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float32, 2e-4), (np.float64, 1e-10)])
@pytest.mark.parametrize("make_case", [huge_inputs, saturated_gates])
def test_saturation_neither_warns_nor_loses_gradients(
    make_case: Callable[[], Case], dtype: type, tolerance: float
) -> None:
    case = {name: array.astype(np.float32) for name, array in make_case().items()}
    assert_agree(strictly(case, dtype), by_loop(case), tolerance)
