"""The bodies of the kernel functions: the printed kernels, and how arrays come in and go out.

Callers' arrays have the batch before a value's own axes, kernels mostly have it last; what is returned is always a
copy, so that it lies in no workspace. Both are converted chunk by chunk, while a chunk is in the cache.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from lstmgen.backends.layout import WIDTH, listed, transposed
from lstmgen.backends.statements import Printer, mentions
from lstmgen.calculus.reverse import Gradient, Origin
from lstmgen.schedule.kernel import BATCH, STEPS, Buffer, Use, View
from lstmgen.schedule.work import stack_count

Body = tuple[list[str], list[str]]


def forward_body(printer: Printer, gradient: Gradient) -> Body:
    """The bodies of `_forward_arrays` and `_forward`."""
    kernel, declaration = printer.kernel, gradient.declaration
    states = [(name, view, printer.local(after)) for (name, view), after in _ends(printer, gradient)]
    starts = [_as_in(f"_initial.{name}", view) for name, view, _ in states]
    printer.run(
        before=[
            *(_returned(printer, name, view) for name, view in kernel.results),
            f"{', '.join(last for *_, last in states)} = {', '.join(starts)}",
        ],
        begins=[
            *(_brought_in(printer, name, view) for name, view in kernel.inputs),
            *(f"{printer.np}.copyto({_node(printer, view)}, {last})" for _, view, last in states),
        ],
        ends=[_handed_out(printer, name, view) for name, view in kernel.results],
    )
    outputs = [(name, printer.returned(name)) for name, _ in kernel.results]
    several = [f"_outputs = Outputs({', '.join(f'{name}={text}' for name, text in outputs)})"]
    finals = [f"{name}={_batch_first(last, view)}.copy()" for name, view, last in states]
    tail = [
        *(several if len(outputs) > 1 else []),
        f"_final = State({', '.join(finals)})",
        f"return {'_outputs' if len(outputs) > 1 else outputs[0][1]}, _final, _arrays.residuals",
    ]
    residuals = _dictionary("_residuals", printer, kernel.saved)
    if set(kernel.saved) != set(kernel.checkpoints):
        fewer = _dictionary("_residuals", printer, kernel.checkpoints)
        residuals += ['if _keep == "recompute":', *(f"    {line}" for line in fewer)]
    lengths = [
        '_saved = _steps if _keep == "save" else _chunk',
        '_checkpointed = _steps if _keep == "recompute" else _chunk',
        '_kept = _chunk if _keep == "nothing" else _steps',
    ]
    return (
        _arrays_body(printer, [*printer.made, *residuals], lengths, "_residuals"),
        _pass_body(printer, tail, printer.given(declaration.inputs[0].name)),
    )


def rebuild_body(printer: Printer) -> Body:
    """The bodies of `_rebuild_arrays` and `_rebuild`; both empty where there is nothing to rebuild."""
    kernel = printer.kernel
    if set(kernel.saved) <= set(kernel.checkpoints):
        return [], []
    printer.run(before=[], begins=[], ends=["yield"])
    loads = [f'{printer.every(buffer)} = _saved["{buffer.name}"]' for buffer in kernel.checkpoints]
    arrays = [*loads, *printer.made, *_dictionary("_residuals", printer, kernel.saved)]
    return _arrays_body(printer, arrays, [], "_residuals"), _pass_body(printer, [], "")


def backward_body(printer: Printer, gradient: Gradient) -> Body:
    """The bodies of `_backward_arrays` and `_backward`."""
    kernel, declaration = printer.kernel, gradient.declaration
    returned = dict(kernel.results)
    inputs, before, ends = [], [], []
    for value in declaration.inputs:
        view = returned.get(value.name)
        if view is None:  # the loss does not depend on it
            inputs.append(f"{value.name}={printer.np}.zeros({printer.shape((STEPS, BATCH, *value.dims))}, _dtype)")
        elif view.buffer.use is Use.RESULT:
            inputs.append(f"{value.name}={printer.own(view.buffer)}")
        else:
            inputs.append(f"{value.name}={printer.returned(value.name)}")
            before.append(_returned(printer, value.name, view))
            ends.append(_handed_out(printer, value.name, view))
    for name, view in kernel.carried:
        before.append(f"{printer.np}.copyto({view.name}, {_as_in(f'_d_final.{name}', view)})")
    begins = [_brought_in(printer, name, view) for name, view in kernel.inputs]
    printer.run(before=before, begins=begins, ends=ends, rebuilt=True)
    firsts = [f"{name}={_batch_first(view.name, view)}.copy()" for name, view in kernel.carried]
    tail = [
        *_unpacked(printer, {each.value.name: returned.get(each.value.name) for each in declaration.parameters}),
        f"_d_inputs = Inputs({', '.join(inputs)})",
        f"_d_initial = State({', '.join(firsts)})",
        "return _d_inputs, _d_initial",
    ]
    loads = [f'{printer.every(buffer)} = _saved["{buffer.name}"]' for buffer in kernel.saved]
    seed = next(seed.adjoint.name for seed in gradient.seeds if seed.origin is Origin.LOSS)
    return (
        _arrays_body(printer, [*loads, *printer.made], [], "{}"),
        _pass_body(printer, tail, printer.given(seed)),
    )


def _arrays_body(printer: Printer, lines: list[str], lengths: list[str], residuals: str) -> list[str]:
    """The body of a function that makes arrays: those that the pass mentions, and its chunks."""
    text = "\n".join(lines)
    head = ["_dtype = _parameters.dtype"] if mentions(text, "_dtype") else []
    head += _sizes(printer, text)
    head.append("_chunk = _chunk_length(_steps, _batch)")
    head += [line for line in lengths if mentions(text, line.split()[0])]
    used = _used(printer)
    returned = [f"return _Arrays({residuals}, {_tuple(used)})"]
    if len(returned[0]) > WIDTH - 4:
        returned = [*listed("_of_pass = (", used, ")", room=4), f"return _Arrays({residuals}, _of_pass)"]
    return [*head, *lines, *returned]


def _used(printer: Printer) -> list[str]:
    """The names made with the arrays that the pass itself mentions."""
    body = "\n".join(printer.lines)
    names = [name for line in printer.made for name in _targets(line)]
    return [name for name in dict.fromkeys(names) if mentions(body, name)]


def _targets(line: str) -> list[str]:
    """The names that a statement binds."""
    return [] if line.startswith((" ", "def ", "#")) else line.split(" = ")[:-1]


def _dictionary(name: str, printer: Printer, buffers: Sequence[Buffer]) -> list[str]:
    entries = [f'"{buffer.name}": {printer.every(buffer)}' for buffer in buffers]
    one = f"{name} = {{{', '.join(entries)}}}"
    return [one] if len(one) <= WIDTH - 8 else [f"{name} = {{", *(f"    {entry}," for entry in entries), "}"]


def _tuple(names: Sequence[str]) -> str:
    return f"({', '.join(names)}{',' if len(names) == 1 else ''})"


def _brought_in(printer: Printer, name: str, view: View) -> str:
    """What brings a chunk of a caller's array, (steps, batch, ...), into the kernel's layout."""
    return f"{printer.np}.copyto({printer.in_chunk(view)}, {_as_in(f'{printer.given(name)}[_now]', view)})"


def _returned(printer: Printer, name: str, view: View) -> str:
    """What makes the array that is returned under ``name``."""
    dims = [axis for axis in view.axes if axis not in (STEPS, BATCH)]
    return f"{printer.returned(name)} = {printer.np}.empty({printer.shape((STEPS, BATCH, *dims))}, _dtype)"


def _handed_out(printer: Printer, name: str, view: View) -> str:
    """What copies a chunk of a kernel's array to the one that is returned."""
    return f"{printer.np}.copyto({printer.returned(name)}[_now], {_batch_first(printer.in_chunk(view), view)})"


