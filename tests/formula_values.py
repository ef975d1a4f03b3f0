"""Reads formulas back as numbers, for tests: what is printed is evaluated, not what it was printed from.

Arrays carry the names of their dimensions; elementwise operands align by them. A transposed vector is a row.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import reduce
from math import erf
from typing import Any

import numpy as np

from lstmgen.derivation.formula import (
    Call,
    Cases,
    Column,
    Formula,
    Fraction,
    Number,
    Power,
    Product,
    Relation,
    Root,
    Row,
    Size,
    Sum,
    Symbol,
    Times,
    Total,
    Transposed,
)

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Named:
    """An array with named dimensions."""

    dims: tuple[str, ...]
    array: Array
    row: bool = False


Known = Mapping[Formula, Named]

_FUNCTIONS: dict[str, Callable[..., Array]] = {
    "sigma": lambda x: 1 / (1 + np.exp(-x)),
    "tanh": np.tanh,
    "exp": np.exp,
    "log": np.log,
    "sgn": np.sign,
    "max": np.maximum,
    "min": np.minimum,
    "erf": np.vectorize(erf, otypes=[float]),
    "ReLU": lambda x: np.maximum(x, 0),
    "softplus": lambda x: np.log1p(np.exp(x)),
    "constant": lambda x: x,
}
_COMPARE: dict[str, Callable[..., Array]] = {
    "=": np.equal,
    "!=": np.not_equal,
    "<": np.less,
    ">": np.greater,
    "<=": np.less_equal,
    ">=": np.greater_equal,
}


def number(value: float) -> Named:
    """A number without dimensions."""
    return Named((), np.asarray(float(value)))


def value_of(formula: Formula, known: Known) -> Named:
    """What a formula is, where ``known`` gives the values of symbols and adjoints."""
    if formula in known:
        return known[formula]

    def of(each: Formula) -> Named:
        return value_of(each, known)

    match formula:
        case Number(text):
            return number(float(text))
        case Sum(terms):
            return reduce(
                lambda a, b: elementwise(np.add, a, b),
                [of(term) if sign == "+" else elementwise(np.negative, of(term)) for sign, term in terms],
            )
        case Fraction(above, below):
            return elementwise(np.divide, of(above), of(below))
        case Power(base, exponent):
            return elementwise(np.power, of(base), of(exponent))
        case Root(inner):
            return elementwise(np.sqrt, of(inner))
        case Size(inner):
            return elementwise(np.abs, of(inner))
        case Transposed(inner):
            found = of(inner)
            if len(found.dims) == 1:
                return Named(found.dims, found.array, not found.row)
            return Named((*found.dims[:-2], *found.dims[:-3:-1]), np.swapaxes(found.array, -1, -2))
        case Total(inner, index):
            assert isinstance(index, Symbol)
            return of(inner) if index.base == "t" else _summed(of(inner), index.base)
        case Row(entries) | Column(entries):
            parts = [of(entry) for entry in entries]
            like = next((part for part in parts if part.dims), parts[0])
            parts = [part if part.dims else Named(like.dims, np.full(like.array.shape, part.array)) for part in parts]
            # A row of matrices lies side by side; vectors follow one another either way.
            axis = -1 if isinstance(formula, Row) else 0
            dims = list(parts[0].dims)
            dims[axis] = "joined"
            return Named(tuple(dims), np.concatenate([part.array for part in parts], axis))
        case Product(factors, Times.MATRIX | Times.AT):
            return reduce(_matmul, map(of, factors))
        case Product(factors, Times.ELEMENTWISE | Times.STAR | Times.SCALAR):
            return reduce(lambda a, b: elementwise(np.multiply, a, b), map(of, factors))
        case Call(Symbol("diag"), (inner,)):
            found = of(inner)
            return Named((*found.dims, *found.dims), np.diag(found.array))
        case Call(Symbol(base, below=()), arguments):
            return elementwise(_FUNCTIONS[base], *map(of, arguments))
        case Call(Symbol("max", below=(Symbol(dim),)), (inner,)):
            found = of(inner)
            axis = found.dims.index(dim)
            return Named(tuple(each for each in found.dims if each != dim), found.array.max(axis))
        case Symbol("1", below=(condition,), bold=True):
            return elementwise(lambda x: x.astype(float), _holds(condition, known))
        case Cases(((yes, condition), (no, None))):
            assert condition is not None
            return elementwise(np.where, _holds(condition, known), of(yes), of(no))
    raise AssertionError(f"cannot be read back: {formula}")


def _holds(condition: Formula, known: Known) -> Named:
    match condition:
        case Relation((Symbol(dim), Call(Symbol("argmax"), (inner,))), ("=",)):
            found = value_of(inner, known)
            axis = found.dims.index(dim)
            indices = np.arange(found.array.shape[axis]).reshape(
                [-1 if k == axis else 1 for k in range(len(found.dims))]
            )
            return Named(found.dims, indices == np.expand_dims(found.array.argmax(axis), axis))
        case Relation(parts, ("and" | "or" as word, *_)):
            combine = np.logical_and if word == "and" else np.logical_or
            return reduce(lambda a, b: elementwise(combine, a, b), [_holds(part, known) for part in parts])
        case Relation((left, right), (sign,)):
            return elementwise(_COMPARE[sign], value_of(left, known), value_of(right, known))
    raise AssertionError(f"no condition: {condition}")


def elementwise(function: Callable[..., Array], *operands: Named) -> Named:
    """A function of operands, aligned by the names of their dimensions."""
    longest = max(operands, key=lambda each: len(each.dims)).dims
    dims = longest if len(set(longest)) < len(longest) else tuple(dict.fromkeys(d for o in operands for d in o.dims))
    if all(operand.dims in ((), dims) for operand in operands):
        return Named(dims, np.asarray(function(*[operand.array for operand in operands])))
    arrays = []
    for operand in operands:
        order = sorted(range(len(operand.dims)), key=lambda axis, operand=operand: dims.index(operand.dims[axis]))  # type: ignore[misc]
        sizes = iter(operand.array.shape[axis] for axis in order)
        shape = [next(sizes) if dim in operand.dims else 1 for dim in dims]
        arrays.append(operand.array.transpose(order).reshape(shape))
    return Named(dims, np.asarray(function(*arrays)))


def _summed(value: Named, dim: str) -> Named:
    if dim not in value.dims:
        return value
    axis = len(value.dims) - 1 - value.dims[::-1].index(dim)
    return Named(value.dims[:axis] + value.dims[axis + 1 :], value.array.sum(axis))


def _matmul(left: Named, right: Named) -> Named:
    if not left.dims or not right.dims:  # a number scales
        return Named(left.dims or right.dims, left.array * right.array)
    if len(left.dims) == 1 and not left.row:
        assert right.row, "a column times what is no row"
        return Named(left.dims + right.dims, np.multiply.outer(left.array, right.array))
    assert not right.row
    return Named(left.dims[:-1] + right.dims[1:], left.array @ right.array)
