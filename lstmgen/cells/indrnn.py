"""The independently recurrent network."""

from typing import Literal

from lstmgen.api import cell, relu, tanh


@cell("indrnn", reference="Li, Li, Cook, Zhu & Gao, CVPR 2018 (arXiv 1803.04831)")
def indrnn(eq, *, activation: Literal["relu", "tanh"] = "relu"):
    """Independently recurrent network: every unit sees only its own state of the step before.

    `activation` is the rectifier, or the hyperbolic tangent.
    """
    x = eq.input("x")
    h_prev = eq.state("h")

    squash = {"relu": relu, "tanh": tanh}[activation]
    h = eq.next("h", squash(eq.affine("h", W=x, diagonal={"u": h_prev})), "hidden state")
    eq.output(h)
