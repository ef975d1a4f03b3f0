"""Take a network that PyTorch trained to where there is no PyTorch: one generated file, one file of arrays, NumPy.

An `nn.LSTM` with a linear read-out learns to repeat what it heard a few steps ago. Its parameters go into an .npz file,
`lstmgen.build` writes the proven kernels beside it, and a new Python process computes the same outputs from both. With
PyTorch installed:

    python examples/from_torch.py [FOLDER]
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import click
import numpy as np
import torch
from torch import nn

import lstmgen
from lstmgen.conventions.torch import read

DELAY, STEPS, BATCH = 4, 24, 64

PREDICT = '''\
"""The model, with nothing but NumPy and the generated file."""

import sys

import lstm_numpy as lstm
import numpy as np

with np.load("model.npz") as model:
    p = lstm.Parameters.from_dict({name: model[name] for name in lstm.Parameters.names})
    weight, bias = model["readout.weight"], model["readout.bias"]


def predict(x):
    """(steps, batch, 1) of float32 to the same."""
    outputs, _ = lstm.infer(p, x)
    return outputs @ weight.T + bias


if __name__ == "__main__":
    with np.load("check.npz") as check:
        print(abs(predict(check["x"]) - check["expected"]).max())
    imported = {name.partition(".")[0] for name in sys.modules} - sys.stdlib_module_names
    print(", ".join(sorted(name for name in imported if not name.startswith("_"))))
'''


class Echo(nn.Module):
    """Repeats its input, `DELAY` steps later."""

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.rnn, self.readout = nn.LSTM(1, hidden), nn.Linear(hidden, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        outputs, _ = self.rnn(x)
        return self.readout(outputs)


def train(hidden: int, updates: int) -> tuple[Echo, float]:
    """The model, and the mean squared error of its last updates."""
    model = Echo(hidden)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    errors = []
    for _ in range(updates):
        x = 2 * torch.rand(STEPS, BATCH, 1) - 1
        loss = nn.functional.mse_loss(model(x)[DELAY:], x[:-DELAY])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        errors.append(loss.item())
    return model, float(np.mean(errors[-10:]))


def export(model: Echo, folder: Path) -> str:
    """Writes all that `predict.py` needs, and what PyTorch computes to compare with; returns the level of the proof."""
    state_dict = model.state_dict()
    arrays = read("lstm", state_dict, prefix="rnn.")
    arrays |= {name: array.numpy() for name, array in state_dict.items() if name.startswith("readout.")}
    np.savez(folder / "model.npz", **arrays)
    x = 2 * torch.rand(10 * STEPS, 5, 1) - 1
    with torch.no_grad():
        np.savez(folder / "check.npz", x=x.numpy(), expected=model(x).numpy())
    (folder / "predict.py").write_text(PREDICT, encoding="utf-8")
    return lstmgen.build("lstm", out=folder).level


@click.command()
@click.argument("folder", required=False, type=click.Path(path_type=Path, file_okay=False))
@click.option("--hidden", default=16, show_default=True, type=click.IntRange(min=1))
@click.option("--updates", default=300, show_default=True, type=click.IntRange(min=1))
@click.option("--seed", default=0, show_default=True, type=click.IntRange(min=0))
def main(folder: Path | None, hidden: int, updates: int, seed: int) -> None:
    """Train in PyTorch and run without it. FOLDER is where files go, a new temporary one by default."""
    torch.manual_seed(seed)
    model, error = train(hidden, updates)
    print(f"nn.LSTM(1, {hidden}) repeats its input {DELAY} steps later, mean squared error {error:.4f}.")

    folder = folder or Path(tempfile.mkdtemp(prefix="from_torch_"))
    folder.mkdir(parents=True, exist_ok=True)
    level = export(model, folder)
    print(f"Written to {folder}:")
    for name, what in (
        ("lstm_numpy.py", f"the kernels, proven at level {level}"),
        ("model.npz", "the parameters"),
        ("predict.py", "the model"),
    ):
        print(f"  {name:<14}{(folder / name).stat().st_size / 1000:5.1f} kB  {what}")

    run = [sys.executable, "predict.py"]
    printed = subprocess.run(run, cwd=folder, check=True, text=True, stdout=subprocess.PIPE).stdout
    difference, imported = printed.splitlines()
    print("The same inputs in PyTorch, and in a new Python process by these files:")
    print(f"  largest difference: {float(difference):.1e}")
    print(f"  imported packages: {imported}")
    if not float(difference) < 1e-5:
        raise click.ClickException("the outputs differ by more than rounding")


if __name__ == "__main__":
    main()
