"""The numbers that every implementation works on: equal in every process."""

from __future__ import annotations

from dataclasses import dataclass, replace
from types import ModuleType
from typing import Any

import numpy as np

from lstmgen.bench.implementation import Arrays
from lstmgen.bench.shapes import Shape
from lstmgen.bench.subject import Entries, Subject, load


@dataclass(frozen=True)
class Problem:
    """The arguments of one forward and one backward, by name, in one dtype.

    ``inputs`` and ``d_outputs`` are (steps, batch, ...), ``initial`` and ``d_final`` (batch, ...). ``sizes`` are
    those of all dimensions, steps and batch among them.
    """

    sizes: dict[str, int]
    dtype: Any
    parameters: Arrays
    inputs: Arrays
    initial: Arrays
    d_outputs: Arrays
    d_final: Arrays


def draw(subject: Subject, shape: Shape, dtype: str) -> Problem:
    """Parameters as the cell starts them, all else normal; every number is one that float32 can hold."""
    sizes = subject.sizes(shape)
    lead = (shape.steps, shape.batch)
    random = np.random.default_rng(1)

    def narrow(array: Any) -> Any:
        return array.astype(np.float32).astype(dtype)

    def normal(entries: Entries, *lead: int) -> Arrays:
        return {name: narrow(random.standard_normal((*lead, *(sizes[dim] for dim in dims)))) for name, dims in entries}

    parameters = start(load(subject.source), sizes, np.float64).to_dict()
    return Problem(
        sizes,
        np.dtype(dtype),
        {name: narrow(array) for name, array in parameters.items()},
        normal(subject.inputs, *lead),
        normal(subject.states, shape.batch),
        normal(subject.outputs, *lead),
        normal(subject.states, shape.batch),
    )


def start(module: ModuleType, sizes: dict[str, int], dtype: Any) -> Any:
    """A generated module's start values at these sizes, the same every time."""
    return module.Parameters.initialize(**{name: sizes[name] for name in module.Sizes._fields}, dtype=dtype, seed=0)


def nudged(problem: Problem, relative: float) -> Problem:
    """The same problem with every number off by up to ``relative``: what rounding the arguments would do to it."""
    random = np.random.default_rng(2)

    def nudge(arrays: Arrays) -> Arrays:
        return {name: array * (1 + relative * random.uniform(-1, 1, array.shape)) for name, array in arrays.items()}

    groups = ("parameters", "inputs", "initial", "d_outputs", "d_final")
    return replace(problem, **{group: nudge(getattr(problem, group)) for group in groups})
