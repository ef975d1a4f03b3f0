"""The stages of lstmgen, in order.

    Cell --trace--> Declaration --normalize--> Graph --differentiate--> Gradient
    Gradient --schedule--> Schedule --emit--> source files
    Gradient + source --prove--> Report

Each stage is a pure function between frozen dataclasses. Its input and output stand in :func:`compile_cell`, which is
those calls and nothing else; finding cells and back ends by name, and writing files, is the business of the functions
after it.
"""

from __future__ import annotations

import hashlib
import keyword
import os
import re
import shlex
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from lstmgen import plugins
from lstmgen.backends.base import Backend, Provenance
from lstmgen.calculus.graph import Graph
from lstmgen.calculus.normal_form import normalize
from lstmgen.calculus.reverse import Gradient, differentiate
from lstmgen.calculus.text import Text
from lstmgen.declare.cell import Cell
from lstmgen.declare.declaration import Declaration
from lstmgen.errors import ProofError, UserError
from lstmgen.schedule.plan import schedule
from lstmgen.schedule.work import Schedule
from lstmgen.version import VERSION

if TYPE_CHECKING:
    from lstmgen.verify.report import Report

LEVELS = ("device", "host", "compiled", "derivation")
"""Levels of proof, strongest first: run on the device, the same source run on the CPU, compiled, derived only."""


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
    declaration = cell.trace(**options)
    primal = normalize(declaration)
    gradient = differentiate(declaration, primal)
    planned = schedule(gradient, backend.target)
    name = module or module_name(declaration, backend.name)
    found = digest(declaration)
    provenance = Provenance(VERSION, cell.name, found, command(origin or cell.name, declaration, backend.name, module))
    files = backend.emit(gradient, planned, provenance, name)
    return Compiled(declaration, primal, gradient, planned, backend, name, files, found)


def derive_gradient(cell: Cell, options: Mapping[str, Any]) -> Gradient:
    """From a cell to its gradient: the stages a derivation needs."""
    declaration = cell.trace(**options)
    return differentiate(declaration, normalize(declaration))


def prove(compiled: Compiled, level: str = "") -> Report:
    """Proves emitted source against the equations; ``level`` is the least that is accepted, any if empty.

    Raises :class:`ProofError` where the source does not compute what was declared, and :class:`UserError` (LG304) where
    the level cannot be reached here.
    """
    from lstmgen.verify.proof import prove_module

    best = compiled.backend.levels()[0]
    if level and LEVELS.index(best) > LEVELS.index(level):
        raise UserError(
            f"{compiled.backend.name} can be proven here at level {best!r}, not {level!r}",
            code="LG304",
            hint="run on a machine that has the device, or require less",
        )
    module = compiled.backend.load(compiled.source, f"_lstmgen_proof_{compiled.module}")
    try:
        report = prove_module(compiled.gradient, module, compiled.backend.name, best)
    finally:
        sys.modules.pop(module.__name__, None)
    if not report.passed:
        raise ProofError(f"{compiled.module}: the proof failed; nothing was written", report)
    return report


# -- names ------------------------------------------------------------------------------------------------------------


def digest(declaration: Declaration) -> str:
    """A digest of the traced equations and options: equal for equal cells, whatever machine traced them."""
    text = Text()
    lines = [declaration.name, repr(declaration.options)]
    lines += [f"input {value.name} {value.dims}" for value in declaration.inputs]
    lines += [f"state {state.name} {state.next.dims}" for state in declaration.states]
    lines += [f"parameter {each.value.name} {each.value.dims} {each.init}" for each in declaration.parameters]
    lines += [f"{text.equation(each)} {each.target.dims} {each.target.role}" for each in declaration.equations]
    lines += [f"output {value.name}" for value in declaration.outputs]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]


