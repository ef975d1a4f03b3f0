"""The back end `loops`: every array entry computed by itself, in plain Python loops. Slow, and obvious.

lstmgen hands a back end three loop programs, the kernels of forward, of backward and of rebuilding what forward did not
save. This one saves all, and prints the first two. What else a module consists of, `module_text` writes around them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import ModuleType

from lstmgen.api import (
    BATCH,
    NODES,
    STEPS,
    Allocate,
    Apply,
    Block,
    Bodies,
    Buffer,
    Chunks,
    Clear,
    Const,
    Declaration,
    Gradient,
    Kernel,
    Loop,
    Move,
    Note,
    Origin,
    Product,
    Provenance,
    Reduce,
    Ref,
    Scalar,
    Schedule,
    Size,
    Statement,
    Target,
    View,
    load_source,
    lower_passes,
    module_text,
    show,
)

# The elementwise functions, as NumPy computes them for a single number. No form overflows where its function does not;
# one that begins with a parenthesis ends with the one that closes it.
FORMS = {
    "add": "({} + {})",
    "subtract": "({} - {})",
    "multiply": "({} * {})",
    "divide": "({} / {})",
    "negative": "(-{})",
    "square": "({} ** 2)",
    "power": "({} ** {})",
    "absolute": "np.absolute({})",
    "sign": "np.sign({})",
    "exp": "np.exp({})",
    "log": "np.log({})",
    "sqrt": "np.sqrt({})",
    "tanh": "np.tanh({})",
    "erf": "_math.erf({})",
    "sigmoid": "(0.5 + 0.5 * np.tanh(0.5 * {}))",
    "softplus": "np.logaddexp({}, 0.0)",
    "logsigmoid": "(-np.logaddexp(-{}, 0.0))",
    "relu": "np.maximum({}, 0.0)",
    "maximum": "np.maximum({}, {})",
    "minimum": "np.minimum({}, {})",
    "where": "({1} if {0} else {2})",
    "greater": "({} > {})",
    "greater_equal": "({} >= {})",
    "less": "({} < {})",
    "less_equal": "({} <= {})",
    "equal": "({} == {})",
    "not_equal": "({} != {})",
    "logical_and": "({} and {})",
    "logical_or": "({} or {})",
    "logical_not": "(not {})",
}


class Loops:
    """The back end: the attributes of `lstmgen.api.Backend`."""

    name = "loops"
    target = Target("loops", stacks_products=False, merges_calls=False, joins_operands=False, hoists_coefficients=False)

    def emit(self, gradient: Gradient, schedule: Schedule, provenance: Provenance, module: str) -> Mapping[str, str]:
        """The module's text under its file name."""
        declaration = gradient.declaration
        seeds = tuple(seed.adjoint.name for seed in gradient.seeds if seed.origin is Origin.LOSS)
        # What forward is to leave for backward it always leaves whole, so that nothing is ever rebuilt.
        forward, backward, _ = lower_passes(gradient, schedule)
        printed = (Printer(forward).forward(declaration), Printer(backward).backward(declaration, seeds[0]))
        uses_math = any("_math." in line for body in printed for line in body)
        bodies = Bodies(
            kind="as plain loops",
            reading="How to read the kernels at the end: each loop stands under the equation it computes. The batch is "
            "the last axis of an array, or where each row has matrices of its own the first, and the step the first of "
            "one for all steps.",
            given=tuple(f"_given_{value.name}" for value in declaration.given),
            seeds=tuple(f"_given_{seed}" for seed in seeds),
            forward=printed[0],
            backward=printed[1],
            imports=("import math as _math",) if uses_math else (),
        )
        return {f"{module}.py": module_text(gradient, provenance, bodies)}

    def kernels(self, gradient: Gradient, schedule: Schedule) -> str:
        """The three loop programs as text, for `lstmgen show --stage kernel`."""
        return "\n\n".join(show(kernel) for kernel in lower_passes(gradient, schedule))

    def load(self, source: str, module: str) -> ModuleType:
        """The module that `source` makes, without a file."""
        return load_source(source, module)

    def levels(self) -> tuple[str, ...]:
        """Python runs wherever lstmgen does: what is proven is what will run."""
        return ("device",)


