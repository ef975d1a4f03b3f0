"""The elementwise functions as NumPy computes them: a stable form each, from ufuncs that take ``out=``.

``sigmoid(x) = (1 + tanh(x / 2)) / 2`` has no exponential that could overflow, nor has ``softplus(x) = max(x, 0) +
log(1 + exp(-|x|))``, whose exponential is kept from underflow as well. ``logaddexp`` would be one call for seven, but
NumPy computes it number by number, in thirteen times the time.
"""

from __future__ import annotations

from lstmgen.schedule.calls import COMPARISONS, LOGICAL, Expansion, Functions
from lstmgen.schedule.kernel import Apply, Const, Scalar
from lstmgen.schedule.target import Fold

_CALLS = [
    "add",
    "subtract",
    "multiply",
    "divide",
    "negative",
    "square",
    "power",
    "tanh",
    "exp",
    "log",
    "sqrt",
    "absolute",
    "sign",
    "maximum",
    "minimum",
    "log1p",
    "where",
    "erf",
    "copy",
]


def _call(function: str, *arguments: Scalar) -> Apply:
    return Apply(function, arguments)


FOLDS = (Fold("sigmoid", "tanh", input_scale=0.5, output_scale=0.5, shift=0.5),)
"""Functions that NumPy computes by another one of a scaled argument."""


def _expansion(fold: Fold) -> Expansion:
    def expanded(x: Scalar) -> Scalar:
        inner = _call(fold.inner, _call("multiply", x, Const(fold.input_scale)))
        return _call("add", _call("multiply", inner, Const(fold.output_scale)), Const(fold.shift))

    return expanded


def _log_of_one_and_exp(x: Scalar) -> Scalar:
    """``log(1 + exp(-|x|))``; beyond 80 that is nothing beside |x|, and before long nothing at all in float32."""
    size = _call("minimum", _call("absolute", x), Const(80.0))
    return _call("log1p", _call("exp", _call("negative", size)))


FUNCTIONS = Functions(
    calls=frozenset((*_CALLS, *COMPARISONS, *LOGICAL)),
    expansions={
        **{fold.function: _expansion(fold) for fold in FOLDS},
        "relu": lambda x: _call("maximum", x, Const(0.0)),
        "softplus": lambda x: _call("add", _log_of_one_and_exp(x), _call("maximum", x, Const(0.0))),
        "logsigmoid": lambda x: _call("subtract", _call("minimum", x, Const(0.0)), _log_of_one_and_exp(x)),
    },
    scratch={"erf": 4},
)
"""What NumPy has in one call, and how the rest is written with that."""

# Chebyshev coefficients of log(erfc(x) exp(x**2) (1 + x/2)) in 2/(1 + x/2) - 1 for x >= 0, computed with 50 digits; the
# form is that of Press et al., Numerical Recipes, 3rd edition, 2007, section 6.2.2.
ERFC_COEFFICIENTS = (
    -0.6513268598908547171,
    0.6419697923564902603,
    0.019476473204185836312,
    -0.0095615147868086316419,
    -0.0009465953444820368663,
    0.00036683949785276145187,
    0.000042523324806907771645,
    -0.000020278578112534243154,
    -1.6242900046470255135e-6,
    1.3036558355805232018e-6,
    1.5626441722066143178e-8,
    -8.5238095914926542525e-8,
    6.5290544390988514964e-9,
    5.0593434955514689418e-9,
    -9.9136415649303308674e-10,
    -2.2736512229318358557e-10,
    9.646791102015526802e-11,
    2.3940380830391147447e-12,
    -6.8860275264975533984e-12,
    8.9448792730907257167e-13,
    3.1309213993429580783e-13,
    -1.1270822361367252365e-13,
    3.8109052551892320678e-16,
    7.1060976136092369431e-15,
    -1.5230282014571041472e-15,
    -9.4574945712912544535e-17,
    1.2102371892242730222e-16,
)
