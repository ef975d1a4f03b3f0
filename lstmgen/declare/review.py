"""What is said of a cell once its function has ended: what leads nowhere, what stopped it, what reads another way."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from typing import Any

from sympy import Basic

from lstmgen.declare.ambiguity import ambiguous_products
from lstmgen.declare.draft import Draft, did_you_mean
from lstmgen.declare.places import code_of, definition, diagnostic, raised_in
from lstmgen.declare.symbols import Role, Value
from lstmgen.errors import Diagnostic, Place, Severity

_EXAMPLES = {
    "affine": "eq.affine('f', W=x, U=h_prev)",
    "constant": "eq.constant('A', [0.5, 1.0], 'key')",
    "input": "eq.input('x')",
    "let": "eq.let('y', 2 * h)",
    "next": "eq.next('h', ...)",
    "output": "eq.output(h)",
    "parameter": "eq.parameter('W', 'hidden', 'features')",
    "size": "eq.size('hidden')",
    "state": "eq.state('h')",
    "step_index": "eq.step_index()",
}
"""How each method of ``eq`` is called."""

_ONE = "a value is one symbol without parts: give each gate its own eq.affine, and take functions from lstmgen.api"
_OPERANDS = "operators take values and numbers; a comparison belongs in where(condition, a, b)"
_ADVICE = {
    "truth value": "if, and, or, max, a < b < c cannot look into symbols: use where(condition, a, b), maximum, &, |",
    "expression to float": "functions of math need numbers: take them from lstmgen.api",
    "loop of ufunc": "functions of NumPy need arrays: take them from lstmgen.api",
    "unsupported operand": _OPERANDS,
    "multiply sequence": _OPERANDS,
    "not subscriptable": _ONE,
    "not iterable": _ONE,
    "non-iterable": _ONE,
    "'Equations' object has no": f"what a cell calls is eq.{', '.join(_EXAMPLES)}",
}
"""What to do about errors of Python that only mean that something cannot work on symbols, by a part of their text."""


def stopped(error: Exception, function: Callable[..., Any]) -> Diagnostic:
    """What is said where Python raised an exception in the cell's function."""
    place = raised_in(error, function)
    if isinstance(error, NameError):
        quoted = re.search(r"'(\w+)'", str(error))
        return diagnostic("LG111", *_undefined(quoted[1] if quoted else str(error), function), place)
    return diagnostic("LG120", f"the cell's function stopped: {type(error).__name__}: {error}", _advice(error), place)


def _advice(error: Exception) -> str:
    called = re.search(r"Equations\.(\w+)\(\)", str(error))
    if called and called[1] in _EXAMPLES:
        return f"call it as in {_EXAMPLES[called[1]]}"
    if isinstance(error, AttributeError) and isinstance(error.obj, Basic):
        return _ONE
    unknown = "this is Python's own error at the line above; nothing after it was checked"
    return next((hint for text, hint in _ADVICE.items() if text in str(error)), unknown)


def _undefined(name: str, function: Callable[..., Any]) -> tuple[str, str]:
    """What is said of a name that Python does not know, or not yet."""
    code = code_of(function)
    if name in (*code.co_varnames, *code.co_cellvars):
        return f"{name} is used before it is defined", "move its equation up, or define it"
    hint = did_you_mean(name, sorted({*code.co_varnames, *inspect.unwrap(function).__globals__}))
    if name.endswith("_prev"):
        hint += f"{' or ' * bool(hint)}declare the state: {name} = eq.state({name.removesuffix('_prev')!r})"
    return f"{name} is not defined here", hint or "define or import it above"


