"""The quasi-recurrent network, with a window of two steps."""

from typing import Literal

from lstmgen.api import cell, sigmoid, tanh


@cell("qrnn", reference="Bradbury, Merity, Xiong & Socher, ICLR 2017 (arXiv 1611.01576)")
def qrnn(eq, *, pooling: Literal["f", "fo", "ifo"] = "fo"):
    """Quasi-recurrent network: gates come from a convolution over the last two inputs, and pool the candidates.

    `pooling` names the gates there are: forget, output and input gate. The state `v` is the input of the step before.
    """
    x = eq.input("x")
    v_prev, c_prev = eq.state("v", "features"), eq.state("c")

    z = eq.let("z", tanh(eq.affine("z", W=x, V=v_prev)), "candidate")
    f = eq.let("f", sigmoid(eq.affine("f", W=x, V=v_prev)), "forget gate")
    i = eq.let("i", sigmoid(eq.affine("i", W=x, V=v_prev)), "input gate") if "i" in pooling else 1 - f
    c = eq.next("c", f * c_prev + i * z, "cell state")
    if "o" in pooling:
        o = eq.let("o", sigmoid(eq.affine("o", W=x, V=v_prev)), "output gate")
        eq.output(eq.let("h", o * c, "output"))
    else:
        eq.output(c)
    eq.next("v", x, "the input, for the next step")
