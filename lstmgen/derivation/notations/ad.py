"""The notation of automatic differentiation: adjoints have bars."""

from lstmgen.derivation.notation import Adjoints, Notation

ad = Notation(
    name="ad",
    description="names as declared, with a bar over v for the gradient of the loss by v",
    adjoints=Adjoints.BAR,
)
