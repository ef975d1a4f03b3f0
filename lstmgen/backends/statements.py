"""Kernel statements as lines of Python on arrays, NumPy's unless a subclass says otherwise.

Names of the cell are used as they are; every name of our own begins with an underscore. A buffer ``h`` is ``_h``;
inside the loop its window at the current step is ``h`` or ``h_prev``.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby

from lstmgen.backends.layout import WIDTH, listed, transposed
from lstmgen.backends.products import Form, Labels, arrangement, is_view, matmul_forms
from lstmgen.errors import InternalError
from lstmgen.schedule.kernel import (
    BATCH,
    NODES,
    STEPS,
    Allocate,
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
    Statement,
    Use,
    View,
    views_in,
)
from lstmgen.schedule.stacks import stack_name
from lstmgen.schedule.work import is_joint, stack_count

# What sum and max call; they themselves take twice as long for some hundred numbers.
_REDUCTIONS = {"total": "add.reduce", "sum": "add.reduce", "max": "maximum.reduce"}
_LOCAL_NAMES = {"add.reduce": "sum_over", "maximum.reduce": "max_over"}
_NAMED_NUMBERS = {0.5: "half", 1.0: "one", 2.0: "two", 0.0: "zero", -1.0: "minus_one"}


@dataclass
class Printer:
    """Prints one kernel as two bodies of functions: ``arrays`` makes its arrays, ``lines`` runs it on them.

    ``dims`` are the cell's dimensions.
    """

    kernel: Kernel
    dims: tuple[str, ...]
    lines: list[str] = field(default_factory=list)
    made: list[str] = field(default_factory=list)  # statements that make arrays for the whole pass
    invariant: dict[str, str] = field(default_factory=dict)  # expression over these to local name
    hoisted: dict[str, str] = field(default_factory=dict)  # expression over parameters to local name, before the loops
    prepared: list[str] = field(default_factory=list)  # statements that fill what the loops read, before them
    windows: dict[str, str] = field(default_factory=dict)  # name in the time loop to what it runs over, chunk by chunk
    parts: dict[str, str] = field(default_factory=dict)  # name for a chunk's part of an array to its expression
    functions: dict[str, str] = field(default_factory=dict)  # function of NumPy that steps call to local name
    np: str = "np"  # what the module calls its arrays' library
    swaps: tuple[tuple[View, View], ...] = ()
    copies: dict[tuple[View, tuple[int, ...]], str] = field(default_factory=dict)
    extents: dict[str, str] = field(default_factory=dict)
    place: str = "pass"  # where the printer stands: in the pass, in a chunk, or at a step
    helpers: set[str] = field(default_factory=set)
    _names: dict[tuple[str, str], str] = field(default_factory=dict)
    _taken: set[str] = field(default_factory=lambda: set(_FIXED))

    def __post_init__(self) -> None:
        for dim in self.dims:
            self.size(dim)
        self._taken |= {view.name for view in views_in(self.kernel.body)}

    @property
    def in_loop(self) -> bool:
        """Whether the printer stands at a step."""
        return self.place == "step"

    def run(self, *, before: Sequence[str], begins: Sequence[str], ends: Sequence[str], rebuilt: bool = False) -> None:
        """Prints the statements, with more lines before the loop over chunks and where a chunk begins and ends.

        ``rebuilt`` says that what a chunk reads may have to be rebuilt first.
        """
        for name in self.kernel.parameters:
            self._emit(f"{self.private(name)} = _parameters.{name}")
        for name in self.kernel.constants:
            self._emit(f"{self.private(name)} = {self._fixed_array(name)}")
        setup = [index for index, each in enumerate(self.kernel.body) if isinstance(each, Allocate | Pack)]
        for index, statement in enumerate(self.kernel.body):
            if isinstance(statement, Chunks):
                self.lines += before
                self._chunks(statement, begins, ends, rebuilt)
            elif isinstance(statement, Note) and setup and index < setup[-1]:
                self.made.append(f"# {statement.lines[0]}")
                if isinstance(self.kernel.body[index + 1], Pack):
                    self._statement(statement)
            else:
                self._statement(statement)

    def _fixed_array(self, name: str) -> str:
        """A constant of the cell."""
        return f'_CONSTANTS["{name}"].astype(_dtype)'

    # -- statements --------------------------------------------------------------------------------------------------

    def _emit(self, text: str) -> None:
        self.lines.append(text)

    def _statement(self, statement: Statement) -> None:
        match statement:
            case Note(lines):
                for line in lines:
                    self._emit(f"# {line}")
            case Allocate(buffer):
                self._allocate(buffer)
            case Pack():
                self._pack(statement)
            case Product():
                self._product(statement)
            case Call():
                self._call(statement)
            case Reduce():
                self._reduce(statement)
            case Move(kind, out, value):
                self._move(kind, out, value)
            case Clear(out):
                self._emit(f"{self.text(out)}.fill(0)")
            case Loop():
                self._loop(statement)
            case Block():
                raise InternalError("NumPy computes by calls; this kernel still has fused blocks")
            case _:
                raise InternalError(f"the NumPy printer has no case for {type(statement).__name__}")

    def _pack(self, pack: Pack) -> None:
        made = f"{self.own(pack.buffer)} = {self.np}.empty({self.shape(pack.buffer.axes)}, _dtype)"
        if made not in self.made:
            self.made.append(made)
        view = View(pack.buffer.name, pack.buffer, pack.buffer.axes, part=pack.part)
        place = self._whole(view)
        if "" in pack.parameters:
            for slot, name in enumerate(pack.parameters):
                one = self._whole(replace(view, start=slot)) if self._is_stack(view) else place
                self._emit(f"{self.np}.copyto({one}, _parameters.{name})" if name else f"{one} = 0")
        elif len(pack.parameters) == 1 and not self._is_stack(view):
            self._emit(f"{self.np}.copyto({place}, _parameters.{pack.parameters[0]})")
        else:
            sources = ", ".join(f"_parameters.{name}" for name in pack.parameters)
            if len(pack.buffer.axes) == 1:
                self._emit(f"{self.np}.stack(({sources}), out={place})")
            else:
                # What stack does, at a third of its cost: one below the other, seen as one array with long columns.
                rows, *rest = pack.buffer.axes[1:]
                shape = [f"{self.extent(pack.buffer.axes[0])} * {self.extent(rows)}", *map(self.extent, rest)]
                flat = f"{self.own(pack.buffer)}.reshape({', '.join(shape)})"
                columns = place.removeprefix(self.own(pack.buffer)).replace("[:, ", "[", 1)
                rows_of = self._hoist(flat, f"_{pack.buffer.name}_matrix", view)
                if columns:
                    rows_of = self._hoist(f"{rows_of}{columns}", f"_{stack_name(pack.parameters)}_rows", view)
                self._emit(f"{self.np}.concatenate(({sources}), out={rows_of})")
        if pack.part is None or len(pack.part[0]) + 1 == len(
            pack.buffer.axes[-1].split(" + ")
        ):  # all columns are there
            self._scale(pack)

    def _scale(self, pack: Pack) -> None:
        """Multiplies slots by their scales, neighbours of one scale at once."""
        start = 0
        for scale, run in groupby(pack.scales):
            stop = start + len(list(run))
            if scale != 1:
                name = self.own(pack.buffer)
                slots = name if stop - start == len(pack.scales) else f"{name}[{start or ''}:{stop}]"
                self._emit(f"{self.np}.multiply({slots}, {_number(scale)}, {slots})")
            start = stop

    def _allocate(self, buffer: Buffer) -> None:
        if buffer.use is Use.RESULT:
            if BATCH in buffer.axes:
                self._emit(f"{self.own(buffer)} = {self.np}.empty({self.shape(buffer.axes)}, _dtype)")
            return
        dtype = "bool" if buffer.use is Use.MASK else "_dtype"
        if not self._steps(buffer):
            self.made.append(f"{self.own(buffer)} = {self.np}.empty({self.shape(buffer.axes)}, {dtype})")
            return
        nodes = buffer.axes[0] == NODES
        if any(map(is_joint, buffer.axes)):
            ones = ", ones for biases last" if self.kernel.ones(buffer) else ""
            self.made.append(f"# {buffer.name}: what one product multiplies, one below the other{ones}.")
        shape = self._joined([self._length(buffer) + (" + 1" if nodes else ""), *map(self.extent, buffer.axes[1:])])
        self.made.append(f"{self.every(buffer)} = {self.np}.empty({shape}, {dtype})")
        for number in self.kernel.ones(buffer):
            before = ":, " * next(place for place, axis in enumerate(buffer.axes) if is_joint(axis))
            self.made.append(f"{self.every(buffer)}[{before}{number}] = 1")

    def _length(self, buffer: Buffer) -> str:
        """How many steps an array holds: those of a chunk, or all that forward is asked to keep."""
        if self.kernel.name != "forward":
            return "_chunk"
        saved, checkpoint = buffer in self.kernel.saved, buffer in self.kernel.checkpoints
        kept = {(True, True): "_kept", (True, False): "_saved", (False, True): "_checkpointed"}
        return kept.get((saved, checkpoint), "_chunk")

    def every(self, buffer: Buffer) -> str:
        """The local name of an array over steps, of which a chunk shows a part."""
        return self._name(("every", buffer.name), f"_all_{buffer.name}")

    def own(self, buffer: Buffer) -> str:
        """The local name of a whole buffer, or of a chunk's part of one over steps."""
        if buffer.use is Use.CARRIED and not self._steps(buffer):
            return buffer.name
        name = self.private(buffer.name)
        if self._steps(buffer) and buffer.use is not Use.RESULT:
            more = ", 1" if buffer.axes[0] == NODES else ""
            self.parts.setdefault(name, f"_part({self.every(buffer)}, _now{more})")
        return name

    def size(self, dim: str) -> str:
        """The local name of a dimension's size."""
        return self._name(("size", dim), f"_{dim}")

    def private(self, name: str) -> str:
        """The local name of the whole buffer that belongs to ``name``."""
        return self._name(("buffer", name), f"_{name}")

    def given(self, name: str) -> str:
        """The local name of what the caller gives under ``name``."""
        return self._name(("given", name), f"_given_{name}")

    def returned(self, name: str) -> str:
        """The local name of an array that is returned under ``name``."""
        return self._name(("returned", name), f"_returned_{name}")

    def _name(self, key: tuple[str, str], wanted: str) -> str:
        """A local name for ``key``: as wanted, or longer where a name of the cell or another of ours is the same."""
        if key not in self._names:
            while wanted in self._taken:
                wanted += "_"
            self._taken.add(wanted)
            self._names[key] = wanted
        return self._names[key]

    def _steps(self, buffer: Buffer) -> bool:
        return buffer.axes[:1] in ((STEPS,), (NODES,))

    def _chunks(self, chunks: Chunks, begins: Sequence[str], ends: Sequence[str], rebuilt: bool) -> None:
        outer, self.lines = self.lines, list(begins)
        self.place = "chunk"
        for statement in chunks.body:
            self._statement(statement)
        body, self.lines = [*self.lines, *ends], outer
        self.place = "pass"
        for expression, name in self.hoisted.items():
            self._emit(f"{name} = {expression}")
        if self.prepared:
            self._emit("# Matrices that each step multiplies with lie in memory as the product runs through them.")
            self.lines += self.prepared
        if self.functions:
            self._emit("# By local names, what steps call is found at once.")
            self.lines += _named_functions(self.functions)
        text = "\n".join(body)
        tuple_of = [name for name in ("_now", "_count", *self.parts, "_windows") if mentions(text, name)]
        self._emit("")
        if rebuilt:
            self._emit("# What forward did not save is rebuilt as each chunk begins.")
            self.lines += listed("for (", tuple_of, "), _ in zip(_chunks, _rebuilt, strict=False):", room=4)
        else:
            self.lines += listed("for ", [f"({tuple_of[0]},)"] if len(tuple_of) == 1 else tuple_of, " in _chunks:")
        self.lines += [f"    {line}" if line else "" for line in body]
        self._emit("")
        self.made += self._making_chunks(chunks, tuple_of)

    def _making_chunks(self, chunks: Chunks, names: Sequence[str]) -> list[str]:
        """What makes the list of chunks: for each the parts of arrays and the windows of its time loop."""
        named = {text: name for name, text in reversed(self.parts.items())}
        windows = [named.get(text, text) for text in self.windows.values()] if "_windows" in names else []
        inner = "\n".join([*names, *windows])
        needed: list[str] = []
        for name, text in reversed(self.parts.items()):  # a part may be one of another, made before it
            if any(mentions(each, name) for each in (inner, *needed)):
                needed.insert(0, f"{name} = {text}")
        lines = [f"{name} = {text}" for text, name in self.invariant.items()]
        spans = "range(0, _steps, _chunk)"
        lines += [
            "",
            "def _each_chunk() -> Iterator[tuple[Any, ...]]:",
            f"    for _first in {f'reversed({spans})' if chunks.reverse else spans}:",
        ]
        body = ["_now = slice(_first, min(_first + _chunk, _steps))"]
        if mentions("\n".join([inner, *needed]), "_count"):
            body.append("_count = _now.stop - _now.start")
        body += needed
        if "_windows" in names:
            backwards = "[::-1]" if chunks.reverse else ""
            over = [*windows, "strict=True"]
            body += listed("_windows = list(zip(", over, f")){backwards}")
        body += listed("yield (", list(names), ")")
        return [
            *lines,
            *(f"        {line}" for line in body),
            "",
            "# Made once where they serve again; else one chunk at a time, for all take memory with every step.",
            "_chunks = list(_each_chunk()) if _again else _each_chunk()",
        ]

    def _loop(self, loop: Loop) -> None:
        self.swaps = loop.swaps
        outer, self.lines = self.lines, []
        self.place = "step"
        for statement in loop.body:
            self._statement(statement)
        body, self.lines = self.lines, outer
        self.place = "chunk"
        for line in self._invariant(loop):
            self.made.append(line)
        text = "\n".join(body)
        self.windows = {name: over for name, over in self.windows.items() if mentions(text, name)}
        names = list(self.windows)
        if names:
            self.lines += listed("for ", [f"({names[0]},)"] if len(names) == 1 else names, " in _windows:")
        else:
            self._emit("for _ in range(_count):")
        swaps = [f"{a.name}, {b.name} = {b.name}, {a.name}" for a, b in loop.swaps]
        for line in (*body, *swaps):
            self._emit(f"    {line}" if line else "")

    def _window(self, view: View) -> str:
        """The name in the time loop of a window on the current step."""
        name = self.local(view)
        self.windows.setdefault(name, self._over_steps(view))
        return name

    def _over_steps(self, view: View) -> str:
        """What a window runs over: a chunk's part of its array, a window for each step."""
        base, index = self.own(view.buffer), []
        if view.buffer.axes[0] == NODES:
            index.append("1:" if view.step else ":-1")
        if view.is_partial:
            index = index or [":"]
        index += self.selection(view)
        return f"{base}[{', '.join(index)}]" if index else base

    def selection(self, view: View) -> list[str]:
        """The indices of a view's slots in a stack and of its part of a joint, after those of steps."""
        index = []
        for axis in view.buffer.axes:
            if axis in (STEPS, NODES):
                continue
            if stack_count(axis) and view.start is not None:
                index.append(f"{view.start or ''}:{view.stop}" if view.stop is not None else str(view.start))
            elif is_joint(axis) and view.part is not None:
                before, own = view.part
                first, last = (" + ".join(map(self.extent, axes)) for axes in (before, (*before, *own)))
                ends = len(before) + 1 == len(axis.split(" + "))
                index.append(_slice(first, "" if ends else last) if own else "-1" if ends else first or "0")
            else:
                index.append(":")
        while index and index[-1] == ":":
            index.pop()
        return index

    def _invariant(self, loop: Loop) -> list[str]:
        """Names for what stays where it is through all steps: scratch."""
        groups: dict[str, list[str]] = {}
        for view in dict.fromkeys(views_in(loop.body)):
            if view.step is not None or view.buffer.use is Use.PARAMETER or not self._needs_name(view):
                continue
            names = groups.setdefault(self._whole(view), [])
            if view.name not in names:
                names.append(view.name)
        return [line for text, names in groups.items() for line in _bound(names, text)]

    def _needs_name(self, view: View) -> bool:
        """Whether a loop-invariant view is known in the loop by a name of the cell."""
        if view.buffer.use in (Use.PACK, Use.MASK, Use.PARAMETER):
            return False
        if view.buffer.use is Use.CARRIED and any(view.name in (a.name, b.name) for a, b in self.swaps):
            return False
        return view.buffer.name != view.name and not self._is_stack(view)

    # -- text of views -----------------------------------------------------------------------------------------------

    def _is_stack(self, view: View) -> bool:
        return any(stack_count(axis) for axis in view.axes)

    def local(self, view: View) -> str:
        """The name of a view inside the loop."""
        return self._name(("window", view.name), f"_{view.name}_t") if self._is_stack(view) else view.name

    def text(self, view: View) -> str:
        """The expression for a view where the printer stands."""
        if self.in_loop:
            if view.step is not None:
                return self._window(view)
            if view.buffer.use is Use.CARRIED or self._needs_name(view):
                return view.name
        text = self._whole(view)
        return self._part_of_chunk(view, text) if self.place == "chunk" else text

    def _part_of_chunk(self, view: View, text: str) -> str:
        """A name for a chunk's part of a value that shares its array with others, if the name is free."""
        if "[" not in text or not self._steps(view.buffer) or view.buffer.use is Use.RESULT:
            return text
        key, wanted = ("part", f"{view.name} {text}"), f"_{view.name}"
        if key not in self._names and wanted in self._taken:
            return text
        name = self._name(key, wanted)
        self.parts.setdefault(name, text)
        return name

    def _whole(self, view: View) -> str:
        """The expression for a view outside the loop, or for one that does not change in it."""
        buffer = view.buffer
        if buffer.use is Use.RESULT and BATCH not in buffer.axes:
            return f"_gradients.{next(name for name, view in self.kernel.results if view.buffer == buffer)}"
        base = self.own(buffer)
        index = ["_now"] if buffer.use is Use.RESULT and self._steps(buffer) and self.place == "chunk" else []
        if view.drop:
            index.append("1:" if view.drop == "first" else ":-1")
        elif view.is_partial and self._steps(buffer):
            index = index or [":"]
        index += self.selection(view)
        if view.start is not None and not view.axes:
            index.append("...")  # an array of no dimensions, where the index alone would give a number
        return f"{base}[{', '.join(index)}]" if index else base

    def in_chunk(self, view: View) -> str:
        """The expression for a view of a chunk's steps."""
        stood, self.place = self.place, "chunk"
        text = self.text(view)
        self.place = stood
        return text

    def extent(self, axis: str) -> str:
        """The length of an axis as an expression."""
        count = stack_count(axis)
        if count is not None:
            return str(count)
        if is_joint(axis):
            return " + ".join(part if part.isdigit() else self.size(part) for part in axis.split(" + "))
        steps = "_steps" if self.place == "pass" else "_count"
        return {STEPS: steps, NODES: f"{steps} + 1", BATCH: "_batch"}.get(axis, self.size(axis))

    def shape(self, axes: Sequence[str]) -> str:
        """A shape as a tuple."""
        return self._joined([self.extent(axis) for axis in axes])

    def _joined(self, lengths: Sequence[str]) -> str:
        return f"({', '.join(lengths)}{',' if len(lengths) == 1 else ''})"

    def aligned(self, view: View, out: View) -> str:
        """The view with its axes in the order of ``out`` and length-1 axes for those it lacks, ready to broadcast."""
        text = self.text(view)
        if view.axes == out.axes:
            return text
        order = [axis for axis in out.axes if axis in view.axes]
        if len(order) != len(view.axes):
            raise InternalError(f"{view.name} has axes {view.axes} that {out.name} lacks: {out.axes}")
        text = transposed(text, [view.axes.index(axis) for axis in order])
        present = [axis in view.axes for axis in out.axes]
        if True not in present:
            return text
        index = [":" if each else "None" for each in present[present.index(True) :]]
        if "None" in index:
            text = f"{text}[{_ellipsis(index)}]"
        if self.in_loop and self._is_invariant(view) and text != self.text(view):
            return self._hoist(text, f"_{view.name}_wide", view)
        return text

    def _is_invariant(self, view: View) -> bool:
        return view.step is None and view.buffer.use is not Use.CARRIED

    def _hoist(self, expression: str, name: str, view: View) -> str:
        """A name for an expression over ``view``, evaluated where its array is made, or its parameter read."""
        where = self.hoisted if view.buffer.use is Use.PARAMETER else self.invariant
        if expression not in where:
            where[expression] = self._name(("hoisted", expression), name)
        return where[expression]

    def _constant(self, value: float) -> str:
        """A number as an operand. At a step an array of no dimensions: NumPy takes half as long with it."""
        if not self.in_loop:
            return _number(value)
        wanted = _NAMED_NUMBERS.get(
            value, f"number{sum(name.startswith('_number') for name in self.invariant.values())}"
        )
        expression = f"{self.np}.array({_number(value)}, _dtype)"
        if expression not in self.invariant:
            self.invariant[expression] = self._name(("number", expression), f"_{wanted}")
        return self.invariant[expression]

    def function(self, name: str) -> str:
        """A function of NumPy where the printer stands. At a step it has a local name.

        To find it in its module takes a sixth of the time of a call on some hundred numbers.
        """
        if not self.in_loop:
            return f"{self.np}.{name}"
        self.functions[name] = self._name(("function", name), _LOCAL_NAMES.get(name, name))
        return self.functions[name]

    # -- elementwise -------------------------------------------------------------------------------------------------

    def _call(self, call: Call) -> None:
        out, arguments = self.text(call.out), []
        for each in call.arguments:
            if isinstance(each, View):
                arguments.append(self.aligned(each, call.out))
            elif isinstance(each, Const):
                arguments.append(self._constant(each.value))
            else:
                arguments.append(self.extent(each.dim))
        if call.function == "copy":
            self._emit(f"{self.function('copyto')}({out}, {arguments[0]})")
        elif call.function == "where":
            mask, a, b = arguments
            self._emit(f"{self.function('copyto')}({out}, {b})")
            self._emit(f"{self.function('copyto')}({out}, {a}, where={mask})")
        elif call.function == "erf":
            self.helpers.add("erf")
            self._emit(f"_erf({', '.join(arguments)}, out={out})")
        elif call.function in ("maximum", "minimum"):  # which take their result's place by name only
            self._emit(f"{self.function(call.function)}({', '.join(arguments)}, out={out})")
        else:
            self._emit(f"{self.function(call.function)}({', '.join(arguments)}, {out})")

    # -- structural --------------------------------------------------------------------------------------------------

    def _reduce(self, statement: Reduce) -> None:
        if statement.kind == "total" and self._total_of_copy(statement):
            return
        value, out = self.text(statement.value), self.text(statement.out)
        axes = list(statement.axes)
        axis = str(axes[0]) if len(axes) == 1 else f"({', '.join(map(str, axes))})"
        if statement.kind == "first maximum":
            self._emit(f"{out}.fill(0)")
            put = self.function("put_along_axis")
            self._emit(f"{put}({out}, {value}.argmax({axis})[{_insertion(axes[0])}], 1, {axis})")
            return
        rest = [name for index, name in enumerate(statement.value.axes) if index not in axes]
        out_axes = list(statement.out.axes)
        place = out if rest == out_axes else transposed(out, [out_axes.index(each) for each in rest])
        self._emit(f"{self.function(_REDUCTIONS[statement.kind])}({value}, axis={axis}, out={place})")

    def _total_of_copy(self, statement: Reduce) -> bool:
        """Sums a copy in which steps and rows are neighbours, which is far faster."""
        for (copied, order), name in self.copies.items():
            axes = [copied.axes[index] for index in order]
            if copied != statement.value or [axis for axis in axes if axis not in (STEPS, BATCH)] != [
                *statement.out.axes
            ]:
                continue
            at = [axes.index(STEPS), axes.index(BATCH)] if {STEPS, BATCH} <= {*axes} else []
            if at and at[1] == at[0] + 1:
                self._emit(f"{self.np}.add.reduce({name}, axis=({at[0]}, {at[1]}), out={self.text(statement.out)})")
                return True
        return False

    def _move(self, kind: str, out: View, value: View) -> None:
        place, (text, axes) = self.text(out), self._batch_placed(value, out)
        if kind == "transpose":
            dims = [index for index, axis in enumerate(axes) if axis not in (STEPS, BATCH)]
            text = f"{text}.swapaxes({dims[-2]}, {dims[-1]})"
        elif kind in ("flatten", "unflatten"):
            text = f"{text}.reshape({place}.shape)"
        self._emit(f"{self.function('copyto')}({place}, {text})")

    def _batch_placed(self, value: View, out: View) -> tuple[str, tuple[str, ...]]:
        """A view with its batch first or last among the axes of a step, as ``out`` has it, and its axes then."""
        axes = tuple(axis for axis in value.axes if axis not in (STEPS, BATCH))
        steps = tuple(axis for axis in value.axes if axis == STEPS)
        batch = tuple(axis for axis in value.axes if axis == BATCH)
        axes = (*steps, *axes, *batch) if out.axes[-1:] == (BATCH,) else (*steps, *batch, *axes)
        return transposed(self.text(value), [value.axes.index(axis) for axis in axes]), axes

    # -- products ----------------------------------------------------------------------------------------------------

    def _product(self, product: Product) -> None:
        left, right, out = product.left, product.right, product.out
        of_left, of_right, of_out = product.labels
        sizes: dict[str, str] = {}
        for view, labels in zip((left, right, out), product.labels, strict=True):
            sizes |= dict(zip(labels, map(self.extent, view.axes), strict=True))
        self.extents = sizes
        if not any(label not in of_out for label in (*of_left, *of_right)):
            self._outer(product)
            return
        for order in self._orders(product):
            for form in matmul_forms(of_left, of_right, order):
                if self._fits(product, form):
                    self._matmul(product, form)
                    return
        spec = f"{''.join(of_left)},{''.join(of_right)}->{''.join(of_out)}"
        self._einsum(f'"{spec}"', f"{self.text(left)}, {self.text(right)}", self.text(out))

    def _orders(self, product: Product) -> list[Labels]:
        """Orders of the result's axes to try: as they are, else with one of them in front, as that of many products."""
        _, _, out = product.labels
        return [out, *((label, *(each for each in out if each != label)) for label in out[1:])]

    def _einsum(self, spec: str, operands: str, out: str) -> None:
        """Prints a product that no multiplication of matrices gives."""
        self._emit(f"{self.function('einsum')}({spec}, {operands}, out={out})")

    def _operands(self, product: Product, form: Form) -> list[tuple[View, Labels, list[Labels]]]:
        left = (product.left, product.labels[0])
        right = (product.right, product.labels[1])
        (a, of_a), (b, of_b) = (right, left) if form.swapped else (left, right)
        return [
            (a, of_a, arrangement(of_a, form.lead, form.rows, form.summed)),
            (b, of_b, arrangement(of_b, form.lead, form.summed, form.columns)),
        ]

    def _fits(self, product: Product, form: Form) -> bool:
        of_out = product.labels[2]
        groups = [*((label,) for label in form.lead), form.rows, form.columns]
        if not self._is_view(product.out, of_out, groups):
            return False
        operands = self._operands(product, form)
        if self.in_loop and not all(self._is_view(view, labels, groups) for view, labels, groups in operands):
            return False
        # matmul broadcasts leading axes from the right: an operand must have all of them after its first.
        own = [tuple(label for label in form.lead if label in labels) for _, labels, _ in operands]
        return all(labels == form.lead[len(form.lead) - len(labels) :] for labels in own)

    def _is_view(self, view: View, labels: Labels, groups: list[Labels]) -> bool:
        """Whether the view can be brought into these groups without a copy, which a result could not be written to."""
        joined = {labels[k] for k, whole in enumerate(_follows(view)) if not whole}
        return is_view(labels, groups) and not any(joined.intersection(group[1:]) for group in groups)

    def _matmul(self, product: Product, form: Form) -> None:
        texts = [self._arranged(view, labels, groups) for view, labels, groups in self._operands(product, form)]
        groups = [*((label,) for label in form.lead), form.rows, form.columns]
        out = self._reshaped(product.out, product.labels[2], groups)
        # dot has half the overhead of matmul, but for two matrices only; it wants its result's memory in one piece, and
        # would copy operands whose memory is not.
        whole = all(map(self._in_one_piece, (product.left, product.right, product.out)))
        self._multiply(product, texts, out, plain=not form.lead and whole and not out.endswith(".T"))

    def _multiply(self, product: Product, texts: Sequence[str], out: str, *, plain: bool) -> None:
        """Prints a product of matrices, ``plain`` if it is of two whole ones."""
        if plain:
            self._emit(f"{self.function('dot')}({texts[0]}, {texts[1]}, {out})")
        else:
            self._emit(f"{self.function('matmul')}({texts[0]}, {texts[1]}, out={out})")

    def _in_one_piece(self, view: View) -> bool:
        """Whether the view's memory has no gaps."""
        ends = view.part is None or bool(view.part[1]) or not is_joint(view.buffer.axes[-1])
        return all(_follows(view)[1:]) and ends

    def _arranged(self, view: View, labels: Labels, groups: list[Labels]) -> str:
        if self._is_view(view, labels, groups):
            return self._reshaped(view, labels, groups)
        # Labels are a product's own: between products a copy is known by the order of its axes.
        for (copied, order), name in self.copies.items():
            relabelled = tuple(labels[axis] for axis in order) if copied in (view, _whole_stack(view)) else ()
            if relabelled and is_view(relabelled, groups):
                return self._rearranged(_run_of(name, copied, view, order), relabelled, groups)
        wanted = tuple(label for group in groups for label in group)
        backwards = tuple(label for group in groups[::-1] for label in group)
        if len(groups) == 2 and wanted[-1] != labels[-1] == backwards[-1]:
            wanted = backwards  # whole runs of the last axis are copied; a transposed matrix serves a product as well
        order = tuple(labels.index(label) for label in wanted)
        first = view.axes[order[0]]
        word = (
            "slot"
            if stack_count(first)
            else "part"
            if is_joint(first)
            else {STEPS: "step", BATCH: "row"}.get(first, first)
        )
        copied = _whole_stack(view)
        name = self._name(("copy", f"{copied} {order}"), f"_{copied.name}_by_{word}")
        axes = [copied.axes[axis] for axis in order]
        if STEPS in axes:
            every = self._name(("every copy", name), f"_all{name}")
            lengths = ["_chunk" if axis == STEPS else self.extent(axis) for axis in axes]
            self.made.append(f"{every} = {self.np}.empty({self._joined(lengths)}, _dtype)")
            self.parts[name] = f"_beginning({every}, {self.shape(axes)})"
        else:
            self.made.append(f"{name} = {self.np}.empty({self.shape(axes)}, _dtype)")
        self._emit(f"{self.np}.copyto({name}, {self.text(copied)}.transpose({', '.join(map(str, order))}))")
        self.copies[copied, order] = name
        return self._rearranged(_run_of(name, copied, view, order), tuple(labels[axis] for axis in order), groups)

    def _reshaped(self, view: View, labels: Labels, groups: list[Labels]) -> str:
        """The view in these groups, hoisted out of the loop where it can be."""
        text = self.text(view)
        arranged = self._rearranged(text, labels, groups)
        if arranged == text or not self.in_loop:
            return arranged
        if view.step is None and view.buffer.use in (Use.PACK, Use.PARAMETER) and arranged.endswith(".T"):
            return self._transposed_copy(arranged, view, self._shape(groups))
        if view.step is None and view.buffer.use is not Use.CARRIED:
            return self._hoist(arranged, f"_{view.name}_matrix", view)
        if view.step is not None and not view.is_partial and view.buffer.axes[0] == STEPS:
            self.extents["t"] = "_count"
            name = self._name(("matrix", f"{arranged}"), f"_{view.name}_matrix")
            self.windows.setdefault(name, self._rearranged(self.own(view.buffer), ("t", *labels), [("t",), *groups]))
            return name
        return arranged

    def _transposed_copy(self, arranged: str, view: View, shape: list[str]) -> str:
        """A matrix in the order of memory in which the product of each step is faster, by about a tenth."""
        name = self._name(("transposed", arranged), f"_{view.name}_transposed")
        made = f"{name} = {self.np}.empty({self._joined(shape)}, _dtype)"
        if made not in self.made:
            self.made.append(made)
            self.prepared.append(f"_transpose({arranged.removesuffix('.T')}, {name})")
        return name

    def _shape(self, groups: list[Labels]) -> list[str]:
        return [" * ".join(self.extents[label] for label in group) or "1" for group in groups]

    def _rearranged(self, text: str, labels: Labels, groups: list[Labels]) -> str:
        order = tuple(label for group in groups for label in group)
        merged = any(len(group) != 1 for group in groups)
        shape = self._shape(groups)
        if order == labels:
            return f"{text}.reshape({', '.join(shape)})" if merged else text
        if len(groups) == 2 and tuple(label for group in groups[::-1] for label in group) == labels:
            return f"{text}.reshape({', '.join(shape[::-1])}).T" if merged else f"{text}.T"
        text = f"{text}.transpose({', '.join(str(labels.index(label)) for label in order)})"
        return f"{text}.reshape({', '.join(shape)})" if merged else text

    def _outer(self, product: Product) -> None:
        texts = []
        of_out = product.labels[2]
        for view, labels in zip((product.left, product.right), product.labels[:2], strict=True):
            order = [label for label in of_out if label in labels]
            text = self.text(view)
            text = transposed(text, [labels.index(label) for label in order])
            index = [":" if label in labels else "None" for label in of_out]
            while index and index[0] == "None":
                index.pop(0)
            if "None" in index:
                text = f"{text}[{_ellipsis(index)}]"
            if self.in_loop and self._is_invariant(view) and text != self.text(view):
                text = self._hoist(text, f"_{view.name}_wide", view)
            texts.append(text)
        self._emit(f"{self.function('multiply')}({', '.join(texts)}, {self.text(product.out)})")


