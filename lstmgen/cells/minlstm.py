"""The minimal LSTM."""

from typing import Literal

from lstmgen.api import cell, logsigmoid, sigmoid, where


@cell("minlstm", reference="Feng, Tung, Ahmed, Bengio & Hajimirsadeghi, arXiv 2410.01201, 2024")
def minlstm(eq, *, candidate: Literal["linear", "positive"] = "linear"):
    """Minimal LSTM: gates depend on the input alone and are scaled to sum to 1.

    The scaled forget gate f / (f + i) is computed as sigmoid(log f - log i), which is the same and never 0 / 0. A
    `candidate` that is "positive" is that of the paper's version in log space: a + 1/2 for a >= 0, sigmoid(a) below.
    The paper maps the initial state in the same way; here it is taken as given.
    """
    x = eq.input("x")
    h_prev = eq.state("h")

    log_f = eq.let("log_f", logsigmoid(eq.affine("f", W=x)), "logarithm of the forget gate")
    log_i = eq.let("log_i", logsigmoid(eq.affine("i", W=x)), "logarithm of the input gate")
    f = eq.let("f", sigmoid(log_f - log_i), "scaled forget gate")
    a = eq.affine("n", W=x)
    n = eq.let("n", where(a >= 0, a + 0.5, sigmoid(a)) if candidate == "positive" else a, "candidate")
    h = eq.next("h", f * h_prev + (1 - f) * n, "hidden state")
    eq.output(h)
