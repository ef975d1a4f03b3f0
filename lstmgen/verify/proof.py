"""Proves a generated module: emitted code, equations and finite differences must agree.

The module is run at a random sample. Its outputs and gradients are held against the interpreter (the same equations,
evaluated obviously), its gradients against central differences of the loss over every entry of every parameter, input
and initial state, and against the Taylor remainder; its float32 against its float64 code.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import ModuleType
from typing import Any

import numpy as np

from lstmgen.backends.base import ON_HOST, Transfer
from lstmgen.calculus.reverse import Gradient
from lstmgen.calculus.unroll import run, run_adjoint
from lstmgen.declare.operations import StopGradient
from lstmgen.verify.declared import run_declared
from lstmgen.verify.differences import central_differences, settled_differences, taylor_test
from lstmgen.verify.report import CHUNKED, RECOMPUTED, Comparison, Report, Taylor
from lstmgen.verify.sample import Sample, draw

Array = Any
INTERPRETER_LIMIT = 1e-11
DIFFERENCES_LIMIT = 1e-7
SINGLE_LIMIT = 2e-5
AMPLIFIED_LIMIT = 50.0  # float32 has this many roundings of its own for one of the sample's


def prove_module(
    gradient: Gradient,
    module: ModuleType,
    backend: str,
    level: str,
    *,
    transfer: Transfer = ON_HOST,
    seed: int = 0,
) -> Report:
    """The findings about ``module``, which was emitted from ``gradient``; see :class:`Report`.

    ``transfer`` is how arrays get to where the module takes them.
    """
    began = time.perf_counter()
    sample = draw(gradient, seed=seed)
    emitted = run_module(module, sample, np.float64, transfer=transfer)
    expected = _interpreted(gradient, sample)
    interpreted = tuple(compare(name, emitted[name], expected[name], INTERPRETER_LIMIT) for name in expected)
    for policy, way in (("save", CHUNKED), ("recompute", RECOMPUTED)):
        if "_CHUNK_ROWS" not in vars(module):
            break  # a module of another make, which has no chunks
        again = _in_chunks(module, sample, policy, transfer)
        found = (compare(name, again[name], expected[name], INTERPRETER_LIMIT) for name in expected)
        interpreted += tuple(replace(each, way=way) for each in found)

    against = _against_differences(sample, emitted, _Loss(gradient, module, sample, transfer))
    largest = against.largest
    single = run_module(module, sample, np.float32, transfer=transfer)
    whole = max(largest, max(float(np.max(np.abs(emitted[name]), initial=0.0)) for name in emitted))
    # A cell that amplifies rounding may be off by more: as measured by what rounding the sample does to float64.
    rounded = run_module(module, _rounded(sample), np.float64, transfer=transfer)
    amplified = max(float(np.max(np.abs(rounded[name] - emitted[name]), initial=0.0)) for name in emitted) / (
        whole or 1.0
    )
    limit = max(SINGLE_LIMIT, AMPLIFIED_LIMIT * amplified)
    compared = tuple(compare(name, single[name].astype(float), rounded[name], limit, least=whole) for name in emitted)
    return Report(
        gradient.declaration.name,
        backend,
        level,
        str(sample),
        _declared(gradient, sample),
        interpreted,
        against.differenced,
        compared,
        against.taylor,
        against.entries,
        time.perf_counter() - began,
    )


def prove_derivation(gradient: Gradient, backend: str, level: str, *, seed: int = 0) -> Report:
    """The findings about the derived equations alone, where nothing can run what was emitted from them.

    Outputs are those of the interpreter, and its gradients are held against finite differences.
    """
    began = time.perf_counter()
    sample = draw(gradient, seed=seed)
    against = _against_differences(sample, _interpreted(gradient, sample), _InterpretedLoss(gradient, sample))
    return Report(
        gradient.declaration.name,
        backend,
        level,
        str(sample),
        _declared(gradient, sample),
        (),
        against.differenced,
        (),
        against.taylor,
        against.entries,
        time.perf_counter() - began,
    )


@dataclass(frozen=True)
class _Differenced:
    """Gradients held against finite differences; ``largest`` is their largest entry, ``entries`` how many there are."""

    differenced: tuple[Comparison, ...]
    taylor: Taylor
    largest: float
    entries: int


def _against_differences(sample: Sample, found: Mapping[str, Array], loss: Callable[[], float]) -> _Differenced:
    point = {
        **sample.parameters,
        **sample.inputs,
        **{f"initial {name}": array for name, array in sample.initial.items()},
    }
    gradients = {name: found[f"d_{name}"] for name in point}
    largest = max((float(np.max(np.abs(array), initial=0.0)) for array in gradients.values()), default=1.0)
    differenced = tuple(
        _differenced(f"d_{name}", gradients[name], loss, array, 1e-3 * largest) for name, array in point.items()
    )
    entries = sum(array.size for array in point.values())
    return _Differenced(differenced, taylor_test(loss, point, gradients), largest, entries)


def _in_chunks(module: ModuleType, sample: Sample, policy: str, transfer: Transfer) -> dict[str, Array]:
    """What :func:`run_module` finds where the steps do not fit into one chunk, the last of which is shorter."""
    names = vars(module)
    usual = {name: names[name] for name in ("_CHUNK_ROWS", "_CHUNK_STEPS")}
    try:
        names.update(_CHUNK_ROWS=1, _CHUNK_STEPS=max(1, sample.steps - 1))
        return run_module(module, sample, np.float64, policy, transfer)
    finally:
        names.update(usual)


def _rounded(sample: Sample) -> Sample:
    """The sample as float32 can hold it."""

    def narrow(arrays: Mapping[str, Array]) -> dict[str, Array]:
        return {name: array.astype(np.float32).astype(np.float64) for name, array in arrays.items()}

    return replace(
        sample,
        parameters=narrow(sample.parameters),
        inputs=narrow(sample.inputs),
        initial=narrow(sample.initial),
        d_outputs=narrow(sample.d_outputs),
        d_final=narrow(sample.d_final),
    )


def _differenced(tensor: str, gradient: Array, loss: Callable[[], float], array: Array, least: float) -> Comparison:
    """A gradient against finite differences, which are taken with more care where one step does not bear it out."""
    found = compare(tensor, gradient, central_differences(loss, array), DIFFERENCES_LIMIT, least=least)
    if found.passed:
        return found
    return compare(tensor, gradient, settled_differences(loss, array), DIFFERENCES_LIMIT, least=least)


def _declared(gradient: Gradient, sample: Sample) -> tuple[Comparison, ...]:
    """The graph's outputs and final states against those of the equations as they were written."""
    outputs, final = run_declared(
        gradient.declaration, sample.sizes, sample.parameters, sample.inputs, sample.initial, sample.start
    )
    trajectory = sample.trajectory
    return (
        *(compare(f"output {name}", trajectory.outputs[name], outputs[name], INTERPRETER_LIMIT) for name in outputs),
        *(compare(f"final {name}", trajectory.final[name], final[name], INTERPRETER_LIMIT) for name in final),
    )


