"""An LSTM in NumPy as articles write it: one step after another, a product for each gate, the batch first."""

# ruff: noqa: N803, N806  (W, d_W, as in the equations)

from __future__ import annotations

from typing import Any

import numpy as np

from lstmgen.bench.implementation import FORWARD, INFERENCE, TRAINING, Array, Arrays, Implementation, Timed
from lstmgen.bench.problem import Problem
from lstmgen.bench.subject import Subject

GATES = "figo"


def title(subject: Subject) -> str:
    return "NumPy as in tutorials" if subject.published and (subject.cell, subject.options) == ("lstm", ()) else ""


def sigmoid(a: Array) -> Array:
    return 1 / (1 + np.exp(-a))


def forward(W: Arrays, b: Arrays, x: Array, h: Array, c: Array, *, keep: bool) -> Any:
    """Outputs, final states, and what backward needs where it is to be kept."""
    outputs, tape = [], []
    for t in range(len(x)):
        z = np.concatenate([h, x[t]], axis=1)
        f = sigmoid(z @ W["f"] + b["f"])
        i = sigmoid(z @ W["i"] + b["i"])
        g = np.tanh(z @ W["g"] + b["g"])
        o = sigmoid(z @ W["o"] + b["o"])
        c_prev, c = c, f * c + i * g
        h = o * np.tanh(c)
        outputs.append(h)
        if keep:
            tape.append((z, f, i, g, o, c_prev, c))
    return np.array(outputs), h, c, tape


def backward(W: Arrays, tape: Any, d_outputs: Array, d_h: Array, d_c: Array) -> Any:
    """The gradients of weights, biases, inputs and both initial states."""
    hidden = d_h.shape[1]
    d_W = {gate: np.zeros_like(array) for gate, array in W.items()}
    d_b = {gate: np.zeros_like(array[0]) for gate, array in W.items()}
    d_x = []
    for t in reversed(range(len(tape))):
        z, f, i, g, o, c_prev, c = tape[t]
        d_h = d_h + d_outputs[t]
        tanh_c = np.tanh(c)
        d_c = d_c + d_h * o * (1 - tanh_c**2)
        d_a = {
            "f": d_c * c_prev * f * (1 - f),
            "i": d_c * g * i * (1 - i),
            "g": d_c * i * (1 - g**2),
            "o": d_h * tanh_c * o * (1 - o),
        }
        d_z = np.zeros_like(z)
        for gate, d in d_a.items():
            d_W[gate] += z.T @ d
            d_b[gate] += d.sum(axis=0)
            d_z += d @ W[gate].T
        d_h = d_z[:, :hidden]
        d_x.append(d_z[:, hidden:])
        d_c = d_c * f
    return d_W, d_b, np.array(d_x[::-1]), d_h, d_c


def build(subject: Subject, problem: Problem) -> Implementation:
    p = problem.parameters
    W = {gate: np.ascontiguousarray(np.hstack([p[f"U_{gate}"], p[f"W_{gate}"]]).T) for gate in GATES}
    b = {gate: p[f"b_{gate}"] for gate in GATES}
    (x,), (d_outputs,) = problem.inputs.values(), problem.d_outputs.values()
    h, c = problem.initial["h"], problem.initial["c"]
    d_h, d_c = problem.d_final["h"], problem.d_final["c"]
    hidden = problem.sizes["hidden"]

    def train() -> Any:
        *values, tape = forward(W, b, x, h, c, keep=True)
        return values, backward(W, tape, d_outputs, d_h, d_c)

    def computed(values: Any) -> Arrays:
        outputs, final_h, final_c, *_ = values
        (name,) = problem.d_outputs
        return {f"output {name}": outputs, "final h": final_h, "final c": final_c}

    def trained(result: Any) -> Arrays:
        values, (d_W, d_b, d_x, d_h, d_c) = result
        found = computed(values) | {"d_x": d_x, "d_initial h": d_h, "d_initial c": d_c}
        for gate in GATES:
            found |= {
                f"d_W_{gate}": d_W[gate][hidden:].T,
                f"d_U_{gate}": d_W[gate][:hidden].T,
                f"d_b_{gate}": d_b[gate],
            }
        return found

    return {
        FORWARD: Timed(lambda: forward(W, b, x, h, c, keep=True), computed),
        INFERENCE: Timed(lambda: forward(W, b, x, h, c, keep=False), computed),
        TRAINING: Timed(train, trained),
    }
