"""The stable surface: what the authors of cells, back ends, notations and formats import, and all they need.

For cells: :func:`cell` and the functions of equations, start values of parameters, and :class:`OptionError`.

For back ends, which turn a scheduled gradient into source files:

- what one is: :class:`Backend`, with a :class:`Target` that says which schedules it profits from (:class:`Fold`: which
  scaled functions), and :class:`Provenance`, what a file says of its origin;
- what it is given: a :class:`Gradient` (with its :class:`Declaration`, made of :class:`Value`, and :class:`Seed`, the
  adjoints that come in from the loss or the next step: :class:`Origin`) and a :class:`Schedule`;
- the loop programs to print: :func:`lower_passes` gives three :class:`Kernel`, made of statements (:data:`Statement`:
  :class:`Note`, :class:`Allocate`, :class:`Pack`, :class:`Product`, :class:`Block`, :class:`Call`, :class:`Reduce`,
  :class:`Move`, :class:`Clear`, :class:`Chunks`, :class:`Loop`) on windows (:class:`View`) of arrays
  (:class:`Buffer`, of some :class:`Use`) whose axes are named (:data:`STEPS`, :data:`NODES`, :data:`BATCH`,
  dimensions, and stacks, see :func:`stack_count`). A block holds :class:`Assign`, whose value is a :data:`Scalar`
  (:class:`Const`, :class:`Size`, :class:`Ref`, :class:`Apply`). :func:`walk` and :func:`views_in` go through
  statements, :func:`show` prints a kernel, and :func:`buffered` breaks blocks up into calls of the
  :class:`Functions` that a target has;
- the module around them: :func:`module_text` writes all of the contract of generated modules but the :class:`Bodies` of
  its kernels, for back ends whose modules take and return NumPy arrays; :func:`load_source` makes a module of a text.

For notations of derivations: :class:`Notation`, with a :class:`Letter` or :class:`Weight` for each role, and how it
writes :class:`Time`, :class:`Adjoints`, :class:`Affine` maps and products (:class:`Times`); :class:`Accent` and
:class:`Style` are those of symbols.

For formats of derivations: :class:`Format`, and modules with classes of their own: :mod:`document` (sections and
blocks), :mod:`formula`, and for figures :mod:`drawing` and :mod:`network`; :mod:`printing` has formulas, links and
drawings as the built-in formats print them.

These are imported when they are first asked for, so that a cell does not pay for them. What the tests of cells and back
ends need is in :mod:`lstmgen.testing`.
"""

from importlib import import_module
from typing import TYPE_CHECKING

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
from lstmgen.declare.normalizations import layer_norm, softmax
from lstmgen.declare.operations import flatten, max_over, mean_over, outer, stop_gradient, sum_over, transpose
from lstmgen.errors import OptionError

if TYPE_CHECKING:
    from lstmgen.backends.base import Backend, Provenance
    from lstmgen.backends.shell import Bodies, load_source, module_text
    from lstmgen.calculus.reverse import Gradient, Origin, Seed
    from lstmgen.declare.declaration import Declaration
    from lstmgen.declare.symbols import Value
    from lstmgen.derivation import document, drawing, formula, network, printing
    from lstmgen.derivation.format import Format
    from lstmgen.derivation.formula import Accent, Style, Times
    from lstmgen.derivation.notation import Adjoints, Affine, Letter, Notation, Time, Weight
    from lstmgen.schedule.calls import Functions, buffered
    from lstmgen.schedule.kernel import (
        BATCH,
        NODES,
        STEPS,
        Allocate,
        Apply,
        Assign,
        Block,
        Buffer,
        Call,
        Chunks,
        Clear,
        Const,
        Kernel,
        Loop,
        Move,
        Note,
        Pack,
        Product,
        Reduce,
        Ref,
        Scalar,
        Size,
        Statement,
        Use,
        View,
        show,
        views_in,
        walk,
    )
    from lstmgen.schedule.lowering import lower_passes
    from lstmgen.schedule.target import Fold, Target
    from lstmgen.schedule.work import Schedule, stack_count

__all__ = [
    "Accent",
    "Adjoints",
    "Affine",
    "Allocate",
    "Apply",
    "Assign",
    "BATCH",
    "Backend",
    "Block",
    "Bodies",
    "Buffer",
    "Call",
    "Cell",
    "Chunks",
    "Clear",
    "Const",
    "Constant",
    "Declaration",
    "Fold",
    "Format",
    "Functions",
    "Gradient",
    "Kernel",
    "Letter",
    "Loop",
    "Move",
    "NODES",
    "Normal",
    "Notation",
    "Note",
    "OptionError",
    "Origin",
    "Pack",
    "Product",
    "Provenance",
    "Reduce",
    "Ref",
    "STEPS",
    "Scalar",
    "Schedule",
    "Seed",
    "Size",
    "Statement",
    "Style",
    "Target",
    "Time",
    "Times",
    "Uniform",
    "Use",
    "Value",
    "View",
    "Weight",
    "abs",
    "buffered",
    "cell",
    "clip",
    "document",
    "drawing",
    "equal",
    "erf",
    "exp",
    "flatten",
    "formula",
    "gelu",
    "hard_sigmoid",
    "layer_norm",
    "load_source",
    "log",
    "logsigmoid",
    "lower_passes",
    "max_over",
    "maximum",
    "mean_over",
    "minimum",
    "module_text",
    "network",
    "outer",
    "printing",
    "relu",
    "show",
    "sigmoid",
    "silu",
    "softmax",
    "softplus",
    "sqrt",
    "stack_count",
    "stop_gradient",
    "sum_over",
    "tanh",
    "transpose",
    "views_in",
    "walk",
    "where",
]

_LATER = {
    "lstmgen.backends.base": ("Backend", "Provenance"),
    "lstmgen.backends.shell": ("Bodies", "load_source", "module_text"),
    "lstmgen.calculus.reverse": ("Gradient", "Origin", "Seed"),
    "lstmgen.declare.declaration": ("Declaration",),
    "lstmgen.declare.symbols": ("Value",),
    "lstmgen.derivation": ("document", "drawing", "formula", "network", "printing"),
    "lstmgen.derivation.format": ("Format",),
    "lstmgen.derivation.formula": ("Accent", "Style", "Times"),
    "lstmgen.derivation.notation": ("Adjoints", "Affine", "Letter", "Notation", "Time", "Weight"),
    "lstmgen.schedule.calls": ("Functions", "buffered"),
    "lstmgen.schedule.kernel": (
        "BATCH",
        "NODES",
        "STEPS",
        "Allocate",
        "Apply",
        "Assign",
        "Block",
        "Buffer",
        "Call",
        "Chunks",
        "Clear",
        "Const",
        "Kernel",
        "Loop",
        "Move",
        "Note",
        "Pack",
        "Product",
        "Reduce",
        "Ref",
        "Scalar",
        "Size",
        "Statement",
        "Use",
        "View",
        "show",
        "views_in",
        "walk",
    ),
    "lstmgen.schedule.lowering": ("lower_passes",),
    "lstmgen.schedule.target": ("Fold", "Target"),
    "lstmgen.schedule.work": ("Schedule", "stack_count"),
}
"""What back ends, notations and formats need, by the module that it is in, or the package."""

if not TYPE_CHECKING:  # a type checker shall complain of a name that is not there

    def __getattr__(name):
        for module, names in _LATER.items():
            if name in names:
                home = import_module(module)
                globals()[name] = getattr(home, name) if hasattr(home, name) else import_module(f"{module}.{name}")
                return globals()[name]
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

    def __dir__():
        return sorted({*globals(), *__all__})
