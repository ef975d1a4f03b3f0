"""What is measured: one cell, in plain data that travels to other processes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import count
from types import ModuleType
from typing import Any

from lstmgen.bench.floor import Floor
from lstmgen.bench.shapes import Dimensions, Dims, Shape

Entries = tuple[tuple[str, Dims], ...]


@dataclass(frozen=True)
class Subject:
    """A compiled cell without its symbols.

    ``source`` is the generated module that is measured, ``plain`` that of the plainest schedule, which is the
    reference. ``inputs``, ``states`` and ``outputs`` are names with dimensions, without steps and batch. ``published``
    says that the cell is the built-in one of its name, so that libraries may have it too. ``chosen`` are sizes that a
    user asked for by dimension.
    """

    cell: str
    options: tuple[tuple[str, Any], ...]
    digest: str
    module: str
    source: str
    plain: str
    inputs: Entries
    states: Entries
    outputs: Entries
    dimensions: Dimensions
    floor: Floor
    residuals: Entries
    published: bool = False
    chosen: Mapping[str, int] = field(default_factory=dict)

    @property
    def title(self) -> str:
        """The cell with the options that differ from their defaults."""
        options = ", ".join(f"{name}={value}" for name, value in self.options)
        return f"{self.cell} ({options})" if options else self.cell

    def sizes(self, shape: Shape) -> dict[str, int]:
        """The sizes of all dimensions, and of steps and batch."""
        return {"steps": shape.steps, "batch": shape.batch} | self.dimensions.sizes(shape, self.chosen)


_NUMBER = count()


def load(source: str) -> ModuleType:
    """A generated module from its text; unlike a back end's own way, it needs no SymPy."""
    module = ModuleType(f"_lstmgen_bench_{next(_NUMBER)}")
    exec(compile(source, f"<{module.__name__}>", "exec"), vars(module))
    return module
