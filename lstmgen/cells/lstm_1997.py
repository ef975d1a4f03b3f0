"""The LSTM as it was first published: without a forget gate, with scaled logistic functions."""

from lstmgen.api import cell, sigmoid


@cell("lstm_1997", reference="Hochreiter & Schmidhuber, Neural Computation 9(8), 1997")
def lstm_1997(eq):
    """Long short-term memory of 1997: what enters the cell state never leaves it.

    The candidate lies between -2 and 2, what the cell shows of itself between -1 and 1. The paper truncated the
    gradient where it leaves a memory cell; this is the full gradient (Graves & Schmidhuber, Neural Networks 18, 2005).
    """
    x = eq.input("x")
    h_prev, c_prev = eq.state("h"), eq.state("c")

    i = eq.let("i", sigmoid(eq.affine("i", W=x, U=h_prev)), "input gate")
    o = eq.let("o", sigmoid(eq.affine("o", W=x, U=h_prev)), "output gate")
    g = eq.let("g", 4 * sigmoid(eq.affine("g", W=x, U=h_prev)) - 2, "candidate")
    c = eq.next("c", c_prev + i * g, "cell state")
    h = eq.next("h", o * (2 * sigmoid(c) - 1), "hidden state")
    eq.output(h)
