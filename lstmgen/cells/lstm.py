"""The LSTM as it is used today: with a forget gate, without peepholes."""

from lstmgen.api import cell, sigmoid, tanh


@cell("lstm", reference="Gers, Schmidhuber & Cummins, Neural Computation 12(10), 2000")
def lstm(eq):  # type: ignore[no-untyped-def]  # cells are written as their authors would write them
    """Long short-term memory with a forget gate."""
    x = eq.input("x")
    h_prev, c_prev = eq.state("h"), eq.state("c")

    f = eq.let("f", sigmoid(eq.affine("f", W=x, U=h_prev)), "forget gate")
    i = eq.let("i", sigmoid(eq.affine("i", W=x, U=h_prev)), "input gate")
    g = eq.let("g", tanh(eq.affine("g", W=x, U=h_prev)), "candidate")
    c = eq.next("c", f * c_prev + i * g, "cell state")
    o = eq.let("o", sigmoid(eq.affine("o", W=x, U=h_prev)), "output gate")
    h = eq.next("h", o * tanh(c), "hidden state")
    eq.output(h)
