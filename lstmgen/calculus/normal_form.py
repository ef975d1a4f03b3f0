"""Trace to graph: every call and every structural operation gets a name of its own.

``f = sigmoid(W_f @ x + b_f)`` becomes ``W_f_x = W_f @ x``, ``a_f = W_f_x + b_f``, ``f = sigmoid(a_f)``. Equal
subexpressions get one name, so that ``tanh_c`` is computed once and can be reused by the derivative.
"""

from __future__ import annotations

from collections.abc import Iterable

from sympy import Add, Expr, Mul, Pow, Symbol
from sympy.core.relational import Relational

from lstmgen.calculus.expansions import expand
from lstmgen.calculus.graph import Graph, is_atom, is_call, is_condition
from lstmgen.calculus.operations import Contract
from lstmgen.declare.declaration import Declaration, Equation
from lstmgen.declare.functions import written_name
from lstmgen.declare.normalizations import Normalization
from lstmgen.declare.operations import Matmul, MaxOver, MeanOver, Operation, Outer, SumOver, Transpose
from lstmgen.declare.shapes import dims_of
from lstmgen.declare.symbols import Role, Value
from lstmgen.errors import Place


class Normalizer:
    """Turns expressions into A-normal equations, naming what has no name."""

    def __init__(self, taken: Iterable[Value]) -> None:
        self.equations: list[Equation] = []
        self.sizes: dict[str, Value] = {value.name: value for value in taken if value.role == Role.SIZE}
        self._names = {value.name for value in taken}
        self._named: dict[Expr, Value] = {}
        self._suggested: dict[Expr, str] = {}

    def reserve(self, names: Iterable[str]) -> None:
        """Keeps names that will be defined later from being given to intermediates."""
        self._names |= set(names)

    def define(self, target: Value, expression: Expr, description: str = "", place: Place | None = None) -> Value:
        """Appends ``target = expression``, with whatever equations it needs before it."""
        normal = self.normal(expression, target.name, place)
        if isinstance(normal, Operation) and dims_of(normal) != target.dims:
            # An operation computes its own dimensions: spreading or reordering them is an equation of its own.
            normal = self.atom(normal, target.name, place=place)
        self.equations.append(Equation(target, normal, description, place))
        self._names.add(target.name)
        # A target with more dimensions than its expression does not stand for it elsewhere.
        if not is_atom(normal) and dims_of(normal) == target.dims:
            self._named.setdefault(normal, target)
        return target

    def normal(self, expression: Expr, owner: str, place: Place | None = None, *, root: bool = True) -> Expr:
        """``expression`` in A-normal form; ``owner`` names the equation it belongs to."""
        if is_atom(expression):
            return expression
        if isinstance(expression, Operation):
            return self._operation(expression, owner, place)
        if is_call(expression):
            single = len(expression.args) == 1 and root
            hint = f"a_{owner}" if single else ""
            return expression.func(*[self._argument(arg, owner, hint, place) for arg in expression.args])
        arguments = []
        for arg in expression.args:
            if isinstance(arg, Operation) or is_call(arg):
                arguments.append(self.atom(arg, owner, place=place))
            else:
                arguments.append(self.normal(arg, owner, place, root=False))
        return expression.func(*arguments, evaluate=False)

    def named(self, normal: Expr) -> Value | None:
        """The value that stands for ``normal`` already, if any."""
        return self._named.get(normal)

    def suggest(self, normal: Expr, name: str) -> Expr:
        """The same expression, to be called ``name`` should it need one."""
        self._suggested.setdefault(normal, name)
        return normal

    def atom(self, expression: Expr, owner: str, hint: str = "", place: Place | None = None) -> Expr:
        """A value that stands for ``expression``: itself, one named before, or a new intermediate."""
        if is_atom(expression):
            return expression
        normal = self.normal(expression, owner, place, root=False)
        if is_atom(normal):
            return normal
        if normal not in self._named:
            name = self.fresh(hint or self._suggest(normal, owner))
            target = Value(name, dims_of(normal), Role.INTERMEDIATE)
            self.equations.append(Equation(target, normal, "", place))
            self._named[normal] = target
        return self._named[normal]

    def size(self, dim: str) -> Value:
        """The size of ``dim`` as a value."""
        return self.sizes.setdefault(dim, Value(dim, (), Role.SIZE))

    def _argument(self, arg: Expr, owner: str, hint: str, place: Place | None) -> Expr:
        if is_condition(arg):
            if isinstance(arg, Relational):
                sides = [self.atom(side, owner, place=place) for side in arg.args]
                return arg.func(*sides, evaluate=False)
            parts = [self._argument(part, owner, "", place) for part in arg.args]
            return arg.func(*parts, evaluate=False)
        return self.atom(arg, owner, hint, place)

    def _operation(self, expression: Operation, owner: str, place: Place | None) -> Expr:
        if isinstance(expression, Matmul):
            left, right = expression.values
            swapped = isinstance(left, Transpose)
            left = self.atom(left.values[0] if isinstance(left, Transpose) else left, owner, place=place)
            right = self.atom(right, owner, place=place)
            labels = list(range(len(dims_of(left))))
            if swapped:
                labels[-2:] = labels[-1], labels[-2]
            order = sorted(range(len(labels)))
            batch = len(dims_of(right)) - 1
            return Contract(left, right, labels, [*order[:batch], order[-1]], order[:-1])
        if isinstance(expression, Outer):
            left, right = (self.atom(value, owner, place=place) for value in expression.values)
            split = len(dims_of(left))
            every = list(range(split + len(dims_of(right))))
            return Contract(left, right, every[:split], every[split:], every)
        if isinstance(expression, MeanOver):
            (value,) = expression.values
            total = self.atom(SumOver(value, expression.dim), owner, place=place)
            return Mul(total, Pow(self.size(expression.dim), -1, evaluate=False), evaluate=False)
        if isinstance(expression, Normalization):
            return expand(expression, self, owner, place)
        return expression.with_values([self.atom(value, owner, place=place) for value in expression.values])

    def _suggest(self, normal: Expr, owner: str) -> str:
        if normal in self._suggested:
            return self._suggested[normal]
        symbols = [arg for arg in normal.args if isinstance(arg, Value)]
        if is_call(normal) and len(normal.args) == 1 and symbols:
            return f"{written_name(type(normal))}_{symbols[0].name}"
        if isinstance(normal, Mul) and normal.args[0] == -1 and len(normal.args) == 2 and symbols:
            return f"minus_{symbols[0].name}"
        if isinstance(normal, SumOver | MaxOver) and symbols:
            return f"{'sum' if isinstance(normal, SumOver) else 'max'}_{symbols[0].name}"
        if isinstance(normal, Contract) or (isinstance(normal, Mul) and len(symbols) == len(normal.args) <= 3):
            return "_".join(symbol.name for symbol in symbols)
        return f"{owner}_{'sum' if isinstance(normal, Add) else 'part'}"

    def fresh(self, name: str) -> str:
        """``name``, or where it is taken the first of ``name_2``, ``name_3``, ... that is not."""
        candidate, count = name, 1
        while candidate in self._names:
            count += 1
            candidate = f"{name}_{count}"
        self._names.add(candidate)
        return candidate


def normalize(declaration: Declaration) -> Graph:
    """The graph of a traced cell: free are its inputs, previous states, parameters and sizes."""
    sizes = {
        each
        for equation in declaration.equations
        for each in equation.expression.atoms(Symbol)
        if isinstance(each, Value) and each.role == Role.SIZE
    }
    free = [
        *declaration.inputs,
        *([declaration.step_index] if declaration.step_index else []),
        *(state.previous for state in declaration.states),
        *(parameter.value for parameter in declaration.parameters),
        *(constant.value for constant in declaration.constants),
        *sorted(sizes, key=str),
    ]
    normalizer = Normalizer(free)
    normalizer.reserve(equation.target.name for equation in declaration.equations)
    for equation in declaration.equations:
        normalizer.define(equation.target, equation.expression, equation.description, equation.place)
    results = dict.fromkeys([*(state.next for state in declaration.states), *declaration.outputs])
    free += [size for size in normalizer.sizes.values() if size not in free]
    return Graph(declaration.name, tuple(free), tuple(normalizer.equations), tuple(results)).verify()
