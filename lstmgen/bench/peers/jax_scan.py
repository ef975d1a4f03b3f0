"""JAX: ``jax.lax.scan`` over a cell written as one would, compiled.

The weights of all gates are one array, and inputs are projected before the scan. The gradient is that of ``jax.vjp``;
forward for training returns what its pullback keeps.
"""

# ruff: noqa: N803  (W, U, as in the equations)

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import numpy as np

from lstmgen.bench.implementation import FORWARD, INFERENCE, TRAINING, Array, Arrays, Implementation, Timed
from lstmgen.bench.problem import Problem
from lstmgen.bench.subject import Subject

Step = Callable[[Any, Array, Array, Array, tuple[Array, ...]], tuple[Array, ...]]
"""From jax, the recurrent weights (hidden, gates * hidden), the bias beside the state, the projected input and the
states before to the states after, of which the first is the output."""


@dataclass(frozen=True)
class Scan:
    """A cell by its gates in order, and its step. ``apart`` are the gates whose bias beside the state is ``bu_k``."""

    gates: str
    step: Step
    apart: str = ""


def _lstm(jax: Any, U: Array, bu: Array, a_x: Array, state: tuple[Array, ...]) -> tuple[Array, ...]:
    h, c = state
    a_f, a_i, a_g, a_o = jax.numpy.split(a_x + h @ U, 4, axis=1)
    c = jax.nn.sigmoid(a_f) * c + jax.nn.sigmoid(a_i) * jax.numpy.tanh(a_g)
    return jax.nn.sigmoid(a_o) * jax.numpy.tanh(c), c


def _gru(jax: Any, U: Array, bu: Array, a_x: Array, state: tuple[Array, ...]) -> tuple[Array, ...]:
    (h,) = state
    (r_x, z_x, n_x), (r_h, z_h, n_h) = (jax.numpy.split(each, 3, axis=1) for each in (a_x, h @ U + bu))
    r, z = jax.nn.sigmoid(r_x + r_h), jax.nn.sigmoid(z_x + z_h)
    return ((1 - z) * jax.numpy.tanh(n_x + r * n_h) + z * h,)


def _rnn(jax: Any, U: Array, bu: Array, a_x: Array, state: tuple[Array, ...]) -> tuple[Array, ...]:
    (h,) = state
    return (jax.numpy.tanh(a_x + h @ U),)


def _relu_rnn(jax: Any, U: Array, bu: Array, a_x: Array, state: tuple[Array, ...]) -> tuple[Array, ...]:
    (h,) = state
    return (jax.nn.relu(a_x + h @ U),)


SCANS: dict[tuple[str, tuple[tuple[str, Any], ...]], Scan] = {
    ("lstm", ()): Scan("figo", _lstm),
    ("gru", ()): Scan("rzn", _gru, apart="n"),
    ("rnn", ()): Scan("h", _rnn),
    ("rnn", (("activation", "relu"),)): Scan("h", _relu_rnn),
}


def title(subject: Subject) -> str:
    return "jax.lax.scan, jit" if subject.published and (subject.cell, subject.options) in SCANS else ""


def build(subject: Subject, problem: Problem) -> Implementation:
    jax: Any = import_module("jax")
    if problem.dtype == np.float64:
        jax.config.update("jax_enable_x64", True)
    cell = SCANS[subject.cell, subject.options]
    weights = jax.tree.map(jax.numpy.asarray, _stacked(cell, problem.parameters))
    (x,) = (jax.numpy.asarray(array) for array in problem.inputs.values())
    initial = tuple(jax.numpy.asarray(array) for array in problem.initial.values())
    cotangents = (
        jax.numpy.asarray(next(iter(problem.d_outputs.values()))),
        tuple(jax.numpy.asarray(array) for array in problem.d_final.values()),
    )

    def run(weights: Arrays, x: Array, initial: tuple[Array, ...]) -> Any:
        def step(state: tuple[Array, ...], a_x: Array) -> Any:
            after = cell.step(jax, weights["U"], weights["bu"], a_x, state)
            return after, after[0]

        final, outputs = jax.lax.scan(step, initial, x @ weights["W"] + weights["b"])
        return outputs, final

    def train(*arguments: Any) -> Any:
        values, pullback = jax.vjp(run, *arguments)
        return values, pullback(cotangents)

    def timed(function: Callable[..., Any], arrays: Callable[[Any], Arrays]) -> Timed:
        compiled = jax.jit(function)
        return Timed(lambda: jax.block_until_ready(compiled(weights, x, initial)), arrays)

    def computed(values: Any) -> Arrays:
        outputs, final = values
        found = {f"output {name}": np.asarray(outputs) for name in problem.d_outputs}
        return found | {f"final {name}": np.asarray(s) for name, s in zip(problem.initial, final, strict=True)}

    def trained(result: Any) -> Arrays:
        values, (d_weights, d_x, d_initial) = result
        found = computed(values) | {f"d_{name}": d for name, d in _apart(cell, d_weights).items()}
        found |= {f"d_{name}": np.asarray(d_x) for name in problem.inputs}
        return found | {f"d_initial {name}": np.asarray(d) for name, d in zip(problem.initial, d_initial, strict=True)}

    def saving(*arguments: Any) -> Any:
        return jax.vjp(run, *arguments)

    return {
        FORWARD: timed(saving, lambda result: computed(result[0])),
        INFERENCE: timed(run, computed),
        TRAINING: timed(train, trained),
    }


def _stacked(cell: Scan, p: Arrays) -> Arrays:
    """The weights of all gates side by side: W (features, gates * hidden), U (hidden, gates * hidden), b, bu."""
    found = {name: np.concatenate([p[f"{name}_{gate}"] for gate in cell.gates], axis=0).T for name in "WUb"}
    beside_state = [p[f"bu_{gate}"] if gate in cell.apart else 0 * p[f"b_{gate}"] for gate in cell.gates]
    return found | {"bu": np.concatenate(beside_state)}


def _apart(cell: Scan, gradients: Arrays) -> Arrays:
    """The gradients of stacked weights by the cell's names."""
    found: Arrays = {}
    for name in (*"WUb", "bu"):
        blocks = np.split(np.asarray(gradients[name]).T, len(cell.gates))
        parts = zip(cell.gates, blocks, strict=True)
        found |= {f"{name}_{gate}": block for gate, block in parts if name != "bu" or gate in cell.apart}
    return found
