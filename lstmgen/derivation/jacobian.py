"""What a state's Jacobian says: the direct path from step to step, and how products of Jacobians grow or vanish.

The paths are read off the calculus' own steps; the curves are computed by generated kernels, which are handed in.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np
from sympy import Expr, Integer, Mul

from lstmgen.calculus.graph import operands_of
from lstmgen.calculus.operations import Contract
from lstmgen.calculus.reverse import Gradient, Step
from lstmgen.declare.canonical import rebuild
from lstmgen.declare.declaration import Declaration, State
from lstmgen.declare.shapes import dims_of
from lstmgen.declare.symbols import SHARED_ROLES, Role, Value
from lstmgen.derivation.affine import MATRIX_TIMES_VECTOR
from lstmgen.derivation.document import Block, Equation, Figure, Inline, Paragraph, Section, Table
from lstmgen.derivation.formula import (
    Call,
    Derivative,
    Formula,
    Number,
    Power,
    Product,
    Relation,
    Sum,
    Symbol,
    Times,
    Transposed,
)
from lstmgen.derivation.narration import Derivation
from lstmgen.derivation.page import listed
from lstmgen.derivation.paths import direct_path, gates_of, has_other_ways, reached, ways
from lstmgen.derivation.plot import Panel, Series, plot
from lstmgen.derivation.ranges import ranges
from lstmgen.derivation.signs import DIAGONAL, IDENTITY

Array = Any
FormulaOf = Callable[[Expr], Formula]
BIASES = (0.0, 1.0, 2.0, 3.0)
SCALES = (1.0, 3**0.5)
STEPS, HIDDEN = 100, 64
EVERY = 5  # steps from one norm to the next: decompositions are what takes time
_MOST_WAYS = 2  # of a Jacobian that is written out
_DOT = ((0,), (0,), ())
_WHOLE = "No other way leads on from step to step: what holds of this path holds of the whole Jacobian. "


@dataclass(frozen=True)
class Curve:
    """The spectral norms of products of Jacobians over more and more steps; ``label`` tells curves from each other."""

    label: str
    norms: tuple[float, ...]


@dataclass(frozen=True)
class Curves:
    """Curves of a cell by the bias of its gate, and of simple recurrent networks by the scale of their matrix.

    ``paths`` follow the state ``state`` alone, all other states held fixed; ``full`` are of all states together. ``at``
    are the numbers of steps that norms are taken over.
    """

    state: str
    hidden: int
    at: tuple[int, ...]
    paths: tuple[Curve, ...]
    full: tuple[Curve, ...]
    plain: tuple[Curve, ...]


def carried(gradient: Gradient) -> tuple[State, Value] | None:
    """The state whose direct path is a gate with a bias, and that bias; None if no state has one."""
    gates = gates_of(gradient.declaration)
    for state in gradient.declaration.states:
        partial = direct_path(gradient, state)
        bias = gates.get(partial) if isinstance(partial, Value) else None
        if bias is not None:
            return state, bias
    return None


def can_be_drawn(declaration: Declaration) -> bool:
    """Whether :func:`curves` can follow a cell: its states are vectors, and ``x`` of ``features`` all its input."""
    vectors = all(len(state.next.dims) == 1 for state in declaration.states)
    return vectors and [value.dims for value in declaration.given] == [("features",)]


def curves(
    module: ModuleType, state: str, bias: str, plain: ModuleType, matrix: str, hidden: int = HIDDEN, steps: int = STEPS
) -> Curves:
    """Norms of products of Jacobians over up to ``steps`` steps, for the biases in :data:`BIASES`.

    ``module`` and ``plain`` are loaded modules for NumPy, of a cell whose states have the dimension ``hidden`` and of a
    simple recurrent network. ``bias`` and ``matrix`` name the parameters that are set to a bias and scaled.
    """
    # Uniform start values within 1/sqrt(hidden) give a recurrent matrix a spectral radius of about 1/sqrt(3).
    paths: list[Curve] = []
    full: list[Curve] = []
    simple: list[Curve] = []
    for value in BIASES:
        parameters = _parameters(module, hidden)
        setattr(parameters, bias, np.full(getattr(parameters, bias).shape, value))
        jacobians, places = one_step_jacobians(module, parameters, steps)
        own = places[state]
        paths.append(Curve(f"bias {value:g}", _norms(jacobians[:, own, own])))
        full.append(Curve(f"bias {value:g}", _norms(jacobians)))
    for scale in SCALES:
        parameters = _parameters(plain, hidden)
        setattr(parameters, matrix, scale * getattr(parameters, matrix))
        jacobians, _ = one_step_jacobians(plain, parameters, steps)
        simple.append(Curve(f"RNN × {scale:.2g}", _norms(jacobians)))
    return Curves(state, hidden, tuple(_measured(steps)), tuple(paths), tuple(full), tuple(simple))


def _parameters(module: ModuleType, hidden: int) -> Any:
    names = module.Sizes._fields
    return module.Parameters.initialize(**dict.fromkeys(names, hidden), dtype=np.float64, seed=0)


def one_step_jacobians(module: ModuleType, parameters: Any, steps: int) -> tuple[Array, dict[str, slice]]:
    """The Jacobian of every step of one run, (steps, entries, entries), and the place of each state among the entries.

    The run is streamed to know the state before each step. Then all steps are rows of one batch, each as often as the
    state has entries, and one backward pass with a one-hot adjoint a row gives every row of every Jacobian, exactly.
    """
    names = tuple(module.State._fields)
    random = np.random.default_rng(0)
    inputs = random.standard_normal((steps, 1, parameters.sizes.features))
    state, before = None, []
    for t in range(steps):
        _, after = module.step(parameters, inputs[t], state=state)
        before.append([np.zeros_like(a) if state is None else b for a, b in zip(after, state or after, strict=True)])
        state = after
    starts = [np.concatenate([each[k] for each in before]) for k in range(len(names))]
    widths = [each.shape[1] for each in starts]
    entries = sum(widths)
    rows = np.repeat(inputs[:, 0], entries, axis=0)[None]
    initial = module.State(*(np.repeat(each, entries, axis=0) for each in starts))
    seeds = np.tile(np.eye(entries), (steps, 1))
    d_final = module.State(*np.split(seeds, np.cumsum(widths)[:-1], axis=1))
    _, _, residuals = module.forward(parameters, rows, initial=initial)
    gradient = module.backward(parameters, residuals, d_final=d_final).initial
    ends = np.cumsum(widths)
    places = {name: slice(end - wide, end) for name, wide, end in zip(names, widths, ends.tolist(), strict=True)}
    return np.concatenate(gradient, axis=1).reshape(steps, entries, entries), places


def _measured(steps: int) -> list[int]:
    """The numbers of steps that norms are taken over: 1, 5, 10, ... and all."""
    return sorted({1, *range(EVERY, steps + 1, EVERY), steps})


def _norms(jacobians: Array) -> tuple[float, ...]:
    """The norms of J_T, J_T J_(T-1) ...: how a gradient at the end reaches so many steps back.

    The product is kept at size 1 and its logarithm apart, so that nothing underflows.
    """
    product, exponent = np.eye(jacobians.shape[1]), 0.0
    measured = _measured(len(jacobians))
    found: list[float] = []
    for back, each in enumerate(jacobians[::-1], 1):
        product = product @ each
        size = float(np.linalg.norm(product))
        if size == 0.0:
            return (*found, *(0.0,) * (len(measured) - len(found)))
        product, exponent = product / size, exponent + float(np.log(size))
        if back in measured:
            # The largest singular value: of a symmetric product its square costs a tenth of a decomposition.
            largest = float(np.linalg.eigvalsh(product @ product.T)[-1])
            found.append(float(np.exp(exponent)) * largest**0.5)
    return tuple(found)


def section(derivation: Derivation, formula_of: FormulaOf, computed: Curves | None = None) -> Section:
    """What the Jacobian of a cell's states says; ``computed`` are its curves, where there are any."""
    gradient = derivation.gradient
    blocks: list[Block] = [
        Paragraph(
            (
                "A gradient that goes back over many steps is multiplied by one Jacobian of the state a step. If these "
                "shrink it, early steps are not learnt from; if they stretch it, it explodes. The direct path is the "
                "part of the Jacobian that leads, unit by unit, through the sums and products of a state's own "
                "equation; gates, and all else that an activation gives under a name of its own, are held fixed.",
            )
        )
    ]
    blocks += [block for state in gradient.declaration.states for block in _direct(gradient, state, formula_of)]
    found = carried(gradient)
    whole = not has_other_ways(gradient)
    if found:
        blocks += _gated(direct_path(gradient, found[0]), formula_of, whole=whole)
    else:
        blocks += _in_general(gradient, whole=whole)
    if computed is not None:
        blocks += _shown(computed)
    return Section("jacobian", "What the state's Jacobian says", tuple(blocks))


