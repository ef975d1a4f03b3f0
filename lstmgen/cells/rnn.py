"""The simple recurrent network."""

from typing import Literal

from lstmgen.api import cell, relu, tanh


@cell("rnn", reference="Elman, Cognitive Science 14(2), 1990")
def rnn(eq, *, activation: Literal["tanh", "relu"] = "tanh"):
    """Simple recurrent network: the new state is a squashed affine map of the input and the state before.

    `activation` is the hyperbolic tangent, or the rectifier (Le, Jaitly & Hinton, arXiv
    1504.00941, 2015, who start U_h at the identity and b_h at 0).
    """
    x = eq.input("x")
    h_prev = eq.state("h")

    squash = {"tanh": tanh, "relu": relu}[activation]
    h = eq.next("h", squash(eq.affine("h", W=x, U=h_prev)), "hidden state")
    eq.output(h)
