"""FastGRNN and FastRNN."""

from lstmgen.api import cell, sigmoid, tanh


@cell("fastgrnn", reference="Kusupati et al., NeurIPS 2018 (arXiv 1901.02358)")
def fastgrnn(eq, *, gated=True, low_rank=False):
    """Fast gated recurrent network: gate and candidate share their matrices, two scalars weigh old against new.

    Without the gate (`gated` false) it is the FastRNN, a residual connection with two trained weights. With `low_rank`
    each matrix is a product of two thin ones.
    """
    x = eq.input("x")
    h_prev = eq.state("h")

    def matrix(name, dim):
        if not low_rank:
            return [eq.parameter(name, "hidden", dim)]
        rank = f"rank_{name.lower()}"
        return [eq.parameter(f"{name}1", "hidden", rank), eq.parameter(f"{name}2", rank, dim)]

    def product(factors, vector):
        for factor in reversed(factors):
            vector = factor @ vector
        return vector

    s = eq.let("s", product(matrix("W", "features"), x) + product(matrix("U", "hidden"), h_prev), "shared by both")
    if gated:
        z = eq.let("z", sigmoid(s + eq.parameter("b_z", "hidden", init=1.0)), "gate")
        n = eq.let("n", tanh(s + eq.parameter("b_n", "hidden", init=1.0)), "candidate")
        zeta = sigmoid(eq.parameter("zeta", init=1.0, description="how much a closed gate lets in, before its sigmoid"))
        nu = sigmoid(eq.parameter("nu", init=-4.0, description="how much always comes in, before its sigmoid"))
        h = eq.next("h", (zeta * (1 - z) + nu) * n + z * h_prev, "hidden state")
    else:
        n = eq.let("n", tanh(s + eq.parameter("b_n", "hidden", init=1.0)), "candidate")
        alpha = sigmoid(eq.parameter("alpha", init=-3.0, description="weight of the candidate, before its sigmoid"))
        beta = sigmoid(eq.parameter("beta", init=3.0, description="weight of the old state, before its sigmoid"))
        h = eq.next("h", alpha * n + beta * h_prev, "hidden state")
    eq.output(h)