def leading_nowhere(draft: Draft, function: Callable[..., Any]) -> list[Diagnostic]:
    """Everything that was declared and leads nowhere. Only told of what is sure: poisoned values count as used."""
    found: list[Diagnostic] = []

    def tell(code: str, name: str, message: str, hint: str, severity: Severity = Severity.ERROR) -> None:
        if name and name not in draft.places:
            return  # its declaration was refused, which has been told
        place = draft.places.get(name) or definition(function)
        found.append(diagnostic(code, message, hint, place, severity))

    def is_unused(value: Value) -> bool:
        return value not in draft.mentioned and not draft.opaque

    next_values = set(draft.next_values.values())
    dims = {dim for value in draft.known for dim in value.dims}
    for name in draft.places:
        if name in dims:
            tell("LG110", name, f"the name {name!r} is taken: it is a dimension of this cell", "rename one")
    for code, what, values in (
        ("LG115", "input", draft.inputs),
        ("LG106", "parameter", [each.value for each in draft.parameters]),
        ("LG106", "constant", [each.value for each in draft.constants]),
        ("LG115", "the step index", [draft.step_index] if draft.step_index else []),
    ):
        for value in values:
            if is_unused(value):
                tell(code, value.name, f"{what} {value.name!r} is never used", "use it, or remove it")
    for size in draft.sizes:
        if size.name not in dims:
            hint = did_you_mean(size.name, sorted(dims)) or f"there are: {', '.join(sorted(dims))}"
            tell("LG101", f"size {size.name}", f"no value has a dimension {size.name!r}", hint)
    for equation in draft.equations:
        target = equation.target
        if is_unused(target) and target not in next_values:
            hint = "use it, output it with eq.output, or remove it"
            if target.role == Role.PREACTIVATION:
                hint = f"use what eq.affine returned for {target.name!r}, or remove it"
            tell("LG105", target.name, f"{target.name!r} is defined and never used", hint)
    for name, previous in draft.states.items():
        following = draft.next_values.get(name)
        if following is None and name not in draft.excused:
            tell("LG103", name, f"state {name!r} is never advanced", f"define its next value: eq.next({name!r}, ...)")
        elif following is not None and following not in draft.poisoned and is_unused(previous):
            tell(
                "LG107", name, f"state {name!r} is never read: no equation uses {previous.name}",
                f"if nothing carries over, define {name} with eq.let instead",
            )  # fmt: skip
    if not draft.named_outputs:
        tell("LG116", "", "the cell has no output", "end with eq.output(h)")
    elif not found and not any(each.severity is Severity.ERROR for each in draft.diagnostics):
        if not draft.inputs:
            tell("LG121", "", "the cell has no input to count steps by", 'begin with x = eq.input("x")')
        if not draft.states:
            tell("LG122", "", "the cell has no state: nothing recurs", 'declare one: h_prev = eq.state("h")')
        _states_without_effect(draft, tell)
    return found


def _states_without_effect(draft: Draft, tell: Callable[..., None]) -> None:
    """States that no output depends on, at this step or a later one; then next values that seem forgotten."""
    previous_to_next = {draft.states[name]: value for name, value in draft.next_values.items()}
    by_target = {equation.target: equation for equation in draft.equations}
    reached: set[Value] = set()
    front = list(draft.outputs)
    while front:
        value = front.pop()
        if value in reached:
            continue
        reached.add(value)
        if value in by_target:
            front += [each for each in by_target[value].expression.free_symbols if isinstance(each, Value)]
        if value in previous_to_next:
            front.append(previous_to_next[value])
    order = {equation.target: index for index, equation in enumerate(draft.equations)}
    for name, value in draft.next_values.items():
        previous = draft.states[name]
        if value not in reached:
            tell(
                "LG107", name, f"no output depends on state {name!r}",
                f"use {name}, which eq.next({name!r}, ...) returned, in the equation of an output",
            )  # fmt: skip
        elif value not in draft.mentioned:
            late = [
                e for e in draft.equations if order[e.target] > order[value] and previous in e.expression.free_symbols
            ]
            if late:
                tell(
                    "LG118", late[0].target.name,
                    f"{late[0].target.name!r} reads {previous.name} after eq.next({name!r}, ...) and nothing reads the "
                    f"new {name}",
                    f"use {name}; if the value of the step before is meant, put this equation before eq.next({name!r})",
                    Severity.WARNING,
                )  # fmt: skip


def ambiguous(function: Callable[..., Any], told: set[Place | None]) -> list[Diagnostic]:
    """Warnings of ambiguous products, but on lines where an error has told of one."""
    file = code_of(function).co_filename
    return [
        diagnostic(
            "LG114",
            f"ambiguous product: Python reads {each.text} as {each.as_python_reads}",
            f"write {each.as_python_reads} if that is meant, or {each.alternative}",
            Place(file, each.line),
            Severity.WARNING,
        )
        for each in ambiguous_products(function)
        if Place(file, each.line) not in told
    ]
