"""The notation of the best-known illustrated explanation of the LSTM: Olah, Understanding LSTM Networks, 2015."""

from lstmgen.derivation.formula import Accent, Times
from lstmgen.derivation.notation import Affine, Letter, Notation, Weight

olah = Notation(
    name="olah",
    description="f_t, i_t, C̃_t, C_t, with one matrix a gate: W_f [h, x] + b_f (Olah 2015)",
    letters={
        "cell state": Letter("C"),
        "candidate": Letter("", accent=Accent.TILDE),
    },
    weights={"input weights": Weight("W", "x"), "recurrent weights": Weight("W", "h")},
    affine=Affine.JOINED,
    elementwise=Times.STAR,
    remarks={
        "kept by the update gate": "In the article the update gate weighs the candidate: its "
        "value there is 1 minus the value here.",
    },
)
