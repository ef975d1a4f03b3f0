"""The antisymmetric RNN."""

from lstmgen.api import cell, sigmoid, tanh


@cell("antisymmetric_rnn", reference="Chang, Chen, Haber & Chi, ICLR 2019 (arXiv 1902.09689)")
def antisymmetric_rnn(eq, *, gated=False, epsilon=0.1, gamma=0.01):
    """Antisymmetric RNN: a small step along a field that neither explodes nor vanishes.

    The recurrent matrix W - W.T has imaginary eigenvalues only; `gamma` adds a little diffusion, `epsilon` is the size
    of the step. With `gated`, an input gate scales the step.
    """
    x = eq.input("x")
    h_prev = eq.state("h")

    W = eq.parameter("W", "hidden", "hidden")
    A = eq.let("A", W - W.T, "antisymmetric matrix")
    drift = eq.let("s", A @ h_prev - gamma * h_prev, "what the state contributes")
    n = eq.let("n", tanh(drift + eq.affine("n", V=x)), "direction")
    if gated:
        z = eq.let("z", sigmoid(drift + eq.affine("z", V=x)), "input gate")
        h = eq.next("h", h_prev + epsilon * z * n, "hidden state")
    else:
        h = eq.next("h", h_prev + epsilon * n, "hidden state")
    eq.output(h)
