"""The independently recurrent network."""

from typing import Literal

from lstmgen.api import cell, relu, tanh


@cell("indrnn", reference="Li, Li, Cook, Zhu & Gao, CVPR 2018 (arXiv 1803.04831)")
def indrnn(eq, *, activation: Literal["relu", "tanh"] = "relu"):
    """Independently recurrent network: every unit sees only its own state of the step before.

    `activation` is the rectifier, or the hyperbolic tangent. The recurrent weights start at 1, which keeps a state.
    """
    x = eq.input("x")
    h_prev = eq.state("h")

    squash = {"relu": relu, "tanh": tanh}[activation]
    W_h, b_h = eq.parameter("W_h", "hidden", "features"), eq.parameter("b_h", "hidden")
    u_h = eq.parameter("u_h", "hidden", init=1.0)
    h = eq.next("h", squash(W_h @ x + u_h * h_prev + b_h), "hidden state")
    eq.output(h)
