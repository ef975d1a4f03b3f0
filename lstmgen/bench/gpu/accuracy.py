"""How far a module on a GPU is from its cell's equations."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from lstmgen.bench.implementation import TRAINING, Arrays, Implementation, is_gradient
from lstmgen.bench.preparation import Prepared, interpreted
from lstmgen.bench.problem import Problem, draw, nudged
from lstmgen.bench.shapes import Shape

SHAPE = Shape(steps=64, batch=8, features=64, hidden=64)
LIMITS = {"float32": 1e-5, "float64": 1e-10}
"""Gradients by the largest entry of all gradients, all else by the largest entry of all else."""

AMPLIFIED = 10.0
"""A cell that amplifies rounding may be off by this many times what rounding its arguments once does to it."""

RUNS = 3
"""With a workspace the first is launched piece by piece, the second captured, the third replayed."""


@dataclass(frozen=True)
class Wanted:
    """A problem, what it should give, and the limits on deviations by dtype."""

    problem: Problem
    arrays: Arrays
    limits: Mapping[str, float]


def wanted(prepared: Prepared, shape: Shape = SHAPE) -> Wanted:
    """From the equations, evaluated obviously in float64."""
    problem = draw(prepared.subject, shape, "float64")
    arrays = interpreted(prepared.gradient, problem)
    limits = {}
    for dtype, least in LIMITS.items():
        rounded = interpreted(prepared.gradient, nudged(problem, float(np.finfo(dtype).eps) / 2))
        limits[dtype] = max(least, AMPLIFIED * worst(rounded, arrays)[0])
    return Wanted(problem, arrays, limits)


def worst(found: Arrays, expected: Arrays) -> tuple[float, str]:
    """The largest deviation and the tensor that has it; infinite for one that is missing, misshapen or not finite."""
    largest = {
        kind: max((_largest(a) for k, a in expected.items() if is_gradient(k) is kind), default=0.0)
        for kind in (True, False)
    }
    errors = {}
    for name, array in expected.items():
        if name not in found or np.shape(found[name]) != np.shape(array):
            return float("inf"), name
        error = _largest(np.asarray(found[name], np.float64) - array) / (largest[is_gradient(name)] or 1.0)
        errors[name] = error if np.isfinite(error) else float("inf")
    name = max(errors, key=errors.__getitem__, default="")
    return errors.get(name, 0.0), name


def results(implementation: Implementation, most: int | None = None) -> list[Arrays]:
    """What each of several runs gives, on the host; of tensors with more than ``most`` entries nothing."""
    timed = implementation[TRAINING]
    assert timed.arrays is not None
    runs = []
    for _ in range(RUNS):
        arrays = timed.arrays(timed.call())
        runs.append({k: on_host(a) for k, a in arrays.items() if most is None or a.size <= most})
    return runs


def on_host(array: object) -> np.ndarray:
    """An array of CuPy's or NumPy's as one of NumPy's."""
    return np.asarray(array.get() if hasattr(array, "get") else array)


def _largest(array: np.ndarray) -> float:
    return float(np.max(np.abs(array), initial=0.0))
