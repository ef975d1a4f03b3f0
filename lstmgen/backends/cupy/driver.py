"""Kernel statements as lines of Python that launch CUDA kernels and multiply matrices.

The lines are those of the NumPy module, whose printer this is, where arrays are made, packed and handed in and out;
what is computed row by row is a launch, a product is cuBLAS's, and the time loop is a function, so that its launches
can be captured once and replayed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations

from lstmgen.backends.cupy.source import Source
from lstmgen.backends.layout import listed
from lstmgen.backends.products import Form, Labels
from lstmgen.backends.statements import Printer, mentions
from lstmgen.schedule.kernel import (
    BATCH,
    STEPS,
    Allocate,
    Buffer,
    Chunks,
    Launch,
    Loop,
    Product,
    Reduce,
    Statement,
    Use,
    View,
    views_in,
    walk,
)


@dataclass
class Driver(Printer):
    """Prints one kernel as the two bodies that :class:`Printer` prints; ``sources`` are its launches by name."""

    np: str = "cp"
    sources: Mapping[str, Source] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._taken |= {"_KERNELS", "_graph", "_runtime", "_spaces", "_t", "_time_loop", "_total"}
        super().__post_init__()
        lasting = {*self.kernel.saved, *self.kernel.checkpoints}
        views = [view for _, view in (*self.kernel.inputs, *self.kernel.carried, *self.kernel.results)]
        views += [view for each in _driven(self.kernel.body) for view in views_in((each,))]
        launched = {buffer for source in self.sources.values() for buffer in source.buffers}
        self._wanted = {*lasting, *launched, *(view.buffer for view in views)}

    def _statement(self, statement: Statement) -> None:
        match statement:
            case Launch():
                self._launch(statement)
            case Allocate(buffer) if buffer not in self._wanted:
                pass  # its values stay in registers
            case Reduce("total", out, value):
                self.helpers.add("total")
                self._emit(f"_total({self.text(value)}, {self.text(out)})")
            case _:
                super()._statement(statement)

    def _fixed_array(self, name: str) -> str:
        return f'cp.asarray(_CONSTANTS["{name}"], _dtype)'

    # -- launches ----------------------------------------------------------------------------------------------------

    def _launch(self, launch: Launch) -> None:
        source = self.sources[launch.name]
        known = {"step": "_t", STEPS: "_count", BATCH: "_batch"}
        arguments = [self._array(buffer) for buffer in source.buffers]
        arguments += [known.get(axis) or self.size(axis) for axis in source.sizes]
        threads = " * ".join(self.extent(axis) if axis != STEPS else "_count" for axis in source.extents) or "1"
        method = "launch_rows" if source.by_rows else "launch"
        # Set in by what stands around it: a function, and where steps are, two loops and a function more.
        room = 20 if self.in_loop else 8
        head = f"_KERNELS.{method}("
        self.lines += listed(head, [f'"{source.name}"', threads, *arguments], ")", room=room)
        if launch.loop is not None:
            self._states()

    def _array(self, buffer: Buffer) -> str:
        """A buffer as an argument: a chunk's part of it, from its first entry on."""
        if buffer.use is Use.RESULT:
            return self._whole(View(buffer.name, buffer, buffer.axes))
        return self.own(buffer)

    # -- the time loop -----------------------------------------------------------------------------------------------

    def _loop(self, loop: Loop) -> None:
        self.swaps = loop.swaps
        outer, self.lines = self.lines, []
        self.place = "step"
        for statement in loop.body:
            self._statement(statement)
        body, self.lines = self.lines, outer
        self.place = "chunk"
        self.made += self._invariant(replace(loop, body=tuple(_driven(loop.body))))
        text = "\n".join(body)
        self.windows = {name: over for name, over in self.windows.items() if mentions(text, name)}
        swapped = list(dict.fromkeys(view.name for pair in loop.swaps for view in pair))
        head = f"def _time_loop({', '.join(f'{name}: Any = {name}' for name in swapped)}) -> Any:"
        self._emit("")
        self._emit(head)
        steps = "reversed(range(_count))" if loop.reverse else "range(_count)"
        names = list(self.windows)
        if names:
            lines = listed("for _t, (", names, f") in zip({steps}, _windows, strict=True):")
        else:
            lines = [f"for _t in {steps}:"]
        lines += [f"    {line}" if line else "" for line in body]
        lines += [f"    {a.name}, {b.name} = {b.name}, {a.name}" for a, b in loop.swaps]
        lines += [f"return {', '.join(swapped)}"] if swapped else []
        self.lines += [f"    {line}" for line in lines]
        self.made.append("# Where products work while steps are replayed: of all chunks, for they follow one another.")
        self.made.append("_spaces: dict[int, Any] = {}")
        self.parts.setdefault("_graph", "_runtime.Graph(_again, _spaces)")
        read = [self.own(each) for each in self._read_in(loop)]
        run = f"_graph.run({', '.join(['_time_loop', *read])})"
        self._emit("")
        self._emit(f"{', '.join(swapped)} = {run}" if swapped else run)
        self._states()

    def _read_in(self, loop: Loop) -> list[Buffer]:
        """What the loop reads that may lie elsewhere at the next call: parameters."""
        found = [view.buffer for view in views_in(loop.body) if view.buffer.use is Use.PARAMETER]
        return list(dict.fromkeys(found))

    def _states(self) -> None:
        """The names of the states after a chunk, for the next one."""
        if self.kernel.name != "forward":
            return
        names, places = [], []
        for _, view in self.kernel.carried:
            after = next(
                each
                for each in views_in(self.kernel.body)
                if each.buffer == view.buffer and each.step == 1 and (each.start, each.part) == (view.start, view.part)
            )
            names.append(self.local(after))
            places.append(f"{self.own(view.buffer)}[{', '.join(['_count', *self.selection(view)])}]")
        self._emit(f"{', '.join(names)} = {', '.join(places)}")

    def _orders(self, product: Product) -> list[Labels]:
        # Any axes of the result may count the products, for arrays are taken with whatever strides they have.
        _, _, out = product.labels
        fronts = [front for count in range(1, len(out)) for front in combinations(out, count)]
        found = [out, *((*front, *(label for label in out if label not in front)) for front in fronts)]
        return list(dict.fromkeys(found))

    def _einsum(self, spec: str, operands: str, out: str) -> None:
        # CuPy's has no place for its result; it allocates, so that no graph holds it.
        self._emit(f"{self.np}.copyto({out}, {self.np}.einsum({spec}, {operands}))")

    def _fits(self, product: Product, form: Form) -> bool:
        # Many products of one call differ by all leading axes, or not at all.
        leads = [tuple(label for label in form.lead if label in labels) for labels in product.labels[:2]]
        return all(lead in ((), form.lead) for lead in leads) and super()._fits(product, form)

    # -- products ----------------------------------------------------------------------------------------------------

    def _multiply(self, product: Product, texts: Sequence[str], out: str, *, plain: bool) -> None:
        self._emit(f"_runtime.matmul({', '.join([*texts, out])}{', onto=True' if product.onto else ''})")

    def _transposed_copy(self, arranged: str, view: View, shape: list[str]) -> str:
        return self._hoist(arranged, f"_{view.name}_transposed", view)


def _driven(statements: Sequence[Statement]) -> list[Statement]:
    """The statements that the driver itself computes, not a launch."""
    inside = {id(each) for launch in walk(tuple(statements)) if isinstance(launch, Launch) for each in launch.body}
    return [
        each
        for each in walk(tuple(statements))
        if id(each) not in inside and not isinstance(each, Launch | Loop | Chunks)
    ]
