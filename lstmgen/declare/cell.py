"""Cells: a function of equations, its name, its options, and how it is traced to a :class:`Declaration`."""

from __future__ import annotations

import difflib
import inspect
import linecache
import re
import threading
import traceback
import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from sympy import evaluate

from lstmgen.declare.ambiguity import ambiguous_products
from lstmgen.declare.builder import Equations
from lstmgen.declare.declaration import Declaration, State
from lstmgen.declare.names import PATTERN
from lstmgen.declare.operations import matrix_operators
from lstmgen.declare.symbols import Role, Value
from lstmgen.errors import DeclarationError, Diagnostic, OptionError, Place, Severity, UserError

SYMPY = threading.RLock()
"""Held around all work with SymPy: while one thread traces with evaluation off, another would find unevaluated results
in the cache that they share."""


@dataclass(frozen=True)
class Option:
    """A switch of a cell: its name, default, and the values it may take."""

    name: str
    default: Any
    choices: tuple[Any, ...] = ()

    def parse(self, text: str) -> Any:
        """The option's value from the text of a command line; raises :class:`UserError` (LG113)."""
        for choice in self.choices:
            if str(choice) == text:
                return choice
        kind = type(self.default)
        try:
            if kind is bool:
                words = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}
                return self.check(words[text.lower()])
            if kind in (int, float):
                return self.check(kind(text))
        except (KeyError, ValueError):
            raise self._refusal(text) from None
        if self.choices:
            raise self._refusal(text)
        return text

    def check(self, value: Any) -> Any:
        """``value`` if the option may take it; raises :class:`UserError` (LG113)."""
        kind = type(self.default)
        if self.choices:
            fits = any(value == choice and type(value) is type(choice) for choice in self.choices)
        elif kind is float:
            fits = isinstance(value, int | float) and not isinstance(value, bool)
            value = float(value) if fits else value
        else:
            fits = self.default is None or type(value) is kind
        if not fits:
            raise self._refusal(value)
        return value

    def _refusal(self, value: Any) -> UserError:
        wanted = (
            "one of " + ", ".join(map(str, self.choices))
            if self.choices
            else {bool: "true or false", int: "a whole number", float: "a number"}.get(type(self.default), "text")
        )
        return UserError(f"option {self.name} cannot be {value!r}", code="LG113", hint=f"it takes {wanted}")


@dataclass(frozen=True)
class Cell:
    """A recurrent cell, declared: what the decorator :func:`cell` makes of a function of equations."""

    name: str
    function: Callable[..., None]
    reference: str = ""

    @property
    def doc(self) -> str:
        """The docstring of the cell's function."""
        return inspect.getdoc(self.function) or ""

    @property
    def options(self) -> tuple[Option, ...]:
        """The cell's options, in declared order: the keyword-only arguments of its function."""
        hints = _annotations(self.function)
        found = []
        for parameter in list(inspect.signature(self.function).parameters.values())[1:]:
            hint = hints.get(parameter.name)
            choices = typing.get_args(hint) if typing.get_origin(hint) is Literal else ()
            found.append(Option(parameter.name, parameter.default, choices))
        return tuple(found)

    def settings(self, options: Mapping[str, Any]) -> tuple[tuple[str, Any], ...]:
        """Every option with its value: given, or default. Raises :class:`UserError` (LG113) for an unknown one."""
        known = {option.name: option for option in self.options}
        for name in options:
            if name not in known:
                close = difflib.get_close_matches(name, known, n=1)
                has = f"it has {', '.join(known)}" if known else "it has none"
                raise UserError(
                    f"cell {self.name!r} has no option {name!r}",
                    code="LG113",
                    hint=f"did you mean {close[0]!r}?" if close else has,
                )
        return tuple(
            (name, option.check(options[name]) if name in options else option.default) for name, option in known.items()
        )

    def trace(self, /, **options: Any) -> Declaration:
        """Runs the cell's function once and returns its equations.

        Raises :class:`DeclarationError` with every mistake at once, or :class:`UserError` for an unknown option.
        """
        settings = self.settings(options)
        eq = Equations()
        diagnostics = eq.diagnostics
        with SYMPY, evaluate(False), matrix_operators():
            try:
                self.function(eq, **dict(settings))
            except OptionError:
                raise
            except Exception as error:
                diagnostics.append(_as_diagnostic(error, self.function))
            else:  # a function that stopped half-way has not come to the uses of what it declared
                diagnostics += _unused(eq, self.function)
        diagnostics += _ambiguous(self.function, {each.place for each in diagnostics if each.code == "LG114"})
        file = _definition(self.function).file
        diagnostics.sort(key=lambda each: (each.place.file != file, each.place.line) if each.place else (False, 0))
        if any(each.severity is Severity.ERROR for each in diagnostics):
            raise DeclarationError(self.name, diagnostics)
        return Declaration(
            name=self.name,
            doc=self.doc,
            reference=self.reference,
            options=settings,
            defaults=tuple((option.name, option.default) for option in self.options),
            inputs=tuple(eq.inputs),
            states=tuple(State(previous, eq.next_values[name]) for name, previous in eq.states.items()),
            parameters=tuple(eq.parameters),
            equations=tuple(eq.equations),
            outputs=tuple(eq.outputs),
            constants=tuple(eq.constants),
            step_index=eq.step_value,
            warnings=tuple(diagnostics),
        )


