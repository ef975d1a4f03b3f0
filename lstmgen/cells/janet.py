"""JANET: just another network."""

from lstmgen.api import cell, sigmoid, tanh


@cell("janet", reference="van der Westhuizen & Lasenby, arXiv 1804.04849, 2018")
def janet(eq, *, beta=1.0):
    """An LSTM of which only the forget gate is left (JANET).

    What the gate forgets makes room for the candidate; `beta` shifts that so that more accumulates than is forgotten.
    """
    x = eq.input("x")
    c_prev = eq.state("c")

    s = eq.affine("f", bias_init=1.0, W=x, U=c_prev)
    g = eq.let("g", tanh(eq.affine("g", W=x, U=c_prev)), "candidate")
    c = eq.next("c", sigmoid(s) * c_prev + (1 - sigmoid(s - beta)) * g, "cell state")
    eq.output(c)
