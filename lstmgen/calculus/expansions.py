"""Softmax and layer normalisation as equations with names of their own.

Neither is an operation of graphs: what they are made of has its rules already, and equations with names are what a
derivation prints and a kernel can share.
"""

from __future__ import annotations

from collections.abc import Sequence
from os.path import commonprefix
from typing import Protocol

from sympy import Add, Expr, Integer, Mul, Pow

from lstmgen.calculus.operations import Gauge
from lstmgen.declare.functions import exp, maximum, sqrt
from lstmgen.declare.normalizations import LayerNorm, Normalization
from lstmgen.declare.operations import MaxOver, SumOver
from lstmgen.declare.shapes import dims_of
from lstmgen.declare.symbols import Value
from lstmgen.errors import Place


class Namer(Protocol):
    """What gives names to the parts: the normal form that is being made."""

    def atom(self, expression: Expr, owner: str, hint: str = "", place: Place | None = None) -> Expr: ...

    def suggest(self, normal: Expr, name: str) -> Expr: ...

    def size(self, dim: str) -> Value: ...


def expand(expression: Normalization, namer: Namer, owner: str, place: Place | None) -> Expr:
    """The elementwise expression that the operation stands for, after the equations that it needs."""
    parts = _Parts(expression, namer, owner, place)
    return parts.layer_norm(expression.epsilon) if isinstance(expression, LayerNorm) else parts.softmax()


class _Parts:
    def __init__(self, expression: Normalization, namer: Namer, owner: str, place: Place | None) -> None:
        self.namer, self.owner, self.place, self.index = namer, owner, place, expression.index
        self.values = [namer.atom(value, owner, place=place) for value in expression.values]
        self.dims = [expression.dim(dims_of(value)) for value in self.values]
        names = [str(value) for value in self.values]
        self.stem = names[0] if len(names) == 1 else commonprefix(names).rstrip("_") or "joint"  # noqa: RUF071

    def layer_norm(self, epsilon: Expr) -> Expr:
        """(v - mean) / sqrt(variance + epsilon), with one mean and one variance for all values."""
        mean = self._named(self._mean(self.values), f"mean_{self.stem}")
        centred = [self._named(_sum([value, -mean]), f"centred_{value}") for value in self.values]
        squared = [self._named(Pow(each, 2, evaluate=False), f"squared_{each}") for each in centred]
        variance = self._named(self._mean(squared), f"variance_{self.stem}")
        shifted = self._named(_sum([variance, epsilon]), f"variance_eps_{self.stem}") if epsilon != 0 else variance
        deviation = self._named(sqrt(shifted), f"deviation_{self.stem}")
        return self._quotient(centred[self.index], deviation, "normal")

    def softmax(self) -> Expr:
        """exp(v - max) / sum exp(v - max): the maximum changes nothing but keeps exponentials from overflowing."""
        largest = [self._named(MaxOver(value, dim)) for value, dim in zip(self.values, self.dims, strict=True)]
        top = largest[0]
        for each in largest[1:]:
            top = self._named(maximum(top, each), f"max_{self.stem}")
        shift = self._named(Gauge(top), f"shift_{self.stem}")
        shifted = [self._named(_sum([value, -shift]), f"shifted_{value}") for value in self.values]
        powers = [self._named(exp(each), f"exp_{each}") for each in shifted]
        total = self._named(_sum(self._sums(powers)), f"sum_exp_{self.stem}")
        return self._quotient(powers[self.index], total, "softmax")

    def _named(self, expression: Expr, hint: str = "") -> Expr:
        return self.namer.atom(expression, self.owner, hint, self.place)

    def _sums(self, values: Sequence[Expr]) -> list[Expr]:
        return [self._named(SumOver(value, dim)) for value, dim in zip(values, self.dims, strict=True)]

    def _mean(self, values: Sequence[Expr]) -> Expr:
        sizes = [self.namer.size(dim) for dim in self.dims]
        count = [Integer(len(sizes)), sizes[0]] if len(set(sizes)) == 1 else [_sum(sizes)]
        return _product([_sum(self._sums(values)), *(Pow(each, -1, evaluate=False) for each in count if each != 1)])

    def _quotient(self, above: Expr, below: Expr, word: str) -> Expr:
        quotient = _product([above, Pow(below, -1, evaluate=False)])
        return self.namer.suggest(quotient, f"{word}_{self.values[self.index]}")


def _sum(terms: Sequence[Expr]) -> Expr:
    return terms[0] if len(terms) == 1 else Add(*terms, evaluate=False)


def _product(factors: Sequence[Expr]) -> Expr:
    rest = [factor for factor in factors if factor != 1]
    return rest[0] if len(rest) == 1 else Mul(*rest, evaluate=False)
