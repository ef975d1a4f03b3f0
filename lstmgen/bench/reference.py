"""What results should be, in float64: those of the plainest schedule, which is held against the equations first."""

from __future__ import annotations

import numpy as np

from lstmgen.bench import generated
from lstmgen.bench.check import AMPLIFIED, LIMITS, deviations
from lstmgen.bench.implementation import TRAINING, Arrays
from lstmgen.bench.problem import Problem, draw, nudged
from lstmgen.bench.shapes import Shape
from lstmgen.bench.subject import Subject


class Reference:
    """The expected results of a subject at one shape."""

    def __init__(self, subject: Subject, shape: Shape, dtype: str) -> None:
        self.subject, self.dtype = subject, dtype
        self.problem = draw(subject, shape, "float64")

    def results(self) -> tuple[Arrays, float]:
        """Every tensor, and the limit on deviations from it."""
        expected = self._computed(self.problem)
        # A rounding of every argument; its effect is what the dtype alone makes uncertain.
        rounded = self._computed(nudged(self.problem, float(np.finfo(self.dtype).eps) / 2))
        amplified = max(deviations(rounded, expected).values(), default=0.0)
        return expected, max(LIMITS[self.dtype], AMPLIFIED * amplified)

    def _computed(self, problem: Problem) -> Arrays:
        timed = generated.build(self.subject, problem, source=self.subject.plain, reuse=False)[TRAINING]
        assert timed.arrays is not None
        return timed.arrays(timed.call())
