"""Derivatives without calculus: central differences, the Taylor remainder, the complex step."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from lstmgen.verify.report import Taylor

Array = Any
Loss = Callable[[], float]


def central_differences(loss: Loss, array: Array, step: float = 3e-4) -> Array:
    """The gradient of ``loss()`` by ``array``, which ``loss`` reads and this changes entry by entry and restores.

    Uses the fourth-order formula (8 (f(+h) - f(-h)) - (f(+2h) - f(-2h))) / 12 h; the default step balances its error,
    of order h**4, against rounding, of order 1/h.
    """
    gradient = np.zeros(array.shape)
    for index in np.ndindex(array.shape):
        kept = array[index]
        values = []
        for shift in (step, -step, 2 * step, -2 * step):
            array[index] = kept + shift
            values.append(loss())
        array[index] = kept
        gradient[index] = (8.0 * (values[0] - values[1]) - (values[2] - values[3])) / (12.0 * step)
    return gradient


def settled_differences(loss: Loss, array: Array) -> Array:
    """Central differences at four steps; of each entry the estimate that a smaller step has changed least.

    Where the loss bends within one step, as behind a normalisation of values that hardly differ, larger steps are too
    coarse; smaller ones lose digits to rounding (Ridders, Advances in Engineering Software 4(2), 1982, chooses so).
    """
    estimates = np.stack([central_differences(loss, array, step) for step in (3e-4, 6e-5, 1.2e-5, 2.4e-6)])
    steadiest = np.argmin(np.abs(np.diff(estimates, axis=0)), axis=0)
    settled: Array = np.take_along_axis(estimates, steadiest[None] + 1, axis=0)[0]
    return settled


def taylor_test(loss: Loss, point: Mapping[str, Array], gradient: Mapping[str, Array], seed: int = 0) -> Taylor:
    """How fast f(x + e v) - f(x), and the same less e g.v, shrink as e is halved, along a random direction v.

    A gradient that is wrong in a place that single differences happen to miss, or by less than their tolerance, shows
    in the order of the second (devito and dolfin-adjoint test adjoints so). The direction is of length 1, so that no
    kink is near; its signs are those of the gradient, so that g.v is large and curvature cannot hide the first order.
    """
    random = np.random.default_rng(seed)
    directions = {}
    for name, array in point.items():
        signs = np.where(gradient[name] == 0, random.choice([-1.0, 1.0], array.shape), np.sign(gradient[name]))
        directions[name] = signs * random.uniform(0.5, 1.0, array.shape)
    length = float(np.sqrt(sum(np.sum(each**2) for each in directions.values()))) or 1.0
    directions = {name: each / length for name, each in directions.items()}
    slope = sum(float(np.sum(gradient[name] * directions[name])) for name in point)
    base = {name: array.copy() for name, array in point.items()}
    start = loss()
    sizes = [2e-3 * 0.5**k for k in range(9)]
    plain, corrected = [], []
    for size in sizes:
        for name, array in point.items():
            array[...] = base[name] + size * directions[name]
        difference = loss() - start
        plain.append(abs(difference))
        corrected.append(abs(difference - size * slope))
    for name, array in point.items():
        array[...] = base[name]
    rounding = 1e-13 * max(abs(start), 1.0)
    if max(corrected) <= rounding * 10:
        return Taylor(1.0, 2.0, at_rounding=True)
    return Taylor(_order(plain, rounding), _order(corrected, rounding), at_rounding=False)


def _order(remainders: list[float], rounding: float) -> float:
    """The order at which remainders shrink, from the smallest that stand clear of rounding.

    At larger steps the next order may cancel this one.
    """
    clear = [each for each in remainders if each > 20 * rounding][-4:]
    if len(clear) < 2:
        return 2.0 if remainders[0] <= 100 * rounding else float("nan")
    return float(np.log2(clear[0] / clear[-1]) / (len(clear) - 1))


def complex_step(loss: Callable[[], complex], array: Array, step: float = 1e-30) -> Array:
    """The gradient of an analytic ``loss()`` by a complex ``array``, exact to rounding: no difference is taken."""
    gradient = np.zeros(array.shape)
    for index in np.ndindex(array.shape):
        kept = array[index]
        array[index] = kept + 1j * step
        gradient[index] = loss().imag / step
        array[index] = kept
    return gradient
