"""A cell whose words and names mean something to TeX, HTML and Markdown."""

from __future__ import annotations

from typing import Any

from sample_document import UNUSUAL

from lstmgen.api import cell, sigmoid, tanh

UNPRINTABLE = "\x01\x1b[31m\u202e\ud800"


@cell("unusual", reference=f"Strunk & <White>, {UNUSUAL}")
def unusual(eq: Any) -> None:
    x = eq.input("x_y_z")
    h_prev, hbar_prev = eq.state("h"), eq.state("hbar")

    alpha = eq.let("alpha", sigmoid(eq.affine("alpha", W=x, U=h_prev)), f"gate {UNUSUAL}")
    partial = eq.let(
        "partial", tanh(eq.affine("x__y", W=x, U=h_prev)), "\\input{secret} */ <script>alert(1)</script> [a](b)"
    )
    doubt = eq.let("doubt", sigmoid(eq.affine("doubt", W=x)), 'ends in """')
    hbar = eq.next("hbar", alpha * hbar_prev + (1 - alpha) * partial, "&amp; %d $x$ `code` *stars* _lines_ ~ ^ # 100 %")
    h = eq.next(
        "h", hbar * alpha * doubt, "second\nline\\ -- --- ``quoted'' '' <!-- ]]> --> Ω ∮ ⚠ naïve ﬁ " + UNPRINTABLE
    )
    eq.output(h)


unusual.function.__doc__ = f"A cell\x07 {UNUSUAL}\udfff."
