"""The LSTM with zoneout."""

from lstmgen.api import cell, sigmoid, tanh


@cell("lstm_zoneout", reference="Krueger et al., ICLR 2017 (arXiv 1606.01305)")
def lstm_zoneout(eq):
    """Long short-term memory whose units now and then keep their state for a step.

    The masks are inputs, so that gradients stay deterministic: 1 where a unit keeps its state, 0 where it takes the new
    one; at test time their expectation, the probability of keeping. The hidden state sees the cell state as it would be
    without zoneout.
    """
    x = eq.input("x")
    keep_h, keep_c = eq.input("keep_h", "hidden"), eq.input("keep_c", "hidden")
    h_prev, c_prev = eq.state("h"), eq.state("c")

    f = eq.let("f", sigmoid(eq.affine("f", W=x, U=h_prev)), "forget gate")
    i = eq.let("i", sigmoid(eq.affine("i", W=x, U=h_prev)), "input gate")
    g = eq.let("g", tanh(eq.affine("g", W=x, U=h_prev)), "candidate")
    s = eq.let("s", f * c_prev + i * g, "cell state without zoneout")
    eq.next("c", keep_c * c_prev + (1 - keep_c) * s, "cell state")
    o = eq.let("o", sigmoid(eq.affine("o", W=x, U=h_prev)), "output gate")
    h = eq.next("h", keep_h * h_prev + (1 - keep_h) * (o * tanh(s)), "hidden state")
    eq.output(h)