# What the functions around a kernel's statements call their own.
_FIXED: frozenset[str] = frozenset(
    {
        *(
            "_steps",
            "_batch",
            "_dtype",
            "_parameters",
            "_gradients",
            "_erf",
            "_part",
            "_beginning",
            "_chunk_length",
            "_transpose",
        ),
        *(
            "_arrays",
            "_chunks",
            "_chunk",
            "_each_chunk",
            "_again",
            "_windows",
            "_now",
            "_count",
            "_first",
            "_keep",
            "_rebuilt",
            "_residuals",
        ),
        *("_saved", "_kept", "_checkpointed", "_CONSTANTS", "_Arrays", "_array"),
        *("_initial", "_final", "_outputs", "_d_inputs", "_d_initial", "_d_final"),
    }
)


def _slice(first: str, last: str) -> str:
    """A slice as formatters write it: with spaces where an end is more than a name."""
    if " " in first or " " in last:
        return f"{first} : {last}".strip()
    return f"{first}:{last}"


def _follows(view: View) -> list[bool]:
    """For every axis of a view, whether it is whole and lies right below the one before it, so that both make one."""
    found, gap = [], False
    for axis in view.buffer.axes:
        if axis in (STEPS, NODES) and view.step is not None:
            continue
        partial = False
        if stack_count(axis) and view.start is not None:
            if view.stop is None:
                gap = True
                continue
            partial = True
        if is_joint(axis) and view.part is not None:
            if not view.part[1]:
                gap = True
                continue
            partial = True
        found.append(not (gap or partial))
        gap = False
    return found


