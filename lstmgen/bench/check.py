"""How far results are from what they should be. A wrong implementation is not timed."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from lstmgen.bench.implementation import TRAINING, Array, Arrays, Implementation, is_gradient

Deviations = dict[str, float]

LIMITS = {"float32": 2e-5, "float64": 1e-10}
"""Of each tensor's largest entry. Rounding in float32 makes some 1e-6."""

AMPLIFIED = 50.0
"""A cell that amplifies rounding may be off by this many times what rounding its arguments once does to it."""

LEAST = 1e-3
"""A gradient whose largest entry is less than this part of the largest of all counts as that large."""


def deviations(found: Mapping[str, Array], expected: Mapping[str, Array]) -> Deviations:
    """The worst error of every expected tensor; infinite for one that is missing, misshapen or not finite."""
    largest = max((_largest(array) for name, array in expected.items() if is_gradient(name)), default=0.0)
    return {name: _deviation(found.get(name), array, LEAST * largest) for name, array in expected.items()}


def of_implementation(implementation: Implementation, expected: Arrays) -> Deviations:
    """The worst deviation of every tensor over all that an implementation computes. Each call is made twice, so that
    arrays that are used again are tested too."""
    worst: Deviations = {}
    for measure, timed in implementation.items():
        if timed.arrays is None:
            continue
        wanted = {name: a for name, a in expected.items() if measure == TRAINING or not is_gradient(name)}
        timed.call()
        for name, error in deviations(timed.arrays(timed.call()), wanted).items():
            worst[name] = max(worst.get(name, 0.0), error)
    return worst


def _deviation(found: Array | None, expected: Array, least: float) -> float:
    if found is None or np.shape(found) != np.shape(expected):
        return float("inf")
    if not np.size(expected):
        return 0.0
    scale = max(_largest(expected), least) or 1.0  # all may be zero, and rightly so
    error = np.max(np.abs(np.asarray(found, np.float64) - expected)) / scale
    return float(error) if np.isfinite(error) else float("inf")


def _largest(array: Array) -> float:
    return float(np.max(np.abs(array), initial=0.0))
