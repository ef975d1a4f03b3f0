"""The recurrent additive network."""

from typing import Literal

from lstmgen.api import cell, sigmoid, tanh


@cell("ran", reference="Lee, Levy & Zettlemoyer, arXiv 1705.07393, 2017")
def ran(eq, *, activation: Literal["tanh", "identity"] = "tanh"):
    """Recurrent additive network: the cell state is a weighted sum of linear maps of the inputs, nothing else.

    `activation` is what the state shows of it: the hyperbolic tangent, or all.
    """
    x = eq.input("x")
    h_prev, c_prev = eq.state("h"), eq.state("c")

    n = eq.affine("n", W=x, bias=None)
    i = eq.let("i", sigmoid(eq.affine("i", W=x, U=h_prev)), "input gate")
    f = eq.let("f", sigmoid(eq.affine("f", W=x, U=h_prev)), "forget gate")
    c = eq.next("c", i * n + f * c_prev, "cell state")
    h = eq.next("h", tanh(c) if activation == "tanh" else c, "hidden state")
    eq.output(h)
