"""Forecast how much ice cream the United States will make next month.

The generated LSTM kernels read the last 24 months of the series in `data/`, a linear read-out turns the
final hidden state into the next month, and Adam fits both. The last 60 months are kept apart until the
end: they touch neither the training nor the scaling. Run it from the root of the repository:

    python examples/forecast_ice_cream.py

It prints the error on those 60 months beside those of two simple forecasts, and draws them.
"""

from __future__ import annotations

import csv
import sys
from pathlib import Path
from typing import Any, NamedTuple

import click
import numpy as np

# Python puts a script's own folder on the path, not the root of the repository, where `generated` is.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from generated import lstm_numpy as lstm

HERE = Path(__file__).resolve().parent
PAST, TEST = 24, 60  # months the network reads, months held out
BATCH, RATE, NOISE = 32, 0.01, 0.3
SOURCE = "Board of Governors of the Federal Reserve System, G.17 release, series IPN31152N, via FRED"

Array = np.ndarray[Any, np.dtype[Any]]


class Windows(NamedTuple):
    """Stretches of the series, each with the month to forecast from it."""

    past: Array  # (windows, PAST), the index in the months before
    target: Array  # (windows,), the index in the month to forecast
    month: Array  # (windows,), that month

    def pick(self, chosen: slice | Array) -> Windows:
        return Windows(self.past[chosen], self.target[chosen], self.month[chosen])


class Model(NamedTuple):
    cell: lstm.Parameters
    readout: Array  # (hidden + 1,), the last one is the bias
    scale: float  # one unit of the network's input and output, as a change of the logarithm


class Adam:
    """Kingma & Ba (2015): divides a running mean of the gradient by its running size."""

    def __init__(self, size: int) -> None:
        self.steps, self.mean, self.square = 0, np.zeros(size, np.float32), np.zeros(size, np.float32)

    def __call__(self, gradient: Array) -> Array:
        self.steps += 1
        self.mean += 0.1 * (gradient - self.mean)
        self.square += 0.001 * (gradient**2 - self.square)
        size = np.sqrt(self.square / (1 - 0.999**self.steps))
        return self.mean / (1 - 0.9**self.steps) / (size + 1e-8)


def read(path: Path) -> tuple[Array, Array]:
    """Months and their index."""
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    months = np.array([row["month"] for row in rows], dtype="datetime64[D]").astype("datetime64[M]")
    return months, np.array([float(row["index"]) for row in rows])


def split(months: Array, index: Array) -> tuple[Windows, Windows]:
    """Windows to learn from and windows to test on: the targets of the latter are the last TEST months."""
    past = np.lib.stride_tricks.sliding_window_view(index, PAST)[:-1]
    windows = Windows(past, index[PAST:], months[PAST:])
    return windows.pick(slice(None, -TEST)), windows.pick(slice(-TEST, None))


def inputs(windows: Windows, scale: float) -> Array:
    """What the network reads at each step: the change of the logarithm, and the season it leads to."""
    changes = np.diff(np.log(windows.past)).T / scale
    steps = np.arange(1 - len(changes), 1)[:, None]  # the last step leads to the month to forecast
    season = 2 * np.pi / 12 * (windows.month.astype(int) + steps)
    return np.stack([changes, np.sin(season), np.cos(season)], axis=-1).astype(np.float32)


def train(windows: Windows, *, hidden: int, epochs: int, seed: int) -> Model:
    """Fit cell and read-out to the change from a window's last month to its target, by least squares."""
    random = np.random.default_rng(seed)
    change = np.log(windows.target / windows.past[:, -1])
    scale = float(change.std())
    x, wanted = inputs(windows, scale), (change / scale).astype(np.float32)

    cell = lstm.Parameters.initialize(features=3, hidden=hidden, dtype=np.float32, seed=seed)
    cell.b_f += 1.0  # an open forget gate at the start lets the gradient reach the months long past
    readout = np.zeros(hidden + 1, np.float32)
    cell_adam, readout_adam = Adam(cell.flat.size), Adam(readout.size)

    with click.progressbar(range(epochs), label="Training") as bar:
        for epoch in bar:
            rate = RATE * (1 + np.cos(np.pi * epoch / epochs)) / 2
            order = random.permutation(len(wanted))
            for rows in np.array_split(order, max(1, len(order) // BATCH)):
                # Some 500 windows are soon learnt by heart. Noise on the changes makes that harder.
                batch = x[:, rows]
                batch[..., 0] += NOISE * random.standard_normal(batch.shape[:2], np.float32)

                _, final, residuals = lstm.forward(cell, batch)
                error = final.h @ readout[:-1] + readout[-1] - wanted[rows]

                d_change = 2 * error / len(rows)  # of the mean squared error
                d_final = lstm.State(h=np.outer(d_change, readout[:-1]))
                grads = lstm.backward(cell, residuals, None, d_final=d_final)
                d_readout = np.append(d_change @ final.h, d_change.sum())

                cell.flat -= rate * cell_adam(grads.parameters.flat)
                readout -= rate * readout_adam(d_readout)
    return Model(cell, readout, scale)


def forecast(model: Model, windows: Windows) -> Array:
    _, final = lstm.infer(model.cell, inputs(windows, model.scale))
    change = final.h @ model.readout[:-1] + model.readout[-1]
    return windows.past[:, -1] * np.exp(model.scale * change)


def seasonal_naive(windows: Windows) -> Array:
    """The same month a year before."""
    return windows.past[:, -12]


def autoregression(training: Windows, windows: Windows) -> Array:
    """The best weighted sum of the same months, plus a constant."""

    def columns(past: Array) -> Array:
        return np.column_stack([past, np.ones(len(past))])

    weights = np.linalg.lstsq(columns(training.past), training.target, rcond=None)[0]
    return columns(windows.past) @ weights


def rmse(predicted: Array, truth: Array) -> float:
    return float(np.sqrt(np.mean((predicted - truth) ** 2)))


def draw(path: Path, windows: Windows, predicted: Array, naive: Array) -> None:
    import matplotlib

    matplotlib.use("Agg")  # a file is wanted, not a window
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(9, 4.5), layout="constrained")
    axes.plot(windows.month, naive, color="0.75", linewidth=1, label="same month a year before")
    axes.plot(windows.month, windows.target, color="black", linewidth=1.5, label="truth")
    axes.plot(windows.month, predicted, color="tab:red", linewidth=1.5, label="LSTM, one month ahead")
    axes.set_title("Production of ice cream and frozen dessert in the United States")
    axes.set_ylabel("industrial production, index,\nnot seasonally adjusted")
    axes.legend(frameon=False, ncols=3, loc="upper center")
    axes.margins(y=0.15)
    figure.supxlabel(f"Source: {SOURCE}", fontsize="x-small")
    figure.savefig(path, dpi=150)


@click.command(help="Train the generated LSTM on a monthly series and forecast its last 60 months.")
@click.option("--epochs", default=200, show_default=True, type=click.IntRange(min=1))
@click.option("--hidden", default=16, show_default=True, type=click.IntRange(min=1))
@click.option("--seed", default=0, show_default=True, type=click.IntRange(min=0))
@click.option("--drop", default=0, show_default=True, type=click.IntRange(0, 240), metavar="MONTHS")
@click.option(
    "--plot",
    default=HERE / "forecast_ice_cream.png",
    type=click.Path(dir_okay=False, writable=True, path_type=Path),
)
def main(epochs: int, hidden: int, seed: int, drop: int, plot: Path) -> None:
    ...


if __name__ == "__main__":
    main()
