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
    remarks={
        "affine": "PyTorch keeps a bias with each matrix. Where two of them enter one sum, both have the same "
        "gradient; the worked example has their sum as one number.",
    },
)
