"""The intersection RNN."""

from lstmgen.api import cell, relu, sigmoid, tanh


@cell("intersection_rnn", reference="Collins, Sohl-Dickstein & Sussillo, ICLR 2017 (arXiv 1611.09913)")
def intersection_rnn(eq):
    """Intersection RNN (+RNN): one gated path through time, the state, and one through depth, the output.

    The output has the dimension of the input, which its gate lets pass, so that cells can be stacked deep.
    """
    x = eq.input("x")
    h_prev = eq.state("h")

    y_in = eq.let("y_in", relu(eq.affine("y_in", to="features", W=x, U=h_prev)), "candidate of the output")
    h_in = eq.let("h_in", tanh(eq.affine("h_in", W=x, U=h_prev)), "candidate of the state")
    g_y = eq.let("g_y", sigmoid(eq.affine("g_y", to="features", bias_init=1.0, W=x, U=h_prev)), "gate of depth")
    g_h = eq.let("g_h", sigmoid(eq.affine("g_h", bias_init=1.0, W=x, U=h_prev)), "gate of time")
    eq.next("h", g_h * h_prev + (1 - g_h) * h_in, "hidden state")
    y = eq.let("y", g_y * x + (1 - g_y) * y_in, "output")
    eq.output(y)
