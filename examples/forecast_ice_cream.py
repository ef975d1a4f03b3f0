"""Forecast how much ice cream the United States will make next month.

The generated LSTM kernels read the last 24 months of the series in `data/`, a linear read-out turns
the final hidden state into the next month, and Adam fits both. The last 60 months are kept apart
until the end: they touch neither the training nor the scaling. From the root of the repository:

    python examples/forecast_ice_cream.py

prints the error on those 60 months beside the errors of two simple forecasts, and draws them.
"""

from __future__ import annotations

import csv
import math
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import click
import numpy as np

# Python puts a script's own folder on the path. `generated` is in the folder above.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from generated import lstm_numpy as lstm

HERE = Path(__file__).resolve().parent
PAST, TEST = 24, 60  # months the network reads, months held out

# These, the defaults of --epochs and --hidden, and what the network reads were chosen on the 180
# months before those held out, 60 at a time: --drop 60, --drop 120 and --drop 180 forecast them.
BATCH, RATE, NOISE = 32, 0.01, 0.3

SOURCE = (
    "Source: Board of Governors of the Federal Reserve System, Industrial Production and Capacity "
    "Utilization (G.17), series IPN31152N, through FRED"
)

Array = np.ndarray[Any, np.dtype[Any]]


class Windows(NamedTuple):
    """Stretches of the series, each with the month to forecast from it."""

    past: Array  # (windows, PAST), the index in the months before
    target: Array  # (windows,), the index in the month to forecast
    month: Array  # (windows,), that month


class Model(NamedTuple):
    cell: lstm.Parameters
    readout: Array  # (hidden + 1,), the last one is the bias
    scale: float  # one unit of the network's input and output, as a change of the logarithm


class Adam:
    """Kingma & Ba (2015): divides a running mean of the gradient by its running size."""

    def __init__(self, size: int) -> None:
        self.steps = 0
        self.mean, self.square = np.zeros((2, size), np.float32)

    def __call__(self, gradient: Array) -> Array:
        self.steps += 1
        self.mean += 0.1 * (gradient - self.mean)
        self.square += 0.001 * (gradient**2 - self.square)
        size = np.sqrt(self.square / (1 - 0.999**self.steps))
        return np.asarray(self.mean / (1 - 0.9**self.steps) / (size + 1e-8))


def read(path: Path) -> tuple[Array, Array]:
    """Months and their index."""
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    months = np.array([row["month"] for row in rows], dtype="datetime64[D]").astype("datetime64[M]")
    return months, np.array([float(row["index"]) for row in rows])


def split(months: Array, index: Array) -> tuple[Windows, Windows]:
    """Windows to learn from, and windows to test on: their targets are the last TEST months."""
    past = np.lib.stride_tricks.sliding_window_view(index, PAST)[:-1]
    fields = past, index[PAST:], months[PAST:]
    training = Windows(*(field[:-TEST] for field in fields))
    test = Windows(*(field[-TEST:] for field in fields))
    return training, test


def inputs(windows: Windows, scale: float) -> Array:
    """What the network reads at each step: a change of the logarithm, the season of the next."""
    changes = np.diff(np.log(windows.past)).T / scale
    steps = np.arange(1 - len(changes), 1)[:, None]  # the last step leads to the month to forecast
    season = 2 * np.pi / 12 * (windows.month.astype(int) + steps)
    return np.stack([changes, np.sin(season), np.cos(season)], axis=-1).astype(np.float32)


def train(windows: Windows, *, hidden: int, epochs: int, seed: int) -> Model:
    """Fit, by least squares, the change from the last month of a window to its target."""
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
            rate = RATE * (1 + math.cos(math.pi * epoch / epochs)) / 2
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
    return np.asarray(windows.past[:, -1] * np.exp(model.scale * change))


def autoregression(training: Windows, windows: Windows) -> Array:
    """The best weighted sum of the same months, plus a constant."""
    past, new = (np.column_stack([w.past, np.ones(len(w.past))]) for w in (training, windows))
    weights = np.linalg.lstsq(past, training.target, rcond=None)[0]
    return np.asarray(new @ weights)


def rmse(predicted: Array, truth: Array) -> float:
    return float(np.sqrt(np.mean((predicted - truth) ** 2)))


def draw(path: Path, windows: Windows, predicted: Array, naive: Array) -> None:
    from matplotlib.figure import Figure  # not pyplot: it looks for a screen

    figure = Figure(figsize=(9, 4.5), layout="constrained")
    axes = figure.subplots()
    axes.plot(windows.month, naive, color="0.75", linewidth=1, label="same month a year before")
    axes.plot(windows.month, windows.target, color="black", label="truth")
    axes.plot(windows.month, predicted, color="tab:red", label="LSTM, one month ahead")
    axes.set_title("Industrial production of ice cream and frozen dessert, United States")
    axes.set_ylabel("index, not seasonally adjusted")
    axes.margins(y=0.15)
    axes.legend(frameon=False, ncols=3, loc="upper center")
    figure.supxlabel(SOURCE, fontsize="x-small")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)


@click.command()
@click.option("--epochs", default=200, show_default=True, type=click.IntRange(min=1))
@click.option("--hidden", default=16, show_default=True, type=click.IntRange(min=1))
@click.option("--seed", default=0, show_default=True, type=click.IntRange(min=0))
@click.option("--drop", default=0, type=click.IntRange(0, 240), help="Months to leave off the end.")
@click.option("--plot", default=HERE / "forecast_ice_cream.png", type=click.Path(path_type=Path))
def main(epochs: int, hidden: int, seed: int, drop: int, plot: Path) -> None:
    """Train the generated LSTM on ice cream production and forecast the months held out."""
    if find_spec("matplotlib") is None:  # said before the training, not after it
        raise click.ClickException('no matplotlib to draw with: pip install "lstmgen[examples]"')
    months, index = read(HERE / "data" / "ice_cream_production.csv")
    training, test = split(months[: len(months) - drop], index[: len(index) - drop])

    model = train(training, hidden=hidden, epochs=epochs, seed=seed)
    predicted, naive = forecast(model, test), test.past[:, -12]
    errors = {
        "same month a year before": rmse(naive, test.target),
        "autoregression": rmse(autoregression(training, test), test.target),
        "LSTM": rmse(predicted, test.target),
    }
    print(f"Root mean square error one month ahead, {test.month[0]} to {test.month[-1]}:")
    for name, error in errors.items():
        share = error / errors["same month a year before"]
        print(f"  {name:<25}{error:7.2f} index units, {share:4.2f} of the first")
    if errors["LSTM"] >= errors["autoregression"]:
        print("The LSTM does not beat the autoregression here.")
    draw(plot, test, predicted, naive)
    print(f"Drawn in {plot}")


if __name__ == "__main__":
    main()
