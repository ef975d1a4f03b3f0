"""The minimal gated unit and its mirror image."""

from typing import Literal

from lstmgen.api import cell, sigmoid, tanh


@cell("mgu", reference="Zhou, Wu, Zhang & Zhou, arXiv 1603.09420, 2016")
def mgu(eq, *, reset: Literal["before", "after"] = "before", mirrored=False):
    """Minimal gated unit: one gate both resets the state for the candidate and mixes the candidate in.

    `reset` says whether the gate scales the state before the recurrent product, as in the paper, or what the state
    contributes after it, its bias included. In the paper an open gate takes the candidate; `mirrored`, it keeps the
    state (so, with the reset after, in Flax).
    """
    x = eq.input("x")
    h_prev = eq.state("h")

    f = eq.let("f", sigmoid(eq.affine("f", W=x, U=h_prev)), "forget gate")
    if reset == "after":
        W_n = eq.parameter("W_n", "hidden", "features")
        U_n = eq.parameter("U_n", "hidden", "hidden")
        b_n, bu_n = eq.parameter("b_n", "hidden"), eq.parameter("bu_n", "hidden")
        m = eq.let("m", U_n @ h_prev + bu_n, "what the state contributes")
        n = eq.let("n", tanh(W_n @ x + b_n + f * m), "candidate")
    else:
        n = eq.let("n", tanh(eq.affine("n", W=x, U=f * h_prev)), "candidate")
    h = eq.next("h", f * h_prev + (1 - f) * n if mirrored else (1 - f) * h_prev + f * n, "hidden state")
    eq.output(h)
