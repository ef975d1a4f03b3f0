"""The light GRU."""

from lstmgen.api import cell, relu, sigmoid


@cell("ligru", reference="Ravanelli, Brakel, Omologo & Bengio, IEEE TETCI 2(2), 2018 (arXiv 1803.10225)")
def ligru(eq):
    """Light GRU: without a reset gate, and with a rectifier for the candidate.

    The paper normalises what the input contributes over the batch; that is left out here.
    """
    x = eq.input("x")
    h_prev = eq.state("h")

    z = eq.let("z", sigmoid(eq.affine("z", W=x, U=h_prev)), "update gate")
    n = eq.let("n", relu(eq.affine("n", W=x, U=h_prev)), "candidate")
    h = eq.next("h", z * h_prev + (1 - z) * n, "hidden state")
    eq.output(h)
