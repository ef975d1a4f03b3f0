"""A declaration in the making: all that a cell has declared so far, and the checks of what it declares next.

Nothing here raises on a user's mistake. A mistake is recorded with its place, and what was declared wrongly becomes a
*poisoned* value, about which no further complaint is made, so that all mistakes of a cell are told at once.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from sympy import Basic, Expr, Symbol, postorder_traversal, preorder_traversal, sympify
from sympy.logic.boolalg import Boolean

from lstmgen.declare.ambiguity import matrix_hint, unrelated_operands
from lstmgen.declare.canonical import canonical
from lstmgen.declare.declaration import Equation, FixedArray, Parameter, in_one_line
from lstmgen.declare.dims import Dims, spell
from lstmgen.declare.names import reason_against
from lstmgen.declare.operations import Flatten, ShapeMistake, SumOver
from lstmgen.declare.places import caller, diagnostic
from lstmgen.declare.shapes import dims_of
from lstmgen.declare.symbols import Role, Value
from lstmgen.errors import Diagnostic, Place, Severity


@dataclass(frozen=True)
class Checked:
    """An expression without a mistake: as it came from the user's Python, in canonical form, and its dimensions."""

    written: Expr
    tree: Expr
    dims: Dims


class Draft:
    """Collects what the equation builder declares."""

    def __init__(self) -> None:
        self.inputs: list[Value] = []
        self.states: dict[str, Value] = {}
        self.next_values: dict[str, Value] = {}
        self.parameters: list[Parameter] = []
        self.constants: list[FixedArray] = []
        self.equations: list[Equation] = []
        self.outputs: list[Value] = []
        self.sizes: list[Value] = []
        self.step_index: Value | None = None
        self.diagnostics: list[Diagnostic] = []
        self.places: dict[str, Place] = {}
        self.named_outputs = False
        self.mentioned: set[Value] = set()  # everything that some equation reads, failed ones included
        self.opaque = False  # what some equation reads, or should read, is unknown
        self.excused: set[str] = set()  # states that a mistake told already left without a next value
        self.renamed: dict[str, str] = {}  # states declared as h_prev, and what they are called
        self.known: set[Value] = set()
        self.poisoned: set[Value] = set()
        self.shared: set[Value] = set()  # values made of parameters and numbers alone, the same at every step
        self.fixed: dict[str, int] = {}  # the sizes that constants fix
        self.joined: dict[str, Dims] = {}  # what flatten joined, by the name it gave

    def report(self, code: str, message: str, hint: str, severity: Severity = Severity.ERROR) -> None:
        """Records a mistake at the user's line."""
        self.diagnostics.append(diagnostic(code, message, hint, caller(), severity))

    # -- names and dimensions ----------------------------------------------------------------------------------------

    def poison(self, value: Value) -> Value:
        """``value``, of which nothing further is said."""
        self.poisoned.add(value)
        self.known.add(value)
        return value

    def declare(self, name: str, dims: Dims, role: str) -> Value:
        """A value that no equation defines."""
        fits = self.check_dims(dims, role)
        value = Value(str(name), tuple(map(str, dims)), role)
        if not self.check_name(name, is_input=role in (Role.INPUT, Role.STEP_INDEX)):
            return self.poison(value)
        self.places[name] = caller()
        self.known.add(value)
        return value if fits else self.poison(value)

    def check_name(self, name: Any, *, is_input: bool = False) -> bool:
        """Whether a new value may have the name; reports if not."""
        reason = reason_against(name, is_input=is_input)
        if reason is None and name in self.places:
            line = self.places[name].line
            reason = ("LG110", f"the name {name!r} is taken: it was declared on line {line}", "rename one")
        if reason:
            self.report(*reason)
        return reason is None

    def check_dims(self, dims: Dims, role: str) -> bool:
        """Whether a new value may have the dimensions; reports if not."""
        others = [repr(dim) for dim in dims if not isinstance(dim, str)]
        reasons = [
            reason for dim in dims if isinstance(dim, str) and (reason := reason_against(dim, is_dimension=True))
        ]
        if others:
            are = "is not the name of a dimension" if len(others) == 1 else "are not names of dimensions"
            hint = "name each one, as in eq.state('C', 'value', 'key'); sizes are given to Parameters.initialize"
            reasons.append(("LG101", f"{' and '.join(others)} {are}", hint))
        if not reasons and role not in (Role.PARAMETER, Role.CONSTANT) and len(set(dims)) != len(dims):
            reasons.append(_repeated(dims))
        for reason in reasons:
            self.report(*reason)
        return not reasons

    # -- expressions -------------------------------------------------------------------------------------------------

    def read(self, expression: Any) -> Basic | None:
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

    def check(self, expression: Any) -> Checked | None:
        """``expression`` in canonical form, every value known and dimensions that fit; None after a report."""
        written = self.read(expression)
        symbols = set() if written is None else written.atoms(Symbol)
        if symbols & self.poisoned:
            return None
        try:
            tree = canonical(expression if written is None else written)
        except ShapeMistake as mistake:
            self.report(mistake.code, mistake.message, mistake.hint)
            return None
        strangers = sorted(symbols - self.known, key=str)
        for each in strangers:
            self._report_stranger(each)
        dims = None if strangers else self._dims(tree)
        return None if dims is None else Checked(written, tree, dims)

    def _report_stranger(self, symbol: Symbol) -> None:
        names = sorted(value.name for value in self.known)
        hint = f"use the value that was returned for {symbol.name!r}" if symbol.name in names else ""
        hint = hint or did_you_mean(symbol.name, names)
        if isinstance(symbol, Value):
            hint = hint or "define it first, with eq.let, eq.input, eq.state or eq.parameter"
            self.report("LG111", f"{symbol} is no value of this cell", hint)
        else:  # SymPy's functions make such a symbol of text
            hint = hint or "use values and numbers"
            self.report("LG117", f"text or a bare SymPy symbol {symbol.name!r} stands where a value belongs", hint)

    def _dims(self, tree: Expr) -> Dims | None:
        """The dimensions of an expression in canonical form; None after a report."""
        dims: Dims = ()
        for node in postorder_traversal(tree):
            if not isinstance(node, Expr | Boolean):
                continue  # an operation's name of a dimension, say
            try:
                dims = dims_of(node)
                self._check_node(node)
            except ShapeMistake as mistake:
                hint = matrix_hint(node) if mistake.code == "LG114" else mistake.hint
                self.report(mistake.code, mistake.message, hint)
                return None
        if len(set(dims)) != len(dims) and not tree.free_symbols <= self.shared:
            self.report(*_repeated(dims))
            return None
        return dims

    def _check_node(self, node: Basic) -> None:
        """What a declaration may not do, or may not do twice, though its dimensions fit; raises ShapeMistake."""
        if isinstance(node, Flatten):
            joined = dims_of(node.values[0])
            before = self.joined.setdefault(node.to, joined)
            if node.to in self.fixed:
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
        if isinstance(node, SumOver) and (dims := dims_of(node.values[0])).count(node.dim) > 1:
            raise ShapeMistake(
                "LG101",
                f"cannot reduce over {node.dim!r}: the operand has {spell(dims)}",
                "give one of the two another name, or multiply by a vector with @",
            )

    # -- equations ---------------------------------------------------------------------------------------------------

    def define(self, value: Value, found: Checked, description: str) -> None:
        """Records ``value = found``."""
        self.known.add(value)
        if found.tree.free_symbols <= self.shared:
            self.shared.add(value)
        self.equations.append(Equation(value, found.tree, in_one_line(description or ""), caller(), found.written))
        warning = unrelated_operands(found.tree, self.shared)
        if warning:
            self.report(*warning, Severity.WARNING)


def did_you_mean(name: str, candidates: Iterable[str]) -> str:
    """A hint that names the candidate nearest to ``name``; empty if none is near."""
    close = difflib.get_close_matches(name, list(candidates), n=1)
    return f"did you mean {close[0]!r}?" if close else ""


def _repeated(dims: Dims) -> tuple[str, str, str]:
    return (
        "LG102",
        f"a value cannot have the dimensions {spell(dims)}: only parameters repeat a name",
        "give one of them another name, such as (value, key)",
    )
