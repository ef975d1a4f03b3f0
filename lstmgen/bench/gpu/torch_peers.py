"""PyTorch on a GPU: its modules over cuDNN, and cells written as a loop, run eagerly or compiled."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import numpy as np

from lstmgen.bench.gpu.ours import input_products
from lstmgen.bench.implementation import FORWARD, TRAINING, Arrays, Implementation, Timed
from lstmgen.bench.peers import pytorch
from lstmgen.bench.problem import Problem
from lstmgen.bench.subject import Subject

Weights = Mapping[str, Any]
States = tuple[Any, ...]


def cudnn(subject: Subject, problem: Problem, *, host: bool, tf32: bool = False, dtype: str = "") -> Implementation:
    """``torch.nn.LSTM`` or ``GRU``; ``tf32`` lets products of float32 round their factors to ten bits."""
    torch: Any = import_module("torch")
    device, real = _device(host), getattr(torch, dtype or problem.dtype.name)
    found = pytorch.build(subject, problem, device=device, dtype=dtype)

    def matrix(*shape: int) -> Any:
        return torch.randn(shape, dtype=real, device=device)

    def multiply(left: Any, right: Any, out: Any) -> None:
        torch.matmul(left, right, out=out)

    measured = {measure: found[measure] for measure in (FORWARD, TRAINING)}
    return {
        measure: Timed(_rounding(torch, timed.call, tf32), timed.arrays)
        for measure, timed in (measured | input_products(subject, problem, matrix, multiply)).items()
    }


def _device(host: bool) -> str:
    return "cpu" if host else "cuda"


def _rounding(torch: Any, call: Callable[[], Any], tf32: bool) -> Callable[[], Any]:
    """The call with TF32 allowed or not: the switches are the process's, which others share."""

    def switched() -> Any:
        torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = tf32
        return call()

    return switched


# -- cells as loops ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class LoopCell:
    """A cell as one would write it in PyTorch: inputs projected for all steps at once, weights of gates stacked.

    ``stacked`` are prefixes of parameters that there are of each of ``gates``, ``single`` other parameters.
    """

    gates: str
    stacked: tuple[str, ...]
    single: tuple[str, ...]
    project: Callable[[Any, Weights, Any], Any]
    step: Callable[[Any, Weights, Any, States], States]


def _affine(torch: Any, w: Weights, x: Any) -> Any:
    return torch.nn.functional.linear(x, w["W"], w["b"])


def _lstm(torch: Any, w: Weights, a_x: Any, state: States) -> States:
    h, c = state
    f, i, g, o = (a_x + h @ w["U"].T).chunk(4, dim=-1)
    c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
    return torch.sigmoid(o) * torch.tanh(c), c


def _gru(torch: Any, w: Weights, a_x: Any, state: States) -> States:
    (h,) = state
    (r_x, z_x, n_x), (r_h, z_h, n_h) = a_x.chunk(3, dim=-1), (h @ w["U"].T).chunk(3, dim=-1)
    r, z = torch.sigmoid(r_x + r_h), torch.sigmoid(z_x + z_h)
    return ((1 - z) * torch.tanh(n_x + r * (n_h + w["bu_n"])) + z * h,)


def _normal(torch: Any, values: Any, gain: Any, bias: Any = None) -> Any:
    return torch.nn.functional.layer_norm(values, values.shape[-1:], gain, bias)


def _normal_affine(torch: Any, w: Weights, x: Any) -> Any:
    return _normal(torch, x @ w["W"].T, w["gain_x"], w["b"])


def _normal_lstm(torch: Any, w: Weights, a_x: Any, state: States) -> States:
    h, c = state
    f, i, g, o = (a_x + _normal(torch, h @ w["U"].T, w["gain_h"])).chunk(4, dim=-1)
    c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
    return torch.sigmoid(o) * torch.tanh(_normal(torch, c, w["gain_c"], w["b_c"])), c


LOOPS: Mapping[tuple[str, tuple[tuple[str, Any], ...]], LoopCell] = {
    ("lstm", ()): LoopCell("figo", ("W", "U", "b"), (), _affine, _lstm),
    ("gru", ()): LoopCell("rzn", ("W", "U", "b"), ("bu_n",), _affine, _gru),
    ("lstm_layernorm", ()): LoopCell(
        "figo", ("W", "U", "b", "gain_x", "gain_h"), ("gain_c", "b_c"), _normal_affine, _normal_lstm
    ),
}

EAGER, STEP, LOOP = "eager", "compiled step", "compiled loop"


def loop(subject: Subject, problem: Problem, *, host: bool, way: str) -> Implementation:
    """A loop over steps: eager, with a compiled step, or compiled as a whole, which unrolls it."""
    torch: Any = import_module("torch")
    cell, device = LOOPS[subject.cell, subject.options], _device(host)

    def tensor(array: Any, *, grad: bool = False) -> Any:
        return torch.tensor(array, device=device, requires_grad=grad)

    p = problem.parameters
    joined = {name: np.concatenate([p[f"{name}_{gate}"] for gate in cell.gates]) for name in cell.stacked}
    joined |= {name: p[name] for name in cell.single}
    w = {name: tensor(array, grad=True) for name, array in joined.items()}
    x = tensor(next(iter(problem.inputs.values())), grad=True)
    initial = tuple(tensor(array, grad=True) for array in problem.initial.values())
    cotangents = [tensor(a) for a in (*problem.d_outputs.values(), *problem.d_final.values())]
    leaves = [*w.values(), x, *initial]
    run = _run(torch, cell, way)

    def forward() -> Any:
        return run(w, x, initial)

    def train() -> Any:
        outputs, final = forward()
        return outputs, final, torch.autograd.grad([outputs, *final], leaves, cotangents)

    def computed(outputs: Any, final: States) -> Arrays:
        found = {f"output {name}": _array(outputs) for name in problem.d_outputs}
        return found | {f"final {name}": _array(state) for name, state in zip(problem.initial, final, strict=True)}

    def trained(result: Any) -> Arrays:
        outputs, final, gradients = result
        arrays = [_array(each) for each in gradients]
        found = computed(outputs, final)
        for name, array in zip(w, arrays, strict=False):
            parts = [name] if name in cell.single else [f"{name}_{gate}" for gate in cell.gates]
            found |= {f"d_{part}": each for part, each in zip(parts, np.split(array, len(parts)), strict=True)}
        (name,) = problem.inputs
        found[f"d_{name}"] = arrays[len(w)]
        return found | {f"d_initial {k}": a for k, a in zip(problem.initial, arrays[len(w) + 1 :], strict=True)}

    forward_exact, train_exact = (_rounding(torch, call, False) for call in (forward, train))
    return {
        FORWARD: Timed(forward_exact, lambda result: computed(*result)),
        TRAINING: Timed(train_exact, trained),
    }


def _run(torch: Any, cell: LoopCell, way: str) -> Callable[[Weights, Any, States], Any]:
    """The cell over all steps."""

    def step(w: Weights, a_t: Any, state: States) -> States:
        return cell.step(torch, w, a_t, state)

    if way != EAGER:
        torch.compiler.reset()  # after several shapes PyTorch would give up compiling, or compile for any shape
    taken = torch.compile(step) if way == STEP else step

    def run(w: Weights, x: Any, state: States) -> Any:
        outputs = []
        for a_t in cell.project(torch, w, x).unbind(0):
            state = taken(w, a_t, state)
            outputs.append(state[0])
        return torch.stack(outputs), state

    return torch.compile(run) if way == LOOP else run


def _array(tensor: Any) -> Any:
    return tensor.detach().cpu().numpy()
