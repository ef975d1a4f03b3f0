"""The notation of most papers and textbooks."""

from lstmgen.derivation.formula import Accent
from lstmgen.derivation.notation import Letter, Notation

standard = Notation(
    name="standard",
    description="f_t, i_t, o_t with split matrices W and U; gradients as ∂L/∂v",
    letters={
        "candidate": Letter("", accent=Accent.TILDE),
        "logarithm of the input gate": Letter("lambda", "i"),
        "logarithm of the forget gate": Letter("lambda", "f"),
    },
)
