"""Launches as CUDA C++: one kernel each, every piece of it under its equation.

Where all values of a launch have the same axes a thread computes one entry of each, with everything in registers that
nothing else reads. Where a launch reduces or rearranges a block of threads computes one row, with a barrier between
pieces that read what other threads have written. No atomics, no order that could differ: equal input gives equal bits.

Names of values are the cell's; names of arrays, sizes and indices begin with an underscore.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from lstmgen.backends.cupy.functions import RESERVED, expression, is_truth
from lstmgen.backends.layout import WIDTH, filled
from lstmgen.errors import InternalError
from lstmgen.schedule.kernel import (
    BATCH,
    NODES,
    STEPS,
    Axes,
    Block,
    Buffer,
    Clear,
    Kernel,
    Launch,
    Move,
    Note,
    Product,
    Reduce,
    Scalar,
    Statement,
    Use,
    View,
    views_in,
    views_of,
)
from lstmgen.schedule.launches import ROW_AXES, same_place, units_of, written
from lstmgen.schedule.work import is_joint, stack_count

THREADS = 256
"""The threads of a block."""

SUMS_AT_ONCE = 16
"""The most reductions that share their barriers: each takes 2 KiB of the 48 that a block may have in any case."""

_OWN = (
    "_index",
    "_row",
    "_t",
    "_here",
    "_after",
    "_half",
    "_steps",
    "_batch",
    "_start",
    "_ahead",
    "_step",
    "_sum",
    "_best",
    "_most",
    "_entry",
    "_at",
)
_SHARED = re.compile(r"_shared(_\d+)?")


@dataclass(frozen=True)
class Source:
    """One kernel as text, and what it is launched with.

    ``buffers`` and then ``sizes`` are its arguments; ``extents`` are the axes whose lengths make the number of threads,
    or with ``by_rows`` of blocks.
    """

    name: str
    lines: tuple[str, ...]
    buffers: tuple[Buffer, ...]
    sizes: tuple[str, ...]
    extents: Axes
    by_rows: bool
    helpers: frozenset[str]


def print_launch(launch: Launch, kernel: Kernel, kept: frozenset[View]) -> Source:
    """The kernel of ``launch``, which leaves the views ``kept`` in memory."""
    writer = _Writer(launch, kernel, kept)
    if launch.loop is not None:
        writer.time_loop()
    elif _is_elementwise(launch):
        writer.elementwise()
    else:
        writer.by_rows()
    return writer.source()


def _is_elementwise(launch: Launch) -> bool:
    """Whether one thread can compute one entry of every value, from the same entries of others."""
    work = [each for each in launch.body if not isinstance(each, Note)]
    return (
        all(isinstance(each, Block | Clear) for each in work) and len({units_of(written(each)) for each in work}) == 1
    )


@dataclass
class _Writer:
    launch: Launch
    kernel: Kernel
    kept: frozenset[View]
    lines: list[str] = field(default_factory=list)
    pointers: dict[Buffer, bool] = field(default_factory=dict)  # whether it is written to
    sizes: dict[str, str] = field(default_factory=dict)  # axis, or "step", to name
    values: dict[str, str] = field(default_factory=dict)  # name of a value in scope to its name in C++
    helpers: set[str] = field(default_factory=set)
    indent: int = 1
    extents: Axes = ()
    rows: bool = False
    shares: int = 0
    optional: list[tuple[str, str]] = field(default_factory=list)  # indices that may be used
    marker: int = 0  # the line before which they are declared
    _names: dict[tuple[str, str], str] = field(default_factory=dict)

    def source(self) -> Source:
        self._settle()
        buffers = tuple(self.pointers)
        parameters = [
            f"{'' if self.pointers[each] else 'const '}real* __restrict__ {self.pointer(each)}" for each in buffers
        ]
        order = ["step", STEPS, BATCH]
        sizes = sorted(self.sizes, key=lambda axis: (order.index(axis) if axis in order else len(order), axis))
        parameters += [f"const long long {self.sizes[each]}" for each in sizes]
        head = [f'extern "C" __global__ void __launch_bounds__({THREADS}, 1) {self.launch.name}(']
        head += [*_filled(parameters), ") {"]
        shared = [f"    __shared__ real {_shared(k)}[{THREADS}];" for k in range(self.shares)]
        return Source(
            self.launch.name,
            (*head, *shared, *self.lines, "}"),
            buffers,
            tuple(sizes),
            self.extents,
            self.rows,
            frozenset(self.helpers),
        )

    def _settle(self) -> None:
        """Declares the indices that are used, and no other; those that they are made of, first."""
        used: list[str] = []
        text = "\n".join(self.lines)
        for name, value in reversed(self.optional):
            if re.search(rf"\b{name}\b", text):
                indent = "    " * (2 if self.launch.loop is not None else 1)
                used.insert(0, f"{indent}const long long {name} = {value};")
                text += f"\n{value}"
        if re.search(r"\b_t\b", text) and self.launch.loop is None and not any(" _t = " in line for line in used):
            self.size("step")
        if re.search(r"\b_batch\b", text):
            self.size(BATCH)
        self.lines[self.marker : self.marker] = used

    # -- names -------------------------------------------------------------------------------------------------------

    def _name(self, kind: str, name: str, wanted: str) -> str:
        key = (kind, name)
        if key not in self._names:
            taken = {*self._names.values(), *_OWN, *RESERVED}
            while wanted in taken or _SHARED.fullmatch(wanted):
                wanted += "_"
            self._names[key] = wanted
        return self._names[key]

    def size(self, axis: str) -> str:
        """The length of an axis."""
        count = stack_count(axis)
        if count is not None:
            return str(count)
        if is_joint(axis):
            raise InternalError("kernels for CUDA have no joints")
        known = {STEPS: "_steps", BATCH: "_batch", "step": "_t"}
        self.sizes[axis] = known.get(axis) or self._name("size", axis, f"_{axis}")
        return self.sizes[axis]

    def pointer(self, buffer: Buffer, *, writes: bool = False) -> str:
        """The first entry of an array."""
        self.pointers[buffer] = self.pointers.get(buffer, False) or writes
        return self._name("array", buffer.name, f"_{buffer.name}")

    def value(self, name: str) -> str:
        """A value's own name, or one that C++ allows."""
        return self._name("value", name, name)

    def emit(self, line: str) -> None:
        self.lines += [f"{'    ' * self.indent}{part}" for part in filled(line, WIDTH - 4 * self.indent)]

    def note(self, note: Note) -> None:
        for line in note.lines:
            for part in filled(line, WIDTH - 4 * self.indent - 3):
                self.emit(f"// {part}")

    # -- places ------------------------------------------------------------------------------------------------------

    def place(self, view: View, index: Mapping[int, str], here: str = "_here", *, writes: bool = False) -> str:
        """The entry of ``view`` at an index for each of its own axes, by their position in ``view.axes``.

        ``here`` is the row of an array over steps that belongs to the current step.
        """
        own = list(range(len(view.axes)))
        offsets: list[tuple[str, str]] = []  # an index, and the length of its axis
        axes = list(view.buffer.axes)
        if axes[:1] in ([STEPS], [NODES]):
            nodes = axes.pop(0) == NODES
            if view.step is None:
                own.pop(0)
            later = nodes and (bool(view.step) if view.step is not None else view.drop == "first")
            if axes[:1] != [BATCH]:
                raise InternalError(f"{view.name}: kernels for CUDA have the batch after the steps")
            axes.pop(0)
            own.pop(0)
            if later:
                here = "_after" if here == "_here" else f"{here} + {self.size(BATCH)}"
            offsets.append((here, ""))
        for axis in axes:
            if axis == BATCH:
                own.pop(0)
                offsets.append(("_row", self.size(BATCH)))
            elif stack_count(axis) is not None and view.start is not None:
                if view.stop is None:
                    offsets.append((str(view.start), self.size(axis)))
                else:
                    at = index[own.pop(0)]
                    offsets.append((f"{at} + {view.start}" if view.start else at, self.size(axis)))
            else:
                offsets.append((index[own.pop(0)], self.size(axis)))
        text, is_sum = "", False
        for at, length in offsets:
            if text in ("", "0"):
                text, is_sum = at, " + " in at
            else:
                text = f"{f'({text})' if is_sum else text} * {length}"
                is_sum = at != "0"
                text += f" + {at}" if is_sum else ""
        return f"{self.pointer(view.buffer, writes=writes)}[{text or '0'}]"

    def aligned(self, view: View, out: View, variables: Sequence[str]) -> dict[int, str]:
        """Indices for the axes of an operand, given those of a result's axes within a row."""
        units = units_of(out)
        found: dict[int, str] = {}
        for position, axis in enumerate(view.axes):
            if axis in ROW_AXES:
                continue
            if units_of(view) == units:
                found[position] = variables[position - (len(view.axes) - len(units))]
            else:  # of a name that a parameter repeats, the last
                at = max((k for k, each in enumerate(units) if each == axis), default=None)
                if at is None:
                    raise InternalError(f"{view.name} has an axis {axis} that {out.name} lacks")
                found[position] = variables[at]
        return found

    # -- one entry a thread ------------------------------------------------------------------------------------------

    def elementwise(self) -> None:
        """One thread for one entry of every value."""
        out = next(written(each) for each in self.launch.body if not isinstance(each, Note))
        self._thread((*self.launch.rows, *units_of(out)))
        variables = self._variables(units_of(out))
        work = [each for each in self.launch.body if not isinstance(each, Note)]
        loaded = self._loads(work, variables, set())
        for line in loaded:
            self.emit(line)
        stores = self._compute(self.launch.body, variables)
        for line in self._stores(stores, variables, self.kept):
            self.emit(line)

    def _thread(self, axes: Axes) -> None:
        """The indices of a thread."""
        self.extents = axes
        lengths = [self.size(axis) for axis in axes]
        self.emit("const long long _index = (long long) blockIdx.x * blockDim.x + threadIdx.x;")
        self.emit(f"if (_index >= {' * '.join(lengths) or '1'}) return;")
        units = tuple(axis for axis in axes if axis not in ROW_AXES)
        inner = " * ".join(self.size(axis) for axis in units)
        rows = "_index" if not units else f"_index / {inner if len(units) == 1 else f'({inner})'}"
        if STEPS in axes:
            self._declare("_here", rows)
        elif BATCH in axes:
            self._declare("_row", rows)
        self._indices(units, rows=len(units) < len(axes))
        self._rows(axes)

    def _declare(self, name: str, text: str) -> None:
        self.emit(f"const long long {name} = {text};")

    def _indices(self, units: Axes, *, rows: bool) -> None:
        """Takes ``_index`` apart, which counts the entries of a row, or with ``rows`` those of all rows."""
        for position, (axis, name) in enumerate(zip(units, self._variables(units), strict=True)):
            below = [self.size(each) for each in units[position + 1 :]]
            text = "_index" + (f" / ({' * '.join(below)})" if len(below) > 1 else f" / {below[0]}" if below else "")
            self._declare(name, text + (f" % {self.size(axis)}" if position or rows else ""))

    def _rows(self, axes: Axes) -> None:
        """Where rows lie, for what turns out to be used: see :meth:`source`."""
        if self.launch.loop is not None:
            return
        if STEPS in axes:
            self.optional += [("_row", f"_here % {self.size(BATCH)}"), ("_t", f"_here / {self.size(BATCH)}")]
        elif BATCH in axes:
            self.optional.append(("_here", "_t * _batch + _row"))
        self.optional.append(("_after", "_here + _batch"))
        self.marker = len(self.lines)

    def _variables(self, units: Axes) -> list[str]:
        """Names of indices within a row."""
        if len(units) == 1:
            return [self._name("unit", "", "_unit")]
        return [self._name("unit", f"{position} {axis}", f"_at_{_word(axis)}") for position, axis in enumerate(units)]

    def _loads(self, work: Sequence[Statement], variables: Sequence[str], known: set[str]) -> list[str]:
        """Declarations of what is read and not computed here; the values are in scope from then on."""
        out = written(work[0])
        return [
            f"const real {self.value(view.name)} = {self.place(view, self.aligned(view, out, variables))};"
            for view in self._read(work, known)
        ]

    def _compute(self, body: Sequence[Statement], variables: Sequence[str]) -> dict[View, str]:
        """Prints what is computed; returns what each result is called, the last of a place only."""
        results: dict[View, str] = {}
        for each in body:
            match each:
                case Note():
                    self.note(each)
                case Block(assignments):
                    for assign in assignments:
                        self.emit(f"const real {self.value(assign.out.name)} = {self._text(assign.value)};")
                        results[assign.out] = self.value(assign.out.name)
                case Clear(out):
                    results[out] = "real(0)"
        return results

    def _text(self, scalar: Scalar) -> str:
        printed = expression(scalar, lambda view: self.value(view.name), self.size)
        self.helpers |= printed.helpers
        return f"real({printed.text})" if is_truth(scalar) else printed.text

    def _stores(self, results: Mapping[View, str], variables: Sequence[str], wanted: Iterable[View]) -> list[str]:
        """What writes results that are wanted in memory, of several in one place the last."""
        wanted = set(wanted)
        last: dict[tuple[object, ...], View] = {}
        for view in results:
            if view in wanted:
                last[view.buffer, view.step, view.start, view.stop] = view
        return [
            f"{self.place(view, self.aligned(view, view, variables), writes=True)} = {results[view]};"
            for view in last.values()
        ]

    # -- all steps in one kernel ----------------------------------------------------------------------------------

    def time_loop(self) -> None:
        """One thread for one entry of every value, at all steps: what is handed on stays in registers."""
        loop = self.launch.loop
        assert loop is not None
        work = [each for each in self.launch.body if not isinstance(each, Note)]
        out = written(work[0])
        self._thread((BATCH, *units_of(out)))
        variables = self._variables(units_of(out))
        steps = self.size(STEPS)
        carried = self._carried()
        self._declare("_start", f"({steps} - 1) * {self.size(BATCH)} + _row" if loop.reverse else "_row")
        for incoming in carried:
            self.emit(f"real {self.value(incoming.name)} = {self._entry(incoming, out, variables, '_start')};")
        # What does not change from step to step is read once, what does one step ahead of its use.
        views = self._read(work, {each.name for each in carried})
        steady = [view for view in views if view.step is None]
        moving = [view for view in views if view.step is not None]
        for view in steady:
            self.emit(f"const real {self.value(view.name)} = {self._entry(view, out, variables, '_start')};")
        for view in moving:
            self.emit(f"real {self._ahead(view)} = {self._entry(view, out, variables, '_start')};")
        self.emit(f"for (long long _step = 0; _step < {steps}; ++_step) {{")
        self.indent += 1
        self._declare("_here", f"_start {'-' if loop.reverse else '+'} _step * {self.size(BATCH)}")
        self.optional = [("_after", "_here + _batch")]
        self.marker = len(self.lines)
        for view in moving:
            self.emit(f"const real {self.value(view.name)} = {self._ahead(view)};")
        if moving:
            self.emit(f"if (_step + 1 < {steps}) {{")
            self.indent += 1
            self._declare("_ahead", f"_here {'-' if loop.reverse else '+'} {self.size(BATCH)}")
            for view in moving:
                self.emit(f"{self._ahead(view)} = {self._entry(view, out, variables, '_ahead')};")
            self.indent -= 1
            self.emit("}")
        results = self._compute(self.launch.body, variables)
        registers = {each for each in results if each.buffer.use is Use.CARRIED and each.step is None}
        for line in self._stores(results, variables, self.kept - registers):
            self.emit(line)
        for incoming, outgoing in carried.items():
            self.emit(f"{self.value(incoming.name)} = {results[outgoing]};")
        self.indent -= 1
        self.emit("}")
        for incoming in carried:
            if incoming.step is None:
                place = self.place(incoming, self.aligned(incoming, out, variables), writes=True)
                self.emit(f"{place} = {self.value(incoming.name)};")

    def _ahead(self, view: View) -> str:
        return self._name("ahead", view.name, f"_next_{view.name}")

    def _entry(self, view: View, out: View, variables: Sequence[str], here: str) -> str:
        return self.place(view, self.aligned(view, out, variables), here)

    def _read(self, work: Sequence[Statement], known: set[str]) -> list[View]:
        """The views that are read from memory, in the order in which they are read first."""
        found: dict[str, View] = {}
        computed = set(known)
        for each in work:
            if isinstance(each, Block):
                for assign in each.assignments:
                    for view in views_of(assign.value):
                        if view.name not in computed:
                            found.setdefault(view.name, view)
                    computed.add(assign.out.name)
        return list(found.values())

    def _carried(self) -> dict[View, View]:
        """What a step receives, and what it hands on in its place."""
        loop = self.launch.loop
        assert loop is not None
        swaps = dict(loop.swaps)
        outs = [written(each) for each in self.launch.body if not isinstance(each, Note)]
        found: dict[View, View] = {}
        for _, incoming in self.kernel.carried:
            after = 1 if incoming.step is not None else None
            same = [
                out for out in outs if (out.buffer, out.step, out.start) == (incoming.buffer, after, incoming.start)
            ]
            found[incoming] = swaps.get(incoming) or same[-1]
        return found

    # -- one block a row ---------------------------------------------------------------------------------------------

    def by_rows(self) -> None:
        """One block of threads for one row."""
        self.rows = True
        self.extents = self.launch.rows
        rows = self.launch.rows
        if rows:
            self._declare("_here" if STEPS in rows else "_row", "blockIdx.x")
        self._rows(rows)
        pieces = _pieces(self.launch.body)
        for index, piece in enumerate(pieces):
            elsewhere = [view for other in pieces if other is not piece for view in _read_by(other)]
            # What a row has one of is in every thread's registers.
            shared = [out for out in _written_by(piece) if units_of(out)]
            passed_on = {out for out in shared if any(same_place(out, view) for view in elsewhere)}
            alone = self._piece(piece, {*self.kept, *passed_on})
            if index + 1 < len(pieces) and not alone:
                self.emit("__syncthreads();")

    def _piece(self, piece: Sequence[Statement], wanted: set[View]) -> bool:
        """Prints a piece; says whether its threads have touched nothing that another thread writes."""
        work = [each for each in piece if not isinstance(each, Note)]
        first = work[0]
        out = written(first)
        units = units_of(out)
        if isinstance(first, Block | Clear):
            if not units:
                return self._row_values(piece, wanted)
            variables = self._open(units)
            for line in self._loads(work, variables, set(self.values)):
                self.emit(line)
            results = self._compute(piece, variables)
            for line in self._stores(results, variables, wanted):
                self.emit(line)
            self._close()
            return False
        for each in piece:
            if isinstance(each, Note):
                self.note(each)
        if not units:
            sums = [self._sum_of_row(each) for each in work]
            for start in range(0, len(sums), SUMS_AT_ONCE):
                if start:
                    self.emit("__syncthreads();")
                self._by_halves(sums[start : start + SUMS_AT_ONCE], wanted)
        else:
            variables = self._open(units)
            result = self._computed(first, variables)
            self.emit(f"{self.place(out, self.aligned(out, out, variables), writes=True)} = {result};")
            self._close()
        return False

    def _open(self, units: Axes) -> list[str]:
        """Begins a loop in which a thread visits its entries of a row."""
        lengths = " * ".join(self.size(axis) for axis in units)
        variables = self._variables(units)
        if len(units) == 1:
            (at,) = variables
            self.emit(f"for (long long {at} = threadIdx.x; {at} < {lengths}; {at} += blockDim.x) {{")
            self.indent += 1
        else:
            self.emit(f"for (long long _index = threadIdx.x; _index < {lengths}; _index += blockDim.x) {{")
            self.indent += 1
            self._indices(units, rows=False)
        return variables

    def _close(self) -> None:
        self.indent -= 1
        self.emit("}")

    def _row_values(self, piece: Sequence[Statement], wanted: set[View]) -> bool:
        """Values that a row has one of: every thread computes them, the first one writes them."""
        work = [each for each in piece if not isinstance(each, Note)]
        read = self._read(work, set(self.values))
        for line in self._loads(work, (), set(self.values)):
            self.emit(line)
        results = self._compute(piece, ())
        self.values |= {view.name: view.name for view in (*read, *results)}
        stores = self._stores(results, (), wanted)
        if stores and any(same_place(out, view) for out in results for view in read):
            self.emit("__syncthreads();")  # all have read what the first one is about to overwrite
        self._by_the_first(stores)
        return all(view.buffer.use in (Use.PARAMETER, Use.PACK, Use.INPUT) for view in read)

    def _sum_of_row(self, statement: Statement) -> _Sum:
        """A reduction of a row to one number."""
        match statement:
            case Reduce(kind, out, value):
                units = units_of(value)
                term = self._of_row(value, self._variables(units))
                if kind == "max":
                    return _Sum(out, units, term, self._of_row(value, ["0"] * len(units)), largest=True)
                return _Sum(out, units, term)
            case Product(out, left, right, (of_left, of_right, _)):
                units = units_of(left)
                by_label = dict(
                    zip([label for label in of_left if label not in "tz"], self._variables(units), strict=True)
                )
                term = f"{self._labelled(left, of_left, by_label)} * {self._labelled(right, of_right, by_label)}"
                return _Sum(out, units, term)
        raise InternalError(f"{statement!r} reduces no row")

    def _by_halves(self, sums: Sequence[_Sum], wanted: set[View]) -> None:
        """Reductions at once: every thread of its part of a row, then all by halves, so that every thread knows."""
        places = [_shared(k) for k in range(len(sums))]
        self.shares = max(self.shares, len(sums))
        own = [f"_sum{'' if not k else f'_{k + 1}'}" for k in range(len(sums))]
        self.emit("{")
        self.indent += 1
        for each, sum_ in zip(sums, own, strict=True):
            self.emit(f"real {sum_} = {each.begin};")
        self._open(sums[0].units)
        for each, sum_ in zip(sums, own, strict=True):
            if each.largest:
                self.helpers.add("maximum")
                self.emit(f"{sum_} = maximum({sum_}, {each.term});")
            else:
                self.emit(f"{sum_} += {each.term};")
        self._close()
        for sum_, place in zip(own, places, strict=True):
            self.emit(f"{place}[threadIdx.x] = {sum_};")
        self._close()
        self.emit(f"for (int _half = {THREADS // 2}; _half > 0; _half /= 2) {{")
        self.indent += 1
        self.emit("__syncthreads();")
        self.emit("if (threadIdx.x < _half) {")
        self.indent += 1
        for each, place in zip(sums, places, strict=True):
            here, other = f"{place}[threadIdx.x]", f"{place}[threadIdx.x + _half]"
            self.emit(f"{here} = maximum({here}, {other});" if each.largest else f"{here} += {other};")
        self._close()
        self._close()
        self.emit("__syncthreads();")
        for each, place in zip(sums, places, strict=True):
            name = self.value(each.out.name)
            self.emit(f"const real {name} = {place}[0];")
            self.values[each.out.name] = each.out.name
        kept = [each.out for each in sums if each.out in wanted]
        self._by_the_first([f"{self.place(out, {}, writes=True)} = {self.value(out.name)};" for out in kept])

    def _by_the_first(self, stores: Sequence[str]) -> None:
        """What a row has one of is written by one thread."""
        if len(stores) == 1:
            self.emit(f"if (threadIdx.x == 0) {stores[0]}")
        elif stores:
            self.emit("if (threadIdx.x == 0) {")
            self.indent += 1
            for line in stores:
                self.emit(line)
            self._close()

    def _of_row(self, view: View, variables: Sequence[str]) -> str:
        return self.place(view, self.aligned(view, view, variables))

    def _labelled(self, view: View, labels: Sequence[str], index: Mapping[str, str]) -> str:
        if view.name in self.values:
            return self.value(view.name)
        return self.place(view, {k: index[label] for k, label in enumerate(labels) if label not in "tz"})

    def _computed(self, statement: Statement, variables: Sequence[str]) -> str:
        """One entry of what a statement computes that is no equation of single entries."""
        match statement:
            case Reduce(kind, out, value, (axis,)):
                return self._reduced(kind, out, value, axis, variables)
            case Product(out, left, right, (of_left, of_right, of_out)):
                units = [label for label in of_out if label not in "tz"]
                by_label = dict(zip(units, variables, strict=True))
                summed = {label: axis for label, axis in zip(of_left, left.axes, strict=True) if label not in of_out}
                by_label |= {label: self._along(place) for place, label in enumerate(summed)}
                term = f"{self._labelled(left, of_left, by_label)} * {self._labelled(right, of_right, by_label)}"
                return self._summed(term, list(summed.values())) if summed else term
            case Move(kind, out, value):
                return self._moved(kind, out, value, variables)
        raise InternalError(f"CUDA has no form for {statement!r}")

    def _summed(self, term: str, axes: Sequence[str]) -> str:
        """The sum of a term over some axes, at whose indices it stands."""
        self.emit("real _sum = real(0);")
        loops = [
            f"for (long long {at} = 0; {at} < {self.size(axis)}; ++{at})"
            for at, axis in zip(map(self._along, range(len(axes))), axes, strict=True)
        ]
        self.emit(f"{' '.join(loops)} _sum += {term};")
        return "_sum"

    def _along(self, place: int) -> str:
        """The index of a sum: of the first axis, the second one and so on."""
        return self._name("along", str(place), f"_along_{place + 1}") if place else "_at"

    def _moved(self, kind: str, out: View, value: View, variables: Sequence[str]) -> str:
        lead = len(value.axes) - len(units_of(value))
        if kind in ("copy", "transpose"):
            order = list(variables)
            if kind == "transpose":
                order[-2:] = order[:-3:-1]
            return self.place(value, {lead + k: name for k, name in enumerate(order)})
        # Flattened and not, the entries of a row stand in one order: its index is taken apart anew.
        lengths = [self.size(axis) for axis in units_of(out)]
        whole = variables[0]
        for name, length in zip(variables[1:], lengths[1:], strict=True):
            whole = f"({whole} * {length} + {name})"
        found = {}
        units = units_of(value)
        for position, axis in enumerate(units):
            inner = [self.size(each) for each in units[position + 1 :]]
            text = whole + (f" / ({' * '.join(inner)})" if inner else "")
            found[lead + position] = f"({text}{f' % {self.size(axis)}' if position else ''})"
        return self.place(value, found)

    def _reduced(self, kind: str, out: View, value: View, axis: int, variables: Sequence[str]) -> str:
        """One axis of several summed, or its maximum; or where its first maximum is."""
        lead = len(value.axes) - len(units_of(value))
        length = self.size(value.axes[axis])
        others = list(variables)
        own = others.pop(axis - lead) if kind == "first maximum" else ""
        index: dict[int, str] = {}
        for position in range(lead, len(value.axes)):
            index[position] = "_at" if position == axis else others.pop(0)
        entry = self.place(value, index)
        if kind == "sum":
            return self._summed(entry, [value.axes[axis]])
        self.emit(f"real _most = {self.place(value, {**index, axis: '0'})};")
        if kind == "max":
            self.helpers.add("maximum")
            self.emit(f"for (long long _at = 1; _at < {length}; ++_at) _most = maximum(_most, {entry});")
            return "_most"
        self.emit("long long _best = 0;")
        self.emit(f"for (long long _at = 1; _at < {length}; ++_at) {{")
        self.indent += 1
        self.emit(f"const real _entry = {entry};")
        self.emit("if (_entry > _most || _entry != _entry) {")
        self.indent += 1
        self.emit("_most = _entry;")
        self.emit("_best = _at;")
        self._close()
        self._close()
        return f"real({own} == _best)"


