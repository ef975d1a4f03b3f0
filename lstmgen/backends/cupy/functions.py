"""Scalars as CUDA C++: operators by precedence, functions by their stable forms. No header is needed.

``real`` is the type of all numbers, ``float`` or ``double``, as whoever compiles the source defines it. Functions that
CUDA does not have are defined before the kernels, those that are used; each has a form that neither overflows nor loses
digits: ``sigmoid`` by ``tanh``, ``softplus`` by ``log1p``. What is not a number (NaN) stays so, as in NumPy.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from lstmgen.errors import InternalError
from lstmgen.schedule.kernel import Apply, Const, Ref, Scalar, Size, View

_OPERATORS = {
    "add": ("+", 4),
    "subtract": ("-", 4),
    "multiply": ("*", 5),
    "divide": ("/", 5),
    "greater": (">", 3),
    "greater_equal": (">=", 3),
    "less": ("<", 3),
    "less_equal": ("<=", 3),
    "equal": ("==", 2),
    "not_equal": ("!=", 2),
    "logical_and": ("&&", 1),
    "logical_or": ("||", 0),
}
_ATOM = 7
_COMPARISONS = frozenset(name for name, (_, level) in _OPERATORS.items() if level in (2, 3))

_BUILT_IN = {"tanh": "tanh", "exp": "exp", "log": "log", "log1p": "log1p", "sqrt": "sqrt", "erf": "erf"}
_BUILT_IN |= {"absolute": "fabs", "power": "pow"}

HELPERS = {
    "sigmoid": "real sigmoid(const real x) { return real(0.5) * tanh(real(0.5) * x) + real(0.5); }",
    "relu": "real relu(const real x) { return x < real(0) ? real(0) : x; }",
    "softplus": "real softplus(const real x) { return log1p(exp(-fabs(x))) + (x > real(0) ? x : real(0)); }",
    "logsigmoid": "real logsigmoid(const real x) { return (x < real(0) ? x : real(0)) - log1p(exp(-fabs(x))); }",
    "square": "real square(const real x) { return x * x; }",
    "sign": "real sign(const real x) { return x != x ? x : real((x > real(0)) - (x < real(0))); }",
    "maximum": "real maximum(const real x, const real y) { return x >= y || x != x ? x : y; }",
    "minimum": "real minimum(const real x, const real y) { return x <= y || x != x ? x : y; }",
}
"""What CUDA does not have in one call."""

_KEYWORDS = """
alignas alignof and and_eq asm auto bitand bitor bool break case catch char char16_t char32_t class compl const
constexpr const_cast continue decltype default delete do double dynamic_cast else enum explicit export extern false
float for friend goto if inline int long mutable namespace new noexcept not not_eq nullptr operator or or_eq private
protected public register reinterpret_cast return short signed sizeof static static_assert static_cast struct switch
template this thread_local throw true try typedef typeid typename union unsigned using virtual void volatile wchar_t
while xor xor_eq
"""
_CUDA = ("real", "NULL", "_Complex", "_Pragma", "threadIdx", "blockIdx", "blockDim", "gridDim", "warpSize")
RESERVED = frozenset((*_KEYWORDS.split(), *_CUDA, *_BUILT_IN.values(), *HELPERS))
"""Names that a value cannot have in CUDA C++."""


@dataclass(frozen=True)
class Printed:
    """An expression, how tightly it binds, and the helpers it calls."""

    text: str
    level: int
    helpers: frozenset[str] = frozenset()


def expression(scalar: Scalar, name: Callable[[View], str], size: Callable[[str], str]) -> Printed:
    """``scalar`` in C++; ``name`` says what a value is called, ``size`` what a dimension's length is."""
    match scalar:
        case Ref(view):
            return Printed(name(view), _ATOM)
        case Size(dim):
            return Printed(f"real({size(dim)})", _ATOM)
        case Const(value):
            return _number(value)
        case Apply(function, arguments):
            return _apply(function, [expression(each, name, size) for each in arguments], arguments)
    raise InternalError(f"CUDA C++ has no form for {scalar!r}")


def _number(value: float) -> Printed:
    if value != value or value in (float("inf"), float("-inf")):
        raise InternalError(f"{value} is no number that a kernel can hold")
    text = str(int(value)) if value == int(value) and abs(value) < 1e15 else repr(value)
    return Printed(f"real({text})", _ATOM)


def _apply(function: str, parts: list[Printed], arguments: tuple[Scalar, ...]) -> Printed:
    helpers = frozenset().union(*(part.helpers for part in parts))
    if function in _OPERATORS:
        sign, level = _OPERATORS[function]
        left, right = parts
        # Of operators that are alike, all but the first operand stand in brackets: rounding depends on the order.
        return Printed(f"{_in(left, level)} {sign} {_in(right, level + 1)}", level, helpers)
    if function == "negative":
        return Printed(f"-{_in(parts[0], 7)}", 6, helpers)  # two signs in a row would be another operator
    if function == "logical_not":
        return Printed(f"!{_in(parts[0], 6)}", 6, helpers)
    if function == "square" and isinstance(arguments[0], Ref):
        return Printed(f"{parts[0].text} * {parts[0].text}", 5, helpers)
    if function == "where":
        condition, one, other = parts
        return Printed(f"{_in(condition, 1)} ? {_in(one, 1)} : {_in(other, 1)}", -1, helpers)
    inner = ", ".join(part.text for part in parts)
    if function in _BUILT_IN:
        return Printed(f"{_BUILT_IN[function]}({inner})", _ATOM, helpers)
    if function in HELPERS:
        return Printed(f"{function}({inner})", _ATOM, helpers | {function})
    raise InternalError(f"CUDA C++ has no form for {function!r}")


def is_truth(scalar: Scalar) -> bool:
    """Whether an expression is true or false, not a number."""
    return isinstance(scalar, Apply) and scalar.function in {*_COMPARISONS, "logical_and", "logical_or", "logical_not"}


def _in(part: Printed, level: int) -> str:
    return part.text if part.level >= level else f"({part.text})"
