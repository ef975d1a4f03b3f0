"""The gated recurrent unit, with its reset gate after the recurrent product or before it."""

from typing import Literal

from lstmgen.api import cell, sigmoid, tanh


@cell("gru", reference="Cho et al., EMNLP 2014 (arXiv 1406.1078)")
def gru(eq, *, reset: Literal["after", "before"] = "after"):
    """Gated recurrent unit: an update gate chooses between the old state and a candidate.

    With `reset` "after", the reset gate scales what the state contributes to the candidate, its bias included (the
    paper's first version, and what cuDNN computes); with "before", it scales the state itself (the paper's last
    version; also Chung et al., arXiv 1412.3555, 2014, whose update gate is 1 - z).
    """
    x = eq.input("x")
    h_prev = eq.state("h")

    r = eq.let("r", sigmoid(eq.affine("r", W=x, U=h_prev)), "reset gate")
    z = eq.let("z", sigmoid(eq.affine("z", W=x, U=h_prev)), "update gate")
    if reset == "after":
        W_n = eq.parameter("W_n", "hidden", "features")
        U_n = eq.parameter("U_n", "hidden", "hidden")
        b_n, bu_n = eq.parameter("b_n", "hidden"), eq.parameter("bu_n", "hidden")
        m = eq.let("m", U_n @ h_prev + bu_n, "what the state contributes")
        n = eq.let("n", tanh(W_n @ x + b_n + r * m), "candidate")
    else:
        n = eq.let("n", tanh(eq.affine("n", W=x, U=r * h_prev)), "candidate")
    h = eq.next("h", (1 - z) * n + z * h_prev, "hidden state")
    eq.output(h)
