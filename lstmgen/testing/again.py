"""The same cells compiled in other processes: what comes out must not depend on the process.

Another process gets this one's ``sys.path``, but another folder to work in and another seed of its hashes.
"""

from __future__ import annotations

import inspect
import itertools
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from lstmgen.backends.base import Backend
from lstmgen.declare.cell import Cell

_START = "import json, sys; sys.path[:] = json.loads(sys.argv[1]); from lstmgen.testing.again import main; main()"
_TIMEOUT = 300


@dataclass(frozen=True)
class Home:
    """Where another process finds an object: a name in a module, or if that cannot be imported, a cell's file."""

    module: str = ""
    name: str = ""
    file: str = ""


def home_of_cell(cell: Cell) -> Home | None:
    """Where a cell is found; None for one that was made inside a function."""
    function = inspect.unwrap(cell.function)
    if "<locals>" in function.__qualname__:
        return None
    file = Path(function.__code__.co_filename)
    found = _home(cell, [function.__module__]) or Home(name=cell.name)
    return Home(found.module, found.name, f"{file.resolve()}:{cell.name}" if file.is_file() else "")


def home_of_backend(backend: Backend) -> Home | None:
    """Where a back end is found; None for one that has no name in the module of its class, or in a package above."""
    parts = type(backend).__module__.split(".")
    return _home(backend, [".".join(parts[:count]) for count in range(len(parts), 0, -1)])


def _home(wanted: object, modules: Iterable[str]) -> Home | None:
    for module in modules:
        if module != "__main__" and getattr(sys.modules.get(module), "__spec__", None) is not None:
            for name, found in list(vars(sys.modules[module]).items()):
                if found is wanted:
                    return Home(module, name)
    return None


def find(home: Home) -> Any:
    """The object that lives there."""
    if home.module:
        try:
            return getattr(import_module(home.module), home.name)
        except ImportError:
            if not home.file:
                raise
    from lstmgen.finding import find_cell

    return find_cell(home.file)


def compile_again(
    cells: Sequence[tuple[Home, Mapping[str, Any]]], backend: Home, processes: int
) -> list[list[dict[str, Any]]]:
    """From each of some processes: the digest and the files of every cell with its options.

    Raises :class:`RuntimeError` with the last line that a process says where it fails.
    """
    request = {"backend": asdict(backend), "cells": [[asdict(home), dict(options)] for home, options in cells]}
    seeds = [each for each in "123" if each != os.environ.get("PYTHONHASHSEED")][:processes]
    path = json.dumps([str(Path(each).resolve()) for each in sys.path])
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "request").write_text(json.dumps(request), encoding="utf-8")
        started = []
        for seed in seeds:
            with open(folder / f"errors{seed}", "w") as errors:
                started.append(
                    subprocess.Popen(
                        [sys.executable, "-c", _START, path, f"answer{seed}"],
                        cwd=folder,
                        env={**os.environ, "PYTHONHASHSEED": seed},
                        stdout=errors,
                        stderr=errors,
                    )
                )
        try:
            codes = [process.wait(_TIMEOUT) for process in started]
        finally:
            for process in started:
                process.kill()
                process.wait()
        for seed, code in zip(seeds, codes, strict=True):
            if code:
                said = (folder / f"errors{seed}").read_text(encoding="utf-8", errors="replace").strip().splitlines()
                raise RuntimeError(said[-1] if said else f"it ended with {code}")
        return [json.loads((folder / f"answer{seed}").read_text(encoding="utf-8")) for seed in seeds]


def main() -> None:
    """Compiles what the file ``request`` asks for, into the file that the command line names."""
    from lstmgen.pipeline import compile_cell

    request = json.loads(Path("request").read_text(encoding="utf-8"))
    backend = find(Home(**request["backend"]))
    answer = []
    for home, options in request["cells"]:
        made = compile_cell(find(Home(**home)), backend, options)
        answer.append({"digest": made.digest, "files": dict(made.files)})
    Path(sys.argv[2]).write_text(json.dumps(answer), encoding="utf-8")


def different(files: Mapping[str, str], others: Mapping[str, str]) -> Iterator[str]:
    """Where files are not those that they should be: the names, or the first line that differs."""
    if list(files) != list(others):
        yield f"there are the files {', '.join(others)} instead of {', '.join(files)}"
        return
    for name, text in files.items():
        lines = itertools.zip_longest(text.split("\n"), others[name].split("\n"), fillvalue="nothing")
        differing = ((number, one, other) for number, (one, other) in enumerate(lines, 1) if one != other)
        for number, one, other in itertools.islice(differing, 1):
            yield f"line {number} of {name} is {other.strip()!r} instead of {one.strip()!r}"
