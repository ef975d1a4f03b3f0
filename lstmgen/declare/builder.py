"""The equation builder: the ``eq`` that a cell's function receives.

Nothing here raises on a user's mistake. A mistake is recorded with its place and the builder goes on with a *poisoned*
value, about which no further complaint is made, so that all mistakes of a cell are told at once.
"""

from __future__ import annotations

import difflib
import linecache
import math
import os
import sys
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from sympy import Basic, Expr, Symbol, preorder_traversal, sympify

from lstmgen.declare.canonical import canonical
from lstmgen.declare.declaration import Constant, Equation, FixedArray, Init, Normal, Parameter, Uniform
from lstmgen.declare.dims import Dims, spell
from lstmgen.declare.names import reason_against
from lstmgen.declare.operations import Flatten, Matmul, Operation, ShapeMistake, SumOver, spell_any
from lstmgen.declare.shapes import dims_of
from lstmgen.declare.symbols import Role, Value
from lstmgen.errors import Diagnostic, Place, Severity

_OWN_ROLES = {
    *(Role.INPUT, Role.PARAMETER, Role.STATE, Role.SIZE, Role.CONSTANT, Role.STEP_INDEX),
    *(Role.INTERMEDIATE, Role.ADJOINT),
}
_GIVEN = {Role.PARAMETER, Role.INPUT, Role.STATE, Role.SIZE, Role.CONSTANT, Role.STEP_INDEX}
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
        self.constants: list[FixedArray] = []
        self.step_value: Value | None = None
        self.places: dict[str, Place] = {}
        self.mentioned: set[Value] = set()  # everything that some equation reads, failed ones included
        self.opaque = False  # something was given that cannot be looked into: what it reads is unknown
        self.excused: set[str] = set()  # states that a mistake told already left without a next value
        self.named_outputs = False
        self._known: set[Value] = set()
        self._poisoned: set[Value] = set()
        self._fixed: dict[str, int] = {}  # the sizes that constants fix
        self._joined: dict[str, Dims] = {}  # what flatten joined, by the name it gave
        self._shared: set[Value] = set()  # values made of parameters and numbers alone, the same at every step

    # -- what a user calls -------------------------------------------------------------------------------------------

    def input(self, name: str, *dims: str) -> Value:
        """An input of every step, with dimension ``features`` unless given; ``()`` makes it a number of every row."""
        value = self._declare(name, _given(dims, "features"), Role.INPUT)
        self.inputs.append(value)
        return value

    def state(self, name: str, *dims: str) -> Value:
        """The value of state ``name`` at the step before, with dimension ``hidden`` unless given; ``()`` makes it a
        number of every row.

        The symbol that is returned is named ``<name>_prev``; :meth:`next` defines this step's value.
        """
        dims = _given(dims, "hidden")
        fits = self._check_dims(dims, Role.STATE)
        previous = Value(f"{name}_prev", tuple(map(str, dims)), Role.STATE)
        self._known.add(previous)
        self._check_name(name)
        self.places.setdefault(str(name), caller())
        self.states.setdefault(str(name), previous)
        return previous if fits else self._poison(previous)

    def parameter(
        self, name: str, *dims: str, init: float | Uniform | Normal | Constant | None = None, description: str = ""
    ) -> Value:
        """A trained array with these dimensions; a scalar without any.

        ``init`` is a number, ``Uniform(bound)``, ``Normal(std)``, or None for uniform in ±1/sqrt(hidden).
        """
        value = self._declare(name, _given(dims), Role.PARAMETER)
        self._shared.add(value)
        self.parameters.append(Parameter(value, self._init(name, init), description))
        return value

    def affine(
        self,
        name: str,
        *,
        to: str = "hidden",
        bias: str | None = "b",
        bias_init: float | Uniform | Normal | Constant | None = None,
        diagonal: Mapping[str, Any] | None = None,
        **terms: Any,
    ) -> Value:
        """Defines ``a_<name>``, an affine map: each keyword names a matrix and gives the vector it multiplies.

        ``affine("f", W=x, U=h_prev)`` declares ``W_f (hidden, features)``, ``U_f (hidden, hidden)`` and ``b_f
        (hidden,)`` and defines ``a_f = W_f @ x + U_f @ h_prev + b_f``. ``bias`` names the bias, None leaves it out;
        ``to`` is the dimension of the result. ``diagonal`` names vectors instead of matrices and gives what each
        multiplies unit by unit: ``diagonal={"p": c_prev}`` declares the peephole ``p_f (hidden,)`` and adds
        ``p_f * c_prev``.
        """
        if diagonal is not None and not isinstance(diagonal, Mapping):
            self._report(
                "LG117",
                f"affine({name!r}): diagonal={spell_any(diagonal)} names no vectors",
                'give names and what each multiplies: diagonal={"p": c_prev}',
            )
            self._read(diagonal)
        diagonal = diagonal if isinstance(diagonal, Mapping) else {}
        # One mistake in a name is told once, not for every parameter that carries it.
        if not self._check_name(f"a_{name}") or not self._check_dims((to,), Role.PARAMETER):
            for vector in (*terms.values(), *diagonal.values()):
                self._read(vector)
            return self._poison(Value(f"a_{name}", (str(to),), Role.PREACTIVATION))
        if not terms and not diagonal:
            self._report("LG117", f"affine({name!r}) multiplies nothing", "give it a matrix: W=x")
        if bias is not None and not isinstance(bias, str):
            self._report(
                "LG117", f"affine({name!r}): bias={bias!r} names no bias", "bias='b' names it, bias=None leaves it out"
            )
            bias = None
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
        for vector, value in diagonal.items():
            weight = self.parameter(f"{vector}_{name}", to)
            operand = self._expression(value, f"{vector}=")
            if operand is None:
                self._poisoned.add(weight)
            products.append(weight if operand is None else weight * operand)
        if bias is not None:
            products.append(self.parameter(f"{bias}_{name}", to, init=bias_init))
        total: Any = products[0] if products else sympify(0)
        for term in products[1:]:
            total = total + term
        return self._define(f"a_{name}", total, f"pre-activation of {name}", Role.PREACTIVATION)

    def let(self, name: str, expression: Any, description: str = "", *, role: str = Role.VALUE) -> Value:
        """Defines ``name`` as ``expression`` and returns its symbol."""
        if not isinstance(role, str) or role in _OWN_ROLES:
            self._report(
                "LG108",
                f"the role {role!r} is lstmgen's own",
                "leave it out, or give a word for a notation to recognise",
            )
            role = Role.VALUE
        return self._define(name, expression, description, role)

    def next(self, name: str, expression: Any, description: str = "") -> Value:
        """Defines this step's value of state ``name`` and returns its symbol, named ``name``."""
        if not isinstance(name, str):
            return self._define(name, expression, description, Role.VALUE)
        previous = self.states.get(name)
        if previous is None:
            close = difflib.get_close_matches(name, [*self.states, *(f"{each}_prev" for each in self.states)], n=1)
            meant = close[0].removesuffix("_prev") if close else ""
            self._report(
                "LG111",
                f"eq.next({name!r}): there is no state {name!r}",
                f"did you mean {meant!r}?" if close else f"declare it first: {name}_prev = eq.state({name!r})",
            )
            self.excused.add(meant)
            self._read(expression)
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
        if value in self._shared:
            self._report(
                "LG107",
                f"the next value of state {name!r} depends on no input and no state: it is the same at every step",
                "define it with eq.let, or let it depend on one",
            )
            self._poison(value)
        self.next_values[name] = value
        return value

    def output(self, *values: Any) -> None:
        """Names what the cell returns at every step; with several values, a tuple of them."""
        self.named_outputs |= bool(values)
        for value in values:
            self._read(value)
            if not isinstance(value, Value) or value not in self._known:
                self._report(
                    "LG117",
                    f"eq.output needs a named value of this cell, not {spell_any(value)}",
                    "give it what eq.let or eq.next returned; an expression is named first: y = eq.let('y', ...)",
                )
            elif value.role in _GIVEN:
                self._report(
                    "LG117", f"{value.name} is no result of this step", "output a value defined by eq.let or eq.next"
                )
            elif value in self.outputs:
                self._report("LG110", f"{value.name} is an output already", "name each output once")
            elif value in self._shared:
                self._report(
                    "LG117",
                    f"{value.name} is the same at every step: it depends on no input and no state",
                    "output a value that depends on one",
                )
            else:
                self.outputs.append(value)

    def size(self, dim: str) -> Value:
        """The size of the dimension ``dim``, a number that expressions may use."""
        value = Value(str(dim), (), Role.SIZE)
        if not self._check_dims((dim,), Role.PARAMETER):
            return self._poison(value)
        self._shared.add(value)
        if value not in self._known:
            self._known.add(value)
            self.sizes.append(value)
            self.places.setdefault(f"size {dim}", caller())
        return value

    def constant(self, name: str, numbers: Any, *dims: str, description: str = "") -> Value:
        """An array of numbers that is not trained, such as a fixed matrix; it is written into the generated code.

        ``numbers`` is what NumPy takes for an array, one dimension for each name in ``dims``. Their sizes are fixed by
        it: those of ``Parameters.initialize`` do not contain them.
        """
        value = self._declare(name, _given(dims), Role.CONSTANT)
        self._shared.add(value)
        if value in self._poisoned:
            return value
        try:
            array = np.array(numbers, np.float64)
        except (TypeError, ValueError):
            array = np.array(math.nan)
        if array.ndim != len(value.dims) or not array.size or not np.isfinite(array).all():
            self._report(
                "LG123",
                f"constant {name!r} is given {spell_any(numbers)} for the dimensions {spell(value.dims)}",
                "give finite numbers as a nested list or a NumPy array, with one dimension for each name",
            )
            return self._poison(value)
        fixed = dict(self._fixed)
        for dim, size in zip(value.dims, array.shape, strict=True):
            if dim in self._joined:
                self._report(
                    "LG123",
                    f"constant {name!r} fixes the size of {dim!r}, which flatten makes of {spell(self._joined[dim])}",
                    "give one of the two dimensions another name",
                )
                return self._poison(value)
            if fixed.setdefault(dim, size) != size:
                self._report(
                    "LG123",
                    f"constant {name!r} has {size} entries along {dim!r}, where {fixed[dim]} were fixed before",
                    "give one of the two dimensions another name",
                )
                return self._poison(value)
        self._fixed = fixed
        self.constants.append(FixedArray(value, array.shape, tuple(map(float, array.ravel())), description))
        return value

    def step_index(self, name: str = "t") -> Value:
        """The number of the step, from 0 or the ``start=`` that the generated functions are called with."""
        if self.step_value is not None:
            if name != self.step_value.name:
                self._report(
                    "LG110",
                    f"the step index is called {self.step_value.name!r} already",
                    f"use the name {self.step_value.name!r}",
                )
            return self.step_value
        self.step_value = self._declare(name, (), Role.STEP_INDEX)
        return self.step_value

    # -- checks ------------------------------------------------------------------------------------------------------

    def _check_name(self, name: Any, *, is_input: bool = False) -> bool:
        """Whether a new value may have the name; reports if not."""
        reason = reason_against(name, is_input=is_input)
        if reason is None and name in self.places:
            line = self.places[name].line
            reason = ("LG110", f"the name {name!r} is taken: it was declared on line {line}", "rename one")
        if reason:
            self._report(*reason)
        return reason is None

    def _check_dims(self, dims: Dims, role: str) -> bool:
        """Whether a new value may have the dimensions; reports if not."""
        reasons = []
        for dim in dims:
            if not isinstance(dim, str):
                hint = "name each one, as in eq.state('C', 'value', 'key'); sizes are given to Parameters.initialize"
                reasons.append(("LG101", f"{dim!r} is not the name of a dimension", hint))
            elif reason := reason_against(dim, is_dimension=True):
                reasons.append(reason)
        if not reasons and role not in (Role.PARAMETER, Role.CONSTANT) and len(set(dims)) != len(dims):
            reasons.append(_repeated(dims))
        for reason in reasons:
            self._report(*reason)
        return not reasons

    def _declare(self, name: str, dims: Dims, role: str) -> Value:
        fits = self._check_dims(dims, role)
        value = Value(str(name), tuple(map(str, dims)), role)
        if not self._check_name(name, is_input=role in (Role.INPUT, Role.STEP_INDEX)):
            return self._poison(value)
        self.places[name] = caller()
        self._known.add(value)
        return value if fits else self._poison(value)

    def _define(self, name: str, expression: Any, description: str, role: str, dims: Dims | None = None) -> Value:
        advancing = dims is not None
        if not isinstance(name, str):
            self._report(
                "LG109", f"{spell_any(name)} is no name", "the name comes first: eq.let('y', ...), eq.next('h', ...)"
            )
            self.excused.add(str(name))
            self._read(name)
            self._read(expression)
            return self._poison(Value(str(name), ("hidden",), role))
        if not advancing and name in self.states:
            self._report(
                "LG110", f"{name!r} is a state: eq.let cannot define it", f"use eq.next({name!r}, ...), or rename one"
            )
            self.excused.add(name)
            self._read(expression)
            return self._poison(Value(name, self.states[name].dims, role))
        tree = self._expression(expression, name)
        found = self._dims(tree) if tree is not None else None
        if tree is not None and found is not None and dims is not None:
            found = self._fit(name, tree, found, dims)
        free = advancing or self._check_name(name)
        value = Value(name, next(each for each in (dims, found, ("hidden",)) if each is not None), role)
        if free:
            self.places[name] = caller()
        self._known.add(value)
        if tree is None or found is None or not free:
            return self._poison(value)
        if tree.free_symbols <= self._shared:
            self._shared.add(value)
        self.equations.append(Equation(value, tree, description or "", caller(), sympify(expression)))
        return value

    def _fit(self, name: str, tree: Expr, found: Dims, dims: Dims) -> Dims | None:
        """The dimensions of a state's next value, or None after a report: elementwise ones broadcast to the state's."""
        extra = [dim for dim in found if dim not in dims]
        if found == dims or not (extra or isinstance(tree, Operation)):
            return found
        if extra:
            close = [match for dim in extra for match in difflib.get_close_matches(dim, dims, n=1)]
            hint = f"remove {', '.join(extra)} with a product `@` or with sum_over"
            hint = f"did you mean {close[0]!r}?" if close else hint
        elif set(found) == set(dims):
            hint = "transpose it, or exchange the operands of outer"
        else:
            hint = f"combine it with a value that has {', '.join(dim for dim in dims if dim not in found)}"
        self._report("LG102", f"state {name!r} has dimensions {spell(dims)}, its next value {spell(found)}", hint)
        return None

    def _read(self, expression: Any) -> Basic | None:
        """``expression`` as SymPy has it, with every value in it counted as used; None if it is nothing of SymPy's."""
        try:
            tree = sympify(expression, strict=True)
        except Exception:  # whatever a foreign object's hooks raise
            tree = None
        if not isinstance(tree, Basic):
            self.opaque = True
            return None
        nodes = list(preorder_traversal(tree))
        self.mentioned |= {each for each in nodes if isinstance(each, Value)}
        self.opaque |= not all(isinstance(each, Basic) for each in nodes)
        return tree

    def _expression(self, expression: Any, what: str) -> Expr | None:
        """``expression`` in canonical form with every symbol known, or None after a report."""
        tree = self._read(expression)
        if not isinstance(tree, Expr):
            self._report(
                "LG117",
                f"{what} is given {spell_any(expression)}, which is no expression",
                "give it an expression of values; for a comparison use where(condition, a, b)",
            )
            return None
        symbols = {each for each in preorder_traversal(tree) if isinstance(each, Symbol)}
        if symbols & self._poisoned:
            return None
        try:
            tree = canonical(tree)
        except ShapeMistake as mistake:
            self._report(mistake.code, mistake.message, mistake.hint)
            return None
        strangers = sorted(symbols - self._known, key=str)
        for each in strangers:
            known = [value.name for value in self._known]
            hint = f"use the value that was returned for {each.name!r}" if each.name in known else ""
            self._report(
                "LG111",
                f"{each} is no value of this cell" + ("" if isinstance(each, Value) else ", but a bare SymPy symbol"),
                hint
                or self._did_you_mean(each.name, known)
                or "define it first, with eq.let, eq.input, eq.state or eq.parameter",
            )
        return None if strangers else tree

    def _dims(self, tree: Expr) -> Dims | None:
        if tree.free_symbols & self._poisoned:
            return None
        try:
            dims = dims_of(tree)
            for node in preorder_traversal(tree):
                if isinstance(node, Flatten):
                    joined = dims_of(node.values[0])
                    before = self._joined.setdefault(node.to, joined)
                    if node.to in self._fixed:
                        raise ShapeMistake(
                            "LG123",
                            f"a constant fixes the size of {node.to!r}, which flatten would make of {spell(joined)}",
                            "give one of the two dimensions another name",
                        )
                    if before != joined:
                        raise ShapeMistake(
                            "LG102",
                            f"{node.to!r} joins {spell(before)} already, it cannot join {spell(joined)} as well",
                            "give one of the two another name",
                        )
                if isinstance(node, SumOver) and (of := dims_of(node.values[0])).count(node.dim) > 1:
                    raise ShapeMistake(
                        "LG101",
                        f"cannot reduce over {node.dim!r}: the operand has {spell(of)}",
                        "give one of the two another name, or multiply by a vector with @",
                    )
        except ShapeMistake as mistake:
            self._report(mistake.code, mistake.message, mistake.hint)
            return None
        if len(set(dims)) != len(dims) and not tree.free_symbols <= self._shared:
            self._report(*_repeated(dims))
            return None
        return dims

    def _init(self, name: str, init: Any) -> Init:
        if init is None:
            return None
        kind = type(init) if isinstance(init, Uniform | Normal | Constant) else Constant
        (given,) = vars(init).values() if kind is type(init) else (init,)
        try:
            number = math.nan if isinstance(given, str) else float(given)
        except (TypeError, ValueError):
            number = math.nan
        if math.isfinite(number) and (kind is Constant or number >= 0):
            return kind(number)
        self._report(
            "LG119",
            f"the start value of {name} is {spell_any(init)}",
            "give a number, Uniform(bound), Normal(std), or None for uniform in ±1/sqrt(hidden)",
        )
        return None

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


def _given(dims: tuple[Any, ...], *default: str) -> Dims:
    """The dimensions as given, one by one or in one tuple, or the default if none were."""
    if len(dims) == 1 and isinstance(dims[0], tuple):
        return dims[0]
    return dims or default


def _repeated(dims: Dims) -> tuple[str, str, str]:
    return (
        "LG102",
        f"a value cannot have the dimensions {spell(dims)}: only parameters repeat a name",
        "give one of them another name, such as (value, key)",
    )
