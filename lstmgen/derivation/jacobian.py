"""What a state's Jacobian says: the direct path from step to step, and how products of Jacobians grow or vanish.

The direct path is read off the calculus' own steps; the curves are computed by generated kernels, which are handed in.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np
from sympy import Add, Expr, Integer, Mul

from lstmgen.calculus.graph import operands_of
from lstmgen.calculus.ordering import Ordering
from lstmgen.calculus.reverse import Gradient, Step
from lstmgen.declare.canonical import rebuild
from lstmgen.declare.declaration import Declaration, State
from lstmgen.declare.functions import sigmoid
from lstmgen.declare.symbols import Role, Value
from lstmgen.derivation.document import Block, Equation, Figure, Inline, Paragraph, Section, Table
from lstmgen.derivation.formula import Derivative, Formula, Number, Power, Product, Relation, Symbol, Times
from lstmgen.derivation.narration import Derivation
from lstmgen.derivation.plot import Panel, Series, plot

Array = Any
FormulaOf = Callable[[Expr], Formula]
BIASES = (0.0, 1.0, 2.0, 3.0)
SCALES = (1.0, 3**0.5)
STEPS, HIDDEN = 100, 64
_UNNAMED = (Role.INTERMEDIATE, Role.PREACTIVATION)
_WHOLE = "No other way leads on from step to step: what holds of this path holds of the whole Jacobian. "


@dataclass(frozen=True)
class Curve:
    """The spectral norms of products of 1, 2, ... Jacobians; ``label`` tells the curve from its neighbours."""

    label: str
    norms: tuple[float, ...]


@dataclass(frozen=True)
class Curves:
    """Curves of a cell by the bias of its gate, and of simple recurrent networks by the scale of their matrix.

    ``paths`` follow the state ``state`` alone, all other states held fixed; ``full`` are of all states together.
    """

    state: str
    hidden: int
    paths: tuple[Curve, ...]
    full: tuple[Curve, ...]
    plain: tuple[Curve, ...]


def direct_path(gradient: Gradient, state: State) -> Expr | None:
    """The partial of a state by its previous value along its own equation, all that has a name held fixed.

    What lstmgen named itself, and pre-activations, are part of the equation. None where there is no such path, or where
    every one leads through an operation that mixes units.
    """
    arrange = _arrangement(gradient)

    def along(target: Value) -> list[Expr]:
        found: list[Expr] = []
        for step in gradient.steps:
            if step.equation.target != target or not (step.operand == state.previous or _unnamed(step)):
                continue
            if step.partial is not None:  # what mixes units is no part of the direct path
                rest = [Integer(1)] if step.operand == state.previous else along(step.operand)
                found += [rebuild(Mul(step.partial, each)) for each in rest]
        return found

    terms = along(state.next)
    return arrange(rebuild(Add(*terms))) if terms else None


def has_other_ways(gradient: Gradient) -> bool:
    """Whether anything but direct paths leads from states to the next ones."""
    nexts = {state.next for state in gradient.declaration.states}

    def others(value: Value, own: Value) -> bool:
        if value == own:
            return bool(_reached(gradient, value) & nexts)
        steps = [step for step in gradient.steps if step.operand == value]
        along = [step for step in steps if step.partial is not None]
        targets = {step.equation.target for step in along}
        direct = {target for target in targets if target == own or target.role in _UNNAMED}
        beside = {step.equation.target for step in steps if step.partial is None} | (targets - direct)
        leaves = any(target in nexts or _reached(gradient, target) & nexts for target in beside)
        return leaves or any(others(target, own) for target in direct)

    states = gradient.declaration.states
    reached = {value for state in states for value in _reached(gradient, state.previous)}
    # A state that no state reaches is made anew at every step: no way leads through it to the next.
    return any(others(state.previous, state.next) for state in states if state.next in reached)


def _reached(gradient: Gradient, value: Value) -> set[Value]:
    """What a value enters within a step, at once or by other values."""
    found: set[Value] = set()
    waiting = [value]
    while waiting:
        here = waiting.pop()
        more = {step.equation.target for step in gradient.steps if step.operand == here} - found
        found |= more
        waiting += more
    return found


def _unnamed(step: Step) -> bool:
    return step.operand.role in _UNNAMED


def _arrangement(gradient: Gradient) -> Callable[[Expr], Expr]:

    primal = gradient.primal
    return Ordering([*primal.free, *(equation.target for equation in primal.equations)]).arrange


def gates_of(declaration: Declaration) -> dict[Value, Value | None]:
    """Values between 0 and 1 that a sigmoid gives, with the bias of each: the vector that is added to its maps."""
    defined = {equation.target: equation.expression for equation in declaration.equations}
    found = {}
    for target, expression in defined.items():
        if isinstance(expression, sigmoid):
            inner = defined.get(expression.args[0], expression.args[0])
            terms = inner.args if isinstance(inner, Add) else (inner,)
            biases = [term for term in terms if isinstance(term, Value) and term.role == Role.PARAMETER]
            found[target] = biases[0] if len(biases) == 1 else None
    return found


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
    """Norms of products of Jacobians over 1 to ``steps`` steps, for the biases in :data:`BIASES`.

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
    return Curves(state, hidden, tuple(paths), tuple(full), tuple(simple))


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


