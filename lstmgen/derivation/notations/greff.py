"""The notation of "LSTM: A Search Space Odyssey" (Greff et al., IEEE TNNLS 28(10), 2017)."""

from lstmgen.derivation.notation import Adjoints, Letter, Notation, Time, Weight

greff = Notation(
    name="greff",
    description="block input z, block output y, recurrent weights R, bars for pre-activations, δ for gradients",
    letters={
        "candidate": Letter("z"),
        "cell input": Letter("z"),
        "hidden state": Letter("y"),
    },
    weights={"recurrent weights": Weight("R"), "peephole": Weight("p")},
    words={"candidate": "block input", "hidden state": "block output"},
    time=Time.RAISED,
    adjoints=Adjoints.DELTA,
    preactivation="",
)
