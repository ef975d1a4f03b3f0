"""Declared equations in, the network they describe out.

What would be too fine is one node: an affine map with its activation, a normalisation, what only parameters and numbers
make. Gates that read the same values read them through one junction, as the classic diagrams join two lines.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from sympy import Add, Basic, Expr, Mul, Number, Pow

from lstmgen.calculus.graph import is_call, operands_of
from lstmgen.calculus.text import Text, split_quotient, split_sign
from lstmgen.declare.declaration import Declaration
from lstmgen.declare.functions import maximum, minimum, sigmoid, written_name
from lstmgen.declare.normalizations import Normalization, Softmax
from lstmgen.declare.operations import (
    Flatten,
    Matmul,
    MaxOver,
    MeanOver,
    Operation,
    Outer,
    StopGradient,
    SumOver,
    Transpose,
)
from lstmgen.declare.symbols import SHARED_ROLES, Role, Value
from lstmgen.derivation.formula import Formula, Style, Symbol
from lstmgen.derivation.network import Edge, Kind, Network, Node

FormulaOf = Callable[[Expr], Formula]


def network(declaration: Declaration, formula_of: FormulaOf) -> Network:
    """The network of one step of a cell; ``formula_of`` writes the names of quantities."""
    return _Reader(declaration, formula_of).run()


_SIGNS: dict[type[Operation], str] = {
    SumOver: "Σ",
    MeanOver: "mean",
    MaxOver: "max",
    Transpose: "T",
    Flatten: "flatten",
    StopGradient: "stop",
}
_FUNCTIONS = {"maximum": "max", "minimum": "min", "abs": "| |", "sqrt": "√", "where": "if", "logsigmoid": "log σ"}


class _Reader:
    """The walk's state: nodes and edges found so far, and which node stands for an expression."""

    def __init__(self, declaration: Declaration, formula_of: FormulaOf) -> None:
        self.declaration, self.formula_of = declaration, formula_of
        self.defined = {equation.target: equation.expression for equation in declaration.equations}
        self.readers: dict[Value, set[Any]] = {}
        for target, expression in self.defined.items():
            self._read(expression, target)
        self.results = {state.next for state in declaration.states} | set(declaration.outputs)
        self.shared = _shared(declaration)
        self.nodes: dict[str, Node] = {}
        self.edges: dict[Edge, None] = {}
        self.found: dict[Any, str] = {}

    def run(self) -> Network:
        for state in self.declaration.states:
            self._terminal(state.previous, Kind.PREVIOUS)
        for value in self.declaration.given:
            self._terminal(value, Kind.INPUT)
        for target in self.defined:
            if target in self.results:
                self._of(target)
        for state in self.declaration.states:
            self._result(state.next, Kind.NEXT)
        for value in self.declaration.outputs:
            self._result(value, Kind.OUTPUT)
        read = {edge.source for edge in self.edges}
        nodes = [node for node in self.nodes.values() if node.kind is not Kind.INPUT or node.key in read]
        return _joined(Network(self.declaration.name, tuple(nodes), tuple(self.edges)))

    def _read(self, expression: Basic, reader: Any) -> None:
        """Notes who reads each value; the results of one joint normalisation are one reader."""
        if isinstance(expression, Value):
            self.readers.setdefault(expression, set()).add(reader)
        inner = _identity(expression) if isinstance(expression, Normalization) else reader
        for argument in expression.args:
            self._read(argument, inner)

    def _terminal(self, value: Value, kind: Kind) -> None:
        self.found[value] = self._add(str(value.name), kind, self.formula_of(value), None, ())

    def _result(self, value: Value, kind: Kind) -> None:
        source = self.found.get(value)
        if source is not None:
            self._add(f"{value.name}_{kind}", kind, self.formula_of(value), None, ((source, ""),))

    def _add(
        self,
        key: str,
        kind: Kind,
        sign: Formula | str,
        value: Value | None,
        inputs: Sequence[tuple[str | None, str]],
    ) -> str:
        key = key if key not in self.nodes else f"{key}_{len(self.nodes)}"
        name = None if value is None or value.role == Role.PREACTIVATION else self.formula_of(value)
        self.nodes[key] = Node(key, kind, sign, name)
        for source, mark in inputs:
            if source is not None:
                self.edges.setdefault(Edge(source, key, mark))
        return key

    def _is_shared(self, expression: Expr) -> bool:
        return all(value in self.shared for value in operands_of(expression))

    def _of(self, expression: Expr, value: Value | None = None) -> str | None:
        """The node that stands for ``expression``, which defines ``value``; None for what no node shows."""
        if self._is_shared(expression):
            return None
        known = _identity(expression)
        if known not in self.found:
            inner = isinstance(expression, Value)
            made = self._of(self.defined[expression], expression) if inner else self._make(expression, value)
            if made is None:
                return None
            self.found[known] = made
        return self.found[known]

    def _make(self, expression: Expr, value: Value | None) -> str | None:
        key = str(value.name) if value is not None else f"n{len(self.nodes)}"
        mapped = self._affine(expression)
        if mapped is not None:
            return self._map(mapped, key, value)
        if is_call(expression):
            return self._call(expression, key, value)
        if isinstance(expression, Add):
            return self._sum(expression, key, value)
        if isinstance(expression, Mul):
            return self._product(expression, key, value)
        if isinstance(expression, Pow):
            sign = {"2": "( )²", "-1": "1/( )"}.get(str(expression.exp), f"( )^{Text()(expression.exp)}")
            return self._add(key, Kind.FUNCTION, sign, value, ((self._of(expression.base), ""),))
        assert isinstance(expression, Operation)
        if isinstance(expression, Normalization):
            return self._normalization(expression, key, value)
        inputs = [(self._of(each), "") for each in expression.values]
        if isinstance(expression, Matmul | Outer):
            return self._add(key, Kind.PRODUCT, "⊗" if isinstance(expression, Outer) else "·", value, inputs)
        return self._add(key, Kind.FUNCTION, _SIGNS.get(type(expression), type(expression).__name__), value, inputs)

    def _map(self, mapped: _Affine, key: str, value: Value | None) -> str:
        """A box for the affine map; what is only added to it enters a sum behind it."""
        sign = self.formula_of(mapped.matrices[0]) if len(mapped.matrices) == 1 else Symbol("W")
        inputs = [(self._of(each), "") for each in mapped.operands]
        if not mapped.plain:
            return self._add(key, Kind.GATE, sign, value, inputs)
        box = self._add(f"{key}_map", Kind.GATE, sign, None, inputs)
        return self._add(key, Kind.SUM, "+", value, [(box, ""), *self._terms(mapped.plain)])

    def _call(self, expression: Expr, key: str, value: Value | None) -> str:
        written = written_name(type(expression))
        sign: Formula | str = Symbol("sigma") if type(expression) is sigmoid else _FUNCTIONS.get(written, written)
        if isinstance(sign, str):
            sign = Symbol(sign, Style.UPRIGHT)
        if len(expression.args) == 1:
            mapped = self._affine(expression.args[0])
            if mapped is not None and not mapped.plain:
                inputs = [(self._of(each), "") for each in mapped.operands]
                return self._add(key, Kind.GATE, sign, value, inputs)
        reads: dict[tuple[str | None, str], None] = {}
        for argument in _arguments(expression):  # a condition is no value: its sides are what is read
            parts = [argument] if isinstance(argument, Expr) else operands_of(argument)
            reads |= {(self._of(body), "−" if minus == "-" else ""): None for minus, body in map(split_sign, parts)}
        return self._add(key, Kind.FUNCTION, sign, value, list(reads))

    def _terms(self, terms: Sequence[Expr]) -> list[tuple[str | None, str]]:
        return [(self._of(body), "−" if sign == "-" else "") for sign, body in map(split_sign, terms)]

    def _sum(self, expression: Add, key: str, value: Value | None) -> str | None:
        terms = [term for term in _terms_of(expression) if not self._is_shared(term)]
        constant = [term for term in _terms_of(expression) if self._is_shared(term)]
        if len(terms) > 1:
            return self._add(key, Kind.SUM, "+", value, self._terms(terms))
        sign, body = split_sign(terms[0])
        shift = Text()(constant[0]) if len(constant) == 1 and isinstance(constant[0], Number) else "k"
        shown = f"{shift}−" if sign == "-" else f"{shift}+"
        return self._add(key, Kind.FUNCTION, shown, value, ((self._of(body), ""),))

    def _product(self, expression: Mul, key: str, value: Value | None) -> str | None:
        above, below = split_quotient(_flat(expression))
        inputs = [(self._of(each), "") for each in above if not self._is_shared(each)]
        inputs += [(self._of(each), "÷") for each in below if not self._is_shared(each)]
        numbers = [each for each in above if isinstance(each, Number)]
        if len(inputs) == 1 and not inputs[0][1]:
            sign = "−" if numbers == [-1] else f"×{Text()(numbers[0])}" if len(numbers) == 1 else "× k"
            return self._add(key, Kind.FUNCTION, sign, value, inputs)
        if len(inputs) == 1:
            return self._add(key, Kind.FUNCTION, "1/( )", value, [(inputs[0][0], "")])
        return self._add(key, Kind.PRODUCT, "×", value, inputs)

    def _normalization(self, expression: Normalization, key: str, value: Value | None) -> str:
        inputs: dict[str | None, None] = {}
        for each in expression.values:
            mapped = self._affine(self._seen_through(each))
            parts = mapped.operands if mapped is not None and not mapped.plain else (each,)
            inputs |= dict.fromkeys(self._of(part) for part in parts)
        sign = "softmax" if isinstance(expression, Softmax) else "norm"
        name = value if len(expression.values) == 1 else None
        return self._add(key, Kind.FUNCTION, Symbol(sign, Style.UPRIGHT), name, [(each, "") for each in inputs])

    def _seen_through(self, expression: Expr) -> Expr:
        """What defines a value that nothing else reads."""
        if not isinstance(expression, Value) or expression in self.results or len(self.readers[expression]) != 1:
            return expression
        return self.defined.get(expression, expression)

    def _affine(self, expression: Expr) -> _Affine | None:
        """``expression`` as an affine map with parameters of it, if it is one."""
        if isinstance(expression, Value):
            defined = self._seen_through(expression)
            return self._affine(defined) if expression.role == Role.PREACTIVATION and defined != expression else None
        if isinstance(expression, Matmul):
            left, right = expression.values
            if self._is_shared(left) != self._is_shared(right):
                matrix, operand = (left, right) if self._is_shared(left) else (right, left)
                return _Affine((operand,), (), (matrix,) if isinstance(matrix, Value) else (matrix, matrix))
            return None
        if isinstance(expression, Mul):
            factors = [each for each in _flat(expression).args if not self._is_shared(each)]
            if len(factors) != 1 or (isinstance(factors[0], Pow) and factors[0].exp.is_negative):
                return None
            scales = [each for each in _flat(expression).args if self._has_parameter(each)]
            inner = self._affine(factors[0])
            if inner is not None and not inner.plain:
                return inner
            return _Affine((factors[0],), (), tuple(scales)) if scales else None
        if isinstance(expression, Add):
            terms = _terms_of(expression)
            found = [self._affine(term) for term in terms]
            plain = [t for t, each in zip(terms, found, strict=True) if each is None and not self._is_shared(t)]
            maps = [each for each in found if each is not None]
            if not maps and not (len(plain) == 1 and any(map(self._has_parameter, terms))):
                return None
            if not maps:
                return _Affine(tuple(plain), (), ())
            operands = dict.fromkeys(operand for each in maps for operand in each.operands)
            plain += [term for each in maps for term in each.plain]
            return _Affine(tuple(operands), tuple(plain), tuple(m for each in maps for m in each.matrices))
        return None

    def _has_parameter(self, expression: Expr) -> bool:
        return self._is_shared(expression) and any(v.role not in (Role.SIZE,) for v in operands_of(expression))


