"""The notation of PyTorch's documentation."""

from lstmgen.derivation.notation import Letter, Notation, Weight

torch = Notation(
    name="torch",
    description="i_t, f_t, g_t, o_t with W_{if} and W_{hf}, as PyTorch's documentation writes them",
    letters={"hidden state": Letter("h"), "cell state": Letter("c")},
    weights={
        "input weights": Weight("W", "i", operand_first=True),
        "recurrent weights": Weight("W", "h", operand_first=True),
    },
    remarks={
        "affine": "PyTorch keeps two biases a gate, one with each matrix. Where only their sum enters an equation, it "
        "is written as one bias here, whose gradient is that of both.",
    },
)