def _direct(gradient: Gradient, state: State, formula_of: FormulaOf) -> list[Block]:
    """The direct path of a state, and all ways together where these are few and one leads through a matrix."""
    partial = direct_path(gradient, state)
    of, by = formula_of(state.next), formula_of(state.previous)
    if partial is None and state.next not in reached(gradient, state.previous):
        return [Paragraph(("No way at all leads from ", by, " to ", of, "."))]
    whole = whole_jacobian(gradient, state, formula_of)
    blocks: list[Block] = []
    if partial is None:
        reason = "every way leads through a matrix or through other quantities"
        blocks.append(Paragraph(("From ", by, " to ", of, f" there is no direct path: {reason}.")))
    else:
        formula = Relation((Derivative(of, by), formula_of(partial)), ("=",))
        blocks.append(Equation(formula, f"jacobian-{state.name}", note=("along the direct path",)))
    if whole is not None:
        formula = Relation((Derivative(of, by), whole), ("=",))
        blocks.append(Equation(formula, f"jacobian-{state.name}-whole", note=("in all",)))
        if _is_lasting(gradient, state):
            blocks.append(Paragraph(_of_lasting(gradient, state, formula_of)))
    return blocks


def whole_jacobian(gradient: Gradient, state: State, formula_of: FormulaOf) -> Formula | None:
    """A state's Jacobian by its own previous value, all ways added; None where they are many, or lead past matrices."""
    found = ways(gradient, state, _MOST_WAYS)
    if not found or all(step.partial is not None for way in found for step in way):
        return None
    terms = [_along(way, formula_of) for way in found]
    written = [term for term in terms if term is not None]
    if len(written) < len(terms):
        return None
    return Sum(tuple(("+", term) for term in written)) if len(written) > 1 else written[0]


