"""A derivation as plain text for a terminal."""

from __future__ import annotations

from sympy import Expr

from lstmgen.calculus.reverse import Origin
from lstmgen.calculus.text import Text
from lstmgen.derivation.narration import Derivation, Passage, Path
from lstmgen.derivation.notation import Notation
from lstmgen.errors import UserError

PARTS = ("forward", "backward", "sums")


def render(derivation: Derivation, notation: Notation, part: str = "") -> str:
    """The derivation as text; ``part`` is one of :data:`PARTS`, all if empty. Raises :class:`UserError` (LG401)."""
    if part and part not in PARTS:
        raise UserError(f"there is no part {part!r}", code="LG401", hint=f"there are: {', '.join(PARTS)}")
    sections = {"forward": _forward, "backward": _backward, "sums": _sums}
    wanted = [part] if part else list(PARTS)
    head = [] if part else _head(derivation)
    body = [line for name in wanted for line in (*sections[name](derivation, notation), "")]
    return "\n".join([*head, *body]).rstrip() + "\n"


def _head(derivation: Derivation) -> list[str]:
    declaration = derivation.gradient.declaration
    title = f"{declaration.name}: {declaration.doc.splitlines()[0]}" if declaration.doc else declaration.name
    lines = [title, "=" * len(title)]
    if declaration.reference:
        lines.append(declaration.reference)
    return [*lines, ""]


def _forward(derivation: Derivation, notation: Notation) -> list[str]:
    text = Text(derivation.inlined_forward)
    rows = [
        (f"({line.number})", text.equation(line.equation), line.equation.description) for line in derivation.forward
    ]
    width = max(len(row[1]) for row in rows)
    return [
        "Forward, one step",
        "-----------------",
        "",
        *(f"  {number:>5}  {equation:<{width}}   {what}".rstrip() for number, equation, what in rows),
    ]


def _backward(derivation: Derivation, notation: Notation) -> list[str]:
    lines = [
        "Backward, from the last step to the first",
        "-----------------------------------------",
        "",
        "  d_v is the gradient of the loss by v. *_next is what the step after sends back.",
    ]
    for passage in derivation.backward:
        lines += ["", *_passage(derivation, passage, notation)]
    return lines


def _sums(derivation: Derivation, notation: Notation) -> list[str]:
    text = _backward_text(derivation)
    rows = [text.equation(passage.equation) for passage in derivation.sums]
    return [
        "Parameters",
        "----------",
        "",
        "  One parameter serves every step and every row of the batch: its gradient is the total over both.",
        "",
        *(f"  {row}" for row in rows),
    ]


def _backward_text(derivation: Derivation) -> Text:
    return Text(derivation.inlined_forward | derivation.inlined_backward)


def _passage(derivation: Derivation, passage: Passage, notation: Notation) -> list[str]:
    forward, backward = Text(derivation.inlined_forward), _backward_text(derivation)
    ways = [_way(path) for path in passage.paths]
    name = forward(passage.value)
    lines = [f"  {name} reaches the loss through {_list(ways)}:"]
    single = len(passage.paths) == 1
    for path in passage.paths:
        lines += [f"      {line}" for line in _chain(path, derivation, forward, backward, notation, single)]
    if passage.borrowed:
        return [*lines, f"      so the gradient of {name} is {backward(passage.equation.target)}"]
    return [*lines, f"      {backward.equation(passage.equation)}"]


def _way(path: Path) -> str:
    if path.seed is not None:
        return "the output" if path.seed.origin is Origin.LOSS else "the next step"
    return f"({path.line})"


def _chain(
    path: Path, derivation: Derivation, forward: Text, backward: Text, notation: Notation, single: bool
) -> list[str]:
    """The chain rule for one path: in general, with the local derivative, and put together."""
    if path.seed is not None:
        return [] if single else [f"{_way(path)}: {path.seed.adjoint.name}"]
    step = path.step
    assert step is not None
    target = step.equation.target
    label = "" if single else f"{_way(path)}: "
    if step.partial is None:
        return [f"{label}{_structural(step.equation.expression, forward)} gives {backward(step.contribution)}"]
    adjoint = backward(derivation.gradient.adjoints[target])
    local = notation.derivative(target.name, forward(step.operand))
    return [f"{label}{adjoint} * {local}, where {local} = {backward(step.partial)}"]


def _structural(expression: Expr, forward: Text) -> str:
    return f"the product {forward(expression)}" if "@" in forward(expression) else forward(expression)


def _list(words: list[str]) -> str:
    unique = list(dict.fromkeys(words))
    return unique[0] if len(unique) == 1 else f"{', '.join(unique[:-1])} and {unique[-1]}"
