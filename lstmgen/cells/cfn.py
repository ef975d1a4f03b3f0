"""The chaos-free network."""

from lstmgen.api import cell, sigmoid, tanh


@cell("cfn", reference="Laurent & von Brecht, ICLR 2017 (arXiv 1612.06212)")
def cfn(eq):
    """Chaos-free network: without input the state decays to zero, whatever the weights."""
    x = eq.input("x")
    h_prev = eq.state("h")

    f = eq.let("f", sigmoid(eq.affine("f", bias_init=1.0, W=x, U=h_prev)), "forget gate")
    i = eq.let("i", sigmoid(eq.affine("i", bias_init=-1.0, W=x, U=h_prev)), "input gate")
    n = eq.let("n", tanh(eq.affine("n", W=x, bias=None)), "candidate")
    h = eq.next("h", f * tanh(h_prev) + i * n, "hidden state")
    eq.output(h)
