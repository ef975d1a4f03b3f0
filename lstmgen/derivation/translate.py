"""Expressions of the calculus as formulas, in a notation.

Factors and terms stand in the calculus' own order. Values in ``inline`` are printed as what defines them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from sympy import Add, Expr, Float, Integer, Mul, NumberSymbol, Pow, Rational
from sympy import Number as SymPyNumber
from sympy.core.relational import Relational
from sympy.logic.boolalg import And, Not, Or

from lstmgen.calculus import operations as calculus
from lstmgen.calculus.graph import is_condition
from lstmgen.calculus.text import number, split_quotient, split_sign
from lstmgen.declare import functions
from lstmgen.declare.declaration import Equation
from lstmgen.declare.functions import written_name
from lstmgen.declare.normalizations import Normalization
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
from lstmgen.declare.symbols import Value
from lstmgen.derivation.affine import Joined, Paired
from lstmgen.derivation.formula import (
    Call,
    Cases,
    Formula,
    Fraction,
    Number,
    Power,
    Product,
    Relation,
    Root,
    Row,
    Size,
    Style,
    Sum,
    Symbol,
    Times,
    Total,
    Transposed,
)
from lstmgen.derivation.naming import Names, Stem, lowered, time
from lstmgen.errors import InternalError

_SIGNS = {
    "StrictGreaterThan": (">", "<="),
    "GreaterThan": (">=", "<"),
    "StrictLessThan": ("<", ">="),
    "LessThan": ("<=", ">"),
    "Equality": ("=", "!="),
    "Unequality": ("!=", "="),
}
"""The sign of a comparison, and that of its contrary."""
_SYMBOLS: dict[type[Expr], Symbol] = {
    functions.sigmoid: Symbol("sigma"),
    functions.relu: Symbol("ReLU", Style.UPRIGHT),
    functions.maximum: Symbol("max", Style.UPRIGHT),
    functions.minimum: Symbol("min", Style.UPRIGHT),
    functions.sign: Symbol("sgn", Style.UPRIGHT),
}


@dataclass(frozen=True)
class Translator:
    """Writes expressions in a notation.

    ``adjoints`` are the formulas of adjoints, by their symbols. ``shift`` moves everything by that many steps, and
    ``instead`` are formulas that stand for values; ``joined`` are affine maps that the notation writes with one matrix,
    ``paired`` biases that it writes as one with each matrix.
    """

    names: Names
    inline: Mapping[Value, Expr] = field(default_factory=dict)
    adjoints: Mapping[Value, Formula] = field(default_factory=dict)
    instead: Mapping[Value, Formula] = field(default_factory=dict)
    joined: Mapping[Value, Joined] = field(default_factory=dict)
    paired: Mapping[Value, Paired] = field(default_factory=dict)
    shift: int = 0

    def __call__(self, expression: Expr) -> Formula:
        """The formula of an expression."""
        return self._write(self.resolve(expression))

    def equation(self, equation: Equation) -> Relation:
        """``target = expression``; an affine map with one matrix, where the notation has it so."""
        joined = self.joined.get(equation.target)
        right = self._write_joined(joined) if joined else self(equation.expression)
        return Relation((self(equation.target), right), ("=",))

    def resolve(self, expression: Expr) -> Expr:
        """``expression`` with values that are printed in place, and sums and products within their like made one."""
        if isinstance(expression, Value):
            return self.resolve(self.inline[expression]) if expression in self.inline else expression
        if not expression.args or isinstance(expression, Operation):
            return expression  # operands of operations are resolved where they are written
        arguments = [self.resolve(arg) for arg in expression.args]
        if isinstance(expression, Mul):
            return product([factor for arg in arguments for factor in (arg.args if isinstance(arg, Mul) else (arg,))])
        if isinstance(expression, Add):
            terms = [term for arg in arguments for term in (arg.args if isinstance(arg, Add) else (arg,))]
            return Add(*terms, evaluate=False)
        if isinstance(expression, Pow) or is_condition(expression):
            return expression.func(*arguments, evaluate=False)
        return expression.func(*arguments)

    def joined_row(self, joined: Joined) -> Formula:
        """The operands of an affine map in one vector."""
        return Row(tuple(self(operand) for operand in joined.operands))

    def stem(self, stem: Stem) -> Symbol:
        """A symbol that belongs to no value."""
        return Symbol(stem.base, stem.style, stem.accent, tuple(lowered(each) for each in stem.below))

    def _write_joined(self, joined: Joined) -> Formula:
        product = Product((self.stem(joined.matrix), self.joined_row(joined)), self._matrix)
        return Sum((("+", product), ("+", self(joined.bias)))) if joined.bias is not None else product

    @property
    def _matrix(self) -> Times:
        return self.names.notation.matrix

    def _write(self, expression: Expr) -> Formula:
        if isinstance(expression, Value):
            return self._value(expression)
        if isinstance(expression, SymPyNumber | NumberSymbol):
            return _number(expression)
        if isinstance(expression, Operation):
            return self._operation(expression)
        if isinstance(expression, Add):
            return Sum(tuple(self._terms(expression)))
        if isinstance(expression, Mul):
            return self._product(expression)
        if isinstance(expression, Pow):
            return self._power(expression)
        if is_condition(expression):
            return self._condition(expression)
        return self._call(expression)

    def _terms(self, expression: Add) -> Iterator[tuple[str, Formula]]:
        """The terms of a sum, a bias beside its matrix where the notation has it so."""
        paired = [self.paired[term] for term in expression.args if term in self.paired]
        beside = {weight: stem for each in paired for weight, stem in zip(each.weights, each.stems, strict=True)}
        matrices = [term.values[0] if isinstance(term, calculus.Contract) else None for term in expression.args]
        if not beside.keys() <= set(matrices):
            beside = {}  # a product has an equation of its own
        for (sign, term), matrix in zip(map(split_sign, expression.args), matrices, strict=True):
            if beside and term in self.paired:
                continue
            yield sign, self._write(term)
            if matrix in beside:
                yield "+", self.stem(beside[matrix])

    def symbols(self, value: Value) -> tuple[Formula, ...]:
        """What stands for ``value``: its symbol, or those of the biases that it is the sum of."""
        return tuple(map(self.stem, self.paired[value].stems)) if value in self.paired else (self(value),)

    def _value(self, value: Value) -> Formula:
        if value in self.instead:
            return self.instead[value]
        if value in self.paired:
            first, *others = map(self.stem, self.paired[value].stems)
            return Sum((("+", first), *(("+", each) for each in others))) if others else first
        return self.adjoints[value] if value in self.adjoints else self.names.symbol(value, self.shift)

    def _product(self, expression: Mul) -> Formula:
        sign, body = split_sign(expression)
        if sign == "-":
            return Sum((("-", self._write(body)),))
        above, below = split_quotient(_over_denominators(expression))
        if not below:
            return self._factors(above)
        # An adjoint stands beside a fraction, not in it: fractions of fractions are hard to read.
        beside = [factor for factor in above if factor in self.adjoints]
        rest = [factor for factor in above if factor not in self.adjoints]
        fraction = Fraction(self._factors(rest) if rest else Number("1"), self._factors(below))
        if not beside:
            return fraction
        dims = [bool(dims_of(each)) for each in beside]
        scaling = any(bool(dims_of(each)) for each in (*rest, *below)) + sum(dims) <= 1
        spelled = self.names.notation.elementwise is Times.STAR
        times = Times.SCALAR if scaling and not spelled else self.names.notation.elementwise
        adjoints = tuple(map(self._write, beside))
        return Product((*adjoints, fraction) if rest else (fraction, *adjoints), times)

    def _factors(self, factors: list[Expr]) -> Formula:
        """A product. Numbers and values without dimensions stand side by side with what they scale."""
        numbers = [factor for factor in factors if isinstance(factor, SymPyNumber | NumberSymbol)]
        others = [factor for factor in factors if factor not in numbers]
        written = tuple(map(self._write, others))
        spelled = self.names.notation.elementwise is Times.STAR
        scaling = sum(bool(dims_of(factor)) for factor in others) <= 1 and not spelled
        times = Times.SCALAR if scaling else self.names.notation.elementwise
        rest = written[0] if len(written) == 1 else Product(written, times)
        if not numbers:
            return rest
        if not others:
            return _joined_product(tuple(map(_number, numbers)), times)
        if isinstance(rest, Product) and rest.times is times and (scaling or spelled):
            return Product((*map(_number, numbers), *rest.factors), times)
        return Product((*map(_number, numbers), rest), times if spelled else Times.SCALAR)

    def _power(self, expression: Pow) -> Formula:
        base, exponent = expression.args
        if exponent.is_negative:
            below = base if exponent == -1 else Pow(base, -exponent, evaluate=False)
            return Fraction(Number("1"), self._write(below))
        if exponent == Rational(1, 2):
            return Root(self._write(base))
        if isinstance(base, functions.sqrt) and exponent == 2:
            return self._write(base.args[0])
        return Power(self._write(base), self._write(exponent))

    def _condition(self, expression: Expr, *, holds: bool = True) -> Formula:
        """A condition, or its contrary where it must not hold: the contrary of all is any contrary."""
        if isinstance(expression, Relational):
            left, right = (self(side) for side in expression.args)
            return Relation((left, right), (_SIGNS[type(expression).__name__][not holds],))
        if isinstance(expression, Not):
            return self._condition(expression.args[0], holds=not holds)
        assert isinstance(expression, And | Or)
        parts = tuple(self._condition(arg, holds=holds) for arg in expression.args)
        return Relation(parts, ("and" if isinstance(expression, And) is holds else "or",) * (len(parts) - 1))

    def _call(self, expression: Expr) -> Formula:
        kind, arguments = type(expression), expression.args
        if kind is functions.where:
            return self._where(*arguments)
        written = tuple(self(arg) for arg in arguments)
        if kind is functions.absolute:
            return Size(written[0])
        if kind is functions.sqrt:
            return Root(written[0])
        if kind is functions.logsigmoid:
            return Call(_word("log"), (Call(self._sign_of(functions.sigmoid), written),))
        return Call(self._sign_of(kind), written)

    def _sign_of(self, kind: type[Expr]) -> Symbol:
        """The sign of an elementwise function; its name where a value of the cell is called by the sign."""
        symbol = function_symbol(kind)
        return _word(written_name(kind)) if self.names.is_taken(symbol.base) else symbol

    def _where(self, condition: Expr, yes: Expr, no: Expr) -> Formula:
        if (yes, no) == (Integer(1), Integer(0)):
            return _indicator(self._condition(condition))
        return Cases(((self(yes), self._condition(condition)), (self(no), None)))

    def _operation(self, expression: Operation) -> Formula:
        written = [self(value) for value in expression.values]
        match expression:
            case Matmul():
                return Product(tuple(written), self._matrix)
            case Outer():
                return Product(tuple(written), Times.OUTER)
            case calculus.Contract():
                return self._contract(expression, *written)
            case Transpose():
                return Transposed(written[0])
            case SumOver():
                return Total(written[0], lowered(expression.dim))
            case MeanOver():
                return Call(replace(_word("mean"), below=(lowered(expression.dim),)), (written[0],))
            case MaxOver():
                return Call(replace(_word("max"), below=(lowered(expression.dim),)), (written[0],))
            case calculus.FirstMaximum():
                index = lowered(expression.dim)
                largest = Call(replace(_word("argmax"), below=(index,)), (written[0],))
                return _indicator(Relation((index, largest), ("=",)))
            case Flatten():
                return Call(_word("flatten"), (written[0],))
            case calculus.Unflatten():
                return Call(_word("unflatten"), (written[0],))
            case StopGradient():
                return Call(_word("constant"), (written[0],))
            case calculus.Total():
                return Total(written[0], time())
            case Normalization():
                which = (Number(str(expression.index + 1)),) if len(written) > 1 else ()
                return Call(replace(_word(expression.written.replace("_", " ")), below=which), tuple(written))
        raise InternalError(f"no formula is known for {type(expression).__name__}; add one to derivation/translate.py")

    def _contract(self, expression: calculus.Contract, left: Formula, right: Formula) -> Formula:
        """A contraction as a product of matrices and vectors, as far as there is one: matrices may be transposed.

        Indices that both operands and the result have come in front, and count as one product each. Several indices
        that are summed over together, or none of which is, count as one.
        """
        a, b, out = expression.axes
        batch = {label for label in a if label in b and label in out}
        a, b, out = (tuple(label for label in labels if label not in batch) for labels in (a, b, out))
        if not a or not b:
            return Product((left, right), Times.SCALAR)
        summed = tuple(label for label in a if label in b)
        rows, columns = (tuple(label for label in labels if label not in summed) for labels in (a, b))
        if not summed:
            column, row = (left, right) if out == a + b else (right, left)
            return Product((column, Transposed(row)), self._matrix)
        if a not in (rows + summed, summed + rows) or b not in (summed + columns, columns + summed):
            return Product((left, right), Times.CONTRACTION)
        if not rows and columns:  # a vector and a matrix: the matrix comes first
            return Product((right if b == columns + summed else _transposed(right), left), self._matrix)
        first = left if rows and a == rows + summed else _transposed(left)
        last = right if b == summed + columns else _transposed(right)
        if out == rows + columns:
            return Product((first, last), self._matrix)
        return Product((_transposed(last), _transposed(first)), self._matrix)


def function_symbol(kind: type[Expr]) -> Symbol:
    """The sign of an elementwise function."""
    return _SYMBOLS.get(kind) or _word(written_name(kind).replace("_", " "))


def product(factors: list[Expr]) -> Expr:
    """The product of factors in their order, with one number before them; 1 where there is none."""
    coefficient = Integer(1)
    rest = []
    for factor in factors:
        if isinstance(factor, SymPyNumber):
            coefficient = coefficient * factor
        else:
            rest.append(factor)
    kept = rest if coefficient == 1 and rest else [coefficient, *rest]
    return kept[0] if len(kept) == 1 else Mul(*kept, evaluate=False)


def _over_denominators(expression: Mul) -> Mul:
    """A product whose fractions among the numbers stand over their denominators: x/4, not 1/4 x."""
    factors: list[Expr] = []
    for factor in expression.args:
        if isinstance(factor, Rational) and not factor.is_Integer:
            factors += [Integer(factor.p)] if factor.p != 1 else []
            factors.append(Pow(Integer(factor.q), -1, evaluate=False))
        else:
            factors.append(factor)
    return Mul(*factors, evaluate=False)


def _word(word: str) -> Symbol:
    return Symbol(word, Style.UPRIGHT)


def _number(expression: Expr) -> Formula:
    if isinstance(expression, Rational) and not expression.is_Integer and expression.q <= 1000:
        fraction = Fraction(Number(str(abs(expression.p))), Number(str(expression.q)))
        return Sum((("-", fraction),)) if expression.p < 0 else fraction
    # 1 - 0.95 is 0.050000000000000044 in float64: what arithmetic leaves in the last digits is nothing to read.
    exact = isinstance(expression, Rational)
    mantissa, _, exponent = number(expression if exact else Float(f"{float(expression):.15g}")).partition("e")
    if not exponent:
        return Number(mantissa)
    power = Power(Number("10"), Number(str(int(exponent))))
    return power if mantissa == "1" else Product((Number(mantissa), power), Times.SCALAR)


def _transposed(formula: Formula) -> Formula:
    return formula.of if isinstance(formula, Transposed) else Transposed(formula)


def _indicator(condition: Formula) -> Formula:
    """1 where the condition holds, else 0."""
    return Symbol("1", Style.UPRIGHT, below=(condition,), bold=True)


def _joined_product(factors: tuple[Formula, ...], times: Times) -> Formula:
    return factors[0] if len(factors) == 1 else Product(factors, times)
