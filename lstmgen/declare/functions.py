"""Elementwise functions: one entry each, with its derivative, its reference evaluation and its kinks.

The derivative is written in terms of the *output* where that exists (``s * (1 - s)``, ``1 - y**2``): it needs no
second saved value and stays finite where forms in terms of the input overflow. A back end adds one entry of its own a
function, its stable form on that target. Functions that are compositions of others (``silu``, ``gelu``, ``clip``)
expand to them and need neither.

To add a function: a class, a :class:`Definition` in :data:`DEFINITIONS`, and its form in every back end's table.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import sympy
from sympy import Expr, Float, Function, Integer, Rational
from sympy.core.relational import Eq, Relational
from sympy.logic.boolalg import And, Not, Or

_SQRT_HALF = Float(0.7071067811865476)
_TWO_OVER_SQRT_PI = Float(1.1283791670955126)

Array = Any  # real or complex ndarray; the interpreter needs both


class _Elementwise(Function):  # type: ignore[misc]  # SymPy has no types
    """A real elementwise function that SymPy never rewrites."""

    is_real = True
    is_extended_real = True
    is_commutative = True

    @classmethod
    def eval(cls, *args: Any) -> None:
        return None


class sigmoid(_Elementwise):  # noqa: N801 - named as they are written in equations
    """The logistic function 1 / (1 + exp(-x))."""


class tanh(_Elementwise):  # noqa: N801
    """The hyperbolic tangent."""


class relu(_Elementwise):  # noqa: N801
    """max(x, 0), with derivative 0 at 0."""


class softplus(_Elementwise):  # noqa: N801
    """log(1 + exp(x))."""


class logsigmoid(_Elementwise):  # noqa: N801
    """log(sigmoid(x))."""


class exp(_Elementwise):  # noqa: N801
    """The exponential."""


class log(_Elementwise):  # noqa: N801
    """The natural logarithm."""


class sqrt(_Elementwise):  # noqa: N801
    """The square root."""


class absolute(_Elementwise):  # noqa: N801
    """The absolute value, with derivative 0 at 0; written ``abs(x)``."""


class sign(_Elementwise):  # noqa: N801
    """-1, 0 or 1; its derivative is 0."""


class erf(_Elementwise):  # noqa: N801
    """The error function."""


class maximum(_Elementwise):  # noqa: N801
    """The larger of two; of tied operands the first gets the gradient."""


class minimum(_Elementwise):  # noqa: N801
    """The smaller of two; of tied operands the first gets the gradient."""


class where(_Elementwise):  # noqa: N801
    """``where(condition, a, b)``: a where the condition holds, else b. The condition is a comparison."""


class clip(_Elementwise):  # noqa: N801
    """``clip(x, low, high)`` = minimum(maximum(x, low), high)."""


class gelu(_Elementwise):  # noqa: N801
    """x * (1 + erf(x / sqrt(2))) / 2 (Hendrycks & Gimpel 2016, exact form)."""


class silu(_Elementwise):  # noqa: N801
    """x * sigmoid(x)."""


class hard_sigmoid(_Elementwise):  # noqa: N801
    """clip(x / 6 + 1/2, 0, 1): the slope of 1/6 that current frameworks use (older ones had 1/5)."""


def equal(left: Any, right: Any) -> Expr:
    """The comparison ``left == right`` for use in :class:`where`; Python's ``==`` compares the symbols themselves."""
    return Eq(left, right, evaluate=False)


@dataclass(frozen=True)
class Definition:
    """What lstmgen knows of one elementwise function.

    ``partials(y, *args)`` gives one local derivative per argument, for ``y = function(*args)``.
    ``evaluate(*args)`` is the plain NumPy meaning, for real and complex arrays: the oracle of every back end's form.
    ``kinks(*args)`` are expressions that vanish where the function is not differentiable.
    ``expansion(*args)``, if given, replaces the call by an expression in other functions; the rest is then unused.
    """

    function: type[Expr]
    arguments: int
    partials: Callable[..., tuple[Expr, ...]] | None = None
    evaluate: Callable[..., Array] | None = None
    kinks: Callable[..., tuple[Expr, ...]] = lambda *args: ()
    expansion: Callable[..., Expr] | None = None
    range: str = ""

    @property
    def name(self) -> str:
        """The name the function is written with."""
        return self.function.__name__


def _step(condition: Any) -> Expr:
    return where(condition, Integer(1), Integer(0))


def _sigmoid(x: Array) -> Array:
    if np.iscomplexobj(x):
        return 0.5 * np.tanh(0.5 * x) + 0.5
    e = np.exp(-np.abs(x))
    return np.where(x >= 0, 1.0, e) / (1.0 + e)


