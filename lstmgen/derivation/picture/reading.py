"""Declared equations in, the network they describe out.

What would be too fine is one node: an affine map with its activation, a normalisation, what only parameters and numbers
make. Gates that read the same values read them through one junction, as the classic diagrams join two lines.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from sympy import Add, Basic, Expr, Integer, Mul, Number, Pow

from lstmgen.calculus.graph import is_call, operands_of
from lstmgen.calculus.text import Text, split_quotient, split_sign
from lstmgen.declare.declaration import Declaration
from lstmgen.declare.functions import maximum, minimum, where
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
from lstmgen.declare.shapes import dims_of
from lstmgen.declare.symbols import SHARED_ROLES, Role, Value
from lstmgen.derivation.formula import Formula, Style, Sum, Symbol
from lstmgen.derivation.network import Edge, Kind, Network, Node
from lstmgen.derivation.picture import signs

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
_Input = tuple[str | None, str]
"""A node, None for what no node shows, and the mark of the edge from it."""


class _Reader:
    """The walk's state: nodes and edges found so far, and which node stands for an expression."""

    def __init__(self, declaration: Declaration, formula_of: FormulaOf) -> None:
        self.declaration, self.formula_of = declaration, formula_of
        self.defined = {equation.target: equation.expression for equation in declaration.equations}
        self.readers: dict[Basic, set[Any]] = {}
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
        """Notes where each expression is read; the results of one joint normalisation are one place."""
        self.readers.setdefault(expression, set()).add(reader)
        for argument in expression.args:
            self._read(argument, _identity(expression))

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
        inputs: Sequence[_Input],
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
        folded = self._folded(expression)
        if folded is not None:
            return self._call(*folded, key, value)
        if isinstance(expression, Add):
            return self._sum(expression, key, value)
        if isinstance(expression, Mul):
            return self._product(expression, key, value)
        if isinstance(expression, Pow):
            sign = {"2": "( )²", "-1": "1/( )"}.get(str(expression.exp), f"( )^{Text()(expression.exp)}")
            return self._add(key, Kind.FUNCTION, sign, value, ((self._of(expression.base), ""),))
        if isinstance(expression, where):
            return self._choice(expression, key, value)
        if is_call(expression):
            return self._call_of_several(expression, key, value)
        assert isinstance(expression, Operation)
        if isinstance(expression, Normalization):
            return self._normalization(expression, key, value)
        inputs = [(self._of(each), "") for each in expression.values]
        if isinstance(expression, Matmul | Outer):
            return self._add(key, Kind.PRODUCT, "⊗" if isinstance(expression, Outer) else "·", value, inputs)
        return self._add(key, Kind.FUNCTION, _SIGNS.get(type(expression), type(expression).__name__), value, inputs)

    def _map(self, mapped: _Affine, key: str, value: Value | None) -> str:
        """A box for the affine map; what is only added to it enters a sum behind it."""
        if not mapped.plain:
            return self._box(mapped, key, value)
        box = self._box(mapped, f"{key}_map", None)
        return self._add(key, Kind.SUM, "+", value, [(box, ""), *self._terms(mapped.plain)])

    def _box(self, mapped: _Affine, key: str, value: Value | None) -> str:
        """A box with the matrices of a map, whose bias is understood; else with what it multiplies by, and adds."""
        parameters = [self.formula_of(each) for each in mapped.parameters]
        if mapped.has_matrix or len(mapped.operands) > 1:
            return self._add(key, Kind.GATE, signs.side_by_side(parameters), value, self._entries(mapped))
        addends = [(sign, self.formula_of(body)) for sign, body in map(split_sign, mapped.addends)]
        sign = signs.acting(signs.factor(parameters[0]) if parameters else None, addends)
        return self._add(key, Kind.GATE, sign, value, [(self._of(mapped.operands[0][0]), "")])

    def _entries(self, mapped: _Affine) -> list[_Input]:
        return [(self._of(each), mark) for each, mark in mapped.operands]

    def _folded(self, expression: Expr) -> tuple[Expr, Formula] | None:
        """A function of one argument with the numbers that it is multiplied by, and that are added, in its sign."""
        if is_call(expression) and len(expression.args) == 1:
            return expression, signs.function(type(expression))
        if not isinstance(expression, Add | Mul):
            return None
        parts = expression.args if isinstance(expression, Add) else _flat(expression).args
        rest = [part for part in parts if not isinstance(part, Number)]
        if len(rest) != 1 or len(rest) == len(parts):
            return None
        if isinstance(expression, Mul):
            inner = self._folded(rest[0])
            number = _one(Mul, [part for part in parts if part not in rest])
            return inner and self._beside(inner, signs.scaled(self.formula_of(number), inner[1]))
        inner = self._folded(split_sign(rest[0])[1])
        if inner is None:
            return None
        terms = [
            (sign, inner[1] if part in rest else self.formula_of(body))
            for part, (sign, body) in zip(parts, map(split_sign, parts), strict=True)
        ]
        return self._beside(inner, Sum(tuple(terms)))

    def _beside(self, inner: tuple[Expr, Formula], sign: Formula) -> tuple[Expr, Formula] | None:
        """``inner`` with that sign, if nothing else reads the function as it is and numbers can stand beside it."""
        (call, _) = inner
        return (call, sign) if len(self.readers[call]) == 1 and signs.stands_alone(type(call)) else None

    def _call(self, expression: Expr, sign: Formula, key: str, value: Value | None) -> str:
        (argument,) = expression.args
        mapped = self._affine(argument)
        if mapped is not None and not mapped.plain:
            return self._add(key, Kind.GATE, sign, value, self._entries(mapped))
        return self._add(key, Kind.FUNCTION, sign, value, self._terms((argument,)))

    def _call_of_several(self, expression: Expr, key: str, value: Value | None) -> str:
        arguments = _arguments(expression)
        written = [self.formula_of(each) if self._is_shared(each) else None for each in arguments]
        sign = signs.call(signs.function(type(expression)), written)
        return self._add(key, Kind.FUNCTION, sign, value, self._terms(arguments))

    def _choice(self, expression: Expr, key: str, value: Value | None) -> str:
        """One node for a condition and its two values: the sign says what it asks, marks which value is which."""
        condition, *branches = expression.args
        written = [self.formula_of(each) if self._is_shared(each) else None for each in branches]
        entries: dict[str | None, str] = {self._of(each): "" for each in operands_of(condition)}
        entries |= {self._of(each): mark for each, mark in zip(branches, (signs.THEN, signs.ELSE), strict=True)}
        sign = signs.choice(self.formula_of(condition), *written)
        return self._add(key, Kind.FUNCTION, sign, value, list(entries.items()))

    def _terms(self, terms: Sequence[Expr]) -> list[_Input]:
        return [(self._of(body), signs.MINUS if sign == "-" else "") for sign, body in map(split_sign, terms)]

    def _sum(self, expression: Add, key: str, value: Value | None) -> str | None:
        """A circle for terms that come in; what parameters and numbers alone make is added in a node behind it."""
        terms = [term for term in _terms_of(expression) if not self._is_shared(term)]
        shared = [term for term in _terms_of(expression) if self._is_shared(term)]
        if not shared:
            return self._add(key, Kind.SUM, "+", value, self._terms(terms))
        minus, body = split_sign(terms[0]) if len(terms) == 1 else ("+", Add(*terms, evaluate=False))
        sign = signs.shift(self.formula_of(_one(Add, shared)), minus == "-")
        kind = Kind.GATE if any(map(self._has_parameter, shared)) else Kind.FUNCTION
        return self._add(key, kind, sign, value, ((self._of(body), ""),))

    def _product(self, expression: Mul, key: str, value: Value | None) -> str | None:
        """A circle for factors that come in; numbers stand in a node behind it, or beside a function among them."""
        factors = _flat(expression).args
        numbers = [each for each in factors if self._is_shared(each) and not self._has_parameter(each)]
        parameters = [each for each in factors if self._has_parameter(each)]
        moving = [each for each in factors if not self._is_shared(each)]
        beside = next((each for each in moving if self._folded(_one(Mul, [*numbers, each])) is not None), None)
        if numbers and (beside is None or len(moving) == 1):
            inner = _one(Mul, [each for each in factors if each not in numbers])
            return self._add(key, Kind.FUNCTION, self._scale(numbers), value, ((self._of(inner), ""),))
        if parameters:
            sign = signs.factor(self.formula_of(_one(Mul, parameters)))
            inner = _one(Mul, [each for each in factors if each not in parameters])
            return self._add(key, Kind.GATE, sign, value, ((self._of(inner), ""),))
        above, below = split_quotient(Mul(Integer(1), *moving, evaluate=False))
        inputs = [(self._of(_one(Mul, [*numbers, each]) if each == beside else each), "") for each in above[1:]]
        inputs += [(self._of(each), signs.OVER) for each in below]
        if len(inputs) == 1:
            return self._add(key, Kind.FUNCTION, "1/( )", value, [(inputs[0][0], "")])
        return self._add(key, Kind.PRODUCT, "×", value, inputs)

    def _scale(self, numbers: Sequence[Expr]) -> Formula | str:
        """The sign of a product with numbers and sizes."""
        above, below = split_quotient(Mul(Integer(1), *numbers, evaluate=False))
        if below and above == [1]:
            return signs.factor(self.formula_of(_one(Mul, below)), over=True)
        return "−" if numbers == [-1] else signs.factor(self.formula_of(_one(Mul, numbers)))

    def _normalization(self, expression: Normalization, key: str, value: Value | None) -> str:
        """One node for a joint normalisation, and one box for maps of the same values that it alone reads."""
        sign = Symbol("softmax" if isinstance(expression, Softmax) else "norm", Style.UPRIGHT)
        if len(expression.values) == 1:
            return self._add(key, Kind.FUNCTION, sign, value, [(self._of(expression.values[0]), "")])
        found = [self._affine(self._seen_through(each)) for each in expression.values]
        maps = [each for each in found if each is not None and not each.plain and each.has_matrix]
        if len(maps) == len(found) and len({each.operands for each in maps}) == 1:
            matrices = [self.formula_of(each) for mapped in maps for each in mapped.parameters]
            box = self._add(f"{key}_maps", Kind.GATE, signs.side_by_side(matrices), None, self._entries(maps[0]))
            return self._add(key, Kind.FUNCTION, sign, None, [(box, "")])
        inputs = dict.fromkeys(self._of(each) for each in expression.values)
        return self._add(key, Kind.FUNCTION, sign, None, [(each, "") for each in inputs])

    def _seen_through(self, expression: Expr) -> Expr:
        """What defines a value that one place alone reads."""
        if not isinstance(expression, Value) or expression in self.results or len(self.readers[expression]) != 1:
            return expression
        return self.defined.get(expression, expression)

    def _affine(self, expression: Expr) -> _Affine | None:
        """``expression`` as an affine map with parameters of it, if it is one.

        What parameters multiply with a number, or is subtracted, is none of it: numbers and signs are drawn.
        """
        if isinstance(expression, Value):
            defined = self._seen_through(expression)
            return self._affine(defined) if expression.role == Role.PREACTIVATION and defined != expression else None
        if isinstance(expression, Matmul):
            left, right = expression.values
            if self._is_shared(left) == self._is_shared(right):
                return None
            matrix, operand = (left, right) if self._is_shared(left) else (right, left)
            return _Affine(((operand, ""),), (), (matrix,), has_matrix=True)
        if isinstance(expression, Mul):
            factors = [each for each in _flat(expression).args if not self._is_shared(each)]
            scales = [each for each in _flat(expression).args if self._is_shared(each)]
            if len(factors) != 1 or not scales or not all(map(self._has_parameter, scales)):
                return None
            if isinstance(factors[0], Pow) and factors[0].exp.is_negative:
                return None
            mark = signs.TIMES if dims_of(factors[0]) else ""
            return _Affine(((factors[0], mark),), (), (_one(Mul, scales),))
        if isinstance(expression, Add):
            return self._affine_sum(_terms_of(expression))
        return None

    def _affine_sum(self, terms: Sequence[Expr]) -> _Affine | None:
        addends = [term for term in terms if self._is_shared(term)]
        if not all(map(self._has_parameter, addends)):
            return None
        moving = [term for term in terms if term not in addends]
        found = [self._affine(term) for term in moving]
        # One line cannot enter by a matrix and entry by entry too: the latter gets a box of its own.
        operands = [operand for each in found if each is not None for operand, mark in each.operands if not mark]
        found = [None if each and any(m and o in operands for o, m in each.operands) else each for each in found]
        plain = [term for term, each in zip(moving, found, strict=True) if each is None]
        maps = [each for each in found if each is not None]
        if not maps:
            alone = len(plain) == 1 and addends
            return _Affine(((plain[0], ""),), (), (), tuple(addends)) if alone else None
        return _Affine(
            tuple(dict.fromkeys(operand for each in maps for operand in each.operands)),
            (*plain, *(term for each in maps for term in each.plain)),
            tuple(dict.fromkeys(parameter for each in maps for parameter in each.parameters)),
            (*addends, *(term for each in maps for term in each.addends)),
            any(each.has_matrix for each in maps),
        )

    def _has_parameter(self, expression: Expr) -> bool:
        return self._is_shared(expression) and any(v.role not in (Role.SIZE,) for v in operands_of(expression))


