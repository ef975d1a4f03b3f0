"""Finds cells, their options, and all other plugins by what a user calls them: a registered name, or a file."""

from __future__ import annotations

import linecache
import os
import sys
import traceback
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

from lstmgen import plugins
from lstmgen.backends.base import Backend
from lstmgen.declare.cell import Cell
from lstmgen.derivation.format import Format
from lstmgen.derivation.notation import Notation
from lstmgen.errors import PluginError, UserError

Kind = TypeVar("Kind", Notation, Format)


def find_cell(origin: str | Cell) -> Cell:
    """A cell by its registered name, or from a file: ``./my_cell.py``, ``./my_cell.py:name``; a cell is itself."""
    if isinstance(origin, Cell):
        return origin
    file, _, name = str(origin).partition(":")
    if file.endswith(".py") or os.sep in file:
        return _cell_from_file(Path(file), name)
    if name:
        raise UserError(f"{origin!r}: only a file holds several cells", code="LG205", hint=f"name it alone: {file}")
    try:
        found = plugins.load("cells", file)
    except PluginError as error:
        if error.code == "LG201":
            error.hint = _file_beside(file) or error.hint
        raise
    if not isinstance(found, Cell):
        raise PluginError(
            f"the plugin {file!r} is a {type(found).__name__}, no cell",
            code="LG203",
            hint="lstmgen list cells names the package that registers it",
        )
    return found


def _cell_from_file(path: Path, name: str) -> Cell:
    if path.is_dir():
        raise UserError(f"{path}{os.sep} is a folder", code="LG204", hint="name a file in it")
    if not path.is_file():
        hint = _file_beside(str(path)) or "lstmgen new NAME writes one to begin with"
        raise UserError(f"there is no file {path}", code="LG204", hint=hint)
    if path.suffix != ".py":
        raise UserError(f"{path} cannot be imported", code="LG204", hint="a cell's file ends in .py")
    module = ModuleType(f"_lstmgen_cell_{path.stem}")
    module.__file__ = str(path)
    sys.modules[module.__name__] = module  # so that annotations of options can be resolved
    linecache.checkcache(str(path))  # messages quote its lines, and an older version may have been read before
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
    if not cells:
        raise UserError(f"{path} declares no cell", code="LG205", hint='declare one with @cell("name")')
    if name and name not in cells:
        raise UserError(f"{path} has no cell {name!r}", code="LG205", hint=f"it has: {', '.join(cells)}")
    if not name and len(cells) != 1:
        hint = f"name one: {path}:{next(iter(cells))}"
        raise UserError(f"{path} holds {len(cells)} cells: {', '.join(cells)}", code="LG205", hint=hint)
    return cells[name] if name else next(iter(cells.values()))


def _file_beside(name: str) -> str:
    """A hint at the file that ``name`` is without its suffix; empty where there is none."""
    file = Path(f"{name}.py")
    here = f".{os.sep}" if file.parent == Path() else ""
    return f"did you mean {here}{file}?" if file.is_file() else ""


def _line_in(error: BaseException, path: Path) -> str:
    if isinstance(error, SyntaxError) and error.lineno:
        return f":{error.lineno}"
    lines = [line for frame, line in traceback.walk_tb(error.__traceback__) if frame.f_code.co_filename == str(path)]
    return f":{lines[-1]}" if lines else ""


def find_options(cell: Cell, settings: Iterable[str], flag: str = "--set") -> dict[str, Any]:
    """The options of ``key=value``, by the cell's own types; raises :class:`UserError` (LG113)."""
    known = {option.name: option for option in cell.options}
    found: dict[str, Any] = {}
    for setting in settings:
        key, equals, text = setting.partition("=")
        if not equals:
            raise UserError(f"{flag} needs KEY=VALUE, not {setting!r}", code="LG113", hint=f"{flag} {key}=...")
        if key in found:
            raise UserError(f"{flag} gives {key!r} twice", code="LG113", hint="give it once")
        if key in known:
            found[key] = known[key].parse(text)
        else:
            cell.settings({key: text})  # raises, and names the options there are
    return found


def find_backend(name: str) -> Backend:
    """A back end by its registered name."""
    backend: Backend = plugins.load("backends", name)
    return backend


def find_notation(name: str) -> Notation:
    """A notation by its registered name. Raises :class:`PluginError` (LG203) for what is none."""
    return _loaded("notations", name, Notation)


def find_format(name: str) -> Format:
    """A format by its registered name. Raises :class:`PluginError` (LG203) for what is none."""
    return _loaded("formats", name, Format)


def _loaded(group: str, name: str, kind: type[Kind]) -> Kind:
    """The plugin of a group whose plugins are of one class of :mod:`lstmgen.api`."""
    found = plugins.load(group, name)
    if not isinstance(found, kind):
        raise PluginError(
            f"the {group[:-1]} {name!r} is broken: it is of type {type(found).__name__}, "
            f"not lstmgen.api.{kind.__name__}",
            code="LG203",
            hint=f"register an object made by lstmgen.api.{kind.__name__}",
        )
    return found