def _along(way: Sequence[Step], formula_of: FormulaOf) -> Formula | None:
    """The product of the Jacobians along a way, the last first: matrices, and diagonals of local derivatives."""
    factors: list[Formula] = []
    scale: Expr = Integer(1)  # of what comes next, entry by entry
    for step in reversed(way):
        if step.partial is not None and step.operand.dims == step.equation.target.dims:
            scale = rebuild(Mul(scale, step.partial))
            continue
        matrix = _matrix_of(step, formula_of)
        if matrix is None:
            return None
        factors += [*_diagonal(scale, formula_of), matrix]
        scale = Integer(1)
    alone = not factors and _is_number(scale)  # no matrix is on this way
    factors += [*_diagonal(scale, formula_of), *([IDENTITY] if alone else [])]
    return Product(tuple(factors), Times.MATRIX) if len(factors) > 1 else factors[0]


def _matrix_of(step: Step, formula_of: FormulaOf) -> Formula | None:
    """What a step multiplies with that is no diagonal: a matrix, a row for a dot product, a column for a number."""
    product = step.equation.expression
    if step.partial is not None:
        column = not step.operand.dims and len(dims_of(step.partial)) == 1
        return formula_of(step.partial) if column else None
    if not isinstance(product, Contract) or product.values[0] == product.values[1]:
        return None
    left, right = product.values
    if product.axes == MATRIX_TIMES_VECTOR and step.operand == right:
        return formula_of(left)
    if product.axes == _DOT:
        return Transposed(formula_of(left if step.operand == right else right))
    return None


