# ruff: noqa: N806 - names are those of the equations
"""The cells that back ends are tried with: plain ones, and those that together hold the whole declaration language.

They are made to be covered, not to learn anything. Sizes are small, for finite differences run a cell four times for
every entry of its gradient; and functions with kinks take numbers rather than vectors, so that a sample is soon found
that keeps clear of all of them.
"""

from __future__ import annotations

from typing import Any

from lstmgen.api import (
    Cell,
    Constant,
    Normal,
    Uniform,
    abs,
    cell,
    clip,
    equal,
    erf,
    exp,
    flatten,
    gelu,
    hard_sigmoid,
    layer_norm,
    log,
    logsigmoid,
    max_over,
    maximum,
    mean_over,
    minimum,
    outer,
    relu,
    sigmoid,
    silu,
    softmax,
    softplus,
    sqrt,
    stop_gradient,
    sum_over,
    tanh,
    transpose,
    where,
)

# -- plain cells -------------------------------------------------------------------------------------------------------


@cell("plain")
def plain(eq: Any) -> None:
    """One input, one state, which is the output."""
    x, h_prev = eq.input("x"), eq.state("h")
    h = eq.next("h", tanh(eq.affine("h", W=x, U=h_prev)))
    eq.output(h)


@cell("gated")
def gated(eq: Any) -> None:
    """Gates that share their operands, and two states."""
    x, h_prev, c_prev = eq.input("x"), eq.state("h"), eq.state("c")
    f = eq.let("f", sigmoid(eq.affine("f", W=x, U=h_prev, bias_init=1.0)), "forget gate")
    g = eq.let("g", tanh(eq.affine("g", W=x, U=h_prev)), "candidate")
    c = eq.next("c", f * c_prev + (1 - f) * g, "cell state")
    o = eq.let("o", sigmoid(eq.affine("o", W=x, U=h_prev, diagonal={"p": c})), "output gate")
    h = eq.next("h", o * tanh(c), "hidden state")
    eq.output(h)


# -- the whole language ------------------------------------------------------------------------------------------------


def _smooth(a: Any, b: Any) -> Any:
    """Every smooth function, powers and quotients, of any real numbers."""
    p, q = 1 + a**2, 2 + tanh(b)
    logarithms = exp(-p) + log(p) * sqrt(p) - softplus(a) * logsigmoid(b)
    powers = p**0.5 / q - q**-1.5 + a**3 / p**2 / q
    return 0.2 * (sigmoid(a) + erf(a) * gelu(b) + silu(a) + logarithms + powers)


@cell("smooth_functions")
def smooth_functions(eq: Any) -> None:
    """Every smooth function, of what recurs, of inputs alone and of parameters alone."""
    x, h_prev = eq.input("x", "units"), eq.state("h", "units")
    shared = eq.let("shared", _smooth(eq.parameter("p", "units"), eq.parameter("q")))
    given = eq.let("given", _smooth(x, shared))
    h = eq.next("h", tanh(given + _smooth(h_prev, given) / eq.size("units")))
    eq.output(h)


def _kinked(a: Any, b: Any) -> Any:
    """Every function with a kink, and every comparison."""
    bounded = maximum(a, b) * minimum(a, b) + clip(a, -1, 1) - hard_sigmoid(b)
    compared = where((a > b) & (b >= -1), a, 0.5) * where((a < 0.3) | ~(b <= 1), b, -b) + where(equal(a, 0.5), a, b)
    return 0.2 * (relu(a) + abs(b) + bounded + compared)


@cell("kinked_functions")
def kinked_functions(eq: Any) -> None:
    """Every function with a kink and every comparison, of numbers of all kinds."""
    x, s_prev = eq.input("x", ()), eq.state("s", ())
    shared = eq.let("shared", _kinked(eq.parameter("p"), eq.parameter("q", init=0.7)))
    given = eq.let("given", _kinked(x, shared))
    s = eq.next("s", tanh(given + _kinked(s_prev, given)))
    eq.output(s)


@cell("products")
def products(eq: Any) -> None:
    """Products of parameters, states, inputs and what is computed: of matrices and vectors, chained, transposed."""
    x, h_prev, S_prev = eq.input("x"), eq.state("h"), eq.state("S", "features", "hidden")
    A, B = eq.parameter("A", "hidden", "hidden"), eq.parameter("B", "rank", "hidden")
    a, b, w = eq.parameter("a", "hidden"), eq.parameter("b", "hidden"), eq.parameter("w", "features")
    square = eq.let("square", A - A.T + outer(a, b))
    shared = eq.let("shared", square @ a, "a product of parameters alone")
    gate = eq.let("gate", sigmoid(w @ x + h_prev @ h_prev / 4))
    r = eq.let("r", tanh(square @ (gate * h_prev) + B.T @ (B @ h_prev) + shared))
    S = eq.next("S", gate * S_prev + outer(x, r))
    h = eq.next("h", tanh(0.5 * (transpose(S_prev) @ x) + r))
    y = eq.let("y", tanh(S) @ h)
    eq.output(y)


