"""The minimal RNN."""

from lstmgen.api import cell, sigmoid, tanh


@cell("minimal_rnn", reference="Chen, arXiv 1711.06788, 2017")
def minimal_rnn(eq):
    """Minimal RNN: the input is encoded into the space of the state, and a gate chooses between the two."""
    x = eq.input("x")
    h_prev = eq.state("h")

    z = eq.let("z", tanh(eq.affine("z", W=x)), "encoded input")
    u = eq.let("u", sigmoid(eq.affine("u", U=h_prev, V=z)), "update gate")
    h = eq.next("h", u * h_prev + (1 - u) * z, "hidden state")
    eq.output(h)
