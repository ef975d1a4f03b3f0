"""The mLSTM of the xLSTM."""

from typing import Literal

from lstmgen.api import Normal, abs, cell, exp, flatten, logsigmoid, maximum, outer, sigmoid, sqrt


@cell("mlstm", reference="Beck et al., NeurIPS 2024 (arXiv 2405.04517)")
def mlstm(eq, *, heads=False, forget: Literal["sigmoid", "exp"] = "sigmoid"):
    """Matrix LSTM: a memory of values stored under keys, read with a query, with an exponential input gate.

    Memory and normaliser are kept divided by exp(m), so that no exponential overflows, and the gates are scaled to
    match: log_i and log_f belong to those before that. The stabiliser m is never negative, for small gates need no
    rescaling. Nothing that comes out depends on it: its gradient is 0 but for that by its initial value. With `heads`
    there are several memories side by side; `forget` is the function of the forget gate. The key is divided by the root
    of its size, bias included, as in the authors' code.
    """
    dims = ("heads",) if heads else ()
    x = eq.input("x")
    C_prev, n_prev = eq.state("C", *dims, "value", "key"), eq.state("n", *dims, "key")
    m_prev = eq.state("m", dims)

    def affine(k, *to, weight=None, bias=None):
        W = eq.parameter(f"W_{k}", *dims, *to, "features", init=weight)
        return W @ x + eq.parameter(f"b_{k}", *dims, *to, init=bias)

    q = eq.let("q", affine("q", "key"), "query")
    k = eq.let("k", affine("k", "key") / sqrt(eq.size("key")), "key")
    v = eq.let("v", affine("v", "value"), "value")
    a_f = affine("f", weight=0.0, bias=3.0)
    log_i = eq.let("log_i", affine("i", weight=0.0, bias=Normal(0.1)), "logarithm of the input gate")
    log_f = eq.let("log_f", logsigmoid(a_f) if forget == "sigmoid" else a_f, "logarithm of the forget gate")
    m = eq.next("m", maximum(maximum(log_f + m_prev, log_i), 0), "stabiliser")
    i = eq.let("i", exp(log_i - m), "input gate")
    f = eq.let("f", exp(log_f + m_prev - m), "forget gate")
    C = eq.next("C", f * C_prev + i * (v * k if heads else outer(v, k)), "matrix memory")
    n = eq.next("n", f * n_prev + i * k, "normaliser")
    o = eq.let("o", sigmoid(affine("o", "value")), "output gate")
    r = eq.let("r", maximum(abs(n @ q), exp(-m)), "denominator")
    h = eq.let("h", o * (C @ q / r), "output")
    eq.output(eq.let("y", flatten(h), "output, all heads") if heads else h)
