"""The names of what is generated: a cell's digest, its module, and the command that makes it again."""

from __future__ import annotations

import hashlib
import re
import shlex
from pathlib import Path
from typing import Any

from lstmgen.calculus.text import Text
from lstmgen.declare.declaration import Declaration


def digest(declaration: Declaration) -> str:
    """A digest of the traced equations and options: equal for equal cells, whatever machine traced them."""
    text = Text()
    lines = [declaration.name, repr(declaration.options)]
    lines += [f"input {value.name} {value.dims}" for value in declaration.inputs]
    lines += [f"state {state.name} {state.next.dims}" for state in declaration.states]
    lines += [f"parameter {each.value.name} {each.value.dims} {each.init}" for each in declaration.parameters]
    lines += [f"constant {each.value.name} {each.value.dims} {each.numbers}" for each in declaration.constants]
    lines += [f"step index {declaration.step_index.name}"] if declaration.step_index else []
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