def _ends(printer: Printer, gradient: Gradient) -> list[tuple[tuple[str, View], View]]:
    """For every state, where it is when a step begins and where when it ends."""
    found = []
    for (name, view), state in zip(printer.kernel.carried, gradient.declaration.states, strict=True):
        found.append(((name, view), replace(view, name=state.next.name, step=1)))
    return found


def _node(printer: Printer, view: View) -> str:
    """The state before a chunk."""
    return f"{printer.own(view.buffer)}[{', '.join(['0', *printer.selection(view)])}]"


def _unpacked(printer: Printer, gradients: dict[str, View | None]) -> list[str]:
    """Copies of parameters' gradients that lie in stacks into the flat buffer; others were computed in place."""
    lines = []
    stacked: dict[View, dict[int, str]] = {}
    for name, view in gradients.items():
        if view is None or view.buffer.use is Use.RESULT:
            continue
        if view.start is None:
            lines.append(f"_gradients.{name}[...] = {printer.text(view)}")
        else:
            # All that lie in one stack, or in one part of its columns.
            whole = View("", view.buffer, view.buffer.axes, part=view.part)
            stacked.setdefault(whole, {})[view.start] = f"_gradients.{name}[...]"
    for whole, slots in stacked.items():
        together = f"{', '.join(slots[k] for k in sorted(slots))} = {printer.text(whole)}"
        if len(slots) == stack_count(whole.buffer.axes[0]) and len(together) <= WIDTH - 4:
            lines.append(together)
        else:
            lines += [f"{slots[k]} = {printer.text(replace(whole, start=k))}" for k in sorted(slots)]
    return lines


def _pass_body(printer: Printer, tail: list[str], source: str) -> list[str]:
    """The printed kernel between what it needs first, as far as it is mentioned, and ``tail``."""
    body = [*printer.lines, *tail] if tail else printer.lines[:-1]  # not the blank line after the loop
    text = "\n".join(body)
    head = ["_dtype = _parameters.dtype"] if mentions(text, "_dtype") else []
    if source and (mentions(text, "_steps") or mentions(text, "_batch")):
        head.append(f"_steps, _batch = {source}.shape[:2]")
    head += _sizes(printer, text)
    used = _used(printer)
    return [*head, *(listed("(", used, ") = _arrays.of_pass", room=4) if used else []), *body]


def _sizes(printer: Printer, text: str) -> list[str]:
    used = [dim for dim in printer.dims if mentions(text, printer.size(dim))]
    if not used:
        return []
    names = ", ".join(printer.size(dim) for dim in used)
    together = f"{names} = {', '.join(f'_parameters.{dim}' for dim in used)}"
    apart = [f"{printer.size(dim)} = _parameters.{dim}" for dim in used]
    return [together] if len(together) <= WIDTH - 4 else apart


def _public(view: View) -> list[str]:
    """The axes of a view in the callers' order: steps, batch, the value's own."""
    return sorted(view.axes, key=lambda axis: [STEPS, BATCH].index(axis) if axis in (STEPS, BATCH) else 2)


def _as_in(text: str, view: View) -> str:
    """A caller's array with its axes in the order of a view."""
    public = _public(view)
    return transposed(text, [public.index(axis) for axis in view.axes])


def _batch_first(text: str, view: View) -> str:
    """A view's text with its axes in the callers' order."""
    return transposed(text, [view.axes.index(axis) for axis in _public(view)])
