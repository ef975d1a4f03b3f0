"""Random values to prove a cell at: distinct small sizes, and no value near a kink.

Where a function is not differentiable, finite differences straddle the kink and prove nothing. Samples are redrawn
until the argument of every kink clears a margin at every step.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from lstmgen.calculus.graph import Graph, is_call
from lstmgen.calculus.interpreter import Interpreter, derived_sizes, size_names
from lstmgen.calculus.operations import Gauge
from lstmgen.calculus.reverse import Gradient
from lstmgen.calculus.unroll import Trajectory, run
from lstmgen.declare.declaration import Declaration, Equation
from lstmgen.declare.dims import last_index
from lstmgen.declare.functions import DEFINITIONS
from lstmgen.declare.operations import MaxOver
from lstmgen.declare.symbols import Role, Value
from lstmgen.errors import UserError

Array = Any
MARGIN = 0.02
_SIZES = (3, 4, 2, 5, 6, 7)


@dataclass(frozen=True)
class Sample:
    """Everything one forward and one backward take, in float64, by name."""

    sizes: dict[str, int]
    steps: int
    rows: int
    parameters: dict[str, Array]
    inputs: dict[str, Array]
    initial: dict[str, Array]
    d_outputs: dict[str, Array]
    d_final: dict[str, Array]
    trajectory: Trajectory
    start: int = 0  # the index of the first step

    def __str__(self) -> str:
        sizes = ", ".join(f"{name} {size}" for name, size in self.sizes.items())
        return f"steps {self.steps}, batch {self.rows}, {sizes}; float64"


def choose_sizes(declaration: Declaration, primal: Graph) -> dict[str, int]:
    """A size for every dimension, distinct as far as they go, so that exchanged axes are noticed."""
    free = size_names(declaration, primal)
    sizes = {dim: _SIZES[index % len(_SIZES)] for index, dim in enumerate(free)} | declaration.fixed_sizes
    for dim, parts in derived_sizes(primal).items():
        sizes[dim] = int(np.prod([sizes[part] for part in parts]))
    return sizes


def draw(gradient: Gradient, *, seed: int = 0, steps: int = 4, rows: int = 3, attempts: int = 400) -> Sample:
    """A sample at which the cell is smooth. Raises :class:`UserError` (LG303) if none is found."""
    declaration, primal = gradient.declaration, gradient.primal
    sizes = choose_sizes(declaration, primal)
    start = 2 if declaration.step_index else 0
    failures: Counter[tuple[str, str]] = Counter()
    for attempt in range(attempts):
        random = np.random.default_rng((seed, attempt))

        def normal(dims: tuple[str, ...], *lead: int, random: np.random.Generator = random) -> Array:
            return np.array(random.standard_normal((*lead, *(sizes[dim] for dim in dims))))

        parameters = {each.value.name: np.array(0.6 * normal(each.value.dims)) for each in declaration.parameters}
        inputs = {value.name: normal(value.dims, steps, rows) for value in declaration.inputs}
        initial = {state.name: normal(state.next.dims, rows) for state in declaration.states}
        with np.errstate(all="ignore"):
            trajectory = run(declaration, primal, sizes, parameters, inputs, initial, start=start)
        failure = _not_finite(primal, trajectory) or _not_smooth(primal, sizes, trajectory)
        if failure:
            failures[failure] += 1
            continue
        return Sample(
            sizes,
            steps,
            rows,
            parameters,
            inputs,
            initial,
            {value.name: normal(value.dims, steps, rows) for value in declaration.outputs},
            {state.name: normal(state.next.dims, rows) for state in declaration.states},
            trajectory,
            start,
        )
    (((what, hint), count),) = failures.most_common(1)
    raise UserError(
        f"no sample of {declaration.name!r} stays clear of its kinks and finite: {what} in {count} of {attempts} draws",
        code="LG303",
        hint=hint,
    )


def _not_finite(primal: Graph, trajectory: Trajectory) -> tuple[str, str] | None:
    """What is said of the first value that is not finite, and a hint; None if outputs and final states are finite."""
    if all(np.isfinite(array).all() for array in (*trajectory.outputs.values(), *trajectory.final.values())):
        return None
    every = ((equation.target, values) for values in trajectory.steps for equation in primal.equations)
    value = next(value for value, values in every if not np.isfinite(values[value]).all())
    hint = "check that the cell is defined for inputs around 0 (log, sqrt and powers of negative numbers are not)"
    return f"{value} is not finite", hint


def _not_smooth(primal: Graph, sizes: Mapping[str, int], trajectory: Trajectory) -> tuple[str, str] | None:
    """What is said of the first value that is close to a kink, and a hint; None if none is."""
    interpreter = Interpreter(primal, sizes)
    uses = primal.uses()
    with_kinks = [
        equation
        for equation in primal.equations
        if is_call(equation.expression) or isinstance(equation.expression, MaxOver)
        # Where a maximum only shifts what it cancels from, its kink is none of the result's.
        if not all(isinstance(use.expression, Gauge) for use in uses.get(equation.target, (equation,)))
    ]
    for values in trajectory.steps:
        for equation in with_kinks:
            if not _clears(equation, values, interpreter):
                return (
                    f"{equation.target} is close to a kink",
                    f"scale or shift its argument, which stays within {MARGIN} of the kink",
                )
    return None


def _clears(equation: Equation, values: Mapping[Value, Array], interpreter: Interpreter) -> bool:
    expression = equation.expression
    if isinstance(expression, MaxOver):
        (value,) = expression.values
        assert isinstance(value, Value)
        array = values[value]
        axis = last_index(value.dims, expression.dim) + (1 if interpreter.has_rows(value) else 0)
        if array.shape[axis] < 2:
            return True
        ordered = np.sort(array, axis=axis)
        top, second = np.take(ordered, -1, axis), np.take(ordered, -2, axis)
        return _clear(top - second)
    for kink in DEFINITIONS[type(expression)].kinks(*expression.args):
        if not kink.free_symbols:
            continue
        dims = equation.target.dims
        probe = Value("kink", dims, Role.VALUE)
        known = {**interpreter.dependence, probe: interpreter.dependence[equation.target]}
        rows = _rows(values, interpreter)
        graph = Graph("kink", tuple(values), (Equation(probe, kink),), (probe,))
        found = Interpreter(graph, interpreter.sizes, known)(values, rows)[probe]
        if not _clear(found):
            return False
    return True


def _clear(distance: Array) -> bool:
    """Whether no kink is near. One that is met exactly does no harm: only what stays so comes out as zero at random,
    such as the units that a relu has silenced."""
    return bool(np.all((distance == 0) | (np.abs(distance) > MARGIN)))


def _rows(values: Mapping[Value, Array], interpreter: Interpreter) -> int:
    return int(next(array.shape[0] for value, array in values.items() if interpreter.has_rows(value)))
