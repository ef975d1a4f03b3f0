"""The notation of the generated code."""

from lstmgen.derivation.formula import Times
from lstmgen.derivation.notation import Adjoints, Notation, Time

code = Notation(
    name="code",
    description="names as in the generated code: d_v is the gradient of the loss by v",
    time=Time.SPELLED,
    adjoints=Adjoints.SPELLED,
    elementwise=Times.STAR,
    matrix=Times.AT,
)
