"""Generated CuPy modules as they are called, and the product of the inputs alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from lstmgen.bench import generated
from lstmgen.bench.floor import When
from lstmgen.bench.gpu.places import Place, place
from lstmgen.bench.implementation import FORWARD, TRAINING, Implementation, Timed
from lstmgen.bench.problem import Problem
from lstmgen.bench.subject import Subject

INPUT_FORWARD, INPUT_TRAINING = "input product, forward", "input product, forward+backward"
INPUT_PRODUCT = {FORWARD: INPUT_FORWARD, TRAINING: INPUT_TRAINING}
"""What of a measure is the product of the inputs with their matrices."""

Multiply = Callable[[Any, Any, Any], object]


def build(subject: Subject, problem: Problem, *, source: str, host: bool, reuse: bool = True) -> Implementation:
    """The CuPy module of ``source``; with ``reuse`` in a workspace, so that its time loop is a CUDA graph."""
    here = place(host)
    module = generated.build(subject, _there(problem, here), source=source, reuse=reuse, loaded=here.loaded)

    def matrix(*shape: int) -> Any:
        random = np.random.default_rng(0)
        return here.cupy.array(random.standard_normal(shape).astype(problem.dtype))

    return {measure: module[measure] for measure in (FORWARD, TRAINING)} | input_products(
        subject, problem, matrix, here.runtime.matmul
    )


def input_products(
    subject: Subject, problem: Problem, matrix: Callable[..., Any], multiply: Multiply
) -> dict[str, Timed]:
    """The product of all inputs with their matrices by itself; trained, those for both gradients too.

    ``matrix`` makes one of random numbers, ``multiply`` fills its last argument.
    """
    inputs = {name for name, _ in subject.inputs}
    found = [
        each
        for each in subject.floor.forward
        if each.when is When.ALL_STEPS and set(each.right) <= inputs and not each.stack
    ]
    arrays = []
    for each in found:
        (rows, inner), (_, columns) = each.shapes(problem.sizes)
        arrays.append((matrix(columns, inner), matrix(rows, inner), matrix(columns, rows)))
    spare = [(matrix(*x.shape), matrix(*weights.shape)) for x, weights, _ in arrays]

    def forward() -> None:
        for x, weights, result in arrays:
            multiply(x, weights.T, result)

    def train() -> None:
        forward()
        for (x, weights, result), (d_x, d_weights) in zip(arrays, spare, strict=True):
            multiply(result, weights, d_x)
            multiply(result.T, x, d_weights)

    return {INPUT_FORWARD: Timed(forward), INPUT_TRAINING: Timed(train)} if found else {}


def _there(problem: Problem, here: Place) -> Problem:
    """The problem with its arrays on the device; parameters are copied there by the module."""
    groups = ("inputs", "initial", "d_outputs", "d_final")
    moved = {
        group: {name: here.cupy.array(array) for name, array in getattr(problem, group).items()} for group in groups
    }
    return replace(problem, **moved)
