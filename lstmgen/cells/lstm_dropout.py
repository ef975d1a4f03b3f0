"""The LSTM with recurrent dropout that does not touch its memory."""

from lstmgen.api import cell, sigmoid, tanh


@cell("lstm_dropout", reference="Semeniuta, Severyn & Barth, COLING 2016 (arXiv 1603.05118)")
def lstm_dropout(eq):
    """Long short-term memory with dropout of what would be added to the cell state, never of the cell state itself.

    The mask is an input, so that gradients stay deterministic: 0 where the candidate is dropped, 1 / (1 - p) where it
    is kept, if dropped with probability p; at test time 1.
    """
    x = eq.input("x")
    mask = eq.input("mask", "hidden")
    h_prev, c_prev = eq.state("h"), eq.state("c")

    f = eq.let("f", sigmoid(eq.affine("f", W=x, U=h_prev)), "forget gate")
    i = eq.let("i", sigmoid(eq.affine("i", W=x, U=h_prev)), "input gate")
    g = eq.let("g", tanh(eq.affine("g", W=x, U=h_prev)), "candidate")
    c = eq.next("c", f * c_prev + i * (mask * g), "cell state")
    o = eq.let("o", sigmoid(eq.affine("o", W=x, U=h_prev)), "output gate")
    h = eq.next("h", o * tanh(c), "hidden state")
    eq.output(h)
