"""A notation of this package."""

from lstmgen.api import Accent, Adjoints, Letter, Notation

tidal = Notation(
    name="tidal",
    description="v_t for the update gate, a valve; ĥ for candidates; gradients with bars",
    letters={
        "update gate": Letter("v"),
        "candidate": Letter("", accent=Accent.HAT),
        "slow average": Letter("mu"),
    },
    words={"update gate": "valve"},
    adjoints=Adjoints.BAR,
)