def _whole_stack(view: View) -> View:
    """The stack of which the view is the greater part, for other runs of it want a copy too; else the view itself."""
    if view.start is None or view.stop is None:
        return view
    at = next(index for index, axis in enumerate(view.axes) if stack_count(axis))
    axis = next(axis for axis in view.buffer.axes if stack_count(axis))
    if 2 * (view.stop - view.start) <= (stack_count(axis) or 0):
        return view
    axes = (*view.axes[:at], axis, *view.axes[at + 1 :])
    return View(view.buffer.name, view.buffer, axes, view.step, view.drop)


def _run_of(name: str, copied: View, view: View, order: Sequence[int]) -> str:
    """The part of the copy ``name`` that shows ``view``; the copy's axes are in this order."""
    if copied == view:
        return name
    at = [bool(stack_count(copied.axes[axis])) for axis in order].index(True)
    return f"{name}[{':, ' * at}{view.start or ''}:{view.stop}]"


def _bound(names: Sequence[str], text: str) -> list[str]:
    """Statements that bind all ``names`` to ``text``, as many as lines of the usual width take."""
    lines: list[str] = []
    line = text
    for name in reversed(names):
        if line != text and len(f"{name} = {line}") > WIDTH - 4:
            lines.append(line)
            line = text
        line = f"{name} = {line}"
    return [*lines, line][::-1]


