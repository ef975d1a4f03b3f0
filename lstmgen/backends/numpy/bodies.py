"""The bodies of the three kernel functions: the printed kernel, and how arrays come in and go out.

Callers' arrays have the batch before a value's own axes, kernels have it last; what is returned is always a copy, so
that it lies in no workspace.
"""

from __future__ import annotations

from lstmgen.backends.layout import WIDTH, transposed
from lstmgen.backends.numpy.printer import Printer, mentions
from lstmgen.calculus.reverse import Gradient, Origin
from lstmgen.schedule.kernel import BATCH, NODES, STEPS, Buffer, Use, View
from lstmgen.schedule.work import stack_count


def forward_body(printer: Printer, gradient: Gradient, *, keep: bool) -> list[str]:
    """The body of `_forward`, which keeps what backward reads, or of `_infer`."""
    kernel, declaration = printer.kernel, gradient.declaration
    lines = _with_starts(printer, "_initial")
    inputs = {value.name for value in declaration.given}
    saved = [buffer for buffer in kernel.saved if buffer.name in inputs] if keep else []
    copies = [line for buffer in saved for line in _brought_in(printer, buffer, copy=True)]
    copies += [line for _, buffer in kernel.inputs for line in _brought_in(printer, buffer)]
    outputs = [(name, _batch_first(printer.text(view), view, lead=1)) for name, view in kernel.results]
    several = f"Outputs({', '.join(f'{name}={text}' for name, text in outputs)})"
    tail = [f"_outputs = {several if len(outputs) > 1 else outputs[0][1]}", f"_final = {_ends(printer)}"]
    if keep:
        entries = [f'    "{buffer.name}": {printer.own(buffer)},' for buffer in kernel.saved]
        tail += ["_saved = {", *entries, "}", "return _outputs, _final, _saved"]
    else:
        tail += ["return _outputs, _final"]
    body = [*copies, *lines, *tail]
    return [*_head(printer, body, printer.private(declaration.inputs[0].name)), *body]


def backward_body(printer: Printer, gradient: Gradient) -> list[str]:
    """The body of `_backward`."""
    kernel, declaration = printer.kernel, gradient.declaration
    lines = _with_starts(printer, "_d_final")
    loads = [line for _, buffer in kernel.inputs for line in _brought_in(printer, buffer)]
    loads += [f'{printer.own(buffer)} = _saved["{buffer.name}"]' for buffer in kernel.saved]
    returned = dict(kernel.results)
    inputs = []
    for value in declaration.inputs:
        view = returned.get(value.name)
        if view is None:  # the loss does not depend on it
            inputs.append(f"{value.name}=np.zeros({printer.shape((STEPS, BATCH, *value.dims))}, _dtype)")
        elif view.buffer.use is Use.RESULT:
            inputs.append(f"{value.name}={printer.own(view.buffer)}")
        else:
            inputs.append(f"{value.name}={_batch_first(printer.text(view), view, lead=1)}")
    tail = [
        *_unpacked(printer, {each.value.name: returned.get(each.value.name) for each in declaration.parameters}),
        f"_d_inputs = Inputs({', '.join(inputs)})",
        f"_d_initial = {_ends(printer)}",
        "return _d_inputs, _d_initial",
    ]
    body = [*loads, *lines, *tail]
    seed = next(seed.adjoint.name for seed in gradient.seeds if seed.origin is Origin.LOSS)
    return [*_head(printer, body, printer.private(seed)), *body]


def _brought_in(printer: Printer, buffer: Buffer, *, copy: bool = False) -> list[str]:
    """What brings a caller's array, (steps, batch, ...), into the kernel's layout; with ``copy`` always a copy."""
    name, axes = printer.own(buffer), len(buffer.axes)
    if axes == 2 and not copy:
        return []
    array = transposed(name, [0, *range(2, axes), 1])
    return [f'{name} = _copied({array}, _take("{buffer.name}", {printer.shape(buffer.axes)}))']


def _unpacked(printer: Printer, gradients: dict[str, View | None]) -> list[str]:
    """Copies of parameters' gradients that lie in stacks into the flat buffer; others were computed in place."""
    lines = []
    stacked: dict[Buffer, dict[int, str]] = {}
    for name, view in gradients.items():
        if view is None or view.buffer.use is Use.RESULT:
            continue
        if view.start is None:
            lines.append(f"_gradients.{name} = {printer.text(view)}")
        else:
            stacked.setdefault(view.buffer, {})[view.start] = f"_gradients.{name}"
    for buffer, slots in stacked.items():
        together = f"{', '.join(slots[k] for k in sorted(slots))} = {printer.own(buffer)}"
        if len(slots) == stack_count(buffer.axes[0]) and len(together) <= WIDTH - 4:
            lines.append(together)
        else:
            lines += [f"{slots[k]} = {printer.own(buffer)}[{k}]" for k in sorted(slots)]
    return lines


def _head(printer: Printer, lines: list[str], source: str) -> list[str]:
    """The dtype and the sizes, as far as the rest of the body mentions them."""
    text = "\n".join(lines)
    head = ["_dtype = _parameters.dtype"] if mentions(text, "_dtype") else []
    head.append(f"_steps, _batch = {source}.shape[:2]")
    used = [dim for dim in printer.dims if mentions(text, printer.size(dim))]
    if used:
        names = ", ".join(printer.size(dim) for dim in used)
        together = f"{names} = {', '.join(f'_parameters.{dim}' for dim in used)}"
        apart = [f"{printer.size(dim)} = _parameters.{dim}" for dim in used]
        head += [together] if len(together) <= WIDTH - 4 else apart
    return head


def _with_starts(printer: Printer, source: str) -> list[str]:
    """The printed kernel, with the values that its loop starts from copied in right before the loop."""
    starts = []
    for name, view in printer.kernel.carried:
        axes = len(view.axes)
        value = transposed(f"{source}.{name}", [*range(1, axes), 0])
        starts.append(f"np.copyto({_node(printer, view, 0)}, {value})")
    lines = printer.body()
    at = next(index for index, line in enumerate(lines) if line.startswith("for _t in "))
    blank = at - 1 if at and not lines[at - 1] else at
    return [*lines[:blank], *starts, *lines[blank:]]


def _ends(printer: Printer) -> str:
    """The states that the loop ends with."""
    parts = [f"{name}={_batch_first(_node(printer, view, -1), view, lead=0)}" for name, view in printer.kernel.carried]
    return f"State({', '.join(parts)})"


def _node(printer: Printer, view: View, index: int) -> str:
    """What is carried, at the first point between steps (0) or the last (-1)."""
    every = view.buffer.axes[:1] == (NODES,)
    return f"{printer.own(view.buffer)}[{index}]" if every else view.name


def _batch_first(text: str, view: View, *, lead: int) -> str:
    """A copy with the batch, last in the kernel, before a value's own axes and after ``lead`` others."""
    axes = len(view.axes)
    return f"{transposed(text, [*range(lead), axes - 1, *range(lead, axes - 1)])}.copy()"
