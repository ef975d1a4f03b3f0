"""lstmgen: from the equations of a recurrent cell to proven kernels.

``load`` makes a cell's generated module in memory, ``build`` writes it to a file, ``derive`` gives its derivation.
What authors of cells and plugins need is in :mod:`lstmgen.api`. Importing this package is cheap: SymPy comes with the
first call that needs it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lstmgen.version import VERSION

__version__ = VERSION

if TYPE_CHECKING:
    from os import PathLike
    from types import ModuleType

    from lstmgen.declare.cell import Cell
    from lstmgen.printed import Printed
    from lstmgen.verify.report import Report

__all__ = ["__version__", "build", "derive", "load"]


def load(cell: str | Cell, backend: str = "numpy", **options: Any) -> ModuleType:
    """The generated module of ``cell``, in memory.

    ``cell`` is a registered name, the path of a file (``"./my_cell.py"``, ``"./my_cell.py:name"``) or a cell object;
    ``options`` are the cell's. Equal equations give the same module again.

    Raises :class:`lstmgen.errors.UserError` for whatever is wrong with the cell or its options. The module is not
    proven; :func:`build` proves what it writes. What is legal but suspicious in a cell is issued as a
    :class:`lstmgen.errors.DeclarationWarning`, here as in :func:`build` and :func:`derive`.

    >>> import numpy as np, lstmgen
    >>> lstm = lstmgen.load("lstm")
    >>> p = lstm.Parameters.initialize(features=3, hidden=5, seed=0)
    >>> outputs, final, residuals = lstm.forward(p, np.zeros((7, 2, 3), np.float32))
    >>> outputs.shape
    (7, 2, 5)
    """
    from lstmgen import pipeline

    return pipeline.load(cell, backend, **options)


def build(
    cell: str | Cell,
    backend: str = "numpy",
    *,
    out: str | PathLike[str] = "generated",
    name: str = "",
    require: str = "",
    **options: Any,
) -> Report:
    """Generates ``cell`` for ``backend``, proves the result, writes it to the folder ``out`` and returns the proof.

    Raises :class:`lstmgen.errors.ProofError` if the proof fails; nothing is written then. ``require`` is the least
    level of proof that is accepted: device, host, compiled or derivation.
    """
    from pathlib import Path

    from lstmgen import files, finding, pipeline

    compiled = pipeline.compile_cell(
        finding.find_cell(cell),
        finding.find_backend(backend),
        options,
        origin=cell if isinstance(cell, str) else "",
        module=name,
    )
    pipeline.tell(compiled.declaration)
    report = pipeline.prove(compiled, require)
    files.write_files(Path(out), compiled.files)
    return report


def derive(cell: str | Cell, notation: str = "standard", **options: Any) -> Printed:
    """The derivation of ``cell``'s gradient, step by step; ``str()`` of it is its text.

    Notebooks show it with its formulas. ``notation`` is one of ``lstmgen list notations``; ``options`` are the cell's.
    ``.render("latex", part="backward")`` gives another format, or one part.
    """
    from lstmgen import deriving, finding, pipeline

    printed = deriving.derive(finding.find_cell(cell), finding.find_notation(notation), options)
    pipeline.tell(printed.derivation.gradient.declaration)
    return printed
