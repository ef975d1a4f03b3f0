"""The floor, run: a cell's matrix products alone, in NumPy, into arrays allocated beforehand.

All arrays are row-major and each product has its operands as it wants them. For the products of an LSTM that is the
fastest of the eight possible layouts in OpenBLAS, to a few percent.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from lstmgen.bench.floor import BATCH, STEPS, Product, When
from lstmgen.bench.implementation import FORWARD, INFERENCE, TRAINING, Array, Implementation, Timed
from lstmgen.bench.problem import Problem
from lstmgen.bench.subject import Subject

Call = tuple[Callable[[Array, Array, Array], Any], Array, Array, Array]
"""What multiplies, left operand, right operand, and where the result goes."""


def build(subject: Subject, problem: Problem) -> Implementation:
    """The products of forward, and those of forward and backward."""
    bench = _Bench(problem)
    forward = bench.calls(subject.floor.forward)
    both = forward + bench.calls(subject.floor.backward)

    def run(calls: list[Call]) -> Callable[[], None]:
        def products() -> None:
            for multiply, left, right, out in calls:
                multiply(left, right, out)

        return products

    return {FORWARD: Timed(run(forward)), INFERENCE: Timed(run(forward)), TRAINING: Timed(run(both))}


class _Bench:
    """Allocates operands, those of the same values once."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self.random = np.random.default_rng(0)
        self.arrays: dict[tuple[Any, ...], Array] = {}

    def calls(self, products: Iterable[Product]) -> list[Call]:
        """Every call of a pass in order; at every step, one of each product that is computed there."""
        sizes = self.problem.sizes
        whole: list[Call] = []
        looped: list[list[Call]] = []
        for each in products:
            left, right = each.shapes(sizes)
            multiply = np.matmul if each.stack else np.dot
            a, out = self.array(each.left, left), np.empty((*left[:-1], right[-1]), self.problem.dtype)
            if each.when is not When.EVERY_STEP:
                whole.append((multiply, a, self.array(each.right, right), out))
            elif BATCH in each.stack:  # a memory is carried from step to step in one place
                looped.append([(multiply, a, self.array(each.right, right), out)] * sizes[STEPS])
            else:  # a weight meets something new at every step
                looped.append([(multiply, a, b, out) for b in self.array(each.right, (sizes[STEPS], *right))])
        return whole + [call for step in zip(*looped, strict=True) for call in step]

    def array(self, values: tuple[str, ...], shape: tuple[int, ...]) -> Array:
        """The operand that these values make side by side: the same again where it has the same shape."""
        key = (frozenset(values), shape)
        if key not in self.arrays:
            self.arrays[key] = self.random.standard_normal(shape, np.float32).astype(self.problem.dtype)
        return self.arrays[key]
