"""The simple recurrent unit."""

from typing import Literal

from lstmgen.api import cell, sigmoid


@cell("sru", reference="Lei, Zhang, Wang, Dai & Artzi, EMNLP 2018 (arXiv 1709.02755)")
def sru(eq, *, highway: Literal["projected", "input"] = "projected", alpha=1.0):
    """Simple recurrent unit: all products are the input's, so that a step is elementwise and units are independent.

    A second gate chooses between the state and a highway for the input: the input itself where it has the dimension of
    the state (`highway` "input"), else a projection of it. `alpha` scales the highway,
    in the paper by sqrt(3) where the second gate's bias starts at 0.
    """
    x = eq.input("x") if highway == "projected" else eq.input("x", "hidden")
    c_prev = eq.state("c")

    n = eq.affine("n", W=x, bias=None)
    f = eq.let("f", sigmoid(eq.affine("f", bias_init=0.0, W=x, diagonal={"v": c_prev})), "forget gate")
    r = eq.let("r", sigmoid(eq.affine("r", bias_init=0.0, W=x, diagonal={"v": c_prev})), "reset gate")
    c = eq.next("c", f * c_prev + (1 - f) * n, "cell state")
    shown = eq.affine("x", W=x, bias=None) if highway == "projected" else x
    h = eq.let("h", r * c + (1 - r) * (alpha * shown if alpha != 1 else shown), "output")
    eq.output(h)
