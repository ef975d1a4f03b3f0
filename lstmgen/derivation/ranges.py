"""Between which bounds the values of a cell lie, whatever comes in: by interval arithmetic over its equations."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import reduce
from math import exp as exponential
from math import inf

from sympy import Add, Expr, Integer, Mul, Number, Pow

from lstmgen.calculus.graph import Graph, is_call
from lstmgen.calculus.text import split_sign
from lstmgen.declare.functions import DEFINITIONS, exp, maximum, minimum, where
from lstmgen.declare.symbols import Value


@dataclass(frozen=True)
class End:
    """One end of an interval; ``open`` where the value comes close to it but never is it."""

    at: float
    open: bool


@dataclass(frozen=True)
class Interval:
    """All that a value can be lies between two ends."""

    low: End
    high: End

    @property
    def bounded(self) -> bool:
        """Whether both ends are finite."""
        return -inf < self.low.at and self.high.at < inf

    def within(self, low: float, high: float) -> bool:
        """Whether all of it lies between ``low`` and ``high``, these included."""
        return low <= self.low.at and self.high.at <= high

    def __str__(self) -> str:
        opening, closing = "(" if self.low.open else "[", ")" if self.high.open else "]"
        return f"{opening}{_written(self.low.at)}, {_written(self.high.at)}{closing}"


ALL = Interval(End(-inf, True), End(inf, True))


def ranges(primal: Graph) -> Callable[[Expr], Interval]:
    """What gives the interval of an expression of ``primal``. Inputs, parameters and states that come in are free."""
    return _Ranges({equation.target: equation.expression for equation in primal.equations})


class _Ranges:
    def __init__(self, defined: Mapping[Value, Expr]) -> None:
        self.defined = defined
        self.known: dict[Expr, Interval] = {}

    def __call__(self, expression: Expr) -> Interval:
        if expression not in self.known:
            self.known[expression] = self._of(expression)
        return self.known[expression]

    def _of(self, expression: Expr) -> Interval:
        if isinstance(expression, Number):
            return _point(float(expression))
        if isinstance(expression, Value):
            return self(self.defined[expression]) if expression in self.defined else ALL
        if isinstance(expression, Add):
            mixed = self._mixture(expression)
            if mixed is not None:
                return mixed
            return self._capped(expression, reduce(_added, map(self, expression.args)))
        if isinstance(expression, Mul):
            return self._share(expression) or reduce(_multiplied, map(self, expression.args))
        if isinstance(expression, Pow) and isinstance(expression.exp, Number) and float(expression.exp) == 2.0:
            return _squared(self(expression.base))
        if is_call(expression):
            return self._called(expression)
        return ALL

    def _called(self, call: Expr) -> Interval:
        kind = type(call)
        if kind is where:
            return _either(map(self, call.args[1:]))
        if kind in (maximum, minimum):
            ends = [(each.low, each.high) for each in map(self, call.args)]
            lows, highs = zip(*ends, strict=True)
            if kind is maximum:  # at equal ends one that is not reached keeps the lower end from being reached
                return Interval(max(lows, key=lambda e: (e.at, e.open)), max(highs, key=lambda e: (e.at, not e.open)))
            return Interval(min(lows, key=lambda e: (e.at, e.open)), min(highs, key=lambda e: (e.at, not e.open)))
        found = _parsed(DEFINITIONS[kind].range)
        high = self(call.args[0]).high if kind is exp else End(inf, True)
        return Interval(found.low, End(exponential(high.at), high.open)) if high.at < 700 else found

    def _share(self, product: Mul) -> Interval | None:
        """A term over a sum of it and others, none of them negative, is a share of the whole."""
        below = [factor.base for factor in product.args if isinstance(factor, Pow) and factor.exp == -1]
        above = [factor for factor in product.args if not isinstance(factor, Pow)]
        if len(above) != 1 or len(below) != 1:
            return None
        terms = self._terms(below[0])
        if above[0] not in terms or any(self(term).low.at < 0 for term in terms):
            return None
        positive = all(self(term).low.open for term in terms)
        return Interval(End(0.0, positive), End(1.0, positive))

    def _mixture(self, total: Add) -> Interval | None:
        """A mixture ``p * a + (1 - p) * b`` with a share p lies between a and b."""
        if len(total.args) != 2 or not all(isinstance(term, Mul) for term in total.args):
            return None
        for one, other in (total.args, total.args[::-1]):
            for share in one.args:
                rest = next((each for each in other.args if _is_rest(each, share)), None)
                if rest is not None and self(share).within(0.0, 1.0):
                    sides = [[f for f in term.args if f != part] for term, part in ((one, share), (other, rest))]
                    return _either(reduce(_multiplied, map(self, side), _point(1.0)) for side in sides)
        return None

    def _capped(self, total: Add, found: Interval) -> Interval:
        """What a maximum is subtracted from that is one of its operands is 0 at most."""
        terms = self._terms(total)
        for term in terms:
            sign, body = split_sign(term)
            rest = frozenset(each for each in terms if each != term)
            if sign == "-" and rest and self._is_least(body, rest):
                return Interval(found.low, min(found.high, End(0.0, False), key=lambda end: end.at))
        return found

    def _is_least(self, value: Expr, rest: frozenset[Expr]) -> bool:
        """Whether ``value`` is never below the sum of ``rest``."""
        if frozenset(self._terms(value)) == rest or rest == {value}:
            return True
        meaning = self.defined.get(value, value)
        if isinstance(meaning, maximum):
            return any(self._is_least(each, rest) for each in meaning.args)
        return isinstance(meaning, where) and all(self._is_least(each, rest) for each in meaning.args[1:])

    def _terms(self, expression: Expr) -> tuple[Expr, ...]:
        """The terms of a sum, and of the sums that it is made of."""
        meaning = self.defined.get(expression, expression) if isinstance(expression, Value) else expression
        if not isinstance(meaning, Add):
            return (expression,)
        return tuple(part for term in meaning.args for part in self._terms(term))


def _is_rest(expression: Expr, share: Expr) -> bool:
    """Whether ``expression`` is 1 less ``share``."""
    return isinstance(expression, Add) and set(map(split_sign, expression.args)) == {("+", Integer(1)), ("-", share)}


def _point(value: float) -> Interval:
    return Interval(End(value, False), End(value, False))


def _added(a: Interval, b: Interval) -> Interval:
    low, high = ((x.at + y.at, x.open or y.open) for x, y in ((a.low, b.low), (a.high, b.high)))
    return Interval(End(*low), End(*high))


def _multiplied(a: Interval, b: Interval) -> Interval:
    ends = [_product(x, y) for x in (a.low, a.high) for y in (b.low, b.high)]
    return _hull(ends)


def _product(x: End, y: End) -> End:
    if 0 in (x.at, y.at):  # reached where either factor is: nothing else matters then
        return End(0.0, all(end.open or end.at != 0 for end in (x, y)))
    return End(x.at * y.at, x.open or y.open)


def _squared(a: Interval) -> Interval:
    ends = [End(end.at**2, end.open) for end in (a.low, a.high)]
    if a.low.at < 0 < a.high.at:
        ends.append(End(0.0, False))
    return _hull(ends)


def _either(found: Iterable[Interval]) -> Interval:
    return _hull([end for each in found for end in (each.low, each.high)])


def _hull(ends: list[End]) -> Interval:
    """The least interval with all ends; where one of equal ends is reached, so is the interval's."""
    low, high = min(ends, key=lambda end: (end.at, end.open)), max(ends, key=lambda end: (end.at, not end.open))
    return Interval(low, high)


def _parsed(written: str) -> Interval:
    """What the table of functions says: ``(0, 1)``, ``[0, inf)``."""
    if not written or written[0] not in "[(":
        return ALL
    low, high = (float(each) for each in written[1:-1].split(","))
    return Interval(End(low, written[0] == "("), End(high, written[-1] == ")"))


def _written(value: float) -> str:
    return f"{value:.4g}".replace("inf", "∞").replace("-", "−")