def _spell_option(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def module_name(declaration: Declaration, backend: str) -> str:
    """``<cell>[__<option>[_<value>]...]_<backend>``."""
    name = declaration.name
    for option, value in declaration.changed_options:
        spelled = "" if value is True else f"_{re.sub(r'[^A-Za-z0-9]', '_', _spell_option(value))}"
        name += f"__{option}{spelled}"
    return f"{name}_{backend}"


def command(origin: str, declaration: Declaration, backend: str, module: str) -> str:
    """The command that makes the file again; a cell's own file is named without its folder."""
    file, _, name = origin.partition(":")
    parts = ["lstmgen", "build", Path(file).name + (f":{name}" if name else "")]
    for option, value in declaration.changed_options:
        parts += ["--set", f"{option}={_spell_option(value)}"]
    if backend != "numpy":
        parts += ["--backend", backend]
    if module:
        parts += ["--name", module]
    return shlex.join(parts)


# -- finding cells and back ends --------------------------------------------------------------------------------------


def find_cell(origin: str | Cell) -> Cell:
    """A cell by its registered name, or from a file: ``./my_cell.py``, ``./my_cell.py:name``; a cell is itself."""
    if isinstance(origin, Cell):
        return origin
    file, _, name = str(origin).partition(":")
    if file.endswith(".py") or os.sep in file:
        return _cell_from_file(Path(file), name)
    if name:
        raise UserError(f"{origin!r}: only a file holds several cells", code="LG205", hint=f"name it alone: {file}")
    found = plugins.load("cells", file)
    if not isinstance(found, Cell):
        raise UserError(f"the plugin {file!r} is a {type(found).__name__}, no cell", code="LG203")
    return found


def _cell_from_file(path: Path, name: str) -> Cell:
    if not path.is_file():
        raise UserError(f"there is no file {path}", code="LG204", hint="lstmgen new NAME writes one to begin with")
    if path.suffix != ".py":
        raise UserError(f"{path} cannot be imported", code="LG204", hint="a cell's file ends in .py")
    module = ModuleType(f"_lstmgen_cell_{path.stem}")
    module.__file__ = str(path)
    sys.modules[module.__name__] = module  # so that annotations of options can be resolved
    try:
        # Not imported: Python's cache takes a file for unchanged that was edited within a second, and litters folders.
        exec(compile(path.read_bytes(), str(path), "exec"), vars(module))
    except UserError:
        raise
    except (Exception, SystemExit) as error:
        line = _line_in(error, path)
        raise UserError(
            f"{path}{line}: {type(error).__name__}: {error}", code="LG204", hint="the file must import by itself"
        ) from error
    cells = {each.name: each for each in vars(module).values() if isinstance(each, Cell)}
    if name and name not in cells:
        raise UserError(f"{path} has no cell {name!r}", code="LG205", hint=f"it has: {', '.join(cells) or 'none'}")
    if not name and len(cells) != 1:
        hint = f"name one: {path}:{next(iter(cells))}" if cells else 'declare one with @cell("name")'
        raise UserError(f"{path} holds {len(cells)} cells: {', '.join(cells) or 'none'}", code="LG205", hint=hint)
    return cells[name] if name else next(iter(cells.values()))


def _line_in(error: BaseException, path: Path) -> str:
    if isinstance(error, SyntaxError) and error.lineno:
        return f":{error.lineno}"
    import traceback

    lines = [line for frame, line in traceback.walk_tb(error.__traceback__) if frame.f_code.co_filename == str(path)]
    return f":{lines[-1]}" if lines else ""


def find_backend(name: str) -> Backend:
    """A back end by its registered name."""
    backend: Backend = plugins.load("backends", name)
    return backend


_LOADED: dict[tuple[str, str, str], ModuleType] = {}


def load(origin: str | Cell, backend: str = "numpy", **options: Any) -> ModuleType:
    """The generated module of a cell, made in memory; equal cells give the same module object."""
    compiled = compile_cell(find_cell(origin), find_backend(backend), options, origin=_origin_text(origin))
    key = (compiled.module, compiled.digest, backend)
    if key not in _LOADED:
        name = f"lstmgen_generated_{compiled.module}_{compiled.digest}"
        _LOADED[key] = compiled.backend.load(compiled.source, name)
    return _LOADED[key]


def _origin_text(origin: str | Cell) -> str:
    return "" if isinstance(origin, Cell) else str(origin)


# -- files ------------------------------------------------------------------------------------------------------------


def write_files(folder: Path, files: Mapping[str, str]) -> None:
    """Writes all files or none: each is staged beside its place, and put there when all are staged."""
    folder.mkdir(parents=True, exist_ok=True)
    staged: list[tuple[str, Path]] = []
    try:
        for name, text in files.items():
            handle, temporary = tempfile.mkstemp(dir=folder, prefix=f".{name}.", suffix=".tmp")
            staged.append((temporary, folder / name))
            with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as file:
                file.write(text)
            os.chmod(temporary, 0o666 & ~_umask())
        while staged:
            temporary, place = staged[0]
            os.replace(temporary, place)
            staged.pop(0)
    finally:
        for temporary, _ in staged:
            Path(temporary).unlink(missing_ok=True)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
