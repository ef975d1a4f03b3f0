"""From a scheduled gradient to the text of a NumPy module: the kernels as calls, printed."""

from __future__ import annotations

import types
from collections.abc import Mapping

from lstmgen.backends.base import Provenance
from lstmgen.backends.bodies import backward_body, forward_body, rebuild_body
from lstmgen.backends.layout import indented
from lstmgen.backends.numpy.functions import ERFC_COEFFICIENTS, FOLDS, FUNCTIONS
from lstmgen.backends.shell import Bodies, Context, load_source, module_text, shell_context
from lstmgen.backends.statements import Printer
from lstmgen.calculus.interpreter import all_dims
from lstmgen.calculus.reverse import Gradient, Origin
from lstmgen.schedule.calls import buffered
from lstmgen.schedule.kernel import Kernel, show
from lstmgen.schedule.lowering import lower_passes
from lstmgen.schedule.target import Target
from lstmgen.schedule.work import Schedule


class NumpyBackend:
    """Emits modules that import NumPy and nothing else."""

    name = "numpy"
    target = Target("numpy", folds=FOLDS)

    def emit(self, gradient: Gradient, schedule: Schedule, provenance: Provenance, module: str) -> Mapping[str, str]:
        """The module's text under its file name."""
        return {f"{module}.py": module_text(gradient, provenance, _bodies(gradient, schedule))}

    def kernels(self, gradient: Gradient, schedule: Schedule) -> str:
        """The three loop programs as text."""
        return "\n\n".join(show(kernel) for kernel in lower_all(gradient, schedule))

    def load(self, source: str, module: str) -> types.ModuleType:
        """The module that ``source`` makes, without a file."""
        return load_source(source, module)

    def levels(self) -> tuple[str, ...]:
        """NumPy runs wherever lstmgen does."""
        return ("device",)


def lower_all(gradient: Gradient, schedule: Schedule) -> tuple[Kernel, Kernel, Kernel]:
    """The kernels of the three passes, with elementwise work as calls."""
    forward, backward, rebuild = lower_passes(gradient, schedule)
    return buffered(forward, FUNCTIONS), buffered(backward, FUNCTIONS), buffered(rebuild, FUNCTIONS)


def build_context(gradient: Gradient, schedule: Schedule, provenance: Provenance) -> Context:
    """Everything the template prints of a module of this back end."""
    return shell_context(gradient, provenance, _bodies(gradient, schedule))


def _bodies(gradient: Gradient, schedule: Schedule) -> Bodies:
    """The kernels as this back end prints them."""
    declaration = gradient.declaration
    dims = all_dims(declaration, gradient.primal)
    printers = [Printer(kernel, dims) for kernel in lower_all(gradient, schedule)]
    forward = forward_body(printers[0], gradient)
    backward = backward_body(printers[1], gradient)
    rebuild = rebuild_body(printers[2])
    uses_erf = any("erf" in printer.helpers for printer in printers)
    seeds = [seed.adjoint.name for seed in gradient.seeds if seed.origin is Origin.LOSS]
    return Bodies(
        kind="for NumPy",
        reading=_reading(schedule),
        forward_arrays=indented(forward[0]),
        forward=indented(forward[1]),
        backward_arrays=indented(backward[0]),
        backward=indented(backward[1]),
        rebuild_arrays=indented(rebuild[0]),
        rebuild=indented(rebuild[1]),
        given=tuple(printers[0].given(value.name) for value in declaration.given),
        seeds=tuple(printers[1].given(seed) for seed in seeds),
        chunk_rows=schedule.chunk_rows,
        chunk_steps=schedule.chunk_steps,
        erf_coefficients=tuple(map(repr, ERFC_COEFFICIENTS)) if uses_erf else (),
    )


def _reading(schedule: Schedule) -> str:
    """What a reader of the kernels should know."""
    batch = "last" if schedule.forward.batch_last else "first"
    return _READING.format(batch=batch)


_READING = (
    "How to read the kernels at the end: each piece of code stands under the equation it computes. A pass goes "
    "through the steps in chunks that fit a processor's cache, and in a chunk through its steps. At a step, the batch "
    "is the {batch} axis of every array. A name with an underscore is the chunk's part of an array, the same name "
    "without one its window at the current step, and the last argument of a call is where its result goes. Values "
    "that are computed together lie side by side in one array, and several names may share a place: a value is "
    "overwritten once nothing reads it any more. The functions before each kernel make its arrays and windows, once "
    "for calls that share a workspace."
)