def compare(tensor: str, found: Array, expected: Array, limit: float, *, least: float = 1e-3) -> Comparison:
    """The worst error of ``found``, relative to the largest entry expected or to ``least`` if that is larger."""
    found, expected = np.asarray(found), np.asarray(expected)
    if found.shape != expected.shape:
        return Comparison(tensor, expected.shape, float("inf"), limit)
    if not expected.size:
        return Comparison(tensor, expected.shape, 0.0, limit)
    scale = max(float(np.max(np.abs(expected))), least) or 1.0  # all may be zero, and rightly so
    with np.errstate(all="ignore"):  # what is not finite is a finding, not a warning
        error = np.abs(found - expected) / scale
    error = np.where(np.isfinite(found) & np.isfinite(expected), error, np.inf)
    where = np.unravel_index(int(np.argmax(error)), error.shape)
    return Comparison(tensor, expected.shape, float(error[where]), limit, tuple(map(int, where)))


def run_module(
    module: ModuleType, sample: Sample, dtype: Any, policy: str = "save", transfer: Transfer = ON_HOST
) -> dict[str, Array]:
    """Outputs, final states and all gradients of one forward and one backward, and what ``infer`` and ``step`` give.

    ``policy`` says which residuals forward leaves for backward.
    """

    def cast(arrays: Mapping[str, Array]) -> dict[str, Array]:
        return {name: transfer.to_device(array.astype(dtype)) for name, array in arrays.items()}

    names = {name: sample.sizes[name] for name in module.Sizes._fields}
    p = module.Parameters.initialize(**names, dtype=dtype, seed=0)
    for name, array in cast(sample.parameters).items():
        setattr(p, name, array)
    inputs, initial = list(cast(sample.inputs).values()), module.State(**cast(sample.initial))
    first = {"start": sample.start} if sample.start else {}
    outputs, final, residuals = module.forward(p, *inputs, initial=initial, residuals=policy, **first)
    d_outputs = cast(sample.d_outputs)
    several = len(d_outputs) > 1
    gradients = module.backward(
        p,
        residuals,
        module.Outputs(**d_outputs) if several else next(iter(d_outputs.values())),
        d_final=module.State(**cast(sample.d_final)),
    )
    inferred, inferred_final = module.infer(p, *inputs, initial=initial, **first)
    stepped, state = [], initial
    for t in range(sample.steps):
        this = {"start": sample.start + t} if first else {}
        output, state = module.step(p, *(array[t] for array in inputs), state=state, **this)
        stepped.append(output if several else (output,))
    found: dict[str, Array] = {}
    for index, name in enumerate(d_outputs):
        found[f"output {name}"] = outputs[index] if several else outputs
        found[f"inferred {name}"] = inferred[index] if several else inferred
        found[f"stepped {name}"] = np.stack([transfer.to_host(output[index]) for output in stepped])
    for name in sample.initial:
        found[f"final {name}"] = getattr(final, name)
        found[f"inferred final {name}"] = getattr(inferred_final, name)
    found |= {f"d_{name}": getattr(gradients.parameters, name) for name in sample.parameters}
    found |= {f"d_{name}": getattr(gradients.inputs, name) for name in sample.inputs}
    found |= {f"d_initial {name}": getattr(gradients.initial, name) for name in sample.initial}
    return {name: np.asarray(transfer.to_host(array)) for name, array in found.items()}