def _diagonal(scale: Expr, formula_of: FormulaOf) -> list[Formula]:
    if scale == 1:
        return []
    return [formula_of(scale) if _is_number(scale) else Call(DIAGONAL, (formula_of(scale),))]


def _is_number(scale: Expr) -> bool:
    return not dims_of(scale)


def _is_lasting(gradient: Gradient, state: State) -> bool:
    """Whether a state's Jacobian is the same at every step: nothing stands in it but parameters and constants."""
    found = _within(gradient, state)
    return bool(found) and all(value.role in SHARED_ROLES for value in found)


def _within(gradient: Gradient, state: State) -> list[Value]:
    """The values that stand in a Jacobian that is written out: in matrices and in local derivatives."""
    steps = [step for way in ways(gradient, state, _MOST_WAYS) or () for step in way]
    found: dict[Value, None] = {}
    for step in steps:
        if step.partial is not None:
            found |= dict.fromkeys(operands_of(step.partial))
        else:
            found |= dict.fromkeys(value for value in operands_of(step.equation.expression) if value != step.operand)
    return list(found)


def _of_lasting(gradient: Gradient, state: State, formula_of: FormulaOf) -> tuple[Inline, ...]:
    constant = [formula_of(value) for value in _within(gradient, state) if value.role == Role.CONSTANT]
    verb = "is" if len(constant) == 1 else "are"
    untrained: tuple[Inline, ...] = (" ", *listed(constant), f" {verb} not trained.") if constant else ()
    return (
        "It is the same at every step, and has no activation in it: its eigenvalues decide what is kept over many "
        "steps, and how long.",
        *untrained,
    )


def _gated(gate: Expr | None, formula_of: FormulaOf, *, whole: bool) -> list[Block]:
    assert gate is not None
    others = "" if whole else "; the other ways through the step can then even make it explode"
    k = Symbol("k")
    name = formula_of(gate)
    return [
        Paragraph(
            (
                "So along the direct path ",
                k,
                " steps multiply a gradient, entry by entry, by the ",
                k,
                " values of ",
                name,
                " on the way. No matrix and no derivative of an activation is among them. ",
                name,
                " comes from a sigmoid and lies between 0 and 1: where it stays open, near 1, the gradient is kept; "
                "where it closes, what came before is forgotten, and should be. A simple recurrent network has no such "
                "path: each step multiplies by a matrix and by the slope of its activation, at most 1, and a matrix "
                "that keeps gradients in some directions does so only while no unit saturates.",
            )
        ),
        Paragraph(
            (
                _WHOLE if whole else "The direct path is not the whole Jacobian. ",
                "With pre-activations near 0 a gate stands half open, and ",
                Relation((Power(Number("0.5"), Number("100")), magnitude(0.5**100)), ("approx",)),
                " of a unit's gradient is left along it after 100 steps: with a bias of 0 the gradient vanishes here "
                f"too. A bias that opens the gate is what keeps it{others}.",
            )
        ),
    ]


