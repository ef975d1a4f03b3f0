"""The LSTM with a recurrent projection layer."""

from lstmgen.api import cell, sigmoid, tanh


@cell("lstm_projected", reference="Sak, Senior & Beaufays, arXiv 1402.1128, 2014; Interspeech 2014")
def lstm_projected(eq, *, peephole=False):
    """Long short-term memory with a recurrent projection (LSTMP): a wide cell state, a narrow hidden state.

    The gates see only the projection of what the cells put out, which costs fewer weights. `peephole` lets them see
    the cell state as well, as in the paper.
    """
    x = eq.input("x")
    h_prev, c_prev = eq.state("h", "projection"), eq.state("c")

    def gate(name, cell_state, description):
        sees = {"p": cell_state} if peephole else {}
        return eq.let(name, sigmoid(eq.affine(name, W=x, U=h_prev, diagonal=sees)), description)

    f = gate("f", c_prev, "forget gate")
    i = gate("i", c_prev, "input gate")
    g = eq.let("g", tanh(eq.affine("g", W=x, U=h_prev)), "candidate")
    c = eq.next("c", f * c_prev + i * g, "cell state")
    o = gate("o", c, "output gate")
    m = eq.let("m", o * tanh(c), "output of the cells")
    P = eq.parameter("P", "projection", "hidden", description="recurrent projection")
    h = eq.next("h", P @ m, "hidden state")
    eq.output(h)