@dataclass(frozen=True)
class _Affine:
    """What parameters multiply (``operands``, by ``matrices``) and what is added as it is (``plain``)."""

    operands: tuple[Expr, ...]
    plain: tuple[Expr, ...]
    matrices: tuple[Expr, ...]


def _shared(declaration: Declaration) -> set[Value]:
    """The values that parameters and numbers alone make."""
    found = {value for equation in declaration.equations for value in operands_of(equation.expression)}
    shared = {value for value in found if value.role in SHARED_ROLES}
    for equation in declaration.equations:
        if shared.issuperset(operands_of(equation.expression)):
            shared.add(equation.target)
    return shared


def _identity(expression: Expr) -> Any:
    """What tells an expression from others; the results of one joint normalisation share a node."""
    if isinstance(expression, Normalization):
        return (type(expression), expression.values, expression.given_dim)
    return expression


def _arguments(expression: Expr) -> list[Any]:
    """The arguments of a call; the largest of three values is one call."""
    nested = isinstance(expression, maximum | minimum)
    found = []
    for argument in expression.args:
        found += _arguments(argument) if nested and isinstance(argument, type(expression)) else [argument]
    return found


def _terms_of(expression: Expr) -> list[Expr]:
    if isinstance(expression, Add):
        return [term for arg in expression.args for term in _terms_of(arg)]
    return [expression]


