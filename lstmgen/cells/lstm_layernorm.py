"""The LSTM with layer normalisation, in three of the published forms that go by this name."""

from typing import Literal

from lstmgen.api import cell, layer_norm, sigmoid, tanh


@cell("lstm_layernorm", reference="Ba, Kiros & Hinton, arXiv 1607.06450, 2016")
def lstm_layernorm(eq, *, variant: Literal["ba2016", "torch", "per_gate"] = "ba2016", epsilon=1e-5):
    """Long short-term memory with layer normalisation.

    What the input and what the state contribute are each normalised over all four gates together. `variant` "ba2016"
    is the paper's: the cell state is carried as it is and normalised for the output. "torch" (the LSTM of PyTorch's
    benchmark of custom cells) carries the normalised cell state. "per_gate" (the cell of TensorFlow 1's contrib)
    normalises each gate's sum of both contributions by itself, and carries the normalised cell state. Biases that
    would only add up are one bias here. `epsilon` is added to every variance.
    """
    gates = ("f", "i", "g", "o")
    x = eq.input("x")
    h_prev, c_prev = eq.state("h"), eq.state("c")

    def gain(name):
        return eq.parameter(f"gain_{name}", "hidden", init=1.0)

    def bias(name, start=0.0):
        return eq.parameter(f"b_{name}", "hidden", init=start)

    a = {}
    if variant == "per_gate":
        for k in gates:
            normal = layer_norm(eq.affine(k, W=x, U=h_prev, bias=None), epsilon=epsilon)
            a[k] = gain(k) * normal + bias(k, start=1.0 if k == "f" else 0.0)
    else:
        wx = [eq.let(f"wx_{k}", eq.parameter(f"W_{k}", "hidden", "features") @ x) for k in gates]
        uh = [eq.let(f"uh_{k}", eq.parameter(f"U_{k}", "hidden", "hidden") @ h_prev) for k in gates]
        wx, uh = layer_norm(*wx, epsilon=epsilon), layer_norm(*uh, epsilon=epsilon)
        for k, from_input, from_state in zip(gates, wx, uh, strict=True):
            a[k] = gain(f"x_{k}") * from_input + gain(f"h_{k}") * from_state + bias(k)

    f = eq.let("f", sigmoid(a["f"]), "forget gate")
    i = eq.let("i", sigmoid(a["i"]), "input gate")
    g = eq.let("g", tanh(a["g"]), "candidate")
    if variant == "ba2016":
        c = eq.next("c", f * c_prev + i * g, "cell state")
        shown = gain("c") * layer_norm(c, epsilon=epsilon) + bias("c")
    else:
        s = eq.let("s", f * c_prev + i * g, "cell state before normalisation")
        shown = c = eq.next("c", gain("c") * layer_norm(s, epsilon=epsilon) + bias("c"), "cell state")
    o = eq.let("o", sigmoid(a["o"]), "output gate")
    h = eq.next("h", o * tanh(shown), "hidden state")
    eq.output(h)