class Printer:
    """Prints one kernel. An array has the name of its buffer; names of our own begin with an underscore."""

    def __init__(self, kernel: Kernel) -> None:
        self.kernel = kernel
        self.lines: list[str] = []
        self.indent = "    "
        self.dims: dict[str, None] = {}  # the dimensions whose lengths the body needs, in order

    # -- the bodies of functions --------------------------------------------------------------------------------------

    def forward(self, declaration: Declaration) -> tuple[str, ...]:
        """The body of `_forward`."""
        self.statements(self.kernel.body, "_initial")
        outputs = {name: self.returned(view) for name, view in self.kernel.results}
        several = f"Outputs({', '.join(f'{name}={text}' for name, text in outputs.items())})"
        self.emit(f"_outputs = {several if len(outputs) > 1 else next(iter(outputs.values()))}")
        self.emit(f"_final = State({self.ends()})")
        saved = ", ".join(f'"{buffer.name}": {buffer.name}' for buffer in self.kernel.saved)
        self.emit(f"return _outputs, _final, {{{saved}}}")
        return self.body(declaration.given[0].name)

    def backward(self, declaration: Declaration, seed: str) -> tuple[str, ...]:
        """The body of `_backward`; `seed` is one of the arrays that the loss hands in."""
        for buffer in self.kernel.saved:
            self.emit(f'{buffer.name} = _saved["{buffer.name}"]')
        self.statements(self.kernel.body, "_d_final")
        results = dict(self.kernel.results)
        for parameter in declaration.parameters:
            if parameter.value.name in results:
                self.emit(f"_gradients.{parameter.value.name} = {results[parameter.value.name].buffer.name}")
        inputs = []
        for value in declaration.inputs:
            if value.name in results:
                inputs.append(f"{value.name}={self.returned(results[value.name])}")
            else:  # the loss does not depend on it
                inputs.append(f"{value.name}=np.zeros({self.shape((STEPS, BATCH, *value.dims))}, _parameters.dtype)")
        self.emit(f"_d_inputs = Inputs({', '.join(inputs)})")
        self.emit(f"_d_initial = State({self.ends()})")
        self.emit("return _d_inputs, _d_initial")
        return self.body(seed)

    def body(self, given: str) -> tuple[str, ...]:
        """All lines, after those that bind what the kernel reads: lengths of axes, parameters, constants."""
        head = [f"_steps, _batch = _given_{given}.shape[:2]"]
        head += [f"_n_{dim} = _parameters.{dim}" for dim in self.dims]
        head += [f"{name} = _parameters.{name}" for name in self.kernel.parameters]
        head += [f'{name} = _CONSTANTS["{name}"].astype(_parameters.dtype)' for name in self.kernel.constants]
        return (*(f"    {line}" for line in head), *self.lines)

    def brought_in(self, buffer: Buffer) -> str:
        """A caller's array, (steps, batch, ...), with its axes in the buffer's order."""
        return f"np.moveaxis(_given_{buffer.name}, 1, {buffer.axes.index(BATCH)})"

    def returned(self, view: View) -> str:
        """A copy of an array for all steps in the callers' layout."""
        window = view.buffer.name + {"first": "[1:]", "last": "[:-1]"}.get(view.drop, "")
        batch = view.axes.index(BATCH)
        return f"{window}.copy()" if batch == 1 else f"np.moveaxis({window}, {batch}, 1).copy()"

    def starts(self, given: str) -> None:
        """Copies the states that the loop begins with to where it reads them."""
        self.lines.append("")
        for name, view in self.kernel.carried:
            self.emit(f"{self.node(view, '0')} = np.moveaxis({given}.{name}, 0, {view.axes.index(BATCH)})")

    def ends(self) -> str:
        """Copies of the states that the loop ends with, in the callers' layout."""
        return ", ".join(
            f"{name}=np.moveaxis({self.node(view, '_steps')}, {view.axes.index(BATCH)}, 0).copy()"
            for name, view in self.kernel.carried
        )

    def node(self, view: View, at: str) -> str:
        """A state at a point between steps; one that is not kept for every step is overwritten step by step."""
        return f"{view.buffer.name}[{at if view.buffer.axes[0] == NODES else '...'}]"

    # -- statements ---------------------------------------------------------------------------------------------------

    def statements(self, statements: Iterable[Statement], given: str) -> None:
        """Prints statements; `given` holds the states that the loop starts from."""
        for statement in statements:
            match statement:
                case Note(lines):
                    for line in lines:
                        self.emit(f"# {line}")
                case Allocate(buffer):
                    # Zeros, because what is a total over chunks is added to.
                    self.emit(f"{buffer.name} = np.zeros({self.shape(buffer.axes)}, _parameters.dtype)")
                case Chunks(_, body):
                    # All steps make one chunk here.
                    for _, view in self.kernel.inputs:
                        self.emit(f"{view.buffer.name}[...] = {self.brought_in(view.buffer)}")
                    self.statements(body, given)
                case Block(assignments):
                    for each in assignments:
                        index = indices(each.out.axes)
                        with self.loops(index, each.out.axes):
                            value = self.scalar(each.value, each.out.axes, index)
                            value = value[1:-1] if value.startswith("(") else value  # its own parentheses
                            self.emit(f"{entry(each.out, index)} = {value}")
                case Product():
                    self.product(statement)
                case Reduce():
                    self.reduce(statement)
                case Move():
                    self.move(statement)
                case Clear(out):
                    index = indices(out.axes)
                    with self.loops(index, out.axes):
                        self.emit(f"{entry(out, index)} = 0.0")
                case Loop():
                    self.starts(given)
                    self.time(statement, given)
                case _:  # Pack: this target asks for no stacks; Call: blocks were not broken up
                    raise NotImplementedError(f"loops has no form for {type(statement).__name__}")

    def time(self, loop: Loop, given: str) -> None:
        """The loop over steps."""
        self.emit(f"for _t in range({'_steps - 1, -1, -1' if loop.reverse else '_steps'}):")
        outer, self.indent = self.indent, f"{self.indent}    "
        self.statements(loop.body, given)
        for one, other in loop.swaps:
            a, b = one.buffer.name, other.buffer.name
            self.emit(f"{a}, {b} = {b}, {a}")
        if not loop.body and not loop.swaps:
            self.emit("pass")
        self.indent = outer

    def product(self, product: Product) -> None:
        """`out` = the sum of `left * right` over the labels that `out` lacks."""
        of_left, of_right, of_out = ([f"_{label}" for label in labels] for labels in product.labels)
        axes = dict(zip((*of_left, *of_right), (*product.left.axes, *product.right.axes), strict=True))
        summed = [label for label in axes if label not in of_out]
        with self.loops(of_out, product.out.axes):
            self.emit(f"_sum = {entry(product.out, of_out) if product.onto else '0.0'}")
            with self.loops(summed, [axes[label] for label in summed]):
                self.emit(f"_sum += {entry(product.left, of_left)} * {entry(product.right, of_right)}")
            self.emit(f"{entry(product.out, of_out)} = _sum")

    def reduce(self, statement: Reduce) -> None:
        """A sum or a maximum over some axes; or 1 where the first maximum is along one, and 0 elsewhere."""
        kind, value, out = statement.kind, statement.value, statement.out
        index = indices(value.axes)
        kept = [place for place in range(len(index)) if place not in statement.axes]
        axes, names = [value.axes[place] for place in kept], [index[place] for place in kept]
        over, over_names = ([each[place] for place in statement.axes] for each in (value.axes, index))
        if kind == "first maximum":
            first = ["_first" if place in statement.axes else name for place, name in enumerate(index)]
            with self.loops(names, axes):
                self.emit("_first = 0")
                with self.loops(over_names, over):
                    self.emit(f"if {entry(value, index)} > {entry(value, first)}:")
                    self.emit(f"    _first = {over_names[0]}")
                    self.emit(f"{entry(out, matched(out.axes, value.axes, index))} = 0.0")
                self.emit(f"{entry(out, matched(out.axes, value.axes, first))} = 1.0")
            return
        begin, form = ("-np.inf", "np.maximum(_result, {})") if kind == "max" else ("0.0", "_result + {}")
        with self.loops(names, axes):
            place = entry(out, matched(out.axes, axes, names))
            self.emit(f"_result = {place if statement.onto else begin}")
            with self.loops(over_names, over):
                self.emit(f"_result = {form.format(entry(value, index))}")
            self.emit(f"{place} = _result")

    def move(self, move: Move) -> None:
        """A transpose, a reshape or a copy."""
        # An index for every entry, on the side with more axes; and what it is on the other side.
        long, short = (move.out, move.value) if move.kind == "unflatten" else (move.value, move.out)
        index = indices(long.axes)
        axes, names = list(long.axes), list(index)
        dims = [place for place, axis in enumerate(axes) if axis not in (STEPS, BATCH)]
        if move.kind == "transpose":
            a, b = dims[-2:]
            axes[a], axes[b], names[a], names[b] = axes[b], axes[a], names[b], names[a]
        elif move.kind in ("flatten", "unflatten"):
            flat = names[dims[0]]
            for place in dims[1:]:
                flat = f"({flat}) * {self.length(axes[place])} + {names[place]}"
            (joined,) = (axis for axis in short.axes if axis not in (STEPS, BATCH))
            axes[dims[0] : dims[-1] + 1], names[dims[0] : dims[-1] + 1] = [joined], [flat]
        other = matched(short.axes, axes, names)
        to, of = (index, other) if long is move.out else (other, index)
        with self.loops(index, long.axes):
            self.emit(f"{entry(move.out, to)} = {entry(move.value, of)}")

    # -- pieces -------------------------------------------------------------------------------------------------------

    def emit(self, line: str) -> None:
        """Adds a line where the printer stands."""
        self.lines.append(f"{self.indent}{line}")

    @contextmanager
    def loops(self, index: Sequence[str], axes: Sequence[str]) -> Iterator[None]:
        """Loops over axes, one inside the other, around what is printed meanwhile."""
        outer = self.indent
        for name, axis in zip(index, axes, strict=True):
            self.emit(f"for {name} in range({self.length(axis)}):")
            self.indent += "    "
        yield
        self.indent = outer

    def length(self, axis: str) -> str:
        """The length of an axis."""
        if axis in (STEPS, NODES, BATCH):
            return {STEPS: "_steps", NODES: "_steps + 1", BATCH: "_batch"}[axis]
        self.dims[axis] = None
        return f"_n_{axis}"

    def shape(self, axes: Sequence[str]) -> str:
        """The shape of an array."""
        return f"({', '.join(map(self.length, axes))}{',' if len(axes) == 1 else ''})"

    def scalar(self, scalar: Scalar, axes: Sequence[str], index: Sequence[str]) -> str:
        """The value of an expression at one index."""
        match scalar:
            case Const(value):
                return repr(value) if value >= 0 else f"({value!r})"
            case Size(dim):
                return self.length(dim)
            case Ref(view):
                return entry(view, matched(view.axes, axes, index))
            case Apply(function, arguments):
                return FORMS[function].format(*(self.scalar(each, axes, index) for each in arguments))


def indices(axes: Sequence[str]) -> list[str]:
    """A name for the index along each axis."""
    letters = iter("abcdefghijklmnop")
    return [{STEPS: "_t", BATCH: "_z"}.get(axis) or f"_{next(letters)}" for axis in axes]


def matched(wanted: Sequence[str], axes: Sequence[str], index: Sequence[str]) -> list[str]:
    """The part of an index over `axes` that belongs to the axes that are wanted. Only parameters repeat a name."""
    return list(index) if tuple(wanted) == tuple(axes) else [index[axes.index(axis)] for axis in wanted]


def entry(view: View, index: Sequence[str]) -> str:
    """The entry of a window at an index."""
    parts = list(index)
    if view.step is not None:  # a window on one step of all
        parts.insert(0, f"_t + {view.step}" if view.step else "_t")
    elif view.drop == "first":
        parts[0] += " + 1"
    return f"{view.buffer.name}[{', '.join(parts) or '()'}]"


backend = Loops()
