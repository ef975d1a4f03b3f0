"""The minimal LSTM."""

from typing import Literal

from lstmgen.api import cell, sigmoid, where


@cell("minlstm", reference="Feng, Tung, Ahmed, Bengio & Hajimirsadeghi, arXiv 2410.01201, 2024")
def minlstm(eq, *, candidate: Literal["linear", "positive"] = "linear"):
    """Minimal LSTM: gates depend on the input alone and are scaled to sum to 1.

    A `candidate` that is "positive" is that of the paper's version in log space: a + 1/2 for a >= 0, sigmoid(a) below.
    """
    x = eq.input("x")
    h_prev = eq.state("h")

    f = eq.let("f", sigmoid(eq.affine("f", W=x)), "forget gate")
    i = eq.let("i", sigmoid(eq.affine("i", W=x)), "input gate")
    a = eq.affine("n", W=x)
    n = eq.let("n", where(a >= 0, a + 0.5, sigmoid(a)) if candidate == "positive" else a, "candidate")
    h = eq.next("h", f / (f + i) * h_prev + i / (f + i) * n, "hidden state")
    eq.output(h)