def _interpreted(gradient: Gradient, sample: Sample) -> dict[str, Array]:
    trajectory = sample.trajectory
    adjoints = run_adjoint(gradient, sample.sizes, trajectory, sample.d_outputs, sample.d_final)
    found = {f"output {name}": array for name, array in trajectory.outputs.items()}
    found |= {f"final {name}": array for name, array in trajectory.final.items()}
    found |= {f"inferred {name}": array for name, array in trajectory.outputs.items()}
    found |= {f"stepped {name}": array for name, array in trajectory.outputs.items()}
    found |= {f"inferred final {name}": array for name, array in trajectory.final.items()}
    found |= {f"d_{name}": array for name, array in adjoints.parameters.items()}
    found |= {f"d_{name}": array for name, array in adjoints.inputs.items()}
    found |= {f"d_initial {name}": array for name, array in adjoints.initial.items()}
    return found


class _InterpretedLoss:
    """The loss whose gradient the sample's ``d_outputs`` and ``d_final`` make: a weighted sum of all results.

    What stands under ``stop_gradient``, a constant of the calculus, is held at the unperturbed run.
    """

    def __init__(self, gradient: Gradient, sample: Sample) -> None:
        self.gradient, self.sample = gradient, sample
        held = [each.target for each in gradient.primal.equations if type(each.expression) is StopGradient]
        # Copies: the sample's arrays, which a value under stop_gradient may be, are perturbed in place.
        steps = sample.trajectory.steps if held else ()
        self.frozen = [{value: np.array(values[value]) for value in held} for values in steps]

    def __call__(self) -> float:
        sample = self.sample
        trajectory = run(
            self.gradient.declaration,
            self.gradient.primal,
            sample.sizes,
            sample.parameters,
            sample.inputs,
            sample.initial,
            self.frozen,
            sample.start,
        )
        return _weighted(sample, list(trajectory.outputs.values()), trajectory.final)


def _weighted(sample: Sample, outputs: Sequence[Array], final: Mapping[str, Array]) -> float:
    total = sum(float(np.sum(a * b)) for a, b in zip(outputs, sample.d_outputs.values(), strict=True))
    return total + sum(float(np.sum(final[name] * array)) for name, array in sample.d_final.items())


class _Loss:
    """The same loss, by the emitted forward, except where something stands under ``stop_gradient``.

    Only the interpreter can hold that.
    """

    def __init__(self, gradient: Gradient, module: ModuleType, sample: Sample, transfer: Transfer = ON_HOST) -> None:
        self.module, self.sample, self.transfer = module, sample, transfer
        interpreted = _InterpretedLoss(gradient, sample)
        self.interpreted = interpreted if interpreted.frozen else None
        names = {name: sample.sizes[name] for name in module.Sizes._fields}
        self.p = module.Parameters.initialize(**names, dtype=np.float64, seed=0)

    def __call__(self) -> float:
        if self.interpreted is not None:
            return self.interpreted()
        sample = self.sample
        for name, array in sample.parameters.items():
            setattr(self.p, name, array)
        to_device, to_host = self.transfer.to_device, self.transfer.to_host
        start = self.module.State(**{name: to_device(array) for name, array in sample.initial.items()})
        index = {"start": sample.start} if sample.start else {}
        result, last = self.module.infer(self.p, *map(to_device, sample.inputs.values()), initial=start, **index)
        outputs = [to_host(array) for array in (result if len(sample.d_outputs) > 1 else (result,))]
        return _weighted(sample, outputs, {name: to_host(array) for name, array in last._asdict().items()})
