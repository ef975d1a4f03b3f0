"""One table of all built-in cells: what a step costs, and how long forward+backward takes beside floor and LSTM.

    python benchmarks/cells.py [--shape T,B,F,H] [--rounds N] [CELL...]

Each cell is measured as `lstmgen bench` does it, in float32 on one thread, in turns with its own matrix products and
with the LSTM of the same size; ratios are medians over rounds. Prints a Markdown table.
"""

from __future__ import annotations

import argparse
from contextlib import ExitStack

from lstmgen import plugins
from lstmgen.bench import generated, products
from lstmgen.bench.calls import calls_per_step
from lstmgen.bench.contenders import FLOOR, OURS
from lstmgen.bench.floor import Product, When
from lstmgen.bench.implementation import TRAINING
from lstmgen.bench.pool import Setting, Worker, setting
from lstmgen.bench.preparation import Prepared, hold_against_equations, prepare
from lstmgen.bench.shapes import Shape
from lstmgen.bench.station import Station
from lstmgen.bench.turns import Pace, take_turns
from lstmgen.finding import find_cell
from lstmgen.schedule.recurrence import classify

COLUMNS = ("cell", "equations", "exchanges", "products a step", "calls a step", "ms", "/ floor", "/ lstm")
LSTM = "lstm"


def row(prepared: Prepared, lstm: Prepared, shape: Shape, here: Setting, pace: Pace) -> tuple[object, ...]:
    """The columns of one cell. Raises ProofError if its kernels do not compute its equations."""
    hold_against_equations(prepared)
    subject, gradient = prepared.subject, prepared.gradient
    builds = {
        OURS: (generated.build, subject),
        FLOOR: (products.build, subject),
        LSTM: (generated.build, lstm.subject),
    }
    with ExitStack() as stack:
        workers = {
            key: stack.enter_context(Worker(here, Station, build, its, shape, "float32"))
            for key, (build, its) in builds.items()
        }
        times = take_turns(workers, dict.fromkeys(workers, (TRAINING,)), (TRAINING,), pace)
    calls = calls_per_step(subject.source)
    ratios = (times.ratio(TRAINING, OURS, to) for to in (FLOOR, LSTM))
    return (
        subject.title,
        len(gradient.declaration.equations),
        classify(gradient.declaration, gradient.primal).exchanges,
        f"{looped(subject.floor.forward)} + {looped(subject.floor.backward)}",
        f"{calls['forward']} + {calls['backward']}",
        *(f"{number:.3g}" for number in (times.median(TRAINING, OURS), *ratios)),
    )


def looped(each: tuple[Product, ...]) -> int:
    """How many products are computed at every step."""
    return sum(product.when is When.EVERY_STEP for product in each)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cells", nargs="*", metavar="CELL")
    parser.add_argument("--shape", default="100,32,64,128", metavar="T,B,F,H")
    parser.add_argument("--rounds", default=7, type=int)
    given = parser.parse_args()
    shape, pace, here = Shape(*map(int, given.shape.split(","))), Pace(given.rounds), setting(1)
    lstm = prepare(find_cell(LSTM), {})
    print(f"forward+backward with a workspace; steps, batch, features, hidden: {shape}; float32, one thread\n")
    print(f"| {' | '.join(COLUMNS)} |")
    print("|---" * len(COLUMNS) + "|")
    for name in given.cells or [plugin.name for plugin in plugins.available("cells")]:
        print(f"| {' | '.join(map(str, row(prepare(find_cell(name), {}), lstm, shape, here, pace)))} |", flush=True)


if __name__ == "__main__":
    main()
