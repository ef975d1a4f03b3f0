"""From a cell to what is measured of it: its modules, its floor, and the proof that its reference can be trusted.

Here SymPy and the stages of lstmgen are at work; all that comes out is plain data.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from lstmgen import finding, naming, pipeline, plugins
from lstmgen.bench import ablation, generated
from lstmgen.bench.check import LIMITS, Deviations, deviations
from lstmgen.bench.derivation import derive_floor
from lstmgen.bench.implementation import TRAINING, Arrays
from lstmgen.bench.problem import Problem, draw
from lstmgen.bench.shapes import Dimensions, Shape
from lstmgen.bench.subject import Entries, Subject
from lstmgen.calculus.interpreter import derived_sizes, size_names
from lstmgen.calculus.reverse import Gradient
from lstmgen.calculus.unroll import run, run_adjoint
from lstmgen.declare.cell import Cell
from lstmgen.declare.declaration import Declaration
from lstmgen.errors import ProofError, UserError
from lstmgen.verify.sample import choose_sizes

SMALL = Shape(steps=5, batch=3, features=3, hidden=4)


@dataclass(frozen=True)
class Prepared:
    """``variants`` are modules of other schedules by what differs, empty unless they were asked for."""

    subject: Subject
    gradient: Gradient
    variants: Mapping[str, str]


def prepare(
    cell: Cell, options: Mapping[str, Any], *, chosen: Mapping[str, int] | None = None, ablate: bool = False
) -> Prepared:
    """Compiles a cell in every way that is needed.

    ``chosen`` are sizes by dimension. Raises :class:`UserError` for mistakes in the cell, and LG603 for a size of a
    dimension that the cell does not have, or that is not free to choose.
    """
    backend = finding.find_backend("numpy")
    compiled = pipeline.compile_cell(cell, backend, options)
    gradient, declaration = compiled.gradient, compiled.declaration
    dimensions = Dimensions(
        size_names(declaration, compiled.primal),
        tuple(declaration.fixed_sizes.items()),
        tuple(derived_sizes(compiled.primal).items()),
    )
    _check_sizes(cell.name, dimensions, chosen or {})
    plain = ablation.for_target(backend, ablation.plainest(backend.target))
    subject = Subject(
        declaration.name,
        declaration.changed_options,
        compiled.digest,
        compiled.module,
        compiled.source,
        pipeline.compile_cell(cell, plain, options).source,
        _entries(declaration.inputs),
        tuple((state.name, tuple(state.next.dims)) for state in declaration.states),
        _entries(declaration.outputs),
        dimensions,
        derive_floor(gradient),
        _entries(gradient.residuals),
        _is_built_in(declaration, compiled.digest),
        dict(chosen or {}),
    )
    targets = ablation.variants(backend.target) if ablate else {}
    variants = {
        name: pipeline.compile_cell(cell, ablation.for_target(backend, target), options).source
        for name, target in targets.items()
    }
    return Prepared(subject, gradient, _distinct(variants, subject.source))


def hold_against_equations(prepared: Prepared) -> None:
    """Raises :class:`ProofError` unless both modules compute, at a small shape in float64, what the equations say."""
    gradient, declaration = prepared.gradient, prepared.gradient.declaration
    subject = replace(prepared.subject, chosen=choose_sizes(declaration, gradient.primal))
    problem = _anywhere(draw(subject, SMALL, "float64"))
    expected = interpreted(gradient, problem)
    for what, source in (("", subject.source), (" of the plainest schedule", subject.plain)):
        timed = generated.build(subject, problem, source=source)[TRAINING]
        assert timed.arrays is not None
        wrong = beyond(deviations(timed.arrays(timed.call()), expected), LIMITS["float64"])
        if wrong:
            raise ProofError(f"{subject.module}{what} does not compute the equations: {spell(wrong)}")


def interpreted(gradient: Gradient, problem: Problem) -> Arrays:
    """Every result by tensor, from the equations, evaluated obviously."""
    trajectory = run(
        gradient.declaration, gradient.primal, problem.sizes, problem.parameters, problem.inputs, problem.initial
    )
    adjoints = run_adjoint(gradient, problem.sizes, trajectory, problem.d_outputs, problem.d_final)
    return (
        {f"output {name}": array for name, array in trajectory.outputs.items()}
        | {f"final {name}": array for name, array in trajectory.final.items()}
        | {f"d_{name}": array for name, array in adjoints.parameters.items()}
        | {f"d_{name}": array for name, array in adjoints.inputs.items()}
        | {f"d_initial {name}": array for name, array in adjoints.initial.items()}
    )


def beyond(found: Deviations, limit: float) -> Deviations:
    """The deviations that exceed a limit."""
    return {name: error for name, error in found.items() if not error <= limit}


def spell(wrong: Deviations) -> str:
    """Deviations as text, the worst first."""
    worst = sorted(wrong.items(), key=lambda each: -each[1])
    more = f" and {len(worst) - 4} more" if len(worst) > 4 else ""
    return ", ".join(f"{name} by {error:.1e}" for name, error in worst[:4]) + more


def _anywhere(problem: Problem) -> Problem:
    """The same problem with parameters that are nowhere zero, as start values may be."""
    random = np.random.default_rng(3)
    moved = {name: array + 0.6 * random.standard_normal(array.shape) for name, array in problem.parameters.items()}
    return replace(problem, parameters=moved)


def _entries(values: Any) -> Entries:
    return tuple((value.name, tuple(value.dims)) for value in values)


def _distinct(variants: Mapping[str, str], source: str) -> dict[str, str]:
    """The variants that are modules of their own: a decision that a cell gives no occasion for changes nothing."""
    found: dict[str, str] = {}
    for name, text in variants.items():
        if text != source and text not in found.values():
            found[name] = text
    return found


def _is_built_in(declaration: Declaration, digest: str) -> bool:
    """Whether this is the cell that lstmgen itself has under this name: a user's may have the same name."""
    built_in = {each.name for each in plugins.available("cells") if each.target.startswith("lstmgen.cells.")}
    if declaration.name not in built_in:
        return False
    try:
        other = finding.find_cell(declaration.name).trace(**dict(declaration.changed_options))
    except UserError:  # it has other options
        return False
    return naming.digest(other) == digest


def _check_sizes(cell: str, dimensions: Dimensions, chosen: Mapping[str, int]) -> None:
    for name in chosen:
        if name in dimensions.free:
            continue
        parts = dict(dimensions.derived).get(name)
        fixed = dict(dimensions.fixed).get(name)
        free = f"it has {', '.join(dimensions.free)}"
        if parts:
            message, hint = f"{name} is {' * '.join(parts)} in cell {cell!r}", f"choose {' and '.join(parts)}"
        elif fixed:
            message, hint = f"{name} is {fixed} in cell {cell!r}, by a constant", free
        else:
            message, hint = f"cell {cell!r} has no dimension {name!r} to choose", free
        raise UserError(message, code="LG603", hint=hint)
