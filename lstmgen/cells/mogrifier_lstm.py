"""The Mogrifier LSTM."""

from lstmgen.api import OptionError, cell, sigmoid, tanh


@cell("mogrifier_lstm", reference="Melis, Kočiský & Blunsom, ICLR 2020 (arXiv 1909.01792)")
def mogrifier_lstm(eq, *, rounds=5):
    """Long short-term memory whose input and state gate one another first, in turn, for a number of `rounds`."""
    if rounds < 0:
        raise OptionError(f"there are no {rounds} rounds", "give zero or more")
    x = eq.input("x")
    h_prev, c_prev = eq.state("h"), eq.state("c")

    h = h_prev
    for k in range(1, rounds + 1):
        if k % 2:
            Q = eq.parameter(f"Q_{k}", "features", "hidden")
            x = eq.let(f"x_{k}", 2 * sigmoid(Q @ h) * x, "input as the state gates it")
        else:
            R = eq.parameter(f"R_{k}", "hidden", "features")
            h = eq.let(f"h_{k}", 2 * sigmoid(R @ x) * h, "state as the input gates it")
    f = eq.let("f", sigmoid(eq.affine("f", W=x, U=h)), "forget gate")
    i = eq.let("i", sigmoid(eq.affine("i", W=x, U=h)), "input gate")
    g = eq.let("g", tanh(eq.affine("g", W=x, U=h)), "candidate")
    c = eq.next("c", f * c_prev + i * g, "cell state")
    o = eq.let("o", sigmoid(eq.affine("o", W=x, U=h)), "output gate")
    eq.output(eq.next("h", o * tanh(c), "hidden state"))
