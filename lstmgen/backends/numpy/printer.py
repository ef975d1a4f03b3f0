"""Kernel statements as lines of NumPy.

Names of the cell are used as they are; every name of our own begins with an underscore. A buffer ``h`` is ``_h``;
inside the loop its window at the current step is ``h`` or ``h_prev``.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from lstmgen.backends.layout import WIDTH, transposed
from lstmgen.backends.numpy.products import Form, Labels, arrangement, is_view, matmul_forms
from lstmgen.errors import InternalError
from lstmgen.schedule.kernel import (
    BATCH,
    NODES,
    STEPS,
    Allocate,
    Block,
    Buffer,
    Call,
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
from lstmgen.schedule.work import stack_count

_UNARY_KIND = {"total": "sum", "sum": "sum", "max": "max"}


@dataclass
class Printer:
    """Prints one kernel. ``lines`` is the body of the function that runs it; ``dims`` are the cell's dimensions."""

    kernel: Kernel
    dims: tuple[str, ...]
    lines: list[str] = field(default_factory=list)
    hoisted: dict[str, str] = field(default_factory=dict)  # expression to local name, bound before the loop
    copies: dict[tuple[View, tuple[int, ...]], str] = field(default_factory=dict)
    extents: dict[str, str] = field(default_factory=dict)
    in_loop: bool = False
    helpers: set[str] = field(default_factory=set)
    _names: dict[tuple[str, str], str] = field(default_factory=dict)
    _taken: set[str] = field(default_factory=lambda: set(_FIXED))

    def __post_init__(self) -> None:
        for dim in self.dims:
            self.size(dim)

    def body(self) -> list[str]:
        """The kernel's statements as lines, unindented at their own level."""
        for name in self.kernel.parameters:
            self._emit(f"{self.private(name)} = _parameters.{name}")
        for name in self.kernel.constants:
            self._emit(f'{self.private(name)} = _CONSTANTS["{name}"].astype(_dtype)')
        for statement in self.kernel.body:
            self._statement(statement)
        return self.lines

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
            case Pack(buffer, parameters):
                sources = ", ".join(f"_parameters.{name}" for name in parameters)
                place = f'_take("{buffer.name}", {self.shape(buffer.axes)})'
                self._emit(f"{self.own(buffer)} = np.stack(({sources}), out={place})")
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

    def _allocate(self, buffer: Buffer) -> None:
        if buffer.use is Use.RESULT:
            if BATCH in buffer.axes:
                self._emit(f"{self.own(buffer)} = np.empty({self.shape(buffer.axes)}, _dtype)")
            return
        dtype = ", bool" if buffer.use is Use.MASK else ""
        name = self.own(buffer)
        self._emit(f'{name} = _take("{buffer.name}", {self.shape(buffer.axes)}{dtype})')

    def own(self, buffer: Buffer) -> str:
        """The local name of a whole buffer."""
        if buffer.use is Use.CARRIED and not self._steps(buffer):
            return buffer.name
        return self.private(buffer.name)

    def size(self, dim: str) -> str:
        """The local name of a dimension's size."""
        return self._name(("size", dim), f"_{dim}")

    def private(self, name: str) -> str:
        """The local name of the whole buffer that belongs to ``name``."""
        return self._name(("buffer", name), f"_{name}")

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

    def _loop(self, loop: Loop) -> None:
        outer, self.lines = self.lines, []
        self.in_loop = True
        for statement in loop.body:
            self._statement(statement)
        body, self.lines = self.lines, outer
        self.in_loop = False
        windows = self._windows(loop, "\n".join(body))
        for line in self._invariant(loop):
            self._emit(line)
        for expression, name in self.hoisted.items():
            self._emit(f"{name} = {expression}")
        order = "range(_steps - 1, -1, -1)" if loop.reverse else "range(_steps)"
        self._emit("")
        self._emit(f"for _t in {order}:")
        swaps = [f"{a.name}, {b.name} = {b.name}, {a.name}" for a, b in loop.swaps]
        for line in (*windows, *body, *swaps):
            self._emit(f"    {line}" if line else "")
        self._emit("")

    def _windows(self, loop: Loop, body: str) -> list[str]:
        """Names for the windows on the current step that the loop's ``body`` mentions, one line a buffer."""
        groups: dict[tuple[Buffer, bool], dict[tuple[int | None, int | None, int | None], list[str]]] = {}
        for view in dict.fromkeys(views_in(loop.body)):
            if view.step is None or not mentions(body, self.local(view)):
                continue
            windows = groups.setdefault((view.buffer, view.start is not None and view.stop is None), {})
            names = windows.setdefault((view.step, view.start, view.stop), [])
            if self.local(view) not in names:
                names.append(self.local(view))
        lines = []
        for (buffer, single), windows in groups.items():
            if single:
                lines += self._slots(buffer, {key[1] or 0: names for key, names in windows.items()})
                continue
            targets = [" = ".join(names) for names in windows.values()]
            values = [self._step_window(buffer, *key) for key in windows]
            if all(" = " not in each for each in targets):
                ordered = sorted(zip(values, targets, strict=True))
                one = f"{', '.join(t for _, t in ordered)} = {', '.join(v for v, _ in ordered)}"
                lines += [one] if len(one) <= WIDTH - 8 else [f"{t} = {v}" for v, t in ordered]
            else:
                lines += [f"{target} = {value}" for target, value in zip(targets, values, strict=True)]
        return lines

    def _slots(self, buffer: Buffer, names: dict[int, list[str]]) -> list[str]:
        count = next(filter(None, (stack_count(axis) for axis in buffer.axes)))
        together = f"{', '.join(names[slot][-1] for slot in sorted(names))} = {self.own(buffer)}[_t]"
        if len(names) == count and len(together) <= WIDTH - 8:
            lines = [together]
            more = [(other, slot[-1]) for slot in names.values() for other in slot[:-1]]
            if more:
                names_of, values = (", ".join(side) for side in zip(*more, strict=True))
                one = f"{names_of} = {values}"
                lines += [one] if len(one) <= WIDTH - 8 else [f"{a} = {b}" for a, b in more]
            return lines
        return [f"{' = '.join(each)} = {self.own(buffer)}[_t, {slot}]" for slot, each in sorted(names.items())]

    def _step_window(self, buffer: Buffer, step: int | None, start: int | None, stop: int | None) -> str:
        index = "_t" if not step else f"_t + {step}"
        if start is not None:
            index += f", {start or ''}:{stop}" if stop is not None else f", {start}"
        return f"{self.own(buffer)}[{index}]"

    def _invariant(self, loop: Loop) -> list[str]:
        """Names for what stays where it is through all steps: scratch, parameters."""
        groups: dict[str, list[str]] = {}
        for view in dict.fromkeys(views_in(loop.body)):
            if view.step is not None or not self._needs_name(view):
                continue
            names = groups.setdefault(self._whole(view), [])
            if view.name not in names:
                names.append(view.name)
        return [line for text, names in groups.items() for line in _bound(names, text)]

    def _needs_name(self, view: View) -> bool:
        """Whether a loop-invariant view is known in the loop by a name of the cell."""
        if view.buffer.use is Use.CARRIED or view.buffer.use in (Use.PACK, Use.MASK):
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
                return self.local(view)
            if view.buffer.use is Use.CARRIED or self._needs_name(view):
                return view.name
        return self._whole(view)

    def _whole(self, view: View) -> str:
        """The expression for a view outside the loop, or for one that does not change in it."""
        buffer = view.buffer
        if buffer.use is Use.RESULT and BATCH not in buffer.axes:
            return f"_gradients.{next(name for name, view in self.kernel.results if view.buffer == buffer)}"
        base = self.own(buffer)
        index = []
        if view.drop:
            index.append("1:" if view.drop == "first" else ":-1")
        elif view.start is not None and self._steps(buffer):
            index.append(":")
        if view.start is not None:
            index.append(f"{view.start or ''}:{view.stop}" if view.stop is not None else str(view.start))
            if not view.axes:
                index.append("...")  # an array of no dimensions, where the index alone would give a number
        return f"{base}[{', '.join(index)}]" if index else base

    def extent(self, axis: str) -> str:
        """The length of an axis as an expression."""
        count = stack_count(axis)
        if count is not None:
            return str(count)
        return {STEPS: "_steps", NODES: "_steps + 1", BATCH: "_batch"}.get(axis, self.size(axis))

    def shape(self, axes: Sequence[str]) -> str:
        """A shape as a tuple."""
        inner = ", ".join(self.extent(axis) for axis in axes)
        return f"({inner},)" if len(axes) == 1 else f"({inner})"

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
            return self._hoist(text, f"_{view.name}_wide")
        return text

    def _is_invariant(self, view: View) -> bool:
        return view.step is None and view.buffer.use is not Use.CARRIED

    def _hoist(self, expression: str, name: str) -> str:
        if expression not in self.hoisted:
            self.hoisted[expression] = self._name(("hoisted", expression), name)
        return self.hoisted[expression]

    # -- elementwise -------------------------------------------------------------------------------------------------

    def _call(self, call: Call) -> None:
        out = self._target(call.out)
        reference = self._elementwise_view(call.out)
        arguments = []
        for each in call.arguments:
            if isinstance(each, View):
                arguments.append(self.aligned(each, reference))
            elif isinstance(each, Const):
                arguments.append(_number(each.value))
            else:
                arguments.append(self.extent(each.dim))
        if call.function == "copy":
            self._emit(f"np.copyto({out}, {arguments[0]})")
        elif call.function == "where":
            mask, a, b = arguments
            self._emit(f"np.copyto({out}, {b})")
            self._emit(f"np.copyto({out}, {a}, where={mask})")
        elif call.function == "erf":
            self.helpers.add("erf")
            self._emit(f"_erf({', '.join(arguments)}, out={out})")
        else:
            self._emit(f"np.{call.function}({', '.join(arguments)}, out={out})")

    def _elementwise_view(self, out: View) -> View:
        """The view elementwise work sees: batch last, whatever the memory."""
        axes = out.axes
        if BATCH in axes and axes[-1] != BATCH:
            axes = (*(axis for axis in axes if axis != BATCH), BATCH)
        return View(out.name, out.buffer, axes, out.step, out.drop, out.start, out.stop)

    def _target(self, out: View) -> str:
        seen = self._elementwise_view(out)
        text = self.text(out)
        if seen.axes == out.axes:
            return text
        return transposed(text, [out.axes.index(axis) for axis in seen.axes])

    # -- structural --------------------------------------------------------------------------------------------------

    def _batch_last(self, view: View) -> tuple[str, tuple[str, ...]]:
        """A view with the batch as its last axis, whatever its memory, and its axes then."""
        seen = self._elementwise_view(view)
        return transposed(self.text(view), [view.axes.index(axis) for axis in seen.axes]), seen.axes

    def _reduce(self, statement: Reduce) -> None:
        if statement.kind == "total" and self._total_of_copy(statement):
            return
        (value, value_axes), (out, out_axes) = self._batch_last(statement.value), self._batch_last(statement.out)
        # The batch may have moved to the end; the axes before it have kept their order.
        stored = statement.value.axes
        moved = [index for index, name in enumerate(stored) if name != BATCH]
        moved += [index for index, name in enumerate(stored) if name == BATCH]
        axes = [place for place, index in enumerate(moved) if index in statement.axes]
        axis = str(axes[0]) if len(axes) == 1 else f"({', '.join(map(str, axes))})"
        if statement.kind == "first maximum":
            self._emit(f"{out}.fill(0)")
            self._emit(f"np.put_along_axis({out}, {value}.argmax({axis})[{_insertion(axes[0])}], 1, {axis})")
            return
        rest = [name for index, name in enumerate(value_axes) if index not in axes]
        place = out if rest == list(out_axes) else transposed(out, [out_axes.index(each) for each in rest])
        self._emit(f"np.{_UNARY_KIND[statement.kind]}({value}, axis={axis}, out={place})")

    def _total_of_copy(self, statement: Reduce) -> bool:
        """Sums over steps and rows where a copy has them in front: whole rows of it are added, which is far faster."""
        for (copied, order), name in self.copies.items():
            axes = [copied.axes[index] for index in order]
            if copied == statement.value and axes == [STEPS, BATCH, *statement.out.axes]:
                self._emit(f"np.sum({name}, axis=(0, 1), out={self.text(statement.out)})")
                return True
        return False

    def _move(self, kind: str, out: View, value: View) -> None:
        (text, axes), (place, _) = self._batch_last(value), self._batch_last(out)
        if kind == "transpose":
            dims = [index for index, axis in enumerate(axes) if axis not in (STEPS, BATCH)]
            text = f"{text}.swapaxes({dims[-2]}, {dims[-1]})"
        elif kind in ("flatten", "unflatten"):
            text = f"{text}.reshape({place}.shape)"
        self._emit(f"np.copyto({place}, {text})")

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
        for form in matmul_forms(of_left, of_right, of_out):
            if self._fits(product, form):
                self._matmul(product, form)
                return
        spec = f"{''.join(of_left)},{''.join(of_right)}->{''.join(of_out)}"
        self._emit(f'np.einsum("{spec}", {self.text(left)}, {self.text(right)}, out={self.text(out)})')

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
        gaps = view.start is not None and view.step is None and self._steps(view.buffer)
        across = any(labels[0] in group and len(group) > 1 for group in groups)
        return is_view(labels, groups) and not (gaps and across)

    def _matmul(self, product: Product, form: Form) -> None:
        texts = [self._arranged(view, labels, groups) for view, labels, groups in self._operands(product, form)]
        groups = [*((label,) for label in form.lead), form.rows, form.columns]
        out = self._reshaped(product.out, product.labels[2], groups)
        self._emit(f"np.matmul({texts[0]}, {texts[1]}, out={out})")

    def _arranged(self, view: View, labels: Labels, groups: list[Labels]) -> str:
        if self._is_view(view, labels, groups):
            return self._reshaped(view, labels, groups)
        # Labels are a product's own: between products a copy is known by the order of its axes.
        for (copied, order), name in self.copies.items():
            relabelled = tuple(labels[axis] for axis in order) if copied in (view, _whole_stack(view)) else ()
            if relabelled and is_view(relabelled, groups):
                return self._rearranged(_run_of(name, copied, view, order), relabelled, groups)
        wanted = tuple(label for group in groups for label in group)
        order = tuple(labels.index(label) for label in wanted)
        first = view.axes[order[0]]
        word = "slot" if stack_count(first) else {STEPS: "step", BATCH: "row"}.get(first, first)
        copied = _whole_stack(view)
        name = self._name(("copy", f"{copied} {order}"), f"_{copied.name}_by_{word}")
        self._emit(f'{name} = _take("{name[1:]}", {self.shape([copied.axes[axis] for axis in order])})')
        self._emit(f"np.copyto({name}, {self.text(copied)}.transpose({', '.join(map(str, order))}))")
        self.copies[copied, order] = name
        return self._rearranged(_run_of(name, copied, view, order), wanted, groups)

    def _reshaped(self, view: View, labels: Labels, groups: list[Labels]) -> str:
        """The view in these groups, hoisted out of the loop where it can be."""
        text = self.text(view)
        arranged = self._rearranged(text, labels, groups)
        if arranged == text or not self.in_loop:
            return arranged
        if view.step is None and view.buffer.use is not Use.CARRIED:
            return self._hoist(arranged, f"_{view.name}_matrix")
        if view.step is not None and view.start is None:
            self.extents["t"] = self.extent(view.buffer.axes[0])
            whole = self._rearranged(self.own(view.buffer), ("t", *labels), [("t",), *groups])
            name = self._hoist(whole, f"_{view.name}_matrices")
            return f"{name}[_t]" if not view.step else f"{name}[_t + {view.step}]"
        return arranged

    def _rearranged(self, text: str, labels: Labels, groups: list[Labels]) -> str:
        order = tuple(label for group in groups for label in group)
        merged = any(len(group) != 1 for group in groups)
        shape = [" * ".join(self.extents[label] for label in group) or "1" for group in groups]
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
                text = self._hoist(text, f"_{view.name}_wide")
            texts.append(text)
        self._emit(f"np.multiply({', '.join(texts)}, out={self.text(product.out)})")


# What the functions around a kernel's statements call their own.
_FIXED: frozenset[str] = frozenset(
    {
        *("_t", "_steps", "_batch", "_take", "_dtype", "_parameters", "_gradients", "_erf", "_copied", "_saved"),
        "_CONSTANTS",
        *("_initial", "_final", "_outputs", "_d_inputs", "_d_initial", "_d_final"),
    }
)


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