def _named_functions(functions: dict[str, str]) -> list[str]:
    """Statements that give functions of NumPy their local names, as many as lines of the usual width take."""
    runs: list[list[str]] = [[]]
    for name in sorted(functions):
        if len(_naming(functions, [*runs[-1], name])) > WIDTH - 4:
            runs.append([])
        runs[-1].append(name)
    return [_naming(functions, run) for run in runs]


def _naming(functions: dict[str, str], names: Sequence[str]) -> str:
    return f"{', '.join(functions[name] for name in names)} = {', '.join(f'np.{name}' for name in names)}"


def mentions(text: str, name: str) -> bool:
    """Whether a name stands in a piece of code by itself."""
    return re.search(rf"(?<![A-Za-z0-9_.]){re.escape(name)}(?![A-Za-z0-9_])", text) is not None


def _ellipsis(index: list[str]) -> str:
    """An index with its leading full slices written as an ellipsis where that is shorter."""
    if len(index) > 2 and all(each == ":" for each in index[:-1]):
        return f"..., {index[-1]}"
    return ", ".join(index)


def _insertion(axis: int) -> str:
    return ", ".join([*([":"] * axis), "None"])


def _number(value: float) -> str:
    return repr(int(value)) + ".0" if value == int(value) and abs(value) < 1e16 else repr(value)
