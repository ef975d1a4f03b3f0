"""The closed-form continuous-time network."""

from typing import Literal

from lstmgen.api import abs, cell, exp, sigmoid, tanh


@cell("cfc", reference="Hasani et al., Nature Machine Intelligence 4, 2022 (arXiv 2106.13898)")
def cfc(eq, *, mode: Literal["default", "no_gate", "pure"] = "default"):
    """Closed-form continuous-time network: a step of any length `ts`, without a differential equation to solve.

    A backbone of one layer feeds two candidates, between which a sigmoid of the elapsed time interpolates. `mode`
    "no_gate" adds the second to the first instead; "pure" is the closed form itself, a decay towards A. The backbone's
    activation and the offset of the interpolation are those of the authors' code.
    """
    x = eq.input("x")
    ts = eq.input("ts", ())
    h_prev = eq.state("h")

    b = eq.let("b", 1.7159 * tanh(0.666 * eq.affine("b", to="backbone", W=x, U=h_prev)), "backbone")
    if mode == "pure":
        g = eq.affine("g", W=b)
        A = eq.parameter("A", "hidden", init=1.0, description="what the state decays to")
        w = eq.parameter("w", "hidden", init=0.0, description="rate of the decay")
        h = eq.next("h", A - A * exp(-ts * (abs(w) + abs(g))) * g, "hidden state")
    else:
        g = eq.let("g", tanh(eq.affine("g", W=b)), "candidate")
        k = eq.let("k", tanh(eq.affine("k", W=b)), "other candidate")
        s = eq.let("s", sigmoid(eq.affine("rate", W=b) * ts + eq.affine("offset", W=b)), "interpolation over time")
        h = eq.next("h", g * (1 - s) + s * k if mode == "default" else g + s * k, "hidden state")
    eq.output(h)
