"""The structurally constrained recurrent network."""

from lstmgen.api import cell, sigmoid


@cell("scrn", reference="Mikolov, Joulin, Chopra, Mathieu & Ranzato, arXiv 1412.7753, 2014")
def scrn(eq, *, alpha=0.95):
    """Structurally constrained recurrent network: beside the fast hidden state, a context that changes slowly.

    `alpha` is how much of the context stays from step to step. The readout is what the paper's softmax takes.
    """
    x = eq.input("x")
    s_prev, h_prev = eq.state("s", "context"), eq.state("h")
    A, B = eq.parameter("A", "hidden", "features"), eq.parameter("B", "context", "features")
    P, R = eq.parameter("P", "hidden", "context"), eq.parameter("R", "hidden", "hidden")
    U, V = eq.parameter("U", "readout", "hidden"), eq.parameter("V", "readout", "context")

    s = eq.next("s", (1 - alpha) * (B @ x) + alpha * s_prev, "context")
    h = eq.next("h", sigmoid(P @ s + A @ x + R @ h_prev), "hidden state")
    y = eq.let("y", U @ h + V @ s, "readout")
    eq.output(y)