def _softplus(x: Array) -> Array:
    return np.log(1.0 + np.exp(x)) if np.iscomplexobj(x) else np.logaddexp(0.0, x)


def _select(condition: Array, a: Array, b: Array) -> Array:
    return np.where(condition, a, b)


def _erf(x: Array) -> Array:
    if np.iscomplexobj(x):  # first order in the imaginary part, all that a complex step uses
        return _erf(x.real) + 1j * x.imag * 2.0 / np.sqrt(np.pi) * np.exp(-x.real * x.real)
    from math import erf as scalar_erf

    return np.vectorize(scalar_erf, otypes=[float])(x)


def _comparison_kink(condition: Any) -> tuple[Expr, ...]:
    if isinstance(condition, And | Or | Not):
        return tuple(kink for part in condition.args for kink in _comparison_kink(part))
    if isinstance(condition, Eq) or not isinstance(condition, Relational):
        return ()
    return (condition.lhs - condition.rhs,)


_DEFINITIONS = (
    Definition(sigmoid, 1, lambda y, x: (y * (1 - y),), _sigmoid, range="(0, 1)"),
    Definition(tanh, 1, lambda y, x: (1 - y**2,), np.tanh, range="(-1, 1)"),
    Definition(
        relu,
        1,
        lambda y, x: (_step(y > 0),),
        lambda x: np.where(x.real > 0, x, 0.0 * x),
        kinks=lambda x: (x,),
        range="[0, inf)",
    ),
    Definition(softplus, 1, lambda y, x: (1 - exp(-y),), _softplus, range="(0, inf)"),
    Definition(logsigmoid, 1, lambda y, x: (1 - exp(y),), lambda x: -_softplus(-x), range="(-inf, 0)"),
    Definition(exp, 1, lambda y, x: (y,), np.exp, range="(0, inf)"),
    Definition(log, 1, lambda y, x: (1 / x,), np.log),
    Definition(sqrt, 1, lambda y, x: (Rational(1, 2) / y,), np.sqrt, range="[0, inf)"),
    Definition(
        absolute,
        1,
        lambda y, x: (sign(x),),
        lambda x: np.where(x.real < 0, -x, x),
        kinks=lambda x: (x,),
        range="[0, inf)",
    ),
    Definition(
        sign, 1, lambda y, x: (Integer(0),), lambda x: np.sign(x.real), kinks=lambda x: (x,), range="{-1, 0, 1}"
    ),
    Definition(erf, 1, lambda y, x: (_TWO_OVER_SQRT_PI * exp(-(x**2)),), _erf, range="(-1, 1)"),
    Definition(
        maximum,
        2,
        lambda y, a, b: (_step(a >= b), 1 - _step(a >= b)),
        lambda a, b: np.where(a.real >= b.real, a, b),
        kinks=lambda a, b: (a - b,),
    ),
    Definition(
        minimum,
        2,
        lambda y, a, b: (_step(a <= b), 1 - _step(a <= b)),
        lambda a, b: np.where(a.real <= b.real, a, b),
        kinks=lambda a, b: (a - b,),
    ),
    Definition(
        where,
        3,
        lambda y, condition, a, b: (Integer(0), _step(condition), 1 - _step(condition)),
        _select,
        kinks=lambda condition, a, b: _comparison_kink(condition),
    ),
    Definition(clip, 3, expansion=lambda x, low, high: minimum(maximum(x, low), high)),
    Definition(silu, 1, expansion=lambda x: x * sigmoid(x)),
    Definition(gelu, 1, expansion=lambda x: Rational(1, 2) * x * (1 + erf(_SQRT_HALF * x))),
    Definition(hard_sigmoid, 1, expansion=lambda x: clip(Rational(1, 6) * x + Rational(1, 2), 0, 1), range="[0, 1]"),
)

DEFINITIONS: dict[type[Expr], Definition] = {each.function: each for each in _DEFINITIONS}
"""Every elementwise function lstmgen knows, by its class."""

FROM_SYMPY: dict[type, type[Expr]] = {
    sympy.tanh: tanh,
    sympy.exp: exp,
    sympy.log: log,
    sympy.Abs: absolute,
    sympy.sign: sign,
    sympy.erf: erf,
    sympy.Max: maximum,
    sympy.Min: minimum,
}
"""SymPy's own functions that mean one of ours; anything else of SymPy's is refused with a hint."""


def written_name(function: type[Expr]) -> str:
    """The name that equations use for a function: ``abs`` for ``absolute``, else its own."""
    return "abs" if function is absolute else function.__name__


def known_functions() -> Sequence[str]:
    """The names of all elementwise functions as :mod:`lstmgen.api` has them, sorted."""
    return sorted(written_name(each.function) for each in _DEFINITIONS if each.function != sign)
