"""The equation builder: the ``eq`` that a cell's function receives.

Nothing here raises on a user's mistake. A mistake is recorded with its place and the builder goes on with a *poisoned*
value, about which no further complaint is made, so that all mistakes of a cell are told at once.
"""

from __future__ import annotations

import difflib
import linecache
import os
import sys
from collections.abc import Iterable
from typing import Any

from sympy import Expr, Symbol, sympify
from sympy.core.relational import Relational

from lstmgen.declare.canonical import canonical
from lstmgen.declare.declaration import Constant, Equation, Init, Normal, Parameter, Uniform
from lstmgen.declare.names import reason_against
from lstmgen.declare.operations import Matmul, ShapeMistake, spell
from lstmgen.declare.shapes import dims_of
from lstmgen.declare.symbols import Dims, Role, Value
from lstmgen.errors import Diagnostic, Place, Severity

_HERE = os.path.dirname(os.path.abspath(__file__))


def caller() -> Place:
    """The nearest line outside this package's declaration code: where the user's equation stands."""
    frame = sys._getframe(1)
    while frame.f_back is not None and os.path.dirname(os.path.abspath(frame.f_code.co_filename)) == _HERE:
        frame = frame.f_back
    return Place(frame.f_code.co_filename, frame.f_lineno)


class Equations:
    """Collects the equations of one step. A cell's function receives one as its first argument, ``eq``."""

    def __init__(self) -> None:
        self.inputs: list[Value] = []
        self.states: dict[str, Value] = {}
        self.next_values: dict[str, Value] = {}
        self.parameters: list[Parameter] = []
        self.equations: list[Equation] = []
        self.outputs: list[Value] = []
        self.diagnostics: list[Diagnostic] = []
        self.sizes: list[Value] = []
        self.places: dict[str, Place] = {}
        self.mentioned: set[Value] = set()  # everything that some equation reads, failed ones included
        self._known: set[Value] = set()
        self._poisoned: set[Value] = set()

    # -- what a user calls -------------------------------------------------------------------------------------------

    def input(self, name: str, *dims: str) -> Value:
        """An input of every step, with dimension ``features`` unless given."""
        value = self._declare(name, self._check_dims(dims or ("features",)), Role.INPUT)
        self.inputs.append(value)
        return value

    def state(self, name: str, *dims: str) -> Value:
        """The value of state ``name`` at the step before, with dimension ``hidden`` unless given.

        The symbol that is returned is named ``<name>_prev``; :meth:`next` defines this step's value.
        """
        dims = self._check_dims(dims or ("hidden",))
        reason = reason_against(name)
        if reason:
            self._report(*reason)
        elif name in self.places:
            self._report(
                "LG110", f"the name {name!r} is taken: it was declared on line {self.places[name].line}", "rename one"
            )
        previous = Value(f"{name}_prev", dims, Role.STATE)
        self._known.add(previous)
        self.places.setdefault(name, caller())
        self.states.setdefault(name, previous)
        return previous

    def parameter(
        self, name: str, *dims: str, init: float | Uniform | Normal | Constant | None = None, description: str = ""
    ) -> Value:
        """A trained array with these dimensions; a scalar without any.

        ``init`` is a number, ``Uniform(bound)``, ``Normal(std)``, or None for uniform in ±1/sqrt(hidden).
        """
        value = self._declare(name, self._check_dims(dims), Role.PARAMETER)
        self.parameters.append(Parameter(value, self._init(name, init), description))
        return value

    def affine(
        self,
        name: str,
        *,
        to: str = "hidden",
        bias: str | None = "b",
        bias_init: float | Uniform | Normal | Constant | None = None,
        **terms: Any,
    ) -> Value:
        """Defines ``a_<name>``, an affine map: each keyword names a matrix and gives the vector it multiplies.

        ``affine("f", W=x, U=h_prev)`` declares ``W_f (hidden, features)``, ``U_f (hidden, hidden)`` and ``b_f
        (hidden,)`` and defines ``a_f = W_f @ x + U_f @ h_prev + b_f``. ``bias`` names the bias, None leaves it out;
        ``to`` is the dimension of the result.
        """
        if not terms:
            self._report("LG117", f"affine({name!r}) multiplies nothing", "give it a matrix: W=x")
        products: list[Expr] = []
        for matrix, vector in terms.items():
            operand = self._expression(vector, f"{matrix}=")
            dims = self._dims(operand) if operand is not None else None
            if dims is not None and len(dims) != 1:
                self._report(
                    "LG102",
                    f"affine({name!r}): {matrix}= needs a vector, this has {spell(dims)}",
                    "declare the parameter with eq.parameter and write the product out",
                )
                dims = None
            weight = self.parameter(f"{matrix}_{name}", to, *(dims or ("features",)))
            if operand is None or dims is None:
                self._poisoned.add(weight)
                operand = weight if operand is None else operand
            products.append(Matmul(weight, operand))
        if bias is not None:
            products.append(self.parameter(f"{bias}_{name}", to, init=bias_init))
        total: Any = products[0] if products else sympify(0)
        for term in products[1:]:
            total = total + term
        return self._define(f"a_{name}", total, f"pre-activation of {name}", Role.PREACTIVATION)

    def let(self, name: str, expression: Any, description: str = "", *, role: str = Role.VALUE) -> Value:
        """Defines ``name`` as ``expression`` and returns its symbol."""
        return self._define(name, expression, description, role)

    def next(self, name: str, expression: Any, description: str = "") -> Value:
        """Defines this step's value of state ``name`` and returns its symbol, named ``name``."""
        previous = self.states.get(name)
        if previous is None:
            self._report(
                "LG111",
                f"eq.next({name!r}): there is no state {name!r}",
                self._did_you_mean(name, self.states) or f"declare it first: {name}_prev = eq.state({name!r})",
            )
            return self._poison(Value(name, ("hidden",), Role.VALUE))
        if name in self.next_values:
            self._report(
                "LG104",
                f"state {name!r} is advanced twice; the first time on line {self.places[name].line}",
                "give the second value a name of its own with eq.let",
            )
            self._expression(expression, f"the next {name}")
            return self.next_values[name]
        value = self._define(name, expression, description, Role.VALUE, dims=previous.dims)
        self.next_values[name] = value
        return value

    def output(self, *values: Any) -> None:
        """Names what the cell returns at every step; with several values, a tuple of them."""
        for value in values:
            if not isinstance(value, Value) or value not in self._known:
                self._report(
                    "LG117",
                    f"eq.output needs a named value of this cell, not {_spell_any(value)}",
                    "name it first: y = eq.let('y', ...)",
                )
            elif value.role in (Role.PARAMETER, Role.INPUT, Role.STATE, Role.SIZE):
                self._report(
                    "LG117", f"{value.name} is no result of this step", "output a value defined by eq.let or eq.next"
                )
            elif value in self.outputs:
                self._report("LG110", f"{value.name} is an output already", "name each output once")
            else:
                self.outputs.append(value)
                self.mentioned.add(value)

    def size(self, dim: str) -> Value:
        """The size of the dimension ``dim``, a number that expressions may use."""
        value = Value(dim, (), Role.SIZE)
        if value not in self._known:
            self._known.add(value)
            self.sizes.append(value)
            self.places.setdefault(f"size {dim}", caller())
        return value

    # -- checks ------------------------------------------------------------------------------------------------------

    def _declare(self, name: str, dims: Dims, role: str) -> Value:
        value = Value(str(name), dims, role)
        reason = reason_against(name, is_input=role == Role.INPUT)
        if reason:
            self._report(*reason)
            return self._poison(value)
        if name in self.places:
            self._report(
                "LG110", f"the name {name!r} is taken: it was declared on line {self.places[name].line}", "rename one"
            )
            return self._poison(value)
        self.places[name] = caller()
        self._known.add(value)
        return value

    def _define(self, name: str, expression: Any, description: str, role: str, dims: Dims | None = None) -> Value:
        advancing = dims is not None
        tree = self._expression(expression, name)
        found = self._dims(tree) if tree is not None else None
        if found is not None and dims is not None and found != dims:
            if not set(found) <= set(dims):
                self._report(
                    "LG102",
                    f"state {name!r} has dimensions {spell(dims)}, its next value {spell(found)}",
                    self._dimension_hint(found, dims),
                )
                found = None
        reason = None if advancing else reason_against(name)
        if reason:
            self._report(*reason)
        elif not advancing and name in self.places:
            self._report(
                "LG110", f"the name {name!r} is taken: it was declared on line {self.places[name].line}", "rename one"
            )
            reason = ("LG110", "", "")
        value = Value(str(name), next(each for each in (dims, found, ("hidden",)) if each is not None), role)
        if reason is None:
            self.places[name] = caller()
        self._known.add(value)
        if tree is None or found is None or reason is not None:
            return self._poison(value)
        self.equations.append(Equation(value, tree, description, caller()))
        return value

    def _expression(self, expression: Any, what: str) -> Expr | None:
        """``expression`` in canonical form with every symbol known, or None after a report."""
        try:
            tree = sympify(expression, strict=True)
        except (TypeError, ValueError, AttributeError, SyntaxError):
            tree = None
        except Exception:  # sympify wraps whatever a foreign object's hooks raise in SympifyError
            tree = None
        if not isinstance(tree, Expr) or isinstance(tree, Relational):
            self._report(
                "LG117",
                f"{what} is given {_spell_any(expression)}, which is no expression",
                "give it an expression of values; for a comparison use where(condition, a, b)",
            )
            return None
        symbols = tree.free_symbols
        self.mentioned |= {each for each in symbols if isinstance(each, Value)}
        if symbols & self._poisoned:
            return None
        strangers = sorted((each for each in symbols if each not in self._known), key=str)
        for each in strangers:
            self._report(
                "LG111",
                f"{each.name} is used before it is defined"
                if isinstance(each, Value)
                else f"{each} is a bare SymPy symbol, which this cell does not define",
                self._did_you_mean(str(each), [value.name for value in self._known])
                or "define it with eq.let, eq.input, eq.state or eq.parameter first",
            )
        if strangers:
            return None
        try:
            return canonical(tree)
        except ShapeMistake as mistake:
            self._report(mistake.code, mistake.message, mistake.hint)
            return None

    def _dims(self, tree: Expr) -> Dims | None:
        if tree.free_symbols & self._poisoned:
            return None
        try:
            dims = dims_of(tree)
        except ShapeMistake as mistake:
            self._report(mistake.code, mistake.message, mistake.hint)
            return None
        if len(set(dims)) != len(dims) and any(
            isinstance(each, Value) and each.role != Role.PARAMETER for each in tree.free_symbols
        ):
            self._report(
                "LG102",
                f"a value cannot have the dimensions {spell(dims)}: only parameters repeat a name",
                "give one of them another name, such as (value, key)",
            )
            return None
        return dims

    def _check_dims(self, dims: Iterable[str]) -> Dims:
        checked = tuple(dims)
        for dim in checked:
            reason = reason_against(dim)
            if reason:
                self._report(*reason)
        return checked

    def _init(self, name: str, init: Any) -> Init:
        if init is None or isinstance(init, Uniform | Normal | Constant):
            return init
        try:
            return Constant(float(init))
        except (TypeError, ValueError):
            self._report(
                "LG119",
                f"the start value of {name} is {_spell_any(init)}",
                "give a number, Uniform(bound), Normal(std), or None for uniform in ±1/sqrt(hidden)",
            )
            return None

    def _dimension_hint(self, found: Dims, wanted: Dims) -> str:
        extra = [dim for dim in found if dim not in wanted]
        for dim in extra:
            close = difflib.get_close_matches(dim, wanted, n=1)
            if close:
                return f"did you mean {close[0]!r} instead of {dim!r}?"
        return f"remove {', '.join(extra)} with a product `@` or with sum_over"

    def _did_you_mean(self, name: str, candidates: Iterable[str]) -> str:
        close = difflib.get_close_matches(name, sorted(candidates), n=1)
        return f"did you mean {close[0]!r}?" if close else ""

    def _poison(self, value: Value) -> Value:
        self._poisoned.add(value)
        self._known.add(value)
        return value

    def _report(
        self,
        code: str,
        message: str,
        hint: str,
        *,
        place: Place | None = None,
        severity: Severity = Severity.ERROR,
    ) -> None:
        place = place or caller()
        source = linecache.getline(place.file, place.line).strip()
        self.diagnostics.append(Diagnostic(code, message, hint, place, source, severity))

    report = _report


def _spell_any(value: Any) -> str:
    if isinstance(value, Symbol):
        return str(value)
    text = repr(value)
    return f"{type(value).__name__} {text if len(text) <= 40 else text[:37] + '...'}"
