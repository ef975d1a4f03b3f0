"""One table of all built-in cells: proof, equations, products per step, and time relative to the LSTM.

    python benchmarks/cells.py [--shape T,B,F,H] [--rounds N] [CELL...]

Every cell is traced, scheduled and proven, then its kernels run forward and backward in float32 on one thread, in turns
with those of the `lstm` of the same size; the ratio is the median over rounds. Prints a Markdown table.
"""

# ruff: noqa: E402  (the number of threads is set before NumPy starts them)

from __future__ import annotations

import os

for _pool in ("OPENBLAS", "OMP", "MKL"):
    os.environ.setdefault(f"{_pool}_NUM_THREADS", "1")  # before NumPy starts its threads

import argparse
import time
from collections.abc import Callable
from statistics import median
from typing import Any

import numpy as np

from lstmgen import pipeline, plugins
from lstmgen.backends.numpy import backend
from lstmgen.finding import find_cell
from lstmgen.schedule.kernel import Kernel, Loop, Product
from lstmgen.schedule.lowering import lower_passes

OTHER_SIZES = {"projection": 0.5, "context": 0.25, "readout": 0.5, "rank": 0.25, "backbone": 1.0, "key": 0.25}
"""Dimensions besides features and hidden, as parts of hidden; one that is not here is as large as hidden."""


def products_per_step(kernel: Kernel) -> int:
    """The products inside the time loop."""
    (loop,) = [each for each in kernel.body if isinstance(each, Loop)]
    return sum(isinstance(each, Product) for each in loop.body)


def runner(module: Any, inputs: tuple[str, ...], sizes: dict[str, int], steps: int, batch: int) -> Callable[[], None]:
    """One forward and one backward of a module, with a workspace."""
    p = module.Parameters.initialize(**{name: sizes[name] for name in module.Sizes._fields}, seed=0)
    random = np.random.default_rng(0)
    arrays = [
        random.standard_normal((steps, batch, *(getattr(p, dim) for dim in module._DIMS[name])), np.float32)
        for name in inputs
    ]
    workspace = module.Workspace()
    outputs, _, _ = module.forward(p, *arrays, workspace=workspace)

    def run() -> None:
        _, _, residuals = module.forward(p, *arrays, workspace=workspace)
        module.backward(p, residuals, outputs)

    return run


def seconds(run: Callable[[], None]) -> float:
    """How long one call takes."""
    began = time.perf_counter()
    run()
    return time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cells", nargs="*", metavar="CELL")
    parser.add_argument("--shape", default="100,32,64,128", metavar="T,B,F,H")
    parser.add_argument("--rounds", default=7, type=int)
    given = parser.parse_args()
    steps, batch, features, hidden = map(int, given.shape.split(","))
    names = given.cells or [plugin.name for plugin in plugins.available("cells")]

    def runner_of(name: str) -> tuple[pipeline.Compiled, Callable[[], None]]:
        made = pipeline.compile_cell(find_cell(name), backend, {})
        module = backend.load(made.source, f"timed_{made.module}")
        sizes = {dim: int(OTHER_SIZES.get(dim, 1.0) * hidden) for dim in module.Sizes._fields} | {"features": features}
        return made, runner(module, tuple(value.name for value in made.declaration.inputs), sizes, steps, batch)

    _, reference = runner_of("lstm")
    print(f"steps {steps}, batch {batch}, features {features}, hidden {hidden}, float32, one thread\n")
    print("| cell | equations | products a step, forward | backward | exchanges | proof: worst error | time / lstm |")
    print("|---|---|---|---|---|---|---|")
    for name in names:
        made, run = runner_of(name)
        report = pipeline.prove(made)
        error = max(each.error for each in report.differenced)
        forward, _, backward = lower_passes(made.gradient, made.schedule)
        run(), reference()
        ratios = [seconds(run) / seconds(reference) for _ in range(given.rounds)]
        counts = (len(made.declaration.equations), products_per_step(forward), products_per_step(backward))
        columns = (name, *counts, made.schedule.recurrence.exchanges, f"{error:.0e}", f"{median(ratios):.2f}")
        print(f"| {' | '.join(map(str, columns))} |", flush=True)


if __name__ == "__main__":
    main()
