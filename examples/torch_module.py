"""Train a cell of one's own in PyTorch: a generated module as one function that autograd knows.

`Recurrence` wraps whatever lstmgen generates, with any number of inputs, states and outputs. `Recurrent` makes an
`nn.Module` of it, which keeps all parameters in one tensor. Copy both, and the three functions that they use, into your
project. With PyTorch installed:

    python examples/torch_module.py

declares a cell that no library has, compares its gradients with finite differences and trains it. With `--backend cupy`
it does so on a GPU. A module for NumPy takes tensors on the CPU, one for CuPy tensors on a GPU; either way tensors
and arrays share their memory. CuPy then works on the stream that is PyTorch's current one: what PyTorch has asked for
before is done before, and what it asks for afterwards comes after, without either waiting.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import click
import numpy as np
import torch
from torch.autograd.function import once_differentiable

import lstmgen
from lstmgen.api import cell, sigmoid, tanh


@cell("ledger")
def ledger(eq):  # type: ignore[no-untyped-def]
    """Two accounts a unit: every entry goes to one of them, and the cell puts out the balance."""
    x, h_prev = eq.input("x"), eq.state("h")
    left_prev, right_prev = eq.state("left"), eq.state("right")
    k = eq.let("k", sigmoid(eq.affine("k", W=x, U=h_prev)), "which account")
    v = eq.let("v", tanh(eq.affine("v", W=x, U=h_prev)), "entry")
    left = eq.next("left", left_prev + k * (v - left_prev))
    right = eq.next("right", right_prev + (1 - k) * (v - right_prev))
    h = eq.next("h", left - right, "balance")
    eq.output(h)


# These three are all that depends on the back end: NumPy's arrays on the CPU, CuPy's on a GPU.


def to_array(tensor: torch.Tensor | None) -> Any:
    """A tensor as the array that a generated module takes; they share their memory."""
    if tensor is None:
        return None
    tensor = tensor.detach().resolve_neg()
    return _cupy().from_dlpack(tensor) if tensor.is_cuda else tensor.numpy()


def to_tensor(array: Any) -> torch.Tensor:
    """The tensor of an array; they share their memory."""
    return torch.from_numpy(array) if isinstance(array, np.ndarray) else torch.from_dlpack(array)


@contextmanager
def stream_of(tensor: torch.Tensor) -> Iterator[None]:
    """Has CuPy work where PyTorch does: on the tensor's device, on PyTorch's current stream. The CPU has none."""
    if not tensor.is_cuda:
        yield
        return
    cuda, current = _cupy().cuda, torch.cuda.current_stream(tensor.device)
    with cuda.Device(tensor.get_device()), cuda.Stream.from_external(current):
        yield


def _cupy() -> Any:
    return importlib.import_module("cupy")  # for tensors on a GPU alone


class Recurrence(torch.autograd.Function):
    """A generated module run over all steps: `apply(module, sizes, options, flat, *inputs, *initial)`.

    `flat` is `Parameters.flat` as a tensor, `sizes` its `Parameters.sizes`; an initial state that is None stands for
    zeros; `options` are further keywords of `module.forward`. Returns the outputs and then the final states.
    """

    @staticmethod
    def forward(ctx: Any, module: Any, sizes: Any, options: dict[str, Any], flat: Any, *arrays: Any) -> Any:
        ctx.module, ctx.sizes = module, sizes
        ctx.save_for_backward(flat)  # tells when parameters were changed before the backward pass
        ctx.set_materialize_grads(False)
        with stream_of(flat):
            p = module.Parameters(to_array(flat.contiguous()), sizes)
            given = [to_array(tensor) for tensor in arrays]
            inputs = given[: len(module.Inputs._fields)]
            options = {**options, "initial": module.State(*given[len(inputs) :])}
            if any(ctx.needs_input_grad):
                outputs, final, ctx.residuals = module.forward(p, *inputs, **options)
            else:
                outputs, final = module.infer(p, *inputs, **options)
            several = outputs if isinstance(outputs, tuple) else (outputs,)
            return tuple(to_tensor(array) for array in (*several, *final))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *cotangents: Any) -> Any:
        (flat,) = ctx.saved_tensors
        with stream_of(flat):
            p = ctx.module.Parameters(to_array(flat.contiguous()), ctx.sizes)
            given = [to_array(tensor) for tensor in cotangents]
            outputs = len(given) - len(ctx.module.State._fields)
            d_outputs = given[0] if outputs == 1 else ctx.module.Outputs(*given[:outputs])
            grads = ctx.module.backward(p, ctx.residuals, d_outputs, d_final=ctx.module.State(*given[outputs:]))
            found = (None, None, None, grads.parameters.flat, *grads.inputs, *grads.initial)
            wanted = zip(found, ctx.needs_input_grad, strict=True)
            return tuple(to_tensor(array) if needed else None for array, needed in wanted)


class Recurrent(torch.nn.Module):
    """A generated module as a layer: `outputs, final = layer(x, initial=None)`, as its own `forward` gives them.

    Start values are the cell's, in float32 (`.double()` makes it float64), and follow `torch.manual_seed`.
    """

    def __init__(self, module: ModuleType, **sizes: int) -> None:
        super().__init__()
        p = module.Parameters.initialize(**sizes, seed=int(torch.randint(2**31, ())))
        self.module, self.sizes, self.flat = module, p.sizes, torch.nn.Parameter(to_tensor(p.flat))

    def forward(
        self, *inputs: torch.Tensor, initial: Iterable[torch.Tensor | None] | None = None, **options: Any
    ) -> Any:
        module: Any = self.module
        flat = self.flat if torch.is_grad_enabled() else self.flat.detach()  # without gradients nothing is saved
        arrays = (*module.Inputs(*inputs), *module.State(*(initial or ())))
        results = Recurrence.apply(module, self.sizes, options, flat, *arrays)
        outputs = len(results) - len(module.State._fields)
        final = module.State(*results[outputs:])
        return (results[0] if outputs == 1 else module.Outputs(*results[:outputs])), final


def check(module: Any) -> None:
    """Compares every gradient with finite differences; raises where they differ."""
    layer = Recurrent(module, features=2, hidden=3).double()
    x = torch.randn(5, 4, 2, dtype=torch.float64, requires_grad=True)
    initial = [torch.randn(4, 3, dtype=torch.float64, requires_grad=True) for _ in module.State._fields]
    torch.autograd.gradcheck(
        lambda *tensors: Recurrence.apply(module, layer.sizes, {}, *tensors), (layer.flat, x, *initial)
    )


def two_sensors(steps: int, batch: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Readings that two sensors send in turns, in no order; wanted is the difference of the latest two.

    Returns (steps, batch, 2), a reading and its sensor, 1 or -1; and (steps, batch).
    """
    reading = 2 * torch.rand(steps, batch) - 1
    first = torch.rand(steps, batch) < 0.5
    latest, wanted = torch.zeros(2, batch), []
    for now, from_first in zip(reading, first, strict=True):
        latest = torch.where(torch.stack([from_first, ~from_first]), now, latest)
        wanted.append(latest[0] - latest[1])
    return torch.stack([reading, torch.where(first, 1.0, -1.0)], dim=-1), torch.stack(wanted)