def cell(name: str, *, reference: str = "") -> Callable[[Callable[..., None]], Cell]:
    """Declares a cell: ``@cell("lstm", reference="...")`` over a function of ``eq`` and keyword-only options.

    ``reference`` is the publication the equations come from. Raises :class:`UserError` (LG109, LG113) where the name or
    the function's signature cannot be used.
    """
    if not isinstance(name, str) or not PATTERN.match(name):
        raise UserError(
            f"{name!r} cannot name a cell",
            code="LG109",
            hint='@cell("lstm"): letters, digits and underscores, a letter first',
        )

    def decorate(function: Callable[..., None]) -> Cell:
        inner = inspect.unwrap(function)
        if not inspect.isfunction(inner) or inspect.isgeneratorfunction(inner) or inspect.iscoroutinefunction(inner):
            raise UserError(f"cell {name!r} is made of no plain function", code="LG113", hint=f"def {name}(eq): ...")
        arguments = list(inspect.signature(function).parameters.values())
        if not arguments or arguments[0].kind in (inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.VAR_KEYWORD):
            raise UserError(f"the function of cell {name!r} takes no eq", code="LG113", hint=f"def {name}(eq): ...")
        for argument in arguments[1:]:
            if argument.kind is not argument.KEYWORD_ONLY or argument.default is argument.empty:
                raise UserError(
                    f"option {argument.name!r} of cell {name!r} must be keyword-only with a default",
                    code="LG113",
                    hint=f"def {function.__name__}(eq, *, {argument.name}=...)",
                )
        made = Cell(name, function, reference)
        for option in made.options:
            if option.choices:
                option.check(option.default)
        return made

    return decorate


def _annotations(function: Callable[..., None]) -> dict[str, Any]:
    try:
        return typing.get_type_hints(function)
    except Exception:  # an annotation that cannot be resolved describes nothing; the default still does
        return {}


def _code(function: Callable[..., None]) -> types.CodeType:
    code: types.CodeType = inspect.unwrap(function).__code__  # `cell` takes plain functions only
    return code


def _definition(function: Callable[..., None]) -> Place:
    """The line that says ``def``, below the decorators."""
    code = _code(function)
    line = code.co_firstlineno
    if linecache.getline(code.co_filename, line).lstrip().startswith("@"):
        lines = linecache.getlines(code.co_filename)[line:]
        line += next((count for count, text in enumerate(lines, 1) if re.match(r"\s*def\b", text)), 0)
    return Place(code.co_filename, line)


def _frame_in(error: BaseException, function: Callable[..., None]) -> Place:
    place = _definition(function)
    for frame, line in traceback.walk_tb(error.__traceback__):
        if frame.f_code.co_filename == place.file:
            place = Place(place.file, line)
    return place


_METHODS = "what a cell calls is eq.affine, constant, input, let, next, output, parameter, size, state and step_index"
_ADVICE = {
    "truth value": "if, and, or, max, a < b < c cannot look into symbols: use where(condition, a, b), maximum, &, |",
    "expression to float": "functions of math need numbers: take them from lstmgen.api",
    "loop of ufunc": "functions of NumPy need arrays: take them from lstmgen.api",
    "'Equations' object has no": _METHODS,
    "'list' object is not callable": _METHODS,  # eq.inputs("x")
    "'dict' object is not callable": _METHODS,
}
"""What to do about errors of Python that only mean that something cannot work on symbols, by a part of their text."""


def _as_diagnostic(error: Exception, function: Callable[..., None]) -> Diagnostic:
    place = _frame_in(error, function)
    source = linecache.getline(place.file, place.line).strip()
    if isinstance(error, NameError):
        quoted = re.search(r"'(\w+)'", str(error))
        name = quoted[1] if quoted else str(error)
        local = _code(function).co_varnames
        known = sorted({*local, *inspect.unwrap(function).__globals__} - {name})
        close = difflib.get_close_matches(name, known, n=1) if name not in local else []
        hint = f"did you mean {close[0]!r}?" if close else "move its equation up, or define it"
        return Diagnostic("LG111", f"{name} is used before it is defined", hint, place, source)
    advice = next((hint for text, hint in _ADVICE.items() if text in str(error)), "")
    return Diagnostic(
        "LG120",
        f"the cell's function stopped: {type(error).__name__}: {error}",
        advice or "this is Python's own error at the line above; nothing after it was checked",
        place,
        source,
    )


