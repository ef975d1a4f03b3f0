"""``torch.nn.LSTM``, ``GRU`` and ``RNN``. In float32 PyTorch runs its LSTM through oneDNN."""

from __future__ import annotations

import os
from importlib import import_module
from typing import Any

import numpy as np

from lstmgen.bench.implementation import FORWARD, INFERENCE, TRAINING, Array, Arrays, Implementation, Timed
from lstmgen.bench.problem import Problem
from lstmgen.bench.subject import Subject
from lstmgen.conventions import torch as convention

CLASSES: dict[tuple[str, tuple[tuple[str, Any], ...]], tuple[str, dict[str, str]]] = {
    ("lstm", ()): ("LSTM", {}),
    ("lstm_projected", ()): ("LSTM", {}),
    ("gru", ()): ("GRU", {}),
    ("rnn", ()): ("RNN", {}),
    ("rnn", (("activation", "relu"),)): ("RNN", {"nonlinearity": "relu"}),
}
"""The class for a cell with options, and what else it is made with."""


def title(subject: Subject) -> str:
    found = CLASSES.get((subject.cell, subject.options)) if subject.published else None
    return f"torch.nn.{found[0]}" if found else ""


def build(subject: Subject, problem: Problem, *, device: str = "cpu", dtype: str = "") -> Implementation:
    """The class for the subject's cell, on a device of PyTorch's and in a dtype, that of the problem if empty."""
    torch: Any = import_module("torch")
    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    name, arguments = CLASSES[subject.cell, subject.options]
    sizes = problem.sizes
    projected = {"proj_size": sizes["projection"]} if "projection" in sizes else {}
    model = getattr(torch.nn, name)(sizes["features"], sizes["hidden"], **arguments, **projected)
    real = getattr(torch, dtype or problem.dtype.name)
    model = model.to(device, real)
    weights = convention.write(subject.cell, problem.parameters)
    model.load_state_dict({key: torch.from_numpy(array) for key, array in weights.items()})

    def tensors(arrays: Arrays, *, grad: bool) -> list[Any]:
        return [torch.tensor(each, dtype=real, device=device, requires_grad=grad) for each in arrays.values()]

    def hidden(states: list[Any]) -> Any:
        layers = tuple(state[None] for state in states)
        return layers if len(layers) > 1 else layers[0]

    (x,), states = tensors(problem.inputs, grad=True), tensors(problem.initial, grad=True)
    (plain,), plain_states = tensors(problem.inputs, grad=False), tensors(problem.initial, grad=False)
    leaves = [x, *states, *model.parameters()]
    cotangents = [*tensors(problem.d_outputs, grad=False), *(d[None] for d in tensors(problem.d_final, grad=False))]

    def forward() -> Any:
        return model(x, hidden(states))

    def infer() -> Any:
        with torch.inference_mode():
            return model(plain, hidden(plain_states))

    def train() -> Any:
        outputs, final = forward()
        final = final if isinstance(final, tuple) else (final,)
        return (outputs, final), torch.autograd.grad([outputs, *final], leaves, cotangents)

    def computed(result: Any) -> Arrays:
        outputs, final = result
        final = final if isinstance(final, tuple) else (final,)
        found = {f"output {name}": _array(outputs) for name in problem.d_outputs}
        pairs = zip(problem.initial, final, strict=True)
        return found | {f"final {name}": _array(state[0]) for name, state in pairs}

    def trained(result: Any) -> Arrays:
        values, gradients = result
        arrays = [_array(gradient) for gradient in gradients]
        inputs, initial, weights = arrays[:1], arrays[1 : 1 + len(states)], arrays[1 + len(states) :]
        named = dict(zip((key for key, _ in model.named_parameters()), weights, strict=True))
        found = computed(values) | {f"d_{key}": d for key, d in _by_parameter(subject.cell, named).items()}
        found |= {f"d_{name}": d for name, d in zip(problem.inputs, inputs, strict=True)}
        return found | {f"d_initial {name}": d for name, d in zip(problem.initial, initial, strict=True)}

    return {FORWARD: Timed(forward, computed), INFERENCE: Timed(infer, computed), TRAINING: Timed(train, trained)}


def _array(tensor: Any) -> Array:
    return tensor.detach().cpu().numpy()


def _by_parameter(cell: str, gradients: dict[str, Array]) -> Arrays:
    """Gradients by the cell's names. Two biases that are added have equal gradients, of which one counts."""
    layout = convention.LAYOUTS[cell]
    (name,) = [name for name in gradients if name.startswith("bias_hh")]
    blocks = zip(layout.gates, np.split(gradients[name], len(layout.gates)), strict=True)
    beside_state = np.concatenate([block if gate in layout.apart else 0 * block for gate, block in blocks])
    return convention.read(cell, gradients | {name: beside_state})
