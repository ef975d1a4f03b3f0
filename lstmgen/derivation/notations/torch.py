"""The notation of PyTorch's documentation."""

from lstmgen.derivation.notation import Affine, Letter, Notation, Weight

torch = Notation(
    name="torch",
    description="i_t, f_t, g_t, o_t with W_{if} and W_{hf}, and a bias with each, as PyTorch's documentation has it",
    letters={"hidden state": Letter("h"), "cell state": Letter("c")},
    weights={
        "input weights": Weight("W", "i", operand_first=True),
        "recurrent weights": Weight("W", "h", operand_first=True),
        "bias": Weight("b"),
    },
    affine=Affine.PAIRED,
    stacked=("input gate", "forget gate", "reset gate", "update gate", "candidate", "output gate"),
    remarks={
        "affine": "PyTorch keeps a bias with each matrix. Where two of them enter one sum, both have the same "
        "gradient.",
        "stacked": "In this order PyTorch keeps the weights of its gates, those of the input and those of the state "
        "apart: i, f, g, o in an LSTM; r, z, n in a GRU.",
    },
)