def _unused(eq: Equations, function: Callable[..., None]) -> list[Diagnostic]:
    """Everything that was declared and leads nowhere. Only told of what is sure: poisoned values count as used."""
    found: list[Diagnostic] = []

    def tell(code: str, name: str, message: str, hint: str, severity: Severity = Severity.ERROR) -> None:
        if name and name not in eq.places:
            return  # its declaration was refused, which has been told
        place = eq.places.get(name) or _definition(function)
        source = linecache.getline(place.file, place.line).strip()
        found.append(Diagnostic(code, message, hint, place, source, severity))

    def is_unused(value: Value) -> bool:
        return value not in eq.mentioned and not eq.opaque

    next_values = set(eq.next_values.values())
    dims = {dim for value in eq._known for dim in value.dims}
    for name in eq.places:
        if name in dims:
            tell("LG110", name, f"the name {name!r} is taken: it is a dimension of this cell", "rename one")
    for value in eq.inputs:
        if is_unused(value):
            tell("LG115", value.name, f"input {value.name!r} is never used", "use it, or remove it")
    for parameter in eq.parameters:
        if is_unused(parameter.value):
            name = parameter.value.name
            tell("LG106", name, f"parameter {name!r} is never used", "use it, or remove it")
    for constant in eq.constants:
        if is_unused(constant.value):
            tell(
                "LG106", constant.value.name, f"constant {constant.value.name!r} is never used", "use it, or remove it"
            )
    if eq.step_value is not None and is_unused(eq.step_value):
        tell(
            "LG115", eq.step_value.name, f"the step index {eq.step_value.name!r} is never used", "use it, or remove it"
        )
    for size in eq.sizes:
        if size.name not in dims:
            close = difflib.get_close_matches(size.name, sorted(dims), n=1)
            hint = f"did you mean {close[0]!r}?" if close else f"there are: {', '.join(sorted(dims))}"
            tell("LG101", f"size {size.name}", f"no value has a dimension {size.name!r}", hint)
    for equation in eq.equations:
        target = equation.target
        if is_unused(target) and target not in next_values:
            hint = "use it, output it with eq.output, or remove it"
            if target.role == Role.PREACTIVATION:
                hint = f"use what eq.affine returned for {target.name!r}, or remove it"
            tell("LG105", target.name, f"{target.name!r} is defined and never used", hint)
    for name, previous in eq.states.items():
        if name not in eq.next_values and name not in eq.excused:
            tell("LG103", name, f"state {name!r} is never advanced", f"define its next value: eq.next({name!r}, ...)")
        elif name in eq.next_values and is_unused(previous):
            tell(
                "LG107", name, f"state {name!r} is never read: no equation uses {previous.name}",
                f"if nothing carries over, define {name} with eq.let instead",
            )  # fmt: skip
    if not eq.named_outputs:
        tell("LG116", "", "the cell has no output", "end with eq.output(h)")
    elif not found and not any(each.severity is Severity.ERROR for each in eq.diagnostics):
        if not eq.inputs:
            tell("LG121", "", "the cell has no input to count steps by", 'begin with x = eq.input("x")')
        if not eq.states:
            tell("LG122", "", "the cell has no state: nothing recurs", 'declare one: h_prev = eq.state("h")')
        _states_without_effect(eq, tell)
    return found


def _states_without_effect(eq: Equations, tell: Callable[..., None]) -> None:
    """States that no output depends on, at this step or a later one; then next values that seem forgotten."""
    previous_to_next = {eq.states[name]: value for name, value in eq.next_values.items()}
    by_target = {equation.target: equation for equation in eq.equations}
    reached: set[Value] = set()
    front = list(eq.outputs)
    while front:
        value = front.pop()
        if value in reached:
            continue
        reached.add(value)
        if value in by_target:
            front += [each for each in by_target[value].expression.free_symbols if isinstance(each, Value)]
        if value in previous_to_next:
            front.append(previous_to_next[value])
    order = {equation.target: index for index, equation in enumerate(eq.equations)}
    for name, value in eq.next_values.items():
        previous = eq.states[name]
        if value not in reached:
            tell(
                "LG107", name, f"no output depends on state {name!r}",
                f"use {name}, which eq.next({name!r}, ...) returned, in the equation of an output",
            )  # fmt: skip
        elif value not in eq.mentioned:
            late = [e for e in eq.equations if order[e.target] > order[value] and previous in e.expression.free_symbols]
            if late:
                tell(
                    "LG118", late[0].target.name,
                    f"{late[0].target.name!r} reads {previous.name} after eq.next({name!r}, ...) and nothing reads the "
                    f"new {name}",
                    f"use {name}; if the value of the step before is meant, put this equation before eq.next({name!r})",
                    Severity.WARNING,
                )  # fmt: skip


def _ambiguous(function: Callable[..., None], told: set[Place | None]) -> list[Diagnostic]:
    file = _code(function).co_filename
    return [
        Diagnostic(
            "LG114",
            f"ambiguous product: Python reads {each.text} as {each.as_python_reads}",
            f"write {each.as_python_reads} if that is meant, or {each.alternative}",
            Place(file, each.line),
            linecache.getline(file, each.line).strip(),
            Severity.WARNING,
        )
        for each in ambiguous_products(function)
        if Place(file, each.line) not in told
    ]
