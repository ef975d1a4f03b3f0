"""The LSTM as it is used today, and the variants of "LSTM: A Search Space Odyssey" by one switch each."""

from lstmgen.api import OptionError, cell, sigmoid, tanh


@cell("lstm", reference="Gers, Schmidhuber & Cummins, Neural Computation 12(10), 2000")
def lstm(
    eq,
    *,
    peephole=False,
    coupled=False,
    input_gate=True,
    forget_gate=True,
    output_gate=True,
    input_activation=True,
    output_activation=True,
    full_gate_recurrence=False,
):
    """Long short-term memory with a forget gate.

    Every option is a variant of Greff, Srivastava, Koutník, Steunebrink & Schmidhuber, IEEE TNNLS 28(10), 2017
    (arXiv 1503.04069). `peephole` lets every gate see the cell state, the output gate the new one (Gers, Schraudolph &
    Schmidhuber, JMLR 3, 2002). `coupled` opens the input gate as far as the forget gate closes (CIFG). Without its
    `input_gate`, `forget_gate` or `output_gate` (NIG, NFG, NOG) a cell behaves as if that gate stood open; without
    `input_activation` or `output_activation` (NIAF, NOAF) the hyperbolic tangent is left out. With
    `full_gate_recurrence` (FGR) every gate also receives all gates of the step before.
    """
    if coupled and not (input_gate and forget_gate):
        raise OptionError("a coupled LSTM has both gates", "leave out coupled, or input_gate and forget_gate")
    x = eq.input("x")
    h_prev, c_prev = eq.state("h"), eq.state("c")
    recurrent = {"U": h_prev}
    if full_gate_recurrence:
        gates = {"f": forget_gate, "i": input_gate and not coupled, "o": output_gate}
        recurrent |= {f"V{name}": eq.state(name) for name, present in gates.items() if present}

    def gate(name, cell_state, description):
        sees = {"p": cell_state} if peephole else {}
        define = eq.next if full_gate_recurrence else eq.let
        return define(name, sigmoid(eq.affine(name, W=x, **recurrent, diagonal=sees)), description)

    f = gate("f", c_prev, "forget gate") if forget_gate else 1
    if coupled:
        i = eq.let("i", 1 - f, "input gate")
    else:
        i = gate("i", c_prev, "input gate") if input_gate else 1
    a_g = eq.affine("g", W=x, U=h_prev)
    g = eq.let("g", tanh(a_g) if input_activation else a_g, "candidate")
    c = eq.next("c", f * c_prev + i * g, "cell state")
    o = gate("o", c, "output gate") if output_gate else 1
    h = eq.next("h", o * (tanh(c) if output_activation else c), "hidden state")
    eq.output(h)
