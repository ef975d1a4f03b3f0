"""The notation of Ng's course on sequence models."""

from lstmgen.derivation.formula import Accent, Times
from lstmgen.derivation.notation import Affine, Letter, Notation, Time, Weight

ng = Notation(
    name="ng",
    description="gates Γ_u, Γ_f, Γ_o, activations a^{⟨t⟩}, memory c^{⟨t⟩} (Ng, Sequence Models)",
    letters={
        "input gate": Letter("Gamma", "u"),
        "update gate": Letter("Gamma", "u"),
        "forget gate": Letter("Gamma", "f"),
        "output gate": Letter("Gamma", "o"),
        "reset gate": Letter("Gamma", "r"),
        "candidate": Letter("c", accent=Accent.TILDE, index="c"),
        "cell state": Letter("c"),
        "hidden state": Letter("a"),
    },
    weights={"input weights": Weight("W", "x"), "recurrent weights": Weight("W", "a")},
    words={"input gate": "update gate", "reset gate": "relevance gate", "hidden state": "activation"},
    time=Time.ANGLED,
    affine=Affine.JOINED,
    elementwise=Times.STAR,
    preactivation="z",
    remarks={
        "kept by the update gate": "In the course the update gate weighs the candidate: its "
        "value there is 1 minus the value here.",
    },
)