def _norms(jacobians: Array) -> tuple[float, ...]:
    """The norms of J_T, J_T J_(T-1), ...: how a gradient at the end reaches 1, 2, ... steps back.

    The product is kept at size 1 and its logarithm apart, so that nothing underflows.
    """
    product, exponent = np.eye(jacobians.shape[1]), 0.0
    found: list[float] = []
    for each in jacobians[::-1]:
        product = product @ each
        size = float(np.linalg.norm(product))
        if size == 0.0:
            return (*found, *(0.0,) * (len(jacobians) - len(found)))
        product, exponent = product / size, exponent + float(np.log(size))
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
                "part of the Jacobian that leads, unit by unit, through a state's own equation and what enters it "
                "under no name of its own, all other quantities held fixed.",
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
    partial = direct_path(gradient, state)
    of, by = formula_of(state.next), formula_of(state.previous)
    if partial is None and state.next not in _reached(gradient, state.previous):
        return [Paragraph(("No way at all leads from ", by, " to ", of, "."))]
    if partial is None:
        reason = "every way leads through a matrix or through other quantities"
        return [Paragraph(("From ", by, " to ", of, f" there is no direct path: {reason}."))]
    formula = Relation((Derivative(of, by), formula_of(partial)), ("=",))
    return [Equation(formula, f"jacobian-{state.name}", note=("along the direct path",))]


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
    direct = [each for state in gradient.declaration.states if (each := direct_path(gradient, state)) is not None]
    if not direct:
        return [
            Paragraph(
                (
                    "So every step multiplies the gradient by the whole Jacobian: matrices, and slopes of activations. "
                    "The product over many steps vanishes where their norms stay below 1, and may explode where they "
                    "do not; nothing in the equations holds it near 1.",
                )
            )
        ]
    varying = any(value.role not in (Role.PARAMETER, Role.CONSTANT) for each in direct for value in operands_of(each))
    how = "depend on the step: where they stay near 1" if varying else "are the same at every step: where they are 1"
    return [
        Paragraph(
            (
                "Along a direct path a gradient is multiplied, entry by entry, by these factors, one a step. They "
                f"{how}, the gradient is kept over many steps; where they are smaller it vanishes, where they are "
                "larger in size it explodes. ",
                _WHOLE.strip()
                if whole
                else "Other ways through the step add to this, and the full Jacobian may do "
                "either even where the direct path does not.",
            )
        )
    ]


def _shown(computed: Curves) -> list[Block]:
    """The curves as a picture, and their ends as a table."""
    steps = len(computed.full[0].norms)
    panels = (
        Panel(f"Path through {computed.state}, the rest held fixed", _series(computed.paths)),
        Panel("Full Jacobian of the state", _series(computed.full), _series(computed.plain)),
    )
    drawing = plot(panels, "steps back", "norm of the product of Jacobians", range(1, steps + 1))
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
    alternative = "; ".join(
        f"{each.label}: {each.norms[-1]:.0e} after {steps} steps" for each in (*computed.full, *computed.plain)
    )
    return [
        Figure(drawing, (f"Norms of the full Jacobian. {alternative}.",), (caption,)),
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