@dataclass(frozen=True)
class _Sum:
    """What a row is reduced to: the sum of a term over some axes, or its maximum; and what every thread begins with."""

    out: View
    units: Axes
    term: str
    begin: str = "real(0)"
    largest: bool = False


def _shared(number: int) -> str:
    """The name of an array that a block's threads share."""
    return f"_shared_{number + 1}" if number else "_shared"


def _word(axis: str) -> str:
    return "slot" if stack_count(axis) is not None else axis


def _pieces(body: Sequence[Statement]) -> list[list[Statement]]:
    """Runs of statements that a thread can do entry by entry, each with its notes."""
    pieces: list[list[Statement]] = []
    notes: list[Statement] = []
    kind: tuple[object, ...] | None = None
    for each in body:
        if isinstance(each, Note):
            notes.append(each)
            continue
        out = written(each)
        own: tuple[object, ...] | None = None
        if isinstance(each, Block | Clear):
            own = ("entries", units_of(out))
        elif isinstance(each, Reduce) and not units_of(out):
            own = ("sums", units_of(each.value))
        elif isinstance(each, Product) and not units_of(out):
            own = ("sums", units_of(each.left))
        if own is not None and own == kind:
            pieces[-1] += [*notes, each]
        else:
            pieces.append([*notes, each])
        notes, kind = [], own
    return pieces


def _written_by(piece: Sequence[Statement]) -> list[View]:
    return [written(each) for each in piece if not isinstance(each, Note)]


def _read_by(piece: Sequence[Statement]) -> list[View]:
    found: list[View] = []
    for each in piece:
        if not isinstance(each, Note):
            (*read, _) = views_in((each,))
            found += read
    return found


def _filled(parameters: Sequence[str]) -> list[str]:
    """Parameters in lines of the usual width."""
    lines = [""]
    for position, each in enumerate(parameters):
        text = each + ("," if position + 1 < len(parameters) else "")
        if lines[-1] and len(lines[-1]) + len(text) + 5 > 120:
            lines.append("")
        lines[-1] += f"{' ' if lines[-1] else ''}{text}"
    return [f"    {line}" for line in lines]
