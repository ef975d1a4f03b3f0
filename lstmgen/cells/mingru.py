"""The minimal GRU."""

from typing import Literal

from lstmgen.api import cell, sigmoid, where


@cell("mingru", reference="Feng, Tung, Ahmed, Bengio & Hajimirsadeghi, arXiv 2410.01201, 2024")
def mingru(eq, *, candidate: Literal["linear", "positive"] = "linear"):
    """Minimal GRU: gate and candidate depend on the input alone, so that the state is a weighted running mean.

    A `candidate` that is "positive" is that of the paper's version in log space: a + 1/2 for a >= 0, sigmoid(a) below.
    The paper maps the initial state in the same way; here it is taken as given.
    """
    x = eq.input("x")
    h_prev = eq.state("h")

    z = eq.let("z", sigmoid(eq.affine("z", W=x)), "update gate")
    a = eq.affine("n", W=x)
    n = eq.let("n", where(a >= 0, a + 0.5, sigmoid(a)) if candidate == "positive" else a, "candidate")
    h = eq.next("h", (1 - z) * h_prev + z * n, "hidden state")
    eq.output(h)
