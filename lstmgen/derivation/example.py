"""The numbers of a worked example: two steps of one unit, forward and backward, beside finite differences."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import cycle, islice
from typing import Any

import numpy as np

from lstmgen.calculus.graph import Dependence, Graph
from lstmgen.calculus.interpreter import derived_sizes, size_names
from lstmgen.calculus.operations import Contract, Gauge
from lstmgen.calculus.reverse import Gradient
from lstmgen.calculus.unroll import Adjoints, Trajectory, run, run_adjoint
from lstmgen.declare.declaration import Declaration
from lstmgen.declare.operations import MaxOver, StopGradient, SumOver
from lstmgen.declare.symbols import Value

Array = Any
NICE = (0.5, -0.25, 1.0, 0.75, -0.5, 0.25, -1.0)
STEPS, SMALL, LARGEST = 2, 1e-4, 1e5


@dataclass(frozen=True)
class Entry:
    """The gradient by one number: ``of`` says by which, ``at`` of which step, if any, ``index`` which entry."""

    of: Value
    at: int | None
    index: tuple[int, ...]
    given: float
    gradient: float
    difference: float


@dataclass(frozen=True)
class Example:
    """Numbers given, all values of two steps forward and backward, and gradients beside finite differences.

    ``holds`` says that the differences hold values that no gradient goes through.
    """

    sizes: Mapping[str, int]
    trajectory: Trajectory
    adjoints: Adjoints
    entries: tuple[Entry, ...]
    holds: bool


def work_out(gradient: Gradient) -> Example | None:
    """The example of a cell: of a few arrangements of the same numbers the plainest at which the cell is smooth.

    None where the cell is defined, and smooth, at none of them.
    """
    with np.errstate(all="ignore"):  # what is not defined there is no number, and the arrangement no example
        every = [_Given(gradient, turn) for turn in range(2 * len(NICE))]
        for given in sorted(filter(_Given.is_finite, every), key=_Given.awkwardness):
            differences = [given.differences(array) for _, _, array, _ in given.places]
            if all(np.allclose(ahead, behind, atol=0.02, rtol=0.02) for ahead, behind, _ in differences):
                return given.example([central for _, _, central in differences])
    return None


def smallest_sizes(declaration: Declaration, primal: Graph) -> dict[str, int]:
    """One of every dimension, two where entries are summed or compared: one entry alone would be normalised to 0.

    So are those of what is contracted with another value of the step, such as a memory with the key that reads it.
    """
    reduced = {each.expression.dim for each in primal.equations if isinstance(each.expression, SumOver | MaxOver)}
    dependence = primal.dependence()
    for each in primal.equations:
        product = each.expression
        if isinstance(product, Contract) and all(dependence[v] is not Dependence.SHARED for v in product.values):
            left, right, out = product.axes
            dims = zip(left, product.values[0].dims, strict=True)
            reduced |= {dim for label, dim in dims if label in right and label not in out}
    sizes = {dim: 2 if dim in reduced else 1 for dim in size_names(declaration, primal)} | declaration.fixed_sizes
    for dim, parts in derived_sizes(primal).items():
        sizes[dim] = int(np.prod([sizes[part] for part in parts]))
    return sizes


class _Given:
    """Numbers for all that comes from outside, and what the cell makes of them."""

    def __init__(self, gradient: Gradient, turn: int) -> None:
        self.gradient, declaration = gradient, gradient.declaration
        self.sizes = smallest_sizes(declaration, gradient.primal)
        numbers = islice(cycle(NICE), turn, None)

        def draw(dims: tuple[str, ...], *lead: int) -> Array:
            shape = (*lead, *(self.sizes[dim] for dim in dims))
            return np.array([next(numbers) for _ in range(int(np.prod(shape)))]).reshape(shape)

        # What is given besides the input may be a mask or a time: those are never negative.
        first, *others = declaration.inputs
        self.inputs = {first.name: draw(first.dims, STEPS, 1)}
        self.inputs |= {value.name: np.abs(draw(value.dims, STEPS, 1)) for value in others}
        self.initial = {state.name: np.abs(draw(state.next.dims, 1)) for state in declaration.states}
        self.parameters = {each.value.name: draw(each.value.dims) for each in declaration.parameters}
        self.frozen: tuple[dict[Value, Array], ...] = ()
        self.trajectory = self.run()
        held = [
            each.target
            for each in gradient.primal.equations
            if isinstance(each.expression, StopGradient) and not isinstance(each.expression, Gauge)
        ]
        # Copies: a value that is held may be an array that differences are taken by.
        self.frozen = tuple({value: np.array(values[value]) for value in held} for values in self.trajectory.steps)
        self.adjoints = run_adjoint(
            gradient,
            self.sizes,
            self.trajectory,
            {name: np.ones_like(array) for name, array in self.trajectory.outputs.items()},
            {name: np.zeros_like(array) for name, array in self.trajectory.final.items()},
        )

    def is_finite(self) -> bool:
        """Whether every value and every gradient is a number, small enough to be read."""
        found = [*self.trajectory.steps, *self.adjoints.steps]
        return all(bool(np.all(np.abs(array) < LARGEST)) for values in found for array in values.values())

    def awkwardness(self) -> int:
        """How many values are too small to be followed with four digits, or vanish."""
        found = [values[each.target] for values in self.trajectory.steps for each in self.gradient.primal.equations]
        small = sum(int(np.sum(np.abs(array) < 0.02)) for array in found)
        return small + sum(int(np.sum(np.abs(gradient) < 1e-3)) for *_, gradient in self.places)

    def run(self) -> Trajectory:
        gradient, frozen = self.gradient, self.frozen
        return run(
            gradient.declaration, gradient.primal, self.sizes, self.parameters, self.inputs, self.initial, frozen
        )

    @property
    def places(self) -> list[tuple[Value, int | None, Array, Array]]:
        """What gradients are taken by: symbol, step, the numbers and their gradient."""
        declaration, found = self.gradient.declaration, self.adjoints
        places: list[tuple[Value, int | None, Array, Array]] = [
            (each.value, None, self.parameters[each.value.name], found.parameters[each.value.name])
            for each in declaration.parameters
        ]
        for value in declaration.inputs:
            arrays = self.inputs[value.name], found.inputs[value.name]
            places += [(value, t, arrays[0][t, 0, ...], arrays[1][t, 0, ...]) for t in range(STEPS)]
        for state in declaration.states:
            places.append((state.previous, 0, self.initial[state.name][0, ...], found.initial[state.name][0, ...]))
        return places

    def differences(self, array: Array) -> tuple[Array, Array, Array]:
        """Differences ahead, behind and central by every entry of ``array``, which is left as it was."""
        here = self._loss()
        ahead, behind = np.zeros(array.shape), np.zeros(array.shape)
        for index in np.ndindex(array.shape):
            kept = array[index]
            array[index] = kept + SMALL
            ahead[index] = (self._loss() - here) / SMALL
            array[index] = kept - SMALL
            behind[index] = (here - self._loss()) / SMALL
            array[index] = kept
        return ahead, behind, (ahead + behind) / 2

    def _loss(self) -> float:
        return float(sum(array.sum() for array in self.run().outputs.values()))

    def example(self, differences: list[Array]) -> Example:
        entries = [
            Entry(value, at, index, float(array[index]), float(gradient[index]), float(difference[index]))
            for (value, at, array, gradient), difference in zip(self.places, differences, strict=True)
            for index in np.ndindex(array.shape)
        ]
        return Example(self.sizes, self.trajectory, self.adjoints, tuple(entries), any(self.frozen))
