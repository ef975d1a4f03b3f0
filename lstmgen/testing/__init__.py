"""The conformance suite: what the tests of cells and back ends ask for.

    from lstmgen.testing import check_backend, check_cell

    def test_my_cell():
        check_cell(my_cell)

    @pytest.mark.parametrize("check", BACKEND_CHECKS)
    def test_my_backend(check):
        check_backend(backend, only=[check])

Each runs named checks and raises :class:`ConformanceError`, an ``AssertionError``, with all their findings at once. Any
test runner will do. Importing this is cheap: SymPy and NumPy come with the first name that is asked for.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lstmgen.testing.backend_checks import BACKEND_CHECKS, check_backend
    from lstmgen.testing.cell_checks import CELL_CHECKS, check_cell
    from lstmgen.testing.cells import coverage_cells, plain_cells
    from lstmgen.testing.findings import ConformanceError, Finding

__all__ = [
    "BACKEND_CHECKS",
    "CELL_CHECKS",
    "ConformanceError",
    "Finding",
    "check_backend",
    "check_cell",
    "coverage_cells",
    "plain_cells",
]

_HOMES = {
    "backend_checks": ("BACKEND_CHECKS", "check_backend"),
    "cell_checks": ("CELL_CHECKS", "check_cell"),
    "cells": ("coverage_cells", "plain_cells"),
    "findings": ("ConformanceError", "Finding"),
}
"""The module that each name is in."""

if not TYPE_CHECKING:  # a type checker shall complain of a name that is not there

    def __getattr__(name):
        for module, names in _HOMES.items():
            if name in names:
                globals()[name] = getattr(import_module(f"{__name__}.{module}"), name)
                return globals()[name]
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

    def __dir__():
        return sorted({*globals(), *__all__})
