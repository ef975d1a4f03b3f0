"""What the author of a cell asks: :func:`check_cell`."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from lstmgen.backends.numpy import backend
from lstmgen.calculus.text import Text
from lstmgen.calculus.unroll import run
from lstmgen.declare.cell import Cell
from lstmgen.errors import DeclarationError
from lstmgen.files import write_files
from lstmgen.finding import find_cell
from lstmgen.pipeline import Compiled, compile_cell
from lstmgen.testing.again import compile_again, different, home_of_backend, home_of_cell
from lstmgen.testing.contract import overflows, saturated
from lstmgen.testing.findings import Found, chosen, named, run_checks
from lstmgen.testing.modules import loaded
from lstmgen.testing.proofs import proof_findings
from lstmgen.testing.trial import Made, sizes_of

_SATURATION = 1000.0
_LARGEST = float(np.finfo(np.float32).max)


def check_cell(
    cell: Cell | str,
    *,
    only: Collection[str] = (),
    skip: Collection[str] = (),
    saturation: float | Mapping[str, float] = _SATURATION,
    **options: Any,
) -> None:
    """Checks a cell, with these of its options, as the NumPy back end builds it.

    ``cell`` is a cell, a registered name or a file, as for :func:`lstmgen.load`. The checks are those of
    :data:`CELL_CHECKS`, all unless ``only`` names some or ``skip`` leaves some out. ``saturation`` is the size of
    inputs at which nothing may overflow; for inputs that are never large, such as masks, a size by name.

    Raises :class:`ConformanceError` with everything that is found.
    """
    tried = _Tried(find_cell(cell), options, saturation)
    names = chosen(CELL_CHECKS, only, skip)
    try:
        tried.cell.trace(**options)
    except DeclarationError:
        names = ("declaration",)  # nothing else can be said of it
    run_checks(f"cell {tried.cell.name!r}", _CHECKS, names, tried)


@dataclass(frozen=True)
class _Tried:
    cell: Cell
    options: Mapping[str, Any]
    saturation: float | Mapping[str, float]

    @cached_property
    def compiled(self) -> Compiled:
        return compile_cell(self.cell, backend, self.options)

    @property
    def saturations(self) -> dict[str, float]:
        names = [value.name for value in self.compiled.declaration.inputs]
        if isinstance(self.saturation, Mapping):
            return dict.fromkeys(names, _SATURATION) | dict(self.saturation)
        return dict.fromkeys(names, self.saturation)

    @property
    def about(self) -> str:
        return ", ".join([self.cell.name, *(f"{name}={value!r}" for name, value in self.options.items())])


def declaration(tried: _Tried) -> Found:
    """The cell traces without a mistake and without a warning."""
    try:
        diagnostics = tried.cell.trace(**tried.options).warnings
    except DeclarationError as error:
        diagnostics = error.diagnostics
    for each in diagnostics:
        yield tried.about, str(each)


def proof(tried: _Tried) -> Found:
    """Emitted code, equations and finite differences agree."""
    for message in proof_findings(tried.compiled):
        yield tried.about, message


def equal_bytes(tried: _Tried) -> Found:
    """Digest and files are the same each time, and in processes with other hash seeds and folders."""
    made, again = tried.compiled, compile_cell(tried.cell, backend, tried.options)
    twice = list(_other("compiled twice", made, again.digest, again.files))
    home, numpy = home_of_cell(tried.cell), home_of_backend(backend)
    if twice:
        yield from ((tried.about, each) for each in twice)  # another process has nothing to add
    elif home is None or numpy is None:
        yield tried.about, "another process cannot find it: bind it to a name of a module, outside of functions"
    else:
        try:
            answers = compile_again([(home, tried.options)], numpy, processes=2)
        except RuntimeError as error:
            yield tried.about, f"another process cannot compile it: {error}"
            return
        for (found,) in answers:
            for each in _other("in another process", made, found["digest"], found["files"]):
                yield tried.about, each


def _other(where: str, made: Compiled, digest: str, files: Mapping[str, str]) -> Iterator[str]:
    if digest != made.digest:
        yield f"{where}, the digest of its equations is {digest} instead of {made.digest}"
    yield from (f"{where}, {each}" for each in different(made.files, files))


def saturation(tried: _Tried) -> Found:
    """Large inputs overflow nowhere in float32: neither in the equations nor in the code."""
    with loaded(tried.compiled) as module:
        made = Made(tried.compiled, module)
        trial = saturated(made, tried.saturations, np.float64)
        words = "inputs of " + ", ".join(f"±{size:g} ({name})" for name, size in tried.saturations.items())
        gradient = tried.compiled.gradient
        start = trial.start.get("start", 0)
        with np.errstate(all="ignore"):
            found = run(
                gradient.declaration,
                gradient.primal,
                sizes_of(gradient),
                trial.p.to_dict(),
                trial.inputs,
                trial.initial,
                start=start,
            )
        for step, values in enumerate(found.steps):
            for equation in gradient.primal.equations:
                largest = float(np.max(np.abs(values[equation.target]), initial=0.0))
                if not largest <= _LARGEST:
                    yield (
                        tried.about,
                        f"{words}: {Text().equation(equation)} reaches {largest:.1e} at step {step}, beyond float32; "
                        "bound it, or give check_cell a smaller saturation",
                    )
                    return
        for message in overflows(saturated(made, tried.saturations, np.float32)):
            yield tried.about, f"{words}: {message}"


def written_file(tried: _Tried) -> Found:
    """The module that is written imports by itself: without a warning, and without lstmgen."""
    module = tried.compiled.module
    code = f"import sys, {module}; print(*sorted({{'lstmgen', 'sympy', 'jinja2'}} & set(sys.modules)))"
    with tempfile.TemporaryDirectory() as folder:
        write_files(Path(folder), tried.compiled.files)
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", code], cwd=folder, capture_output=True, text=True, check=False
        )
    if done.returncode:
        yield tried.about, f"{module}.py does not import: {done.stderr.strip().splitlines()[-1]}"
    elif done.stdout.strip():
        yield tried.about, f"{module}.py imports {done.stdout.strip()}"


_CHECKS = named([declaration, proof, equal_bytes, saturation, written_file])
CELL_CHECKS: tuple[str, ...] = tuple(_CHECKS)
"""The names of all checks of a cell, in order."""
