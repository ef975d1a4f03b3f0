"""Cells: a function of equations, its name, its options, and how it is traced to a :class:`Declaration`."""

from __future__ import annotations

import difflib
import inspect
import threading
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from sympy import evaluate

from lstmgen.declare.builder import Equations
from lstmgen.declare.declaration import Declaration, State, in_one_line, printable
from lstmgen.declare.draft import Draft
from lstmgen.declare.names import PATTERN
from lstmgen.declare.operations import matrix_operators
from lstmgen.declare.places import caller, definition, diagnostic
from lstmgen.declare.review import ambiguous, leading_nowhere, stopped
from lstmgen.errors import DeclarationError, OptionError, Place, Severity, UserError

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
        return printable(inspect.getdoc(self.function) or "")

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
        draft = Draft()
        diagnostics = draft.diagnostics
        with SYMPY, evaluate(False), matrix_operators():
            try:
                self.function(Equations(draft), **dict(settings))
            except OptionError:
                raise
            except Exception as error:
                diagnostics.append(stopped(error, self.function))
            else:  # a function that stopped half-way has not come to the uses of what it declared
                diagnostics += leading_nowhere(draft, self.function)
        diagnostics += ambiguous(self.function, {each.place for each in diagnostics if each.code == "LG114"})
        file = definition(self.function).file
        diagnostics.sort(key=lambda each: (each.place.file != file, each.place.line) if each.place else (False, 0))
        if any(each.severity is Severity.ERROR for each in diagnostics):
            raise DeclarationError(self.name, diagnostics)
        return Declaration(
            name=self.name,
            doc=self.doc,
            reference=self.reference,
            options=settings,
            defaults=tuple((option.name, option.default) for option in self.options),
            inputs=tuple(draft.inputs),
            states=tuple(State(previous, draft.next_values[name]) for name, previous in draft.states.items()),
            parameters=tuple(draft.parameters),
            equations=tuple(draft.equations),
            outputs=tuple(draft.outputs),
            constants=tuple(draft.constants),
            step_index=draft.step_index,
            warnings=tuple(diagnostics),
        )


def cell(name: str, *, reference: str = "") -> Callable[[Callable[..., None]], Cell]:
    """Declares a cell: ``@cell("lstm", reference="...")`` over a function of ``eq`` and keyword-only options.

    ``reference`` is the publication the equations come from. Raises :class:`DeclarationError` (LG109, LG113) where the
    name or the function's signature cannot be used.
    """
    if inspect.isfunction(name):
        hint = f'write @cell("{name.__name__}")'
        raise _refused(name.__name__, "LG109", "@cell needs a name", hint, definition(name))
    if not isinstance(name, str) or not PATTERN.match(name):
        hint = '@cell("lstm"): letters, digits and underscores, a letter first'
        raise _refused(name, "LG109", f"{name!r} cannot name a cell", hint, caller())

    def decorate(function: Callable[..., None]) -> Cell:
        inner = inspect.unwrap(function)
        if not inspect.isfunction(inner) or inspect.isgeneratorfunction(inner) or inspect.iscoroutinefunction(inner):
            message = f"cell {name!r} is made of no plain function"
            raise _refused(name, "LG113", message, f"def {name}(eq): ...", caller())
        place = definition(function)
        arguments = list(inspect.signature(function).parameters.values())
        if not arguments or arguments[0].kind in (inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.VAR_KEYWORD):
            message = f"the function of cell {name!r} takes no eq"
            raise _refused(name, "LG113", message, f"def {function.__name__}(eq): ...", place)
        for argument in arguments[1:]:
            if argument.kind is not argument.KEYWORD_ONLY or argument.default is argument.empty:
                message = f"option {argument.name!r} of cell {name!r} must be keyword-only with a default"
                raise _refused(name, "LG113", message, f"def {function.__name__}(eq, *, {argument.name}=...)", place)
        made = Cell(name, function, in_one_line(reference))
        for option in made.options:
            try:
                option.check(option.default)
            except UserError as error:
                raise _refused(name, error.code, error.args[0], error.hint, place) from None
        return made

    return decorate


def _refused(name: str, code: str, message: str, hint: str, place: Place) -> DeclarationError:
    """What is raised of a cell that cannot even be traced."""
    return DeclarationError(name, [diagnostic(code, message, hint, place)])


def _annotations(function: Callable[..., None]) -> dict[str, Any]:
    try:
        return typing.get_type_hints(function)
    except Exception:  # an annotation that cannot be resolved describes nothing; the default still does
        return {}
