"""The stages of lstmgen, in order.

    Cell --trace--> Declaration --normalize--> Graph --differentiate--> Gradient
    Gradient --schedule--> Schedule --emit--> source files
    Gradient + source --prove--> Report

Each stage is a pure function between frozen dataclasses; :func:`compile_cell` is those calls and nothing else. Finding
cells by name, naming what is generated and writing files have modules of their own.
"""

from __future__ import annotations

import keyword
import sys
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import TYPE_CHECKING, Any

from lstmgen.backends.base import Backend, Provenance, transfer_of
from lstmgen.calculus.graph import Graph
from lstmgen.calculus.normal_form import normalize
from lstmgen.calculus.reverse import Gradient, differentiate
from lstmgen.choices import LEVELS, RUNNING
from lstmgen.declare.cell import SYMPY, Cell
from lstmgen.declare.declaration import Declaration
from lstmgen.errors import DeclarationWarning, LstmgenError, ProofError, UserError
from lstmgen.finding import find_backend, find_cell
from lstmgen.naming import command, digest, module_name
from lstmgen.schedule.plan import schedule
from lstmgen.schedule.work import Schedule
from lstmgen.version import VERSION

if TYPE_CHECKING:
    from lstmgen.verify.report import Report


@dataclass(frozen=True)
class Compiled:
    """Everything that came of one cell for one back end. ``files`` are texts by name, the module first."""

    declaration: Declaration
    primal: Graph
    gradient: Gradient
    schedule: Schedule
    backend: Backend
    module: str
    files: Mapping[str, str]
    digest: str

    @property
    def source(self) -> str:
        """The text of the module."""
        return self.files[f"{self.module}.py"]


def compile_cell(
    cell: Cell, backend: Backend, options: Mapping[str, Any], *, origin: str = "", module: str = ""
) -> Compiled:
    """From a cell to source: every stage but the proof.

    ``origin`` is what the user called the cell by, for the command in the file's header; ``module`` the file's name.
    Raises :class:`DeclarationError` with all mistakes of the declaration at once, and :class:`UserError` (LG307) for a
    name that no module can have.
    """
    if module and (not module.isidentifier() or keyword.iskeyword(module)):
        raise UserError(
            f"no module can be called {module!r}", code="LG307", hint="give a Python name; --out names a folder"
        )
    with SYMPY:
        declaration = cell.trace(**options)
        primal = normalize(declaration)
        gradient = differentiate(declaration, primal)
        planned = schedule(gradient, backend.target)
        name = module or module_name(declaration, backend.name)
        found = digest(declaration)
        made_by = command(origin or cell.name, declaration, backend.name, module)
        files = backend.emit(gradient, planned, Provenance(VERSION, cell.name, found, made_by), name)
    return Compiled(declaration, primal, gradient, planned, backend, name, files, found)


def derive_gradient(cell: Cell, options: Mapping[str, Any]) -> Gradient:
    """From a cell to its gradient: the stages a derivation needs."""
    with SYMPY:
        declaration = cell.trace(**options)
        return differentiate(declaration, normalize(declaration))


def prove(compiled: Compiled, level: str = "") -> Report:
    """Proves emitted source against the equations; ``level`` is the least that is accepted, any if empty.

    Raises :class:`ProofError` where the source does not compute what was declared, and :class:`UserError` (LG304) where
    the level cannot be reached here.
    """
    from lstmgen.verify.proof import prove_derivation, prove_module

    if level and level not in LEVELS:
        raise UserError(f"{level!r} is no level of proof", code="LG304", hint=f"there are: {', '.join(LEVELS)}")
    best = compiled.backend.levels()[0]
    if level and LEVELS.index(best) > LEVELS.index(level):
        raise UserError(
            f"{compiled.backend.name} can be proven here at level {best!r}, not {level!r}",
            code="LG304",
            hint="run on a machine that has the device, or require less",
        )
    name = f"_lstmgen_proof_{compiled.module}"
    try:
        if best in RUNNING:
            module = compiled.backend.load(compiled.source, name)
            transfer = transfer_of(compiled.backend)
            report = prove_module(compiled.gradient, module, compiled.backend.name, best, transfer=transfer)
        else:
            if best == "compiled":
                compiled.backend.check(compiled.source)  # type: ignore[attr-defined]  # see Backend
            report = prove_derivation(compiled.gradient, compiled.backend.name, best)
    except LstmgenError:
        raise
    except Exception as error:
        raise ProofError(f"{compiled.module}: the emitted code stopped: {type(error).__name__}: {error}") from error
    finally:
        sys.modules.pop(name, None)
    if not report.passed:
        raise ProofError(f"{compiled.module}: the proof failed; nothing was written", report)
    return report


def tell(declaration: Declaration) -> None:
    """Issues a declaration's warnings as Python warnings, for callers that are programs."""
    for each in declaration.warnings:
        warnings.warn(str(each), DeclarationWarning, stacklevel=3)


_LOADED: dict[tuple[str, str, str], ModuleType] = {}


def load(origin: str | Cell, backend: str = "numpy", **options: Any) -> ModuleType:
    """The generated module of a cell, made in memory; equal cells give the same module object."""
    compiled = compile_cell(find_cell(origin), find_backend(backend), options, origin=_origin_text(origin))
    tell(compiled.declaration)
    key = (compiled.module, compiled.digest, backend)
    if key not in _LOADED:
        name = f"lstmgen_generated_{compiled.module}_{compiled.digest}"
        _LOADED[key] = compiled.backend.load(compiled.source, name)
    return _LOADED[key]


def _origin_text(origin: str | Cell) -> str:
    return "" if isinstance(origin, Cell) else str(origin)