@dataclass(frozen=True)
class _Affine:
    """A sum of what ``parameters`` multiply (``operands``, with the marks of their edges) and of ``addends``.

    ``addends`` are made of parameters, ``plain`` is what is added as it comes in.
    """

    operands: tuple[tuple[Expr, str], ...]
    plain: tuple[Expr, ...]
    parameters: tuple[Expr, ...]
    addends: tuple[Expr, ...] = ()
    has_matrix: bool = False


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


def _one(kind: type[Add | Mul], parts: Sequence[Expr]) -> Expr:
    """The sum, or the product, of parts in their order."""
    return parts[0] if len(parts) == 1 else kind(*parts, evaluate=False)


def _terms_of(expression: Expr) -> list[Expr]:
    if isinstance(expression, Add):
        return [term for arg in expression.args for term in _terms_of(arg)]
    return [expression]


def _flat(expression: Mul) -> Mul:
    """The product with products among its factors opened."""
    factors = [part for arg in expression.args for part in (_flat(arg).args if isinstance(arg, Mul) else (arg,))]
    return Mul(*factors, evaluate=False)


def _joined(plain: Network) -> Network:
    """The network with junctions: the values that most gates read together, then the next, while two gates do.

    Values are read together that enter in one way, with the same mark or with none.
    """
    reads = {
        node.key: frozenset((edge.mark, edge.source) for edge in plain.edges if edge.target == node.key)
        for node in plain.nodes
        if node.kind in (Kind.GATE, Kind.FUNCTION)
    }
    gates = {node.key for node in plain.nodes if node.kind is Kind.GATE}
    nodes, edges = list(plain.nodes), list(plain.edges)
    while True:
        groups = {
            frozenset(each for each in reads[a] & reads[b] if each[0] == mark)
            for a, b in combinations(sorted(gates), 2)
            for mark in {mark for mark, _ in reads[a] & reads[b]}
        }
        ranked = [(sum(each <= reads[gate] for gate in gates), sorted(each)) for each in groups if len(each) > 1]
        if not ranked:
            return Network(plain.title, tuple(nodes), tuple(edges))
        _, together = max(ranked)
        mark, members = together[0][0], [source for _, source in together]
        key = f"join_{'_'.join(members)}"
        nodes.append(Node(key, Kind.JUNCTION, ""))
        joined = [gate for gate in gates if reads[gate].issuperset(together)]
        edges = [edge for edge in edges if not (edge.target in joined and (edge.mark, edge.source) in together)]
        edges += [Edge(member, key) for member in members]
        edges += [Edge(key, node.key, mark) for node in plain.nodes if node.key in joined]
        for gate in joined:
            reads[gate] = reads[gate] - set(together) | {(mark, key)}