def _in_general(gradient: Gradient, *, whole: bool) -> list[Block]:
    """What holds for a cell none of whose direct paths is a gate with a bias."""
    states = gradient.declaration.states
    if not any(state.next in reached(gradient, other.previous) for state in states for other in states):
        return [Paragraph(("So no gradient goes back from step to step.",))]
    direct = [each for state in states if (each := direct_path(gradient, state)) is not None]
    if not direct:
        lasting = any(_is_lasting(gradient, state) for state in states)
        nothing = "" if lasting else "; nothing in the equations holds it near 1"
        return [
            Paragraph(
                (
                    "So every step multiplies the gradient by the whole Jacobian. The product over many steps vanishes "
                    f"where the norms of its factors stay below 1, and may explode where they do not{nothing}.",
                )
            )
        ]
    others = (
        _WHOLE.strip()
        if whole
        else "Other ways through the step are added at every step: they may keep, damp or make explode what the direct "
        "path alone would not."
    )
    said = "Along a direct path a gradient is multiplied, entry by entry, by these factors, one a step."
    return [Paragraph((" ".join((said, _of_factors(gradient, direct), others)),))]


def _of_factors(gradient: Gradient, direct: Sequence[Expr]) -> str:
    """What holds of the factors along direct paths: how large they can be, and whether steps differ."""
    bounds = list(map(ranges(gradient.primal), direct))
    if all(each == 1 for each in direct):
        return "They are 1: taken alone, the direct path keeps the gradient as it is."
    if all(each.within(0.0, 1.0) for each in bounds):
        return (
            "They lie between 0 and 1: where they stay near 1 the gradient is kept over many steps, else it vanishes."
        )
    if all(each.within(-1.0, 1.0) for each in bounds):
        return "Their size is at most 1: where it stays near 1 the gradient is kept over many steps, else it vanishes."
    varying = any(value.role not in SHARED_ROLES for each in direct for value in operands_of(each))
    how = (
        "depend on the step: where they stay near 1" if varying else "are the same at every step: where they are near 1"
    )
    return (
        f"They {how}, the gradient is kept over many steps; where they are smaller it vanishes, where they are larger "
        "in size it explodes."
    )


def _shown(computed: Curves) -> list[Block]:
    """The curves as a picture, and their ends as a table."""
    steps = computed.at[-1]
    panels = (
        Panel(f"Path through {computed.state}, the rest held fixed", _series(computed.paths)),
        Panel("Full Jacobian of the state", _series(computed.full), _series(computed.plain)),
    )
    drawing = plot(panels, "steps back", "norm of the product of Jacobians", computed.at)
    rows: list[tuple[tuple[Inline, ...], ...]] = [
        ((one.label,), (magnitude(one.norms[-1]),), (magnitude(all_.norms[-1]),))
        for one, all_ in zip(computed.paths, computed.full, strict=True)
    ]
    rows += [((each.label,), ("no such path",), (magnitude(each.norms[-1]),)) for each in computed.plain]
    caption = (
        f"Spectral norms of products of Jacobians over 1 to {steps} steps, {computed.hidden} units, start values as "
        "they are by default and random inputs, computed by the generated kernels. RNN: a simple recurrent network, "
        "its recurrent matrix times the number given; with 1.7 its spectral radius is about 1. A path of its own for "
        "every unit has the norm of the unit that forgets least."
    )
    head: tuple[tuple[Inline, ...], ...] = (
        ("the gate's bias",),
        (f"path through {computed.state}, {steps} steps",),
        (f"full Jacobian, {steps} steps",),
    )
    alternative = f"Norms of products of Jacobians over 1 to {steps} steps; the table below has those over all."
    return [
        Figure(drawing, (alternative,), (caption,)),
        Table(head, tuple(rows), (1, 2)),
    ]


def _series(found: Sequence[Curve]) -> tuple[Series, ...]:
    return tuple(Series(curve.label, curve.norms) for curve in found)


def magnitude(value: float) -> Formula:
    """A number by its size: ``2e-13`` as a product with a power of ten."""
    if value == 0.0 or 0.01 <= abs(value) < 1000:
        return Number(f"{value:.2g}")
    mantissa, exponent = f"{value:.0e}".split("e")
    return Product((Number(mantissa), Power(Number("10"), Number(str(int(exponent))))), Times.NUMBERS)
