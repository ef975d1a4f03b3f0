"""onnxruntime's LSTM, GRU and RNN: inference only.

Weights are constants of the graph, as in a model that was exported.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

import numpy as np

from lstmgen.bench.implementation import INFERENCE, Array, Arrays, Implementation, Timed
from lstmgen.bench.problem import Problem
from lstmgen.bench.subject import Subject


@dataclass(frozen=True)
class Operator:
    """An operator of ONNX: its gates in the order of its blocks of rows, and its attributes.

    ``apart`` are gates whose bias beside the state is ``bu_k``; ``diagonal`` the gates of peepholes ``p_k``.
    """

    name: str
    gates: str
    attributes: dict[str, Any] = field(default_factory=dict)
    apart: str = ""
    diagonal: str = ""


OPERATORS: dict[tuple[str, tuple[tuple[str, Any], ...]], Operator] = {
    ("lstm", ()): Operator("LSTM", "iofg"),
    ("lstm", (("peephole", True),)): Operator("LSTM", "iofg", diagonal="iof"),
    ("gru", ()): Operator("GRU", "zrn", {"linear_before_reset": 1}, apart="n"),
    ("gru", (("reset", "before"),)): Operator("GRU", "zrn"),
    ("rnn", ()): Operator("RNN", "h"),
    ("rnn", (("activation", "relu"),)): Operator("RNN", "h", {"activations": ["Relu"]}),
}


def title(subject: Subject) -> str:
    found = OPERATORS.get((subject.cell, subject.options)) if subject.published else None
    return f"onnxruntime {found.name}" if found else ""


def build(subject: Subject, problem: Problem) -> Implementation:
    runtime: Any = import_module("onnxruntime")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = int(os.environ["OMP_NUM_THREADS"])
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    model = _model(OPERATORS[subject.cell, subject.options], problem)
    session = runtime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    states = list(problem.initial)
    names = ["outputs", *(f"final {name}" for name in states)]
    (x,) = problem.inputs.values()
    given = {"x": x} | {name: array[None] for name, array in problem.initial.items()}

    def infer() -> Any:
        return session.run(names, given)

    def computed(result: Any) -> Arrays:
        outputs, *final = result
        found = {f"output {name}": outputs[:, 0] for name in problem.d_outputs}
        return found | {f"final {name}": state[0] for name, state in zip(states, final, strict=True)}

    return {INFERENCE: Timed(infer, computed)}


def _model(operator: Operator, problem: Problem) -> bytes:
    """A model of one operator. Arrays have an axis for the one direction, the first."""
    onnx: Any = import_module("onnx")
    numpy_helper: Any = import_module("onnx.numpy_helper")
    p, states = problem.parameters, list(problem.initial)

    def rows(name: str) -> Array:
        return np.concatenate([p[f"{name}_{gate}"] for gate in operator.gates])

    beside_state = [p[f"bu_{gate}"] if gate in operator.apart else 0 * p[f"b_{gate}"] for gate in operator.gates]
    weights = {"W": rows("W"), "R": rows("U"), "B": np.concatenate([rows("b"), *beside_state])}
    if operator.diagonal:
        weights["P"] = np.concatenate([p[f"p_{gate}"] for gate in operator.diagonal])
    peepholes = [*([""] * (2 - len(states))), "P"] if operator.diagonal else []
    outputs = ["outputs", *(f"final {name}" for name in states)]
    node = onnx.helper.make_node(
        operator.name,
        ["x", "W", "R", "B", "", *states, *peepholes],
        outputs,
        hidden_size=problem.sizes["hidden"],
        **operator.attributes,
    )
    kind = onnx.helper.np_dtype_to_tensor_dtype(problem.dtype)
    (x,) = problem.inputs.values()
    shapes = {"x": x.shape} | {name: (1, *array.shape) for name, array in problem.initial.items()}
    taken = [onnx.helper.make_tensor_value_info(name, kind, shape) for name, shape in shapes.items()]
    given = [onnx.helper.make_tensor_value_info(name, kind, None) for name in outputs]
    constants = [numpy_helper.from_array(array[None], name) for name, array in weights.items()]
    graph = onnx.helper.make_graph([node], "layer", taken, given, constants)
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 14)], ir_version=8)
    return bytes(model.SerializeToString())
