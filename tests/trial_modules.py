"""The modules of all built-in and all trial cells, for what must hold of every one of them: each is made once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from types import ModuleType
from typing import Any

import pytest
from trial_cells import CASES as TRIALS

from lstmgen import pipeline, plugins
from lstmgen.backends.numpy import backend
from lstmgen.declare.cell import Cell
from lstmgen.finding import find_cell
from lstmgen.testing.trial import Made

Variant = tuple[Cell | str, dict[str, Any]]

_OWN = [plugin.name for plugin in plugins.available("cells") if plugin.target.startswith("lstmgen.cells.")]
BUILT_IN: dict[str, Variant] = {f"built-in {name}": (name, {}) for name in _OWN}
BUILT_IN["built-in lstm, peephole"] = ("lstm", {"peephole": True})
BUILT_IN["built-in lstm, full gate recurrence"] = ("lstm", {"full_gate_recurrence": True})
BUILT_IN["built-in gru, reset before"] = ("gru", {"reset": "before"})
CASES: dict[str, Variant] = {**BUILT_IN, **TRIALS}

EVERY_CELL = pytest.mark.parametrize("label", CASES)
EVERY_BUILT_IN_CELL = pytest.mark.parametrize("label", BUILT_IN)


@cache
def compiled(label: str) -> pipeline.Compiled:
    """All that comes of a cell."""
    made, options = CASES[label]
    return pipeline.compile_cell(find_cell(made), backend, options)


@cache
def made(label: str) -> Made:
    """A cell's module, with what draws arrays for it."""
    found = compiled(label)
    return Made(found, backend.load(found.source, f"_trial_{found.module}"))


@contextmanager
def chunked(module: ModuleType, rows: int, steps: int) -> Iterator[None]:
    """Has the module take at most so many rows at a time, but so many steps at least."""
    usual = {name: getattr(module, name) for name in ("_CHUNK_ROWS", "_CHUNK_STEPS")}
    vars(module).update(_CHUNK_ROWS=rows, _CHUNK_STEPS=steps)
    try:
        yield
    finally:
        vars(module).update(usual)
