"""The stackable recurrent cell."""

from lstmgen.api import cell, sigmoid, tanh


@cell("star", reference="Turkoglu, D'Aronco, Wegner & Schindler, IEEE TPAMI 44(8), 2022 (arXiv 1911.11033)")
def star(eq):
    """Stackable recurrent cell (STAR): one gate, and a squashed mixture, so that gradients pass through deep stacks."""
    x = eq.input("x")
    h_prev = eq.state("h")

    z = eq.let("z", tanh(eq.affine("z", W=x)), "encoded input")
    k = eq.let("k", sigmoid(eq.affine("k", W=x, U=h_prev)), "gate")
    h = eq.next("h", tanh((1 - k) * h_prev + k * z), "hidden state")
    eq.output(h)
