"""Cells that use every construct of a declaration, plain ones and odd ones, as a user would write them.

They are the material of the tests of the calculus, the schedule and the back ends: whatever holds for cells in general
is tested on all of `CASES`. To add one, declare it here; it is found by its type.
"""

# ruff: noqa: N806  # matrices keep the capital letters of their equations

from __future__ import annotations

from math import pi
from random import Random
from typing import Any, Literal

from lstmgen.api import (
    Cell,
    Constant,
    Normal,
    Uniform,
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
from lstmgen.declare.shapes import dims_of

# -- cells of the literature -------------------------------------------------------------------------------------------


@cell("gru")
def gru(eq, *, reset: Literal["before", "after"] = "before"):
    """Gated recurrent unit, with the reset before or after the recurrent product."""
    x, h_prev = eq.input("x"), eq.state("h")
    z = eq.let("z", sigmoid(eq.affine("z", W=x, U=h_prev)), "update gate")
    r = eq.let("r", sigmoid(eq.affine("r", W=x, U=h_prev)), "reset gate")
    if reset == "before":
        n = eq.let("n", tanh(eq.affine("n", W=x, U=r * h_prev)), "candidate")
    else:
        n = eq.let("n", tanh(eq.affine("n", W=x) + r * eq.affine("m", U=h_prev)), "candidate")
    h = eq.next("h", (1 - z) * n + z * h_prev)
    eq.output(h)


@cell("peephole_lstm")
def peephole_lstm(eq):
    """LSTM whose gates see the cell state."""
    x, h_prev, c_prev = eq.input("x"), eq.state("h"), eq.state("c")
    p_f, p_i, p_o = (eq.parameter(f"p_{gate}", "hidden") for gate in "fio")
    f = eq.let("f", sigmoid(eq.affine("f", W=x, U=h_prev, bias_init=1) + p_f * c_prev), "forget gate")
    i = eq.let("i", sigmoid(eq.affine("i", W=x, U=h_prev) + p_i * c_prev), "input gate")
    g = eq.let("g", tanh(eq.affine("g", W=x, U=h_prev)), "candidate")
    c = eq.next("c", f * c_prev + i * g, "cell state")
    o = eq.let("o", sigmoid(eq.affine("o", W=x, U=h_prev) + p_o * c), "output gate")
    h = eq.next("h", o * tanh(c), "hidden state")
    eq.output(h)


@cell("rnn_relu")
def rnn_relu(eq):
    """The plain recurrent network."""
    x, h_prev = eq.input("x"), eq.state("h")
    h = eq.next("h", relu(eq.affine("h", W=x, U=h_prev)))
    eq.output(h)


@cell("indrnn")
def indrnn(eq):
    """Independent units: no unit sees another within a step."""
    x, h_prev = eq.input("x"), eq.state("h")
    u = eq.parameter("u", "hidden", init=Uniform(1.0))
    h = eq.next("h", relu(eq.affine("h", W=x) + u * h_prev))
    eq.output(h)


@cell("leaky")
def leaky(eq):
    """Leaky integrators whose time constants are functions of parameters alone."""
    x, h_prev = eq.input("x"), eq.state("h")
    tau = eq.parameter("tau", "hidden", description="time constants before the softplus")
    alpha = eq.let("alpha", exp(-1 / (1 + softplus(tau))))
    h = eq.next("h", alpha * h_prev + (1 - alpha) * eq.affine("q", W=x))
    eq.output(h)


@cell("slstm")
def slstm(eq):
    """Exponential gates with a stabilising state."""
    x = eq.input("x")
    h_prev, c_prev, n_prev, m_prev = (eq.state(name) for name in "hcnm")
    a_i = eq.affine("i", W=x, U=h_prev)
    log_f = eq.let("log_f", logsigmoid(eq.affine("f", W=x, U=h_prev)))
    m = eq.next("m", maximum(log_f + m_prev, a_i))
    i = eq.let("i", exp(a_i - m))
    f = eq.let("f", exp(log_f + m_prev - m))
    c = eq.next("c", f * c_prev + i * tanh(eq.affine("z", W=x, U=h_prev)))
    n = eq.next("n", f * n_prev + i)
    h = eq.next("h", sigmoid(eq.affine("o", W=x, U=h_prev)) * c / (1 + n**2))
    eq.output(h)


@cell("matrix_memory")
def matrix_memory(eq):
    """Associative memory: a matrix for a state, written by outer products."""
    x, C_prev, n_prev = eq.input("x"), eq.state("C", "value", "key"), eq.state("n", "key")
    q = eq.let("q", eq.affine("q", to="key", W=x), "query")
    k = eq.let("k", eq.affine("k", to="key", W=x) / sqrt(eq.size("key")), "stored key")
    v = eq.let("v", eq.affine("v", to="value", W=x), "stored value")
    i = eq.let("i", exp(eq.parameter("w_i", "features") @ x))
    f = eq.let("f", sigmoid(eq.parameter("w_f", "features") @ x))
    C = eq.next("C", f * C_prev + i * outer(v, k))
    n = eq.next("n", f * n_prev + i * k)
    h = eq.let("h", sigmoid(eq.affine("o", to="value", W=x)) * (C @ q) / maximum(abs(n @ q), 1))
    eq.output(h)


@cell("delta_rule")
def delta_rule(eq):
    """A memory that writes what it does not recall: the state is read twice in its own update."""
    x, S_prev = eq.input("x"), eq.state("S", "value", "key")
    k = eq.let("k", tanh(eq.affine("k", to="key", W=x)))
    v = eq.let("v", eq.affine("v", to="value", W=x))
    beta = eq.let("beta", sigmoid(eq.affine("beta", to="value", W=x)))
    S = eq.next("S", S_prev - outer(beta * (S_prev @ k - v), k))
    y = eq.let("y", S @ eq.affine("q", to="key", W=x))
    eq.output(y)


@cell("heads")
def heads(eq):
    """Block-diagonal recurrence, joined by a projection that is no state."""
    x, h_prev = eq.input("x"), eq.state("h", "heads", "head")
    R, b = eq.parameter("R", "heads", "head", "head"), eq.parameter("b", "heads", "head")
    W, V = eq.parameter("W", "heads", "head", "features"), eq.parameter("V", "classes", "hidden")
    h = eq.next("h", tanh(R @ h_prev + W @ x + b))
    y = eq.let("y", V @ flatten(h, "hidden"))
    eq.output(y)


@cell("heads_memory")
def heads_memory(eq):
    """One matrix memory a head: every product is batched over heads."""
    x, S_prev = eq.input("x"), eq.state("S", "heads", "value", "key")
    k = eq.let("k", eq.parameter("W_k", "heads", "key", "features") @ x)
    v = eq.let("v", eq.parameter("W_v", "heads", "value", "features") @ x)
    q = eq.let("q", eq.parameter("W_q", "heads", "key", "features") @ x)
    f = eq.let("f", sigmoid(eq.parameter("w_f", "heads", "features") @ x))
    S = eq.next("S", f * S_prev + v * k)
    y = eq.let("y", flatten(tanh(S @ q), "hidden"))
    eq.output(y)


@cell("low_rank")
def low_rank(eq):
    """A recurrent matrix that is a product of two thin ones."""
    x, h_prev = eq.input("x"), eq.state("h")
    A, B = eq.parameter("A", "hidden", "rank"), eq.parameter("B", "rank", "hidden")
    h = eq.next("h", tanh(A @ (B @ h_prev) + eq.affine("q", W=x)))
    eq.output(h)


@cell("antisymmetric")
def antisymmetric(eq):
    """W - W.T as the recurrent matrix."""
    x, h_prev = eq.input("x"), eq.state("h")
    W = eq.parameter("W", "hidden", "hidden")
    A = eq.let("A", W - W.T)
    z = eq.let("z", sigmoid(A @ h_prev + eq.affine("z", V=x)))
    h = eq.next("h", h_prev + 0.1 * z * tanh(A @ h_prev + eq.affine("n", V=x)))
    eq.output(h)


@cell("multiplicative")
def multiplicative(eq):
    """The recurrent product sees factors of input and state."""
    x, h_prev = eq.input("x"), eq.state("h")
    factors = eq.affine("x", to="factors", bias=None, W=x) * eq.affine("h", to="factors", bias=None, U=h_prev)
    m = eq.let("m", factors)
    h = eq.next("h", tanh(eq.affine("n", W=x, V=m)))
    eq.output(h)


# -- reductions over units ---------------------------------------------------------------------------------------------


@cell("softmax_units")
def softmax_units(eq):
    """A softmax over units within the recurrence."""
    x, h_prev = eq.input("x"), eq.state("h")
    a = eq.let("a", eq.affine("q", W=x, U=h_prev))
    e = eq.let("e", exp(a - max_over(a, "hidden")))
    w = eq.let("w", e / sum_over(e, "hidden"))
    h = eq.next("h", h_prev * (1 - w) + w * a)
    eq.output(h)


@cell("softmax_pieces")
def softmax_pieces(eq):
    """A softmax over the first of two dimensions, its shift held constant."""
    x, h_prev = eq.input("x"), eq.state("h", "pieces", "hidden")
    R, W = eq.parameter("R", "pieces", "hidden", "hidden"), eq.parameter("W", "pieces", "hidden", "features")
    a = eq.let("a", R @ h_prev + W @ x)
    e = eq.let("e", exp(a - stop_gradient(max_over(a, "pieces"))))
    w = eq.let("w", e / sum_over(e, "pieces"))
    h = eq.next("h", h_prev * (1 - w) + w * tanh(a))
    y = eq.let("y", sum_over(h, "pieces"))
    eq.output(y)


@cell("normalized_jointly")
def normalized_jointly(eq):
    """Normalised over two dimensions jointly."""
    x, h_prev = eq.input("x"), eq.state("h")
    W, U = eq.parameter("W", "gates", "hidden", "features"), eq.parameter("U", "gates", "hidden", "hidden")
    gain, shift = eq.parameter("gain", "gates", "hidden", init=1), eq.parameter("shift", "gates", "hidden", init=0.0)
    a = eq.let("a", W @ x + U @ h_prev)
    m = eq.let("m", mean_over(mean_over(a, "gates"), "hidden"))
    v = eq.let("v", mean_over(mean_over((a - m) ** 2, "hidden"), "gates"))
    n = eq.let("n", gain * (a - m) / sqrt(v + 1e-5) + shift)
    h = eq.next("h", tanh(sum_over(n * sigmoid(n), "gates")))
    eq.output(h)


@cell("maxout")
def maxout(eq):
    """The largest of several affine maps, over the last dimension and over the first."""
    x, h_prev = eq.input("x"), eq.state("h")
    W, U = eq.parameter("W", "hidden", "pieces", "features"), eq.parameter("U", "hidden", "pieces", "hidden")
    V = eq.parameter("V", "parts", "hidden", "features")
    a = eq.let("a", max_over(W @ x + U @ h_prev, "pieces"))
    h = eq.next("h", tanh(a - max_over(V @ x, "parts")))
    eq.output(h)


@cell("silenced")
def silenced(eq):
    """Functions with kinks of units that a relu has silenced: they meet their kinks exactly, and stay there."""
    x, h_prev = eq.input("x"), eq.state("h", "hidden", "pieces")
    W = eq.parameter("W", "hidden", "pieces", "features")
    a = eq.let("a", relu(W @ x + eq.parameter("u", "pieces") * h_prev))
    b = eq.let("b", max_over(a, "pieces") + sum_over(where(a > 0, a * h_prev, 0.1), "pieces"))
    h = eq.next("h", tanh(relu(a) + abs(a) + 0.5 * b))
    eq.output(h)


@cell("max_of_inputs")
def max_of_inputs(eq):
    """Maxima of an input of two dimensions: pixels, rows, all."""
    x, h_prev = eq.input("x", "rows", "columns"), eq.state("h", "columns")
    m = eq.let("m", max_over(x, "rows"))
    top = eq.let("top", max_over(max_over(x, "columns"), "rows"))
    u = eq.parameter("u", "columns")
    h = eq.next("h", tanh(m + u * h_prev))
    y = eq.let("y", h * top)
    eq.output(y)


@cell("max_of_parameters")
def max_of_parameters(eq):
    """Maxima of a matrix along both of its dimensions."""
    x, h_prev = eq.input("x"), eq.state("h")
    W = eq.parameter("W", "hidden", "features")
    h = eq.next("h", tanh(max_over(W, "features") * h_prev + W @ (x * max_over(W, "hidden"))))
    eq.output(h)


@cell("sum_middle")
def sum_middle(eq):
    """Sums over the middle one of three dimensions."""
    x, h_prev = eq.input("x"), eq.state("h", "a", "b", "c")
    W = eq.parameter("W", "b", "features")
    h = eq.next("h", tanh(0.3 * sum_over(h_prev, "b") + W @ x))
    y = eq.let("y", mean_over(mean_over(h, "a"), "c"))
    eq.output(y)


# -- shapes ------------------------------------------------------------------------------------------------------------


@cell("scalars")
def scalars(eq):
    """Scalars of all kinds: parameters, a product of vectors, functions of it, one as an output."""
    x, h_prev = eq.input("x"), eq.state("h")
    a, b, g = eq.parameter("a"), eq.parameter("b", init=0.5), eq.parameter("g", init=Normal(0.1))
    s = eq.let("s", sigmoid(eq.parameter("w", "features") @ x + eq.parameter("u", "hidden") @ h_prev + b))
    t = eq.let("t", exp(-(s**2)) / (1 + s))
    h = eq.next("h", g * tanh(a * eq.affine("q", W=x, U=h_prev)) + t * sigmoid(a * b) * h_prev)
    y = eq.let("y", eq.parameter("v", "hidden") @ h + t)
    eq.output(y, s)


@cell("scalar_output")
def scalar_output(eq):
    """One number a step, and one that depends on the input alone."""
    x, h_prev = eq.input("x"), eq.state("h")
    s = eq.let("s", sigmoid(eq.parameter("w", "features") @ x))
    h = eq.next("h", s * h_prev + (1 - s) * tanh(eq.affine("q", W=x)))
    y = eq.let("y", eq.parameter("v", "hidden") @ h + eq.parameter("c"))
    eq.output(y, s)


@cell("squares")
def squares(eq):
    """Vectors multiplied by themselves, in every part of a cell."""
    x, h_prev = eq.input("x"), eq.state("h")
    a = eq.let("a", tanh(eq.affine("q", W=x, U=h_prev)))
    n, m = eq.let("n", a @ a), eq.let("m", x @ x)
    h = eq.next("h", a / sqrt(1 + n) + 0.1 * m * h_prev / (1 + h_prev @ h_prev))
    eq.output(h)


@cell("weight_norm")
def weight_norm(eq):
    """Rows of a matrix brought to a given length: work on parameters alone."""
    x, h_prev = eq.input("x"), eq.state("h")
    W, U = eq.parameter("W", "hidden", "features"), eq.parameter("U", "hidden", "hidden")
    g = eq.parameter("g", "hidden")
    V = eq.let("V", W * (g / sqrt(W @ W)))
    h = eq.next("h", tanh(V @ x + 0.1 * (exp(U) @ h_prev)))
    eq.output(h)


@cell("square_matrices")
def square_matrices(eq):
    """Elementwise work on matrices that repeat a name, with a scalar among it."""
    x, h_prev = eq.input("x"), eq.state("h")
    B, M, s = eq.parameter("B", "hidden", "hidden"), eq.parameter("M", "hidden", "hidden"), eq.parameter("s")
    U = eq.let("U", sigmoid(B) * s + where(M > 0, B, 0.1 * B * B) - s - 1)
    h = eq.next("h", tanh(U @ h_prev + eq.affine("q", W=x)))
    eq.output(h)


@cell("rank_one")
def rank_one(eq):
    """Matrices that are outer products of parameters; one of them square."""
    x, h_prev = eq.input("x"), eq.state("h")
    a, b, c = eq.parameter("a", "hidden"), eq.parameter("b", "features"), eq.parameter("c", "hidden")
    M, N = eq.let("M", outer(a, b)), eq.let("N", outer(a, c))
    h = eq.next("h", tanh(M @ x + N @ h_prev))
    eq.output(h)


@cell("shared_products")
def shared_products(eq):
    """Products and functions of parameters alone, several of a kind."""
    x, h_prev = eq.input("x"), eq.state("h")
    U, V = eq.parameter("U", "hidden", "hidden"), eq.parameter("V", "hidden", "hidden")
    s_a = eq.let("s_a", sigmoid(eq.parameter("a", "hidden")))
    s_b = eq.let("s_b", sigmoid(eq.parameter("b", "hidden")))
    u, v = eq.let("u", U @ s_a), eq.let("v", V @ (U.T @ s_b))
    h = eq.next("h", s_a * h_prev + s_b * tanh(eq.affine("q", W=x)) + 0.1 * u * v * h_prev)
    eq.output(h)


@cell("shared_matrices")
def shared_matrices(eq):
    """Recurrent matrices that are functions of parameters."""
    x, h_prev = eq.input("x"), eq.state("h")
    M = eq.let("M", tanh(eq.parameter("A", "hidden", "hidden")))
    N = eq.let("N", sigmoid(eq.parameter("B", "hidden", "hidden")))
    f = eq.let("f", sigmoid(M @ h_prev + eq.affine("f", W=x)))
    g = eq.let("g", tanh(N @ h_prev + eq.affine("g", W=x)))
    h = eq.next("h", f * h_prev + (1 - f) * g)
    eq.output(h)


@cell("shared_rows")
def shared_rows(eq):
    """Products of several parameters with one other, of which one leads into the loop and one past it."""
    x, s_prev, k = eq.input("x"), eq.state("s"), eq.parameter("k", "key")
    P, Q = eq.parameter("P", "hidden", "key"), eq.parameter("Q", "hidden", "key")
    s = eq.next("s", tanh(0.7 * (Q @ k) + 0.3 * s_prev))
    y = eq.let("y", sum_over(x, "features") + sum_over(P @ k, "hidden") + s)
    eq.output(y)


@cell("shared_scalars")
def shared_scalars(eq):
    """Scalars made of parameters, two of them equal."""
    x, s_prev, p = eq.input("x"), eq.state("s"), eq.parameter("p", "hidden")
    u, v = eq.let("u", p @ p), eq.let("v", p @ p)
    w = eq.let("w", max_over(p, "hidden") * eq.parameter("g"))
    s = eq.next("s", tanh(w * s_prev + eq.affine("q", W=x)))
    y = eq.let("y", u + v + s)
    eq.output(y, s)


@cell("scalar_signs")
def scalar_signs(eq):
    """Scalar parameters of either sign beside a scalar of every row, in no state."""
    x, s_prev = eq.input("x"), eq.state("s")
    v = eq.let("v", eq.parameter("p") - eq.parameter("r") - s_prev @ s_prev)
    s = eq.next("s", tanh(s_prev))
    y = eq.let("y", v + sum_over(x, "features") + s)
    eq.output(y)


@cell("scalar_twice")
def scalar_twice(eq):
    """A scalar parameter that is added in one place and multiplied in another."""
    x, s_prev, p = eq.input("x"), eq.state("s"), eq.parameter("p")
    v = eq.let("v", p + mean_over(s_prev, "hidden"))
    s = eq.next("s", tanh(p * s_prev + eq.affine("q", W=x)))
    y = eq.let("y", s + v)
    eq.output(y, v)


@cell("scalar_gates")
def scalar_gates(eq):
    """A scalar parameter used in two ways beside another used in one."""
    x, s_prev, p = eq.input("x"), eq.state("s"), eq.parameter("p")
    v = eq.let("v", max_over(s_prev, "hidden") * p)
    w = eq.let("w", eq.parameter("r") + p * p)
    s = eq.next("s", tanh(s_prev))
    y = eq.let("y", sum_over(x, "features") + v + w + s)
    eq.output(y, v)


@cell("shared_and_stopped")
def shared_and_stopped(eq):
    """A parameter shifted by a constant that differs from row to row."""
    x, s_prev = eq.input("x"), eq.state("s", "features")
    v = eq.let("v", eq.parameter("p", "hidden") - stop_gradient(sum_over(x, "features")))
    s = eq.next("s", eq.parameter("Q", "features", "hidden") @ v + 0.3 * s_prev)
    eq.output(s)


@cell("shared_columns")
def shared_columns(eq):
    """A vector of parameters under several matrices, with and without a function around it."""
    x, s_prev, t_prev = eq.input("x"), eq.state("s", "features"), eq.state("t", "features")
    p = eq.parameter("p", "features")
    A, B, C = (eq.parameter(name, "features", "features") for name in "ABC")
    v, w = eq.let("v", s_prev - A @ tanh(p)), eq.let("w", x * (B @ p))
    s = eq.next("s", 0.3 * s_prev)
    t = eq.next("t", tanh(C @ p + v + 0.3 * t_prev))
    y = eq.let("y", s + sum_over(w, "features"))
    eq.output(y, t)


@cell("tied")
def tied(eq):
    """One matrix in many places, transposed in some."""
    x, h_prev, c_prev = eq.input("x"), eq.state("h"), eq.state("c")
    W, U = eq.parameter("W", "hidden", "features"), eq.parameter("U", "hidden", "hidden")
    h = eq.next("h", tanh(W @ x + U @ h_prev + U.T @ c_prev))
    c = eq.next("c", tanh(U @ c_prev + W @ x) + U @ h)
    y = eq.let("y", W.T @ h)
    eq.output(y, c)


@cell("alignment")
def alignment(eq):
    """Products by name: of vectors, of a matrix and either of its sides, in both orders."""
    x, S_prev = eq.input("x"), eq.state("S", "value", "key")
    k = eq.let("k", eq.affine("k", to="key", W=x))
    v = eq.let("v", eq.affine("v", to="value", W=x))
    A, B = eq.let("A", k * v), eq.let("B", v * k)
    P = eq.parameter("P", "key", "value")
    S = eq.next("S", 0.3 * S_prev + A * B + tanh(A + P) + k - v)
    y = eq.let("y", sum_over(S * A, "key"))
    eq.output(y, A)


@cell("reordered_parameter")
def reordered_parameter(eq):
    """A parameter whose dimensions stand the other way round than those it is added to."""
    x, S_prev = eq.input("x"), eq.state("S", "value", "key")
    P, w = eq.parameter("P", "key", "value"), eq.parameter("w", "features")
    S = eq.next("S", tanh(0.3 * S_prev * (w @ x) + P))
    eq.output(S)


@cell("transposed")
def transposed(eq):
    """States that are each other's transposes, and products with both."""
    x, S_prev, V_prev = eq.input("x"), eq.state("S", "value", "key"), eq.state("V", "key", "value")
    u = eq.let("u", tanh(eq.affine("u", to="value", W=x)))
    r = eq.let("r", tanh(S_prev.T @ u))
    S = eq.next("S", tanh(V_prev.T + u * r))
    V = eq.next("V", 0.5 * S_prev.T)
    z = eq.let("z", V.T @ r)
    y = eq.let("y", transpose(S) @ z)
    eq.output(y)


@cell("transposed_bare")
def transposed_bare(eq):
    """A state that is the transpose of another and nothing else."""
    x, S_prev, V_prev = eq.input("x"), eq.state("S", "value", "key"), eq.state("V", "key", "value")
    S = eq.next("S", V_prev.T)
    V = eq.next("V", S_prev.T * eq.affine("u", to="value", W=x))
    y = eq.let("y", V @ eq.parameter("p", "value"))
    eq.output(y, S)


@cell("spread_state")
def spread_state(eq):
    """Next values of fewer dimensions than their states, and of another order."""
    x = eq.input("x")
    C_prev, D_prev, E_prev = (eq.state(name, "value", "key") for name in "CDE")
    k = eq.let("k", eq.affine("k", to="key", W=x))
    v = eq.let("v", tanh(eq.affine("v", to="value", W=x)))
    C = eq.next("C", v)
    D = eq.next("D", 0.5 * outer(k, v))
    E = eq.next("E", eq.parameter("M", "value", "features") @ x + 1)
    y = eq.let("y", (C_prev * E + D) @ k + (D_prev + E_prev * C) @ k)
    eq.output(y)


@cell("spread_name")
def spread_name(eq):
    """A value spread over a state, whose expression stands for itself elsewhere."""
    x, C_prev = eq.input("x"), eq.state("C", "value", "key")
    a = eq.let("a", eq.affine("a", to="value", W=x))
    C = eq.next("C", tanh(a))
    y = eq.let("y", eq.parameter("M", "hidden", "value") @ tanh(a))
    z = eq.let("z", sum_over(C * C_prev, "key"))
    eq.output(y, z)


@cell("image")
def image(eq):
    """An input of two dimensions: flattened, and multiplied from both sides."""
    x, h_prev = eq.input("x", "rows", "columns"), eq.state("h")
    K, W = eq.parameter("K", "hidden", "pixels"), eq.parameter("W", "hidden", "columns")
    r, c, V = eq.parameter("r", "rows"), eq.parameter("c", "columns"), eq.parameter("V", "hidden", "rows")
    m = eq.let("m", x.T @ r)
    h = eq.next("h", tanh(K @ flatten(x, "pixels") + W @ m + V @ (x @ c) + h_prev))
    eq.output(h)


@cell("flattened")
def flattened(eq):
    """Flattened states of three dimensions, parameters and means."""
    x, h_prev = eq.input("x"), eq.state("h", "layers", "heads", "head")
    R = eq.parameter("R", "layers", "heads", "head", "head")
    W = eq.parameter("W", "layers", "heads", "head", "features")
    M, s = eq.parameter("M", "heads", "head"), eq.parameter("s", "heads")
    h = eq.next("h", s * tanh(R @ h_prev + W @ x))
    z = eq.let("z", flatten(mean_over(h, "layers"), "hidden") + flatten(M, "hidden"))
    y = eq.let("y", flatten(h, "all"))
    eq.output(y, z)


@cell("flattened_input")
def flattened_input(eq):
    """States that are flattened inputs, one bare."""
    x, h_prev, s_prev = eq.input("x", "a", "b"), eq.state("h", "hidden"), eq.state("s", "hidden")
    f = eq.let("f", flatten(x, "hidden"))
    s = eq.next("s", f)
    h = eq.next("h", tanh(eq.parameter("U", "hidden", "hidden") @ h_prev + f * s_prev))
    y = eq.let("y", h * s)
    eq.output(y)


@cell("flattened_outer")
def flattened_outer(eq):
    """Outer products of three vectors, flattened and summed."""
    x, h_prev = eq.input("x"), eq.state("h")
    a = eq.let("a", tanh(eq.affine("a", to="p", U=h_prev)))
    b = eq.let("b", tanh(eq.affine("b", to="q", W=x)))
    T = eq.let("T", outer(a, outer(b, h_prev)))
    K = eq.parameter("K", "hidden", "pairs")
    h = eq.next("h", tanh(K @ flatten(outer(a, b), "pairs") + sum_over(sum_over(T, "p"), "q")))
    eq.output(h)


@cell("state_matrices")
def state_matrices(eq):
    """States and inputs as the left operands of products."""
    x, A, S_prev = eq.input("x"), eq.input("A", "value", "key"), eq.state("S", "value", "key")
    p, w = eq.parameter("p", "key"), eq.parameter("w", "value", "features")
    r = eq.let("r", tanh(S_prev @ p + A @ p))
    S = eq.next("S", tanh(0.5 * S_prev + (w @ x) * r + A))
    y = eq.let("y", S.T @ (A @ (A.T @ r)))
    eq.output(y)


# -- states that do little ---------------------------------------------------------------------------------------------


@cell("read_out")
def read_out(eq):
    """A product of every row's own matrix that no state depends on."""
    x, s_prev, p = eq.input("x"), eq.state("s"), eq.parameter("p", "key")
    v = eq.let("v", eq.parameter("a", "hidden") - s_prev)
    w = eq.let("w", outer(v, p))
    s = eq.next("s", tanh(0.3 * s_prev + eq.affine("q", W=x)))
    y = eq.let("y", sum_over(w, "key") + s)
    eq.output(y)


@cell("memoryless")
def memoryless(eq):
    """States that depend on the input alone, read before they are set and after."""
    x, s_prev, t_prev = eq.input("x"), eq.state("s"), eq.state("t")
    s = eq.next("s", tanh(eq.affine("q", W=x)))
    t = eq.next("t", s_prev * t_prev)
    y = eq.let("y", eq.parameter("g", "hidden") * (1 + s))
    z = eq.let("z", s_prev * s)
    eq.output(s, t, y, z)


@cell("nothing_recurs")
def nothing_recurs(eq):
    """No work is left for the loop."""
    x, s_prev = eq.input("x", "hidden", "key"), eq.state("s")
    s = eq.next("s", tanh(x @ eq.parameter("p", "key")))
    y = eq.let("y", s_prev * s)
    eq.output(y)


@cell("no_parameters")
def no_parameters(eq):
    """A filter with nothing to train."""
    x, s_prev = eq.input("x"), eq.state("s", "features")
    s = eq.next("s", tanh(x + 0.5 * s_prev))
    eq.output(s)


@cell("delay")
def delay(eq):
    """States that copy an input: scaled, bare, and handed out."""
    x, r_prev, s_prev = eq.input("x"), eq.state("r", "features"), eq.state("s", "features")
    r = eq.next("r", 1.0 * x)
    s = eq.next("s", x)
    y = eq.let("y", eq.parameter("k") * x * r_prev - s_prev)
    eq.output(y, s, r)


@cell("delay_line")
def delay_line(eq):
    """States that hand their values on: each holds what the one before it held."""
    x, h_prev, c_prev, d_prev = eq.input("x"), eq.state("h"), eq.state("c"), eq.state("d")
    h = eq.next("h", tanh(eq.affine("q", W=x, U=h_prev, V=d_prev)))
    eq.next("d", c_prev)
    eq.next("c", h_prev)
    eq.output(h)


@cell("rotation")
def rotation(eq):
    """Three states that take turns."""
    x, a_prev, b_prev, c_prev = eq.input("x"), eq.state("a"), eq.state("b"), eq.state("c")
    eq.next("a", b_prev)
    eq.next("b", c_prev)
    eq.next("c", a_prev)
    y = eq.let("y", a_prev + 2 * b_prev + tanh(c_prev) * eq.affine("q", W=x))
    eq.output(y)


@cell("exchange")
def exchange(eq):
    """Two states that exchange their values."""
    x, h_prev, c_prev = eq.input("x"), eq.state("h"), eq.state("c")
    eq.next("h", c_prev)
    eq.next("c", h_prev)
    y = eq.let("y", h_prev * tanh(eq.affine("q", W=x)) + c_prev**2)
    eq.output(y)


@cell("crossed")
def crossed(eq):
    """Two states, each a function of the other."""
    x, h_prev, c_prev = eq.input("x"), eq.state("h"), eq.state("c")
    h = eq.next("h", tanh(c_prev))
    c = eq.next("c", tanh(h_prev) + eq.affine("q", W=x))
    eq.output(c, h)


@cell("held")
def held(eq):
    """A state that never changes: what it starts with is a context."""
    x, s_prev = eq.input("x"), eq.state("s")
    s = eq.next("s", s_prev)
    y = eq.let("y", tanh(s * eq.affine("q", W=x) + s_prev))
    eq.output(y, s)


@cell("twins")
def twins(eq):
    """Two states of one value, which is an output as well; a third that copies the first."""
    x, h_prev, c_prev, e_prev = eq.input("x"), eq.state("h"), eq.state("c"), eq.state("e")
    z = eq.let("z", tanh(eq.affine("q", W=x, U=h_prev) + c_prev * e_prev))
    h = eq.next("h", z)
    eq.next("c", z)
    eq.next("e", h)
    eq.output(z)


@cell("accumulator")
def accumulator(eq):
    """Sums of inputs and of ones, without a product."""
    x, s_prev, n_prev = eq.input("x"), eq.state("s", "features"), eq.state("n", "features")
    s = eq.next("s", s_prev + x)
    n = eq.next("n", n_prev + 1)
    y = eq.let("y", eq.parameter("k") * s / (1 + n**2))
    eq.output(y)


@cell("running_max")
def running_max(eq):
    """A largest value that decays."""
    x, m_prev = eq.input("x"), eq.state("m")
    m = eq.next("m", maximum(m_prev - 0.1, eq.affine("q", W=x)))
    y = eq.let("y", exp(m_prev - m))
    eq.output(y)


@cell("feedback")
def feedback(eq):
    """Two layers in one step, and the output as a state."""
    x, h_prev, y_prev = eq.input("x"), eq.state("h"), eq.state("y", "classes")
    h = eq.next("h", tanh(eq.affine("h", W=x, U=h_prev, V=y_prev)))
    y = eq.next("y", eq.affine("y", to="classes", W=h))
    eq.output(y)


# -- what is handed out ------------------------------------------------------------------------------------------------


@cell("outputs")
def outputs(eq):
    """Outputs of all kinds: gates, states, a projection, what depends on the input alone."""
    x, h_prev, c_prev = eq.input("x"), eq.state("h"), eq.state("c")
    f = eq.let("f", sigmoid(eq.affine("f", W=x, U=h_prev)))
    a = eq.affine("g", W=x)
    g = eq.let("g", tanh(a))
    c = eq.next("c", f * c_prev + (1 - f) * g)
    h = eq.next("h", tanh(c))
    y = eq.let("y", eq.affine("y", to="classes", V=h))
    eq.output(y, f, c, a, h, g)


@cell("aliases")
def aliases(eq):
    """Names for what has one already: of inputs, states, parameters, numbers, sizes and each other."""
    x, h_prev, b = eq.input("x"), eq.state("h"), eq.parameter("b", "hidden")
    u = eq.let("u", x)
    v = eq.let("v", u)
    s = eq.let("s", h_prev)
    shift, scale, units = eq.let("shift", b), eq.let("scale", 0.7), eq.let("units", eq.size("hidden"))
    z = eq.let("z", tanh(scale * eq.affine("q", W=v, U=s) / units + shift))
    zz = eq.let("zz", z)
    h = eq.next("h", zz)
    y = eq.let("y", h)
    last = eq.let("last", y)
    before = eq.let("before", h_prev)
    eq.output(y, last, before, h, u)


@cell("previous")
def previous(eq):
    """The output of a step is the state it began with."""
    x, h_prev = eq.input("x"), eq.state("h")
    eq.next("h", tanh(eq.affine("q", W=x, U=h_prev)))
    y = eq.let("y", h_prev)
    eq.output(y)


@cell("gate_only")
def gate_only(eq):
    """The output is a gate that its state never sees undone."""
    x, h_prev = eq.input("x"), eq.state("h")
    a = eq.affine("f", W=x, U=h_prev)
    eq.next("h", sigmoid(a) * h_prev)
    eq.output(a)


@cell("inputs")
def inputs(eq):
    """Several inputs, of several dimensions; one a mask."""
    x, u, m, h_prev = eq.input("x"), eq.input("u", "control"), eq.input("m", "hidden"), eq.state("h")
    h = eq.next("h", where(m > 0, tanh(eq.affine("q", W=x, V=u, U=h_prev)), h_prev) * m)
    eq.output(h)


@cell("equal_inputs")
def equal_inputs(eq):
    """Several inputs of one dimension, added up in one affine map."""
    x, y, h_prev = eq.input("x"), eq.input("y"), eq.state("h")
    h = eq.next("h", tanh(eq.affine("q", W=x, V=y, U=h_prev)))
    eq.output(h)


# -- where no gradient flows -------------------------------------------------------------------------------------------


@cell("stopped_state")
def stopped_state(eq):
    """A state that only a constant reads: nothing flows from step to step."""
    x, h_prev = eq.input("x"), eq.state("h")
    h = eq.next("h", tanh(eq.affine("q", W=x) + stop_gradient(h_prev)))
    eq.output(h)


@cell("stopped_inputs")
def stopped_inputs(eq):
    """Inputs and parameters under stop_gradient, next to the same ones without."""
    x, h_prev, b = eq.input("x"), eq.state("h"), eq.parameter("b", "hidden")
    h = eq.next("h", tanh(stop_gradient(b) * h_prev + b * eq.affine("q", W=stop_gradient(x))))
    eq.output(h)


@cell("stopped_all")
def stopped_all(eq):
    """No gradient at all."""
    x, h_prev = eq.input("x"), eq.state("h")
    h = eq.next("h", stop_gradient(tanh(eq.affine("q", W=x, U=h_prev))))
    eq.output(h)


@cell("stopped_scalar")
def stopped_scalar(eq):
    """A constant of fewer dimensions than the state it becomes a part of."""
    x, h_prev, s = eq.input("x"), eq.state("h"), eq.parameter("s")
    h = eq.next("h", stop_gradient(s) * h_prev + mean_over(stop_gradient(x), "features") + eq.affine("q", W=x))
    eq.output(h)


@cell("straight_through")
def straight_through(eq):
    """Forward a sign, backward the identity."""
    x, h_prev = eq.input("x"), eq.state("h")
    a = eq.let("a", tanh(eq.affine("q", W=x, U=h_prev)))
    r = eq.let("r", where(a > 0, 1, -1))
    h = eq.next("h", a + stop_gradient(r - a))
    eq.output(h)


@cell("side_effect")
def side_effect(eq):
    """A state that steers another by a condition alone."""
    x, h_prev, c_prev = eq.input("x"), eq.state("h"), eq.state("c")
    h = eq.next("h", tanh(eq.affine("q", W=x, U=h_prev)))
    c = eq.next("c", stop_gradient(0.5 * c_prev + h))
    y = eq.let("y", h * where(c > 0, 1.0, 0.5))
    eq.output(y)


@cell("no_slope")
def no_slope(eq):
    """States that appear in an equation and cancel."""
    x, h_prev, c_prev = eq.input("x"), eq.state("h"), eq.state("c")
    h = eq.next("h", tanh(eq.affine("q", W=x) + 0 * h_prev))
    c = eq.next("c", sigmoid(eq.affine("p", W=x) + c_prev - c_prev))
    eq.output(h, c)


# -- elementwise functions, conditions, numbers ------------------------------------------------------------------------


def _smooth(a: Any, b: Any) -> Any:
    """All smooth functions."""
    p = 1 + a**2
    logarithms = exp(-p) + log(p) * sqrt(p) - softplus(a) * logsigmoid(b)
    return 0.2 * (sigmoid(a) + tanh(b) + erf(a) * gelu(b) + silu(a) + logarithms)


def _kinked(a: Any, b: Any) -> Any:
    """All functions with a kink."""
    bounded = maximum(a, b) * minimum(a, b) + clip(a, -1, 1) + hard_sigmoid(b)
    return 0.2 * (relu(a) + abs(b) + bounded + where(a > b, a, b * b))


@cell("functions")
def functions(eq):
    """Every elementwise function within the recurrence."""
    x, h_prev = eq.input("x"), eq.state("h")
    a = eq.let("a", eq.affine("q", W=x, U=h_prev))
    s = eq.let("s", _smooth(a, h_prev))
    h = eq.next("h", tanh(s + _kinked(a, s)))
    eq.output(h)


@cell("functions_shared")
def functions_shared(eq):
    """Every elementwise function of parameters and of inputs alone."""
    x, h_prev = eq.input("x"), eq.state("h")
    a, b = eq.parameter("a", "hidden"), eq.parameter("b", "hidden", init=Constant(0.3))
    shared = eq.let("shared", _smooth(a, b) + _kinked(a, b))
    u = eq.let("u", _smooth(x, 2 * x) + _kinked(x, -0.5 * x))
    h = eq.next("h", tanh(shared * h_prev + eq.affine("q", W=u)))
    eq.output(h)


@cell("nested")
def nested(eq):
    """Functions of functions of functions."""
    x, h_prev = eq.input("x"), eq.state("h")
    inner = tanh(sigmoid(eq.affine("q", W=x, U=h_prev) * h_prev) - h_prev)
    h = eq.next("h", tanh(sigmoid(exp(-(softplus(inner) ** 2)) * h_prev)) + inner)
    eq.output(h)


@cell("conditions")
def conditions(eq):
    """Comparisons of all kinds, combined, of values of several dimensions."""
    x, S_prev = eq.input("x"), eq.state("S", "value", "key")
    b = eq.parameter("b", "value")
    g = eq.let("g", eq.affine("g", to="value", W=x))
    k = eq.let("k", eq.affine("k", to="key", W=x))
    s = eq.let("s", eq.parameter("w", "features") @ x)
    m = eq.let("m", where((g > 0) & (k < 0.5), k, g) + where((g >= b) | (k <= 0), 2 * g, 3 * k))
    n = eq.let("n", where(~(g > b), g, 1) * where(equal(g, 0), 1, b) + where(b > 0.1, b, -b))
    S = eq.next("S", where(2 * g + 1 > exp(-k) / 2, 0.5 * S_prev + 0.1 * m, 0.3 * S_prev + n))
    y = eq.let("y", where(s > 0, S @ k, 2 * g))
    eq.output(y)


@cell("bounds")
def bounds(eq):
    """Bounds that are parameters, operands that are equal, operands that are numbers."""
    x, h_prev = eq.input("x"), eq.state("h")
    low, high = eq.parameter("low", "hidden", init=-1), eq.parameter("high", init=1.0)
    a = eq.let("a", clip(eq.affine("q", W=x, U=h_prev), low - 1, 1 + exp(high)))
    h = eq.next("h", 0.5 * maximum(a, a) + minimum(0.3 * h_prev, 1) - maximum(0.1, h_prev))
    eq.output(h)


@cell("powers")
def powers(eq):
    """Powers, quotients and quotients of quotients."""
    x, h_prev = eq.input("x"), eq.state("h")
    a = eq.let("a", tanh(eq.affine("q", W=x, U=h_prev)))
    p = eq.let("p", 1 + a**2)
    roots = p**0.5 + p**-0.5 + p**1.5 - p**-3 + p**2.5 + (1 + a**4) ** -1.5
    fractions = a**3 / p**2 + 1 / p - (1 / p) ** 2 + a / p**3 / (1 + p) + a / (p / (2 + a))
    h = eq.next("h", tanh(0.2 * (roots + fractions + a**1 + p**0)))
    eq.output(h)


@cell("numbers")
def numbers(eq):
    """Numbers of all kinds, and minus signs in all places."""
    x, h_prev = eq.input("x"), eq.state("h")
    a = eq.let("a", tanh(eq.affine("q", W=x, U=h_prev)))
    b = -a
    u = eq.let("u", 1e-8 + pi * a / 1e3 + h_prev * (1 / 3) - h_prev**2 / 7 + 7 - 7.5)
    v = eq.let("v", -b - (h_prev - 2 * b * 0.25) / (-2) + b**2 - (-(a + h_prev) * a) - 1)
    h = eq.next("h", tanh(u - v + 1 / (2 + a)))
    eq.output(h)


@cell("sizes")
def sizes(eq):
    """Sizes of dimensions in expressions."""
    x, h_prev = eq.input("x"), eq.state("h")
    W, U = eq.parameter("W", "hidden", "features"), eq.parameter("U", "hidden", "hidden")
    n, m = eq.size("hidden"), eq.size("features")
    h = eq.next("h", tanh((U @ h_prev) / sqrt(n) + (W @ x) / m + log(n) * h_prev / n - (n - m) / (n + m) * h_prev**2))
    eq.output(h)


@cell("repeated")
def repeated(eq):
    """Equal subexpressions in several equations, and parameters that are used twice."""
    x, h_prev = eq.input("x"), eq.state("h")
    W, U = eq.parameter("W", "hidden", "features"), eq.parameter("U", "hidden", "hidden")
    b = eq.parameter("b", "hidden")
    g = eq.let("g", b * tanh(U @ h_prev) + tanh(U @ h_prev) * tanh(W @ x) + softplus(b))
    h = eq.next("h", tanh(W @ x + W @ x + b * g + softplus(b) * h_prev * h_prev + h_prev + h_prev))
    eq.output(h)


@cell("long_sum")
def long_sum(eq):
    """Many terms, more than a line of code holds."""
    x, h_prev = eq.input("x"), eq.state("h")
    z = eq.let("z", tanh(eq.affine("q", W=x, U=h_prev)))
    total = z
    for k in range(1, 16):
        total = total + z ** (k % 4 + 1) * h_prev / k - h_prev**2 / (k + 1)
    h = eq.next("h", tanh(total))
    eq.output(h)


@cell("many_gates")
def many_gates(eq):
    """More gates than a name for all of them can hold."""
    x, h_prev = eq.input("x"), eq.state("h")
    gates = [eq.let(f"g{k}", (sigmoid if k % 2 else tanh)(eq.affine(f"g{k}", W=x, U=h_prev))) for k in range(10)]
    total = 0.5 * h_prev
    for left, right in zip(gates[::2], gates[1::2], strict=True):
        total = total + left * right
    h = eq.next("h", 0.2 * total)
    eq.output(h)


# -- names -------------------------------------------------------------------------------------------------------------


@cell("plain_names")
def plain_names(eq):
    """Names that generated code might want for itself: of loops, shapes, buffers."""
    x, saved_prev, steps_prev = eq.input("k"), eq.state("saved"), eq.state("steps")
    p, take, batch = eq.parameter("p", "hidden"), eq.parameter("take"), eq.parameter("batch", "hidden", "hidden")
    t = eq.let("t", sigmoid(eq.affine("z", W=x, U=saved_prev)))
    out = eq.let("out", tanh(eq.affine("step", W=x) + p * steps_prev))
    x_t = eq.let("x_t", tanh(batch @ steps_prev) * take)
    parameters = eq.let("parameters", sigmoid(eq.affine("fi", W=x, U=steps_prev)))
    z = eq.let("z", t * out + x_t)
    saved = eq.next("saved", parameters * saved_prev + z)
    steps = eq.next("steps", tanh(saved) * t)
    eq.output(steps, out)


@cell("stacked_names")
def stacked_names(eq):
    """Names such as stacks, windows and intermediates of other values are given."""
    x, h_prev, c_prev = eq.input("x"), eq.state("h"), eq.state("c")
    b = eq.parameter("b", "hidden")
    f, i, o = (eq.let(k, sigmoid(eq.affine(k, W=x, U=h_prev))) for k in "fio")
    fio_t = eq.let("fio_t", tanh(eq.affine("g", W=x, U=h_prev) + 1))
    fio = eq.let("fio", tanh(fio_t * f))
    h_next = eq.let("h_next", fio * i)
    W_f_x = eq.let("W_f_x", h_next * i + b)
    b_wide = eq.let("b_wide", tanh(W_f_x * h_prev))
    b_row = eq.let("b_row", tanh(b * h_prev) - b_wide)
    a_h = eq.let("a_h", tanh(b_row) + tanh(h_next))
    c = eq.next("c", f * c_prev + i * fio_t * a_h)
    outputs_h = eq.let("outputs_h", c * c)
    h = eq.next("h", tanh(o * tanh(c) * fio + outputs_h + b_wide))
    y = eq.let("y", h * a_h)
    eq.output(h, y)


@cell("long_names")
def long_names(eq):
    """Names that leave no room for anything else on a line."""
    tail = "_of_a_gate_whose_author_would_rather_be_understood_than_brief"
    x, h_prev = eq.input(f"x{tail}"), eq.state(f"h{tail}")
    f = eq.let(f"f{tail}", sigmoid(eq.affine(f"f{tail}", W=x, U=h_prev)))
    g = eq.let(f"g{tail}", sigmoid(eq.affine(f"g{tail}", W=x, U=h_prev)))
    h = eq.next(f"h{tail}", f * g + (1 - f) * h_prev)
    eq.output(h)


@cell("case_names")
def case_names(eq):
    """Names that differ in case, and in underscores at the end."""
    X, x, x_ = eq.input("X"), eq.input("x", "hidden"), eq.input("x_")
    H_prev, h_prev = eq.state("H"), eq.state("h")
    H = eq.next("H", tanh(eq.affine("q", W=X, w=x, W_=x_, U=h_prev)))
    h = eq.next("h", H * H_prev)
    eq.output(h)


Roles = Literal["value", "state", "parameter", "input", "dimension", "constant", "step index"]


def named(name: str, role: Roles) -> Cell:
    """A small cell in which something of this role has this name."""

    def given(wanted: str, otherwise: str) -> str:
        return name if role == wanted else otherwise

    @cell(f"{role.replace(' ', '_')}_{name}")
    def small(eq):
        """Of interest for its names only."""
        dim = given("dimension", "units")
        x, s_prev = eq.input(given("input", "x0")), eq.state(given("state", "s0"), dim)
        p = eq.parameter(given("parameter", "p0"), dim)
        v = eq.let(given("value", "v0"), sigmoid(eq.affine("gate", to=dim, W=x, U=s_prev)))
        w = eq.let("w0", tanh(p * s_prev))
        k, t = eq.constant(given("constant", "k0"), [0.5, 2.0], "pair"), eq.step_index(given("step index", "t0"))
        u = erf(v) if name == "erf" else maximum(v, w)  # erf is slow, and only a namesake of its helper needs it
        s = eq.next(given("state", "s0"), v * mean_over(w, dim) + where(s_prev > 0, w, v) + u / (1 + t) * (k @ k))
        eq.output(s)

    return small


# -- normalisations, constants, the step index, numbers ----------------------------------------------------------------


@cell("normalized")
def normalized(eq):
    """Layer normalisation and softmax, of one vector and of several together, named and not."""
    x, h_prev = eq.input("x"), eq.state("h")
    n = eq.let("n", layer_norm(eq.affine("n", W=x, U=h_prev)))
    p, q = layer_norm(eq.affine("p", W=x, U=h_prev), eq.affine("q", W=x), epsilon=1e-3)
    s, w = softmax(eq.affine("s", W=x, U=h_prev), eq.affine("w", to="wide", W=x))
    V = eq.parameter("V", "hidden", "wide")
    u = eq.let("u", softmax(2 * h_prev) - layer_norm(h_prev))
    h = eq.next("h", tanh(n) * s + sigmoid(p) * (V @ w) + 0.1 * q * u)
    eq.output(h)


@cell("normalized_matrix")
def normalized_matrix(eq):
    """Along either dimension of a matrix, and of parameters alone."""
    x, C_prev = eq.input("x"), eq.state("C", "value", "key")
    W, B = eq.parameter("W", "value", "features"), eq.parameter("B", "value", "key")
    attention = eq.let("attention", softmax(B, "value"), "the same at every step")
    a = layer_norm(C_prev + outer(W @ x, eq.parameter("k", "key")), dim="value", epsilon=0.1)
    C = eq.next("C", softmax(a) * attention + 0.5 * C_prev)
    eq.output(eq.let("y", sum_over(C, "key")))


@cell("normalized_closely")
def normalized_closely(eq):
    """Normalises values that hardly differ in some rows, where one step of a finite difference is too coarse."""
    x, C_prev = eq.input("x"), eq.state("C", "value", "key")
    u = eq.let("u", outer(eq.affine("v", to="value", W=x), eq.affine("k", to="key", W=x)))
    a, b = softmax(C_prev + u, "value"), softmax(C_prev - u, dim="key")
    C = eq.next("C", a * layer_norm(C_prev * u, "value") + b)
    eq.output(C)


@cell("normalized_alone")
def normalized_alone(eq):
    """Vectors of two lengths under one mean, without an epsilon; a tuple in, a tuple out."""
    x, h_prev = eq.input("x"), eq.state("h")
    y, h = layer_norm([x, h_prev + eq.parameter("b", "hidden")], epsilon=0)
    (z,) = softmax((y,))
    eq.output(eq.let("y", z), eq.next("h", 0.9 * h))


@cell("constants")
def constants(eq):
    """Arrays of numbers: a square matrix in products both ways, a vector, a number, and what is made of them alone."""
    x, h_prev, m_prev = eq.input("x"), eq.state("h"), eq.state("m", "memory")
    A = eq.constant(
        "A", [[0.9, 0.1, 0.0], [-0.1, 0.9, 0.1], [0.0, -0.1, 1 / 3]], "memory", "memory", description="drift"
    )
    B, gain = eq.constant("B", (1, -1, 0.5), "memory"), eq.constant("gain", 0.25)
    AA = eq.let("AA", A - A.T)
    scale = eq.let("scale", 1 + gain**2)
    u = eq.let("u", sum_over(x, "features") * gain)
    m = eq.next("m", A @ m_prev + B * u + 0.1 * (AA @ (A.T @ m_prev)))
    h = eq.next("h", tanh(eq.affine("h", W=x, U=h_prev, V=m)) / scale)
    eq.output(h, m)


@cell("clock")
def clock(eq):
    """The step index: in a decay that needs no state, in one that does, in a condition, read by the adjoint."""
    x, h_prev = eq.input("x"), eq.state("h")
    t = eq.step_index()
    rate = eq.parameter("rate", "hidden")
    warm = eq.let("warm", 1 - exp(-(t + 1) / 3))
    h = eq.next("h", tanh(eq.affine("h", W=x, U=h_prev)) * warm + h_prev * sin_like(rate * t) / (t + 1))
    eq.output(eq.let("y", where(t > 2.5, h, 0.5 * h)), h)


def sin_like(value):
    """A wave of a kind."""
    return value / (1 + value**2)


@cell("numbers_carried")
def numbers_carried(eq):
    """States and an input without dimensions."""
    x, ts = eq.input("x"), eq.input("ts", ())
    h_prev, m_prev, n_prev = eq.state("h"), eq.state("m", ()), eq.state("n", ())
    m = eq.next("m", maximum(m_prev - sigmoid(ts), mean_over(h_prev, "hidden")))
    n = eq.next("n", 0.5 * n_prev + tanh(m) * ts)
    h = eq.next("h", tanh(eq.affine("h", W=x, U=h_prev, diagonal={"v": m * n_prev})))
    eq.output(h, n)


# -- products that wait for one another, and products of what is given -------------------------------------------------


@cell("deep_transition")
def deep_transition(eq):
    """Three maps in a row within one step, all of one form."""
    x, h_prev = eq.input("x"), eq.state("h")
    a = eq.let("a", tanh(eq.affine("a", W=x, U=h_prev)))
    b = eq.let("b", tanh(eq.affine("b", W=x, U=a)))
    h = eq.next("h", tanh(eq.affine("c", W=x, U=b)))
    eq.output(h)


@cell("gates_in_turn")
def gates_in_turn(eq):
    """Each gate needs the one before."""
    x, h_prev, c_prev = eq.input("x"), eq.state("h"), eq.state("c")
    i = eq.let("i", sigmoid(eq.affine("i", W=x, U=h_prev)))
    f = eq.let("f", sigmoid(eq.affine("f", W=x, U=h_prev * i)))
    o = eq.let("o", sigmoid(eq.affine("o", W=x, U=f)))
    c = eq.next("c", f * c_prev + i)
    eq.output(eq.next("h", o * tanh(c)))


@cell("multiplied_constants")
def multiplied_constants(eq):
    """Constants on both sides of products that are added up, alone, scaled by an input, and beside parameters."""
    x, y, h_prev = eq.input("x", "tap"), eq.input("y", "tap"), eq.state("h")
    t = eq.step_index()
    k, c = eq.constant("K", [0.5, 1.0, -1.0], "tap"), eq.constant("L", [1.0, 2.0, -0.5], "tap")
    g = eq.parameter("g", "tap")
    z = eq.affine("z", W=x, U=y, V=tanh(x), Q=k * t, T=k * x, R=k, S=c)
    u = eq.affine("u", W=k, U=softmax(g), V=tanh(g))
    h = eq.next("h", tanh(h_prev + z) * sigmoid(u))
    eq.output(h)


# -- at random ---------------------------------------------------------------------------------------------------------

_FUNCTIONS = (
    tanh,
    tanh,
    sigmoid,
    relu,
    stop_gradient,
    lambda value: -value,
    lambda value: 0.5 * value + 0.1,
    lambda value: 1 / (1 + value**2),
    lambda value: where(value > 0, value, 0.1 * value),
    lambda value: normal(layer_norm, value),
    lambda value: normal(softmax, value),
)


def normal(function: Any, value: Any) -> Any:
    """A normalisation along the last dimension; a number is what it was."""
    return function(value, **({"epsilon": 0.1} if function is layer_norm else {})) if dims_of(value) else value


class _Growth:
    """Grows the equations of one cell at random, all of them legal: what is declared is used, by an output at last."""

    def __init__(self, eq: Any, random: Random) -> None:
        self.eq, self.random = eq, random
        self.matrix = random.choice([("hidden", "key"), ("hidden",)])
        self.values: list[Any] = []
        self.unused: list[Any] = []
        self.moving: set[Any] = set()  # what differs from step to step
        self.count = 0

    def add(self, value: Any, *, moving: bool = True) -> Any:
        self.values.append(value)
        self.unused.append(value)
        if moving:
            self.moving.add(value)
        return value

    def parameter(self, *dims: str) -> Any:
        self.count += 1
        return self.eq.parameter(f"p{self.count}", *dims)

    def use(self, value: Any) -> Any:
        self.unused = [each for each in self.unused if each != value]
        return value

    def pick(self, dims: tuple[str, ...]) -> Any:
        known = [value for value in self.values if value.dims == dims]
        if not known or self.random.random() < 0.15:
            known = [self.add(self.parameter(*dims), moving=False)]
        return self.use(self.random.choice(known))

    def expression(self, dims: tuple[str, ...], depth: int) -> Any:
        kind = self.random.random() if depth else 1.0
        if kind < 0.25:
            other = self.expression(self.random.choice([dims, dims, dims[:1], ()]), depth - 1)
            one = self.expression(dims, depth - 1)
            return self.random.choice([one + other, one - other, one * other, one * other])
        if kind < 0.4:
            return self.random.choice(_FUNCTIONS)(self.expression(dims, depth - 1))
        if kind < 0.65 and len(dims) == 1:
            vectors = [value for value in self.values if len(value.dims) == 1]
            vector = self.use(self.random.choice(vectors)) if vectors else self.pick(dims)
            operand = self.random.choice([vector, vector, tanh(vector)])
            if self.random.random() < 0.3:
                return self.parameter(*vector.dims, *dims).T @ operand
            return self.parameter(*dims, *vector.dims) @ operand
        if kind < 0.8:
            return self._across(dims)
        return self.pick(dims)

    def _across(self, dims: tuple[str, ...]) -> Any:
        """Reductions to the dimensions, and products of what has others."""
        if len(dims) == 2:
            return outer(self.pick(dims[:1]), self.pick(dims[1:]))
        if dims and dims != self.matrix[:-1]:
            return self.pick(dims)
        value, axis = (self.pick(self.matrix), "key") if dims else (self.pick(("hidden",)), "hidden")
        reduce = self.random.choice([sum_over, mean_over, max_over, None])
        return reduce(value, axis) if reduce else value @ self.pick((axis,))

    def let(self, name: str, dims: tuple[str, ...]) -> Any:
        tree = self.expression(dims, 2)
        return self.add(self.eq.let(name, tree), moving=bool(tree.free_symbols & self.moving))


def random_cell(seed: int) -> Cell:
    """A cell as nobody would write it, of one to three states; equal seeds give equal cells."""

    @cell(f"random_{seed}")
    def grown(eq):
        """Grown at random."""
        random = Random(seed)
        growth = _Growth(eq, random)
        shapes = [("hidden",), ("features",), growth.matrix]
        if random.random() < 0.15:
            growth.add(eq.step_index())
        if random.random() < 0.2:
            growth.add(eq.constant("A", [0.5, -1.0, 2.0], "features"), moving=False)
        for k in range(random.choice([1, 1, 2])):
            growth.add(eq.input(f"x{k}", *random.choice(shapes)))
        shapes.append(((),))
        names = [f"s{k}" for k in range(random.choice([1, 1, 2, 3]))]
        states = {name: growth.add(eq.state(name, *random.choice(shapes))) for name in names}
        lets = [
            growth.let(f"v{k}", random.choice([each for each in shapes if each != ((),)] + [()]))
            for k in range(random.choice([0, 1, 2, 3]))
        ]
        found = []
        for name, previous in states.items():
            tree = growth.expression(previous.dims, 2)
            # Most states carry on; one that does not depends on the input alone, or holds still.
            if random.random() < 0.7 or not tree.free_symbols & growth.moving:
                tree = 0.7 * tree + 0.3 * growth.use(previous)
            found.append(eq.next(name, random.choice([tree, tanh(tree)])))
        found += [value for value in lets if value in growth.moving and random.random() < 0.4]
        rest = 0.1 * found[0]
        for value in growth.unused:
            total = value
            for dim in value.dims:
                total = sum_over(total, dim)
            rest = rest + total
        found.append(eq.let("rest", rest))
        eq.output(*found)

    return grown


CELLS: tuple[Cell, ...] = tuple(each for each in list(vars().values()) if isinstance(each, Cell))
CASES: dict[str, tuple[Cell, dict[str, Any]]] = {each.name: (each, {}) for each in CELLS}
CASES["gru_reset_after"] = (gru, {"reset": "after"})
