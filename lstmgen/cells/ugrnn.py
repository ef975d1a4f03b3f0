"""The update gate recurrent network."""

from lstmgen.api import cell, sigmoid, tanh


@cell("ugrnn", reference="Collins, Sohl-Dickstein & Sussillo, ICLR 2017 (arXiv 1611.09913)")
def ugrnn(eq):
    """Update gate RNN: one gate chooses between the old state and a candidate."""
    x = eq.input("x")
    h_prev = eq.state("h")

    g = eq.let("g", sigmoid(eq.affine("g", bias_init=1.0, W=x, U=h_prev)), "update gate")
    c = eq.let("c", tanh(eq.affine("c", W=x, U=h_prev)), "candidate")
    h = eq.next("h", g * h_prev + (1 - g) * c, "hidden state")
    eq.output(h)
