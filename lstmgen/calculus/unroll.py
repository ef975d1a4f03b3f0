"""Runs a cell over time with the interpreter: forward, and backward through time.

This is the plain meaning of a cell, used as the oracle of proofs. Inputs are (steps, rows, ...), states (rows, ...).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lstmgen.calculus.graph import Graph
from lstmgen.calculus.interpreter import Interpreter
from lstmgen.calculus.reverse import Gradient, Origin
from lstmgen.declare.declaration import Declaration
from lstmgen.declare.symbols import Role, Value

Array = Any


@dataclass(frozen=True)
class Trajectory:
    """One run: every value at every step, the outputs (steps, rows, ...) and the final states, by name."""

    steps: tuple[dict[Value, Array], ...]
    outputs: dict[str, Array]
    final: dict[str, Array]


@dataclass(frozen=True)
class Adjoints:
    """Gradients of one run, by the names of what they belong to; and every value of the adjoint graph at every step."""

    parameters: dict[str, Array]
    inputs: dict[str, Array]
    initial: dict[str, Array]
    steps: tuple[dict[Value, Array], ...] = ()


def run(
    declaration: Declaration,
    primal: Graph,
    sizes: Mapping[str, int],
    parameters: Mapping[str, Array],
    inputs: Mapping[str, Array],
    initial: Mapping[str, Array],
    frozen: Sequence[Mapping[Value, Array]] = (),
    start: int = 0,
) -> Trajectory:
    """The cell over all steps, the first of which has the index ``start``.

    ``frozen`` gives, per step, values to hold instead of computing them.
    """
    interpreter = Interpreter(primal, sizes)
    first = next(iter(inputs.values()))
    steps, rows = first.shape[:2]
    fixed = {each.value: parameters[each.value.name] for each in declaration.parameters}
    fixed |= {each.value: each.array() for each in declaration.constants}
    state = {each.previous: initial[each.name] for each in declaration.states}
    trajectory = []
    for t in range(steps):
        values: dict[Value, Array] = {**fixed, **state}
        values.update({value: inputs[value.name][t] for value in declaration.inputs})
        if declaration.step_index is not None:
            values[declaration.step_index] = np.full(rows, float(start + t))
        values = evaluate_holding(interpreter, values, rows, frozen[t] if frozen else {})
        trajectory.append(values)
        state = {each.previous: values[each.next] for each in declaration.states}
    outputs = {
        value.name: np.stack([values[value] for values in trajectory])
        if trajectory
        else np.zeros((0, *interpreter.shape(value, rows)))
        for value in declaration.outputs
    }
    return Trajectory(tuple(trajectory), outputs, {each.name: state[each.previous] for each in declaration.states})


def evaluate_holding(
    interpreter: Interpreter, values: Mapping[Value, Array], rows: int, held: Mapping[Value, Array]
) -> dict[Value, Array]:
    """All values of a step, with those in ``held`` taken from there: what stands under ``stop_gradient`` in a proof."""
    if not held:
        return interpreter(values, rows)
    found = dict(values)
    graph = interpreter.graph
    for value in graph.free:
        if value.role == Role.SIZE:
            found[value] = np.asarray(float(interpreter.sizes[value.name]))
    for equation in graph.equations:
        if equation.target in held:
            found[equation.target] = held[equation.target]
        else:
            found[equation.target] = interpreter._evaluate(equation, found, rows)
    return found


def run_adjoint(
    gradient: Gradient,
    sizes: Mapping[str, int],
    trajectory: Trajectory,
    d_outputs: Mapping[str, Array],
    d_final: Mapping[str, Array],
) -> Adjoints:
    """Backpropagation through time: the adjoint graph from the last step to the first."""
    declaration = gradient.declaration
    known = gradient.primal.dependence()
    interpreter = Interpreter(gradient.adjoint, sizes, known)
    rows = next(iter(d_final.values())).shape[0]
    carried = dict(d_final)
    adjoints = gradient.adjoints
    d_parameters = {
        each.value.name: np.zeros([sizes[dim] for dim in each.value.dims]) for each in declaration.parameters
    }
    d_inputs: dict[str, list[Array]] = {value.name: [] for value in declaration.inputs}
    backward = []
    for t in reversed(range(len(trajectory.steps))):
        values = {value: array for value, array in trajectory.steps[t].items() if value in set(gradient.adjoint.free)}
        for seed in gradient.seeds:
            values[seed.adjoint] = d_outputs[seed.of.name][t] if seed.origin is Origin.LOSS else carried[seed.of.name]
        found = interpreter(values, rows)
        backward.append(found)
        for each in declaration.parameters:
            if each.value in adjoints:
                d_parameters[each.value.name] = d_parameters[each.value.name] + found[adjoints[each.value]]
        for value in declaration.inputs:
            zeros = np.zeros((rows, *(sizes[dim] for dim in value.dims)))
            d_inputs[value.name].append(found[adjoints[value]] if value in adjoints else zeros)
        carried = {
            each.name: found[adjoints[each.previous]]
            if each.previous in adjoints
            else np.zeros((rows, *(sizes[dim] for dim in each.previous.dims)))
            for each in declaration.states
        }
    return Adjoints(
        d_parameters,
        {
            value.name: np.stack(d_inputs[value.name][::-1])
            if d_inputs[value.name]
            else np.zeros((0, rows, *(sizes[dim] for dim in value.dims)))
            for value in declaration.inputs
        },
        carried,
        tuple(reversed(backward)),
    )
