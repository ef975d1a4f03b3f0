"""The sLSTM of the xLSTM."""

from typing import Literal

from lstmgen.api import cell, equal, exp, flatten, logsigmoid, maximum, minimum, sigmoid, tanh, where


@cell("slstm", reference="Beck et al., NeurIPS 2024 (arXiv 2405.04517)")
def slstm(eq, *, heads=False, forget: Literal["sigmoid", "exp"] = "sigmoid"):
    """Scalar LSTM with an exponential input gate, a normaliser and a stabiliser.

    Cell state and normaliser are kept divided by exp(m), which leaves c / n as it is and lets no exponential overflow;
    the gates are scaled to match, and log_i and log_f belong to those before that. Nothing that comes out depends on
    the stabiliser m: its gradient is 0 but for that by its initial value. (A cell state without a normaliser has no
    meaning here.) With `heads`, units see only the state of their own head; `forget` is the function of the forget
    gate.
    """
    dims = ("heads", "unit") if heads else ("hidden",)
    x = eq.input("x")
    h_prev, c_prev, n_prev, m_prev = (eq.state(name, *dims) for name in "hcnm")

    def affine(k, bias=0.0):
        W, R = eq.parameter(f"W_{k}", *dims, "features"), eq.parameter(f"R_{k}", *dims, dims[-1], init=0.0)
        return W @ x + R @ h_prev + eq.parameter(f"b_{k}", *dims, init=bias)

    a_f = affine("f", bias=3.0)
    log_i = eq.let("log_i", affine("i"), "logarithm of the input gate")
    log_f = eq.let("log_f", logsigmoid(a_f) if forget == "sigmoid" else a_f, "logarithm of the forget gate")
    # As long as nothing is remembered, the input gate alone sets the scale.
    m = eq.next("m", where(equal(n_prev, 0), log_i, maximum(log_f + m_prev, log_i)), "stabiliser")
    i = eq.let("i", exp(log_i - m), "input gate")
    f = eq.let("f", exp(minimum(log_f + m_prev - m, 0)), "forget gate")
    z = eq.let("z", tanh(affine("z")), "cell input")
    c = eq.next("c", f * c_prev + i * z, "cell state")
    n = eq.next("n", f * n_prev + i, "normaliser")
    o = eq.let("o", sigmoid(affine("o")), "output gate")
    h = eq.next("h", o * (c / n), "hidden state")
    eq.output(eq.let("y", flatten(h), "output, all heads") if heads else h)
