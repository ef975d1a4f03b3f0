"""The Mogrifier LSTM."""

from lstmgen.api import OptionError, cell, sigmoid, tanh


@cell("mogrifier_lstm", reference="Melis, Kočiský & Blunsom, ICLR 2020 (arXiv 1909.01792)")
def mogrifier_lstm(eq, *, rounds=5, low_rank=False):
    """Long short-term memory whose input and state gate one another first, in turn, for a number of `rounds`.

    With `low_rank` the matrices of these gates are products of two thin ones, as in the paper.
    """
    if rounds < 0:
        raise OptionError(f"there are no {rounds} rounds", "give zero or more")
    x = eq.input("x")
    h_prev, c_prev = eq.state("h"), eq.state("c")

    def gated(name, to, of, value):
        if low_rank:
            left, right = eq.parameter(f"{name}_left", to, "rank"), eq.parameter(f"{name}_right", "rank", of)
            return sigmoid(left @ (right @ value))
        return sigmoid(eq.parameter(name, to, of) @ value)

    h = h_prev
    for k in range(1, rounds + 1):
        if k % 2:
            x = eq.let(f"x_{k}", 2 * gated(f"Q_{k}", "features", "hidden", h) * x, "input as the state gates it")
        else:
            h = eq.let(f"h_{k}", 2 * gated(f"R_{k}", "hidden", "features", x) * h, "state as the input gates it")
    f = eq.let("f", sigmoid(eq.affine("f", W=x, U=h)), "forget gate")
    i = eq.let("i", sigmoid(eq.affine("i", W=x, U=h)), "input gate")
    g = eq.let("g", tanh(eq.affine("g", W=x, U=h)), "candidate")
    c = eq.next("c", f * c_prev + i * g, "cell state")
    o = eq.let("o", sigmoid(eq.affine("o", W=x, U=h)), "output gate")
    eq.output(eq.next("h", o * tanh(c), "hidden state"))
