"""The examples run as a reader runs them, and learn from no month that they are tested on."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from click.testing import CliRunner

ROOT = Path(__file__).resolve().parent.parent
SCRIPT = ROOT / "examples" / "forecast_ice_cream.py"
FORECASTS = ("same month a year before", "autoregression", "LSTM")
Shell = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="module")
def example() -> ModuleType:
    """The script as a module: `examples` is no package."""
    spec = importlib.util.spec_from_file_location("forecast_ice_cream", SCRIPT)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def errors(shell: Shell, plot: Path, *options: str) -> dict[str, float]:
    """The error of each forecast, as the script prints it."""
    pytest.importorskip("matplotlib")
    done = shell("examples/forecast_ice_cream.py", "--plot", str(plot), *options, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    printed = dict(re.findall(r"^  (\S.*?) +(\d+\.\d+) index units", done.stdout, re.MULTILINE))
    assert tuple(printed) == FORECASTS, done.stdout
    found = {name: float(error) for name, error in printed.items()}
    beaten = found["LSTM"] < found["autoregression"]
    assert beaten is not ("does not beat the autoregression" in done.stdout)
    return found


def test_a_short_run_prints_three_errors_and_draws(shell: Shell, folder: Path) -> None:
    plot = folder / "plots" / "forecast.png"
    found = errors(shell, plot, "--epochs", "2", "--hidden", "4")
    assert all(np.isfinite(error) and error > 0 for error in found.values())
    assert plot.read_bytes().startswith(b"\x89PNG")


def test_the_default_run_forecasts_well(shell: Shell, folder: Path) -> None:
    found = errors(shell, folder / "forecast.png")
    assert found["LSTM"] <= 0.55 * found["same month a year before"]


def test_training_ends_before_the_test_begins(example: ModuleType) -> None:
    months, index = example.read(ROOT / "examples" / "data" / "ice_cream_production.csv")
    training, test = example.split(months, index)
    assert training.month[-1] < test.month[0]
    assert test.month[0] == months[-60] and len(test.month) == 60
    assert len(training.month) + len(test.month) == len(index) - 24

    for windows in (training, test):
        for past, target, month in zip(*windows, strict=True):
            at = int(np.searchsorted(months, month))
            assert np.array_equal(past, index[at - 24 : at])
            assert target == index[at]


def test_no_month_held_out_reaches_the_training(example: ModuleType) -> None:
    months, index = example.read(ROOT / "examples" / "data" / "ice_cream_production.csv")
    other = np.concatenate([index[:-60], 1000.0 + index[-60:]])
    models = []
    for values in (index, other):
        training, _ = example.split(months, values)
        models.append(example.train(training, hidden=3, epochs=1, seed=0))
    first, second = models
    assert first.scale == second.scale
    assert np.array_equal(first.cell.flat, second.cell.flat)
    assert np.array_equal(first.readout, second.readout)


def test_the_season_read_last_is_that_of_the_month_to_forecast(example: ModuleType) -> None:
    months, index = example.read(ROOT / "examples" / "data" / "ice_cream_production.csv")
    _, test = example.split(months, index)
    x = example.inputs(test, 1.0)
    assert x.shape == (23, 60, 3) and x.dtype == np.float32
    np.testing.assert_allclose(x[-1, :, 0], np.log(test.past[:, -1] / test.past[:, -2]), rtol=1e-5)
    january = test.month.astype(str).tolist().index("2020-01")
    np.testing.assert_allclose(x[-1, january, 1:], [0.0, 1.0], atol=1e-6)
    np.testing.assert_allclose(x[-4, january, 1:], [-1.0, 0.0], atol=1e-6)  # October, three before


def test_missing_matplotlib_is_told(example: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    result = CliRunner().invoke(example.main, [])
    assert result.exit_code == 1
    assert 'pip install "lstmgen[examples]"' in result.output