@cell("heads")
def heads(eq: Any) -> None:
    """Products over heads, values of three dimensions, and reshapes."""
    x, h_prev, T_prev = eq.input("x", "heads"), eq.state("h", "heads", "head"), eq.state("T", "head", "heads")
    R, p = eq.parameter("R", "heads", "head", "head"), eq.parameter("p", "heads")
    M, c = eq.parameter("M", "heads", "head", init=Normal(0.3)), eq.parameter("c", "key")
    u = eq.let("u", tanh(M.T @ x))
    v = eq.let("v", flatten(M * h_prev, "all") * flatten(M, "all") + flatten(outer(x, u), "all"))
    cube = eq.let("cube", outer(p, outer(u, c)))
    h = eq.next("h", tanh(R @ h_prev + x * T_prev + mean_over(cube, "key") * mean_over(v, "all")))
    T = eq.next("T", 0.5 * h.T + sum_over(flatten(cube, "every"), "every") * u)
    eq.output(v, T)


@cell("reductions")
def reductions(eq: Any) -> None:
    """Sums, means and maxima over every place of a dimension, of what recurs and of parameters; normalised values."""
    x, h_prev = eq.input("x"), eq.state("h", "pieces", "units")
    P, g = eq.parameter("P", "pieces", "features"), eq.parameter("g", "units", init=1)
    a = eq.let("a", g * h_prev + sum_over(P * x, "features") + max_over(P, "features"))
    m = eq.let("m", max_over(a, "pieces") + max_over(max_over(P, "pieces"), "features"))
    p, q = softmax(m, x)
    n, r = layer_norm(m, sum_over(h_prev, "pieces"), epsilon=0.1)
    h = eq.next("h", tanh(layer_norm(a) * softmax(a, dim="pieces") + n * p + r * (q @ x)))
    y = eq.let("y", max_over(h, "units") * mean_over(x, "features"))
    eq.output(y)


@cell("constants")
def constants(eq: Any) -> None:
    """Arrays of numbers, which settle all sizes; the step's index; what is held constant; a matrix for an input."""
    x, s_prev, c_prev, t = eq.input("x", "taps", "hidden"), eq.state("s"), eq.state("c"), eq.step_index()
    K = eq.constant("K", [[0.5, -1.0], [0.25, 2.0], [1.0, 0.0]], "hidden", "taps", description="a filter")
    k = eq.constant("k", [0.5, -0.5, 1.5], "hidden")
    a = eq.let("a", x @ k + eq.parameter("b", "taps") * (x @ s_prev))
    s = eq.next("s", tanh(K @ a + k * s_prev / (1 + t)))
    c = eq.next("c", stop_gradient(0.5 * c_prev + s) + s * stop_gradient(s_prev))
    y = eq.let("y", where(c > 0, s, 0.5 * s) + max_over(flatten(x, "pixels"), "pixels"))
    eq.output(y)


@cell("hand_overs")
def hand_overs(eq: Any) -> None:
    """Several inputs and outputs, and states that are handed on, take turns, are held, copied, or forgotten."""
    x, u, mask = eq.input("x"), eq.input("u", "hidden"), eq.input("mask", ())
    h_prev, late_prev, later_prev = eq.state("h"), eq.state("late", "features"), eq.state("later", "features")
    one_prev, other_prev, third_prev = eq.state("one"), eq.state("other"), eq.state("third")
    held_prev, forgotten_prev = eq.state("held"), eq.state("forgotten")
    gain, shift = eq.parameter("gain", init=Constant(0.5)), eq.parameter("shift", "hidden", init=Uniform(0.2))
    a = eq.affine("h", W=x, U=h_prev, V=later_prev)
    before = eq.let("before", h_prev)
    h = eq.next("h", where(mask > 0, tanh(a + held_prev * forgotten_prev), h_prev))
    eq.next("later", late_prev)
    eq.next("late", x)
    turn = eq.let("turn", one_prev + 2 * other_prev + tanh(third_prev))
    other = eq.next("other", third_prev)
    eq.next("third", one_prev)
    eq.next("one", other_prev)
    held, forgotten = eq.next("held", held_prev), eq.next("forgotten", tanh(u))
    y = eq.let("y", gain * h * turn + other * (shift + held) * forgotten)
    eq.output(h, y, before, a)


@cell("names")
def names(eq: Any) -> None:
    """Names that a back end might want for itself: of loops, buffers, sizes, functions."""
    i, t_prev, out_prev = eq.input("i"), eq.state("t", "n"), eq.state("out", "n")
    W, k, b = eq.parameter("data", "n", "n"), eq.parameter("k", "n"), eq.parameter("args")
    x = eq.let("x", sigmoid(eq.affine("sum", to="n", W=i, U=t_prev)))
    h_next = eq.let("h_next", tanh(W @ out_prev) * k + b)
    tmp = eq.let("tmp", erf(x) + softplus(h_next))
    t = eq.next("t", tanh(tmp - out_prev))
    out = eq.next("out", x * t_prev + (1 - x) * t)
    size = eq.let("size", max_over(out, "n") * mean_over(t, "n"))
    eq.output(out, size)


plain_cells: tuple[Cell, ...] = (plain, gated)
"""Cells as most are."""

coverage_cells: tuple[Cell, ...] = (
    smooth_functions,
    kinked_functions,
    products,
    heads,
    reductions,
    constants,
    hand_overs,
    names,
)
"""Cells that together hold every function, every operation and every kind of value of the declaration language."""