def train(module: ModuleType, *, hidden: int, updates: int, steps: int = 20, batch: int = 64) -> Iterable[float]:
    """The mean squared error of each update, on readings never seen before."""
    layer, readout = Recurrent(module, features=2, hidden=hidden), torch.nn.Linear(hidden, 1)
    optimizer = torch.optim.Adam([*layer.parameters(), *readout.parameters()], lr=0.01)
    for _ in range(updates):
        x, wanted = two_sensors(steps, batch)
        outputs, _ = layer(x)
        loss = torch.nn.functional.mse_loss(readout(outputs)[..., 0], wanted)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        yield loss.item()


@click.command()
@click.option("--hidden", default=16, show_default=True, type=click.IntRange(min=1))
@click.option("--updates", default=400, show_default=True, type=click.IntRange(min=1))
@click.option("--seed", default=0, show_default=True, type=click.IntRange(min=0))
@click.option("--backend", default="numpy", show_default=True, type=click.Choice(["numpy", "cupy"]))
def main(hidden: int, updates: int, seed: int, backend: str) -> None:
    """Train a cell of one's own in PyTorch; with `--backend cupy` on a GPU."""
    if backend == "cupy":
        torch.set_default_device("cuda")
    torch.manual_seed(seed)
    module = lstmgen.load(ledger, backend=backend)
    check(module)
    print("The gradients of `ledger` agree with finite differences (torch.autograd.gradcheck).")

    print("Two sensors share a wire. Mean squared error of the difference of their latest readings:")
    errors: list[float] = []
    for error in train(module, hidden=hidden, updates=updates):
        errors.append(error)
        if len(errors) in (1, updates) or len(errors) % 100 == 0:
            print(f"  update {len(errors):4}  {np.mean(errors[-10:]):.5f}")


if __name__ == "__main__":
    main()
