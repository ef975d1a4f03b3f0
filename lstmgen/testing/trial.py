"""One generated module with everything that a call of it takes, and what it should give."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from types import ModuleType
from typing import Any

import numpy as np

from lstmgen.backends.base import ON_HOST, Transfer, transfer_of
from lstmgen.calculus.interpreter import derived_sizes, size_names
from lstmgen.calculus.reverse import Gradient
from lstmgen.calculus.unroll import run, run_adjoint
from lstmgen.declare.declaration import Declaration
from lstmgen.declare.symbols import Value
from lstmgen.pipeline import Compiled

Array = Any
Arrays = dict[str, Array]
DTYPES = (np.float32, np.float64)
POLICIES = ("save", "recompute")


@dataclass(frozen=True)
class Trial:
    """A module, its parameters, and arrays by name for every argument of its functions, where it takes them."""

    module: ModuleType
    declaration: Declaration
    p: Any
    inputs: Arrays
    initial: Arrays
    d_outputs: Arrays
    d_final: Arrays

    def forward(self, workspace: Any = None, policy: str = "save") -> tuple[Arrays, Any]:
        """Outputs and final states by tensor, and the residuals that this policy leaves."""
        initial = self.state(self.initial)
        outputs, final, residuals = self.module.forward(
            self.p, *self.inputs.values(), initial=initial, residuals=policy, workspace=workspace, **self.start
        )
        return self.named("output", outputs) | {f"final {k}": v for k, v in final._asdict().items()}, residuals

    def backward(self, residuals: Any) -> Arrays:
        """All gradients by tensor."""
        return by_tensor(self.module.backward(self.p, residuals, self.seeds, d_final=self.state(self.d_final)))

    def infer(self, workspace: Any = None) -> Arrays:
        """What inference gives, and after it the first step alone."""
        initial = self.state(self.initial)
        outputs, final = self.module.infer(
            self.p, *self.inputs.values(), initial=initial, workspace=workspace, **self.start
        )
        found = self.named("inferred", outputs) | {f"inferred final {k}": v for k, v in final._asdict().items()}
        if self.steps:
            firsts = [array[0] for array in self.inputs.values()]
            output, state = self.module.step(self.p, *firsts, state=initial, **self.start)
            found |= self.named("stepped", output) | {f"stepped {k}": v for k, v in state._asdict().items()}
        return found

    def run(self, workspace: Any = None, policy: str = "save") -> Arrays:
        """Everything that the module computes, by tensor."""
        results, residuals = self.forward(workspace, policy)
        return results | self.backward(residuals) | self.infer(workspace)

    def state(self, arrays: Mapping[str, Array]) -> Any:
        """Arrays as a State."""
        return self.module.State(**arrays)

    @property
    def seeds(self) -> Any:
        """What backward takes for d_outputs."""
        several = len(self.d_outputs) > 1
        return self.module.Outputs(**self.d_outputs) if several else next(iter(self.d_outputs.values()))

    @property
    def start(self) -> dict[str, int]:
        """The argument ``start`` for a cell that uses the index of a step."""
        return {"start": 2} if self.declaration.step_index is not None else {}

    @property
    def steps(self) -> int:
        """The number of steps."""
        return int(next(iter(self.inputs.values())).shape[0])

    def arguments(self) -> Arrays:
        """Every array that a call reads, by argument."""
        return (
            {"p.flat": self.p.flat, **self.inputs}
            | {f"initial.{name}": array for name, array in self.initial.items()}
            | {f"d_outputs.{name}": array for name, array in self.d_outputs.items()}
            | {f"d_final.{name}": array for name, array in self.d_final.items()}
        )

    def with_arrays(self, change: Callable[[Array], Array]) -> Trial:
        """The same trial with every array but the parameters changed."""
        groups = (self.inputs, self.initial, self.d_outputs, self.d_final)
        changed = [{name: change(array) for name, array in group.items()} for group in groups]
        return replace(self, inputs=changed[0], initial=changed[1], d_outputs=changed[2], d_final=changed[3])

    def named(self, word: str, outputs: Any) -> Arrays:
        """What a function returns for the outputs, by tensor."""
        values = outputs if len(self.d_outputs) > 1 else (outputs,)
        return {f"{word} {name}": array for name, array in zip(self.d_outputs, values, strict=True)}


def draw(
    module: ModuleType,
    gradient: Gradient,
    *,
    steps: int = 5,
    rows: int = 3,
    larger: int = 0,
    dtype: Any = np.float64,
    seed: int = 0,
    transfer: Transfer = ON_HOST,
) -> Trial:
    """A trial of small random arrays. Dimensions differ in size, so that exchanged axes are noticed."""
    declaration = gradient.declaration
    sizes = sizes_of(gradient, larger)
    random = np.random.default_rng(seed)

    def normal(value: Value, *lead: int) -> Array:
        shape = (*lead, *(sizes[dim] for dim in value.dims))
        return transfer.to_device(random.standard_normal(shape).astype(dtype))

    chosen = {name: sizes[name] for name in module.Sizes._fields}
    return Trial(
        module,
        declaration,
        module.Parameters.initialize(**chosen, dtype=dtype, seed=seed),
        {value.name: normal(value, steps, rows) for value in declaration.inputs},
        {state.name: normal(state.next, rows) for state in declaration.states},
        {value.name: normal(value, steps, rows) for value in declaration.outputs},
        {state.name: normal(state.next, rows) for state in declaration.states},
    )


def sizes_of(gradient: Gradient, larger: int = 0) -> dict[str, int]:
    """A size for every dimension."""
    declaration, primal = gradient.declaration, gradient.primal
    names = size_names(declaration, primal)
    sizes = {name: 2 + index % 4 + larger for index, name in enumerate(names)} | declaration.fixed_sizes
    for dim, parts in derived_sizes(primal).items():
        sizes[dim] = int(np.prod([sizes[part] for part in parts]))
    return sizes


def by_tensor(gradients: Any) -> Arrays:
    """All arrays of what backward returns."""
    return (
        {f"d_{name}": getattr(gradients.parameters, name) for name in gradients.parameters.names}
        | {f"d_{name}": array for name, array in gradients.inputs._asdict().items()}
        | {f"d_initial {name}": array for name, array in gradients.initial._asdict().items()}
    )


def copied(arrays: Mapping[str, Array]) -> Arrays:
    """Copies of arrays, by the same names."""
    return {name: array.copy() for name, array in arrays.items()}


def differences(found: Mapping[str, Array], expected: Mapping[str, Array]) -> Iterator[str]:
    """Which tensors are not what they should be, by more than the order of a sum makes."""
    if found.keys() != expected.keys():
        yield f"there are {', '.join(found)} where {', '.join(expected)} should be"
        return
    for name, array in found.items():
        want = expected[name]
        if np.shape(array) != np.shape(want):
            yield f"{name} has the shape {np.shape(array)}, not {np.shape(want)}"
            continue
        if not np.size(want):
            continue
        limit = 1e-4 if array.dtype == np.float32 else 1e-11
        scale = max(1.0, float(np.max(np.abs(want))))
        with np.errstate(all="ignore"):
            error = float(np.max(np.abs(np.asarray(array, float) - want))) / scale
        if not np.isfinite(error):
            yield f"{name} is not finite"
        elif error > limit:
            yield f"{name} is off by {error:.1e} of its largest entry"


@dataclass(frozen=True)
class Made:
    """A cell's module, and what it was made from."""

    compiled: Compiled
    module: ModuleType

    @property
    def transfer(self) -> Transfer:
        """How arrays get to where the module takes them."""
        return transfer_of(self.compiled.backend)

    @property
    def array_type(self) -> type[Any]:
        """The type of the arrays that the module takes and returns."""
        return type(self.transfer.to_device(np.zeros(1)))

    def draw(self, **options: Any) -> Trial:
        """Arrays to call the module with; see :func:`draw`."""
        return draw(self.module, self.compiled.gradient, transfer=self.transfer, **options)

    def on_host(self, arrays: Mapping[str, Array]) -> Arrays:
        """Arrays as NumPy's, by the same names."""
        return {name: self.transfer.to_host(array) for name, array in arrays.items()}

    def differences(self, found: Mapping[str, Array], expected: Mapping[str, Array]) -> Iterator[str]:
        """Which tensors are not what they should be, wherever they lie; see :func:`differences`."""
        return differences(self.on_host(found), self.on_host(expected))

    def expected(self, trial: Trial) -> Arrays:
        """What the equations give, evaluated obviously, by tensor."""
        gradient = self.compiled.gradient
        sizes = sizes_of(gradient) | trial.p.sizes._asdict()
        groups = (trial.p.to_dict(), trial.inputs, trial.initial, trial.d_outputs, trial.d_final)
        p, inputs, initial, d_outputs, d_final = (
            {name: np.asarray(array, float) for name, array in self.on_host(each).items()} for each in groups
        )
        start = trial.start.get("start", 0)
        found = run(gradient.declaration, gradient.primal, sizes, p, inputs, initial, start=start)
        adjoints = run_adjoint(gradient, sizes, found, d_outputs, d_final)
        return (
            {f"output {name}": array for name, array in found.outputs.items()}
            | {f"final {name}": array for name, array in found.final.items()}
            | {f"d_{name}": adjoints.parameters[name] for name in trial.p.names}
            | {f"d_{name}": array for name, array in adjoints.inputs.items()}
            | {f"d_initial {name}": array for name, array in adjoints.initial.items()}
        )


def shared(results: Mapping[str, Any], others: Mapping[str, Any]) -> Iterator[str]:
    """Which results share memory with other arrays."""
    for name, array in results.items():
        for other, its in others.items():
            if np.shares_memory(array, its):
                yield f"{name} shares memory with {other}"


def writeable(array: Any) -> bool:
    """Whether an array can be written to; those of a library that does not say can."""
    return bool(getattr(array.flags, "writeable", True))
