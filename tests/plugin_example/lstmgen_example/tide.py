"""A cell of this package."""

from lstmgen.api import cell, sigmoid, tanh


@cell("tide", reference="Invented for this example")
def tide(eq, *, leak=0.1):
    """A gated unit that listens to a slow average of itself."""
    x, h_prev, m_prev = eq.input("x"), eq.state("h"), eq.state("m")

    z = eq.let("z", sigmoid(eq.affine("z", W=x, U=m_prev)), "update gate")
    n = eq.let("n", tanh(eq.affine("n", W=x, U=z * h_prev)), "candidate")
    h = eq.next("h", (1 - z) * h_prev + z * n, "hidden state")
    eq.next("m", (1 - leak) * m_prev + leak * h, "slow average")
    eq.output(h)