def _flat(expression: Mul) -> Mul:
    """The product with products among its factors opened."""
    factors = [part for arg in expression.args for part in (_flat(arg).args if isinstance(arg, Mul) else (arg,))]
    return Mul(*factors, evaluate=False)


def _joined(plain: Network) -> Network:
    """The network with junctions: the values that most gates read together, then the next, while two gates do."""
    reads = {
        node.key: frozenset(edge.source for edge in plain.edges if edge.target == node.key)
        for node in plain.nodes
        if node.kind in (Kind.GATE, Kind.FUNCTION)
    }
    gates = {node.key for node in plain.nodes if node.kind is Kind.GATE}
    nodes, edges = list(plain.nodes), list(plain.edges)
    while True:
        groups = {frozenset(reads[a] & reads[b]) for a, b in combinations(sorted(gates), 2)}
        ranked = [(sum(each <= reads[gate] for gate in gates), sorted(each)) for each in groups if len(each) > 1]
        if not ranked:
            return Network(plain.title, tuple(nodes), tuple(edges))
        _, members = max(ranked)
        key = f"join_{'_'.join(members)}"
        nodes.append(Node(key, Kind.JUNCTION, ""))
        joined = [gate for gate in gates if reads[gate].issuperset(members)]
        edges = [edge for edge in edges if not (edge.target in joined and edge.source in members)]
        edges += [Edge(member, key) for member in members]
        edges += [Edge(key, node.key) for node in plain.nodes if node.key in joined]
        for gate in joined:
            reads[gate] = reads[gate] - set(members) | {key}
