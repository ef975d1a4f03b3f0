"""The stable surface: what the authors of cells, back ends, notations and formats import, and all they need."""

from lstmgen.declare.cell import Cell, cell
from lstmgen.declare.declaration import Constant, Normal, Uniform
from lstmgen.declare.functions import (
    absolute as abs,  # the name that equations use; Python's own abs() gives the same
)
from lstmgen.declare.functions import (
    clip,
    equal,
    erf,
    exp,
    gelu,
    hard_sigmoid,
    log,
    logsigmoid,
    maximum,
    minimum,
    relu,
    sigmoid,
    silu,
    softplus,
    sqrt,
    tanh,
    where,
)
from lstmgen.declare.operations import flatten, max_over, mean_over, outer, stop_gradient, sum_over, transpose
from lstmgen.errors import OptionError

__all__ = [
    "Cell",
    "Constant",
    "Normal",
    "OptionError",
    "Uniform",
    "abs",
    "cell",
    "clip",
    "equal",
    "erf",
    "exp",
    "flatten",
    "gelu",
    "hard_sigmoid",
    "log",
    "logsigmoid",
    "max_over",
    "maximum",
    "mean_over",
    "minimum",
    "outer",
    "relu",
    "sigmoid",
    "silu",
    "softplus",
    "sqrt",
    "stop_gradient",
    "sum_over",
    "tanh",
    "transpose",
    "where",
]
